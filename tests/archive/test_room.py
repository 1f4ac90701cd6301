"""Room on the disk: refused before it is full, taken in again when there is room, without flicker."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from hostd.archive.room import Room
from hostd.config.sections import Node

MB = 1 << 20


class Disk:
    def __init__(self, total_mb=100_000, free_mb=50_000):
        self.total, self.free, self.looks, self.now = total_mb * MB, free_mb * MB, 0, 0.0

    def usage(self, folder):
        self.looks += 1
        return self.total, self.free

    def room(self, limit=100):
        return Room(Path("/data"), limit, usage=self.usage, monotonic=lambda: self.now)

    def after(self, free_mb):
        self.now += 2
        self.free = free_mb * MB


def test_below_the_limit_none_is_left_until_there_is_a_quarter_more():
    disk = Disk()
    room = disk.room()
    seen = []
    for free in (500, 101, 100, 99, 101, 124, 125, 101, 99):
        disk.after(free)
        seen.append(room.is_left())
    assert seen == [True, True, True, False, False, False, True, True, False]


def test_a_small_disk_has_a_small_limit():
    disk = Disk(total_mb=100, free_mb=6)
    room = disk.room()
    assert room.is_left()
    disk.after(4)
    assert not room.is_left()


def test_the_limit_may_be_another_at_any_time():
    disk = Disk(free_mb=500)
    room = disk.room()
    assert room.is_left()
    room.refuse_below_mb = 600
    disk.after(500)
    assert not room.is_left()


def test_zero_is_never_and_costs_no_look():
    disk = Disk(free_mb=0)
    assert disk.room(0).is_left()
    assert disk.looks == 0


def test_the_disk_is_looked_at_once_a_second_however_often_it_is_asked():
    disk = Disk()
    room = disk.room()
    for _ in range(1000):
        room.is_left()
    assert disk.looks == 1
    disk.now -= 3600  # a clock that goes back
    room.is_left()
    assert disk.looks == 2


def test_what_cannot_be_looked_at_is_no_reason_to_refuse():
    def usage(_folder):
        raise OSError(5, "I/O error")

    assert Room(Path("/data"), 100, usage=usage).is_left()


def test_a_limit_below_zero_cannot_be_written():
    with pytest.raises(ValidationError):
        Node(refuse_below_mb=-1)
