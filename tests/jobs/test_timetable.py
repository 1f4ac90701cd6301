"""When a schedule is due, also where clocks change."""

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostd.archive.schedules import Timing
from hostd.errors import ScriptError
from hostd.jobs import timetable
from hostd.jobs.timetable import Timetable, check_cron, local_zone

BERLIN = ZoneInfo("Europe/Berlin")


def at(text, zone=BERLIN, fold=0):
    return dt.datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def times(expression, begin, end, zone=BERLIN):
    """Return the local times of an expression after `begin` up to `end`, with their distance from UTC."""
    found, now = [], begin
    while (now := Timetable(zone).next_after(Timing(None, expression), now)) is not None and now <= end:
        found.append(dt.datetime.fromtimestamp(now, zone).strftime("%d %H:%M %z"))
    return found


def test_a_nightly_job_keeps_its_local_time_over_the_year():
    found = times("0 2 1 1,7 *", at("2026-01-01T02:00"), at("2027-01-02T00:00"))
    assert found == ["01 02:00 +0200", "01 02:00 +0100"]


def test_a_time_that_the_change_to_summer_leaves_out_comes_right_after_it():
    found = times("30 2 * * *", at("2026-03-28T12:00"), at("2026-03-30T12:00"))
    assert found == ["29 03:00 +0200", "30 02:30 +0200"]


def test_a_time_that_comes_twice_is_meant_once():
    found = times("30 2 * * *", at("2026-10-24T12:00"), at("2026-10-26T12:00"))
    assert found == ["25 02:30 +0200", "26 02:30 +0100"]


def test_what_comes_every_half_hour_follows_the_clock_through_the_hour_that_comes_twice():
    found = times("*/30 * * * *", at("2026-10-25T01:45"), at("2026-10-25T03:00"))
    assert found == ["25 02:00 +0200", "25 02:30 +0200", "25 02:00 +0100", "25 02:30 +0100", "25 03:00 +0100"]


def test_within_the_hour_that_comes_again_the_first_one_is_past():
    second = at("2026-10-25T02:20", fold=1)
    assert Timetable(BERLIN).next_after(Timing(None, "30 2 * * *"), second) == at("2026-10-26T02:30")


EXPRESSIONS = st.sampled_from(
    ["30 2 * * *", "0 3 * * *", "*/20 * * * *", "15 1-3 * * SUN", "0 0 29 2 *", "59 23 L * *"]
)
ZONES = st.sampled_from([BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Australia/Lord_Howe"), dt.UTC])


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS, ZONES, st.floats(at("2024-01-01T00:00"), at("2028-01-01T00:00")))
def test_the_next_time_is_always_later(expression, zone, now):
    found = Timetable(zone).next_after(Timing(None, expression), now)
    assert found is not None
    assert found > now


@settings(max_examples=150, deadline=None)
@given(st.floats(1, 1e6), st.floats(0, 1e9), st.floats(0, 1e7))
def test_what_was_missed_is_left_out_and_the_distance_is_kept(every_s, due_at, late_s):
    now = due_at + late_s
    found = Timetable().next_due(Timing(every_s, None), due_at, now)
    assert found > now - 1e-3
    assert found - now <= every_s + 1e-3
    assert abs((found - due_at) / every_s - round((found - due_at) / every_s)) < 1e-3


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("61 2 * * *", "Bad minute"),
        ("0 2 * *", "no cron expression"),
        ("0 0 2 * * *", "6 fields, not five"),
        ("@daily", "no cron expression"),
        ("0 2 * * MON#9", "Bad day-of-week"),
        ("0 2 31 2 *", "Bad day-of-month"),
        ("0 2 */20 * 1L", "never comes"),
        ("9" * 90 + " * * * *", "Bad minute"),
    ],
)
def test_what_is_no_cron_expression_is_refused_with_what_is_wrong(expression, says):
    with pytest.raises(ScriptError, match=says):
        check_cron(expression)


def test_the_zone_of_the_machine_is_that_of_its_clock(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert local_zone() == ZoneInfo("Asia/Tokyo")
    monkeypatch.delenv("TZ")
    monkeypatch.setattr(timetable, "_LOCALTIME", tmp_path / "none")
    assert local_zone() is dt.UTC
    with (tmp_path / "none").open("wb") as file:
        file.write(b"no zone")
    assert local_zone() is dt.UTC
