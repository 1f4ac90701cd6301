"""A folder as a destination: files whole or not at all, never over another, never elsewhere, on stable storage when said so."""

import errno
import os
import shutil
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from delivery_kit import small_file
from pydicom import dcmread

from hostd.delivery.destinations import folder as module
from hostd.delivery.destinations.folder import TEMPORARY, Folder
from hostd.dicom.file_paths import PathTemplate

NAME = "folder:export"
ORDINARY = "{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm"


@pytest.fixture
def export(tmp_path):
    path = tmp_path / "export"
    path.mkdir()
    return path


def folder(path, template=ORDINARY):
    return Folder("export", path=path, template=PathTemplate.parse(template))


def files(path):
    """Return everything that is not a folder below it, with what it holds."""
    return {str(p.relative_to(path)): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_symlink() or p.is_file()}


def sent(node, path, *contents, template=ORDINARY, state="delivered"):
    """Deliver these files to the folder; return the deliveries."""
    if node.started:
        assert node.started.pop().stop(60) == []  # so that what is asked for now cannot go by the former template
    numbers = [node.ask(NAME, node.receive(content)) for content in contents]
    node.couriers(folder(path, template))
    return [node.until_state(number, state) for number in numbers]


def test_an_instance_is_written_bit_for_bit_where_the_template_says(node, export):
    content = small_file(StudyDate="20260102", PatientID="P17")
    (delivery,) = sent(node, export, content)
    expected = f"P17/20260102/CT/{delivery.sop_instance_uid}.dcm"
    assert files(export) == {expected: content}
    (attempt,) = node.attempts(delivery.id)
    assert attempt.answer == f"written as {expected}"
    assert attempt.sent_syntax == dcmread(export / expected).file_meta.TransferSyntaxUID
    assert (export / expected).stat().st_mode & 0o007 == 0


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_hostile_attributes_stay_in_the_folder(node, export, tmp_path):
    (delivery,) = sent(node, export, small_file(PatientID="../../../outside", StudyDate="", Modality=".."))
    (name,) = files(export)
    assert len(name.split("/")) == 4
    assert name.endswith(f"/{delivery.sop_instance_uid}.dcm")
    assert not (tmp_path / "outside").exists()


def test_what_is_there_already_is_delivered_and_not_written_again(node, export):
    content = small_file()
    instance = node.receive(content)
    first = node.ask(NAME, instance)
    couriers = node.couriers(folder(export))
    node.until_state(first, "delivered")
    before = {path: path.stat().st_ino for path in export.rglob("*.dcm")}
    second = node.ask(NAME, instance)
    node.until_state(second, "delivered")
    assert node.attempts(second)[0].answer.startswith("was there already")
    assert {path: path.stat().st_ino for path in export.rglob("*.dcm")} == before
    assert couriers.health()[NAME].failures == 0


def test_other_content_of_that_name_is_left_alone_and_the_new_one_is_numbered(node, export):
    (export / "CT.dcm").write_bytes(b"somebody's own")
    one, other = small_file(), small_file()
    sent(node, export, one, other, template="{Modality}.dcm")
    assert files(export) == {"CT.dcm": b"somebody's own", "CT-2.dcm": one, "CT-3.dcm": other}


def test_a_template_that_tells_nothing_apart_fails_in_the_open(node, export, monkeypatch):
    monkeypatch.setattr(module, "MAX_SAME_NAME", 2)
    sent(node, export, small_file(), small_file(), template="{Modality}.dcm")
    (third,) = sent(node, export, small_file(), template="{Modality}.dcm", state="failed")
    assert "add {SOPInstanceUID} to the template" in third.last_error
    assert len(files(export)) == 2


def test_a_link_in_the_folder_leads_nowhere(node, export, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (export / "P1").symlink_to(elsewhere)
    (delivery,) = sent(node, export, small_file(), state="failed")
    assert "cannot be written" in delivery.last_error
    assert list(elsewhere.iterdir()) == []
    (export / "CT.dcm").symlink_to(tmp_path / "target")
    sent(node, export, small_file(), template="{Modality}.dcm")
    assert not (tmp_path / "target").exists()
    assert (export / "CT-2.dcm").is_file()


def test_the_folder_itself_may_be_a_link(node, export, tmp_path):
    (tmp_path / "link").symlink_to(export)
    sent(node, tmp_path / "link", small_file())
    assert len(files(export)) == 1


def test_a_folder_that_is_not_there_holds_the_queue_and_counts_against_nothing(node, tmp_path):
    path = tmp_path / "share"
    number = node.ask(NAME, node.receive(small_file()))
    couriers = node.couriers(folder(path))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert not path.exists()
    assert "No such file" in node.get(number).last_error
    path.mkdir()
    node.advance(2000)
    node.until_state(number, "delivered")
    node.until(lambda: couriers.health()[NAME].failures == 0)


def test_a_full_disk_holds_the_queue_leaves_nothing_half_written_and_recovers(node, tmp_path):
    with _small_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        with ballast.open("wb", buffering=0) as file, _until_full():
            while True:
                file.write(bytes(1 << 12))
        content = small_file(PatientComments="x" * 9000)
        number = node.ask(NAME, node.receive(content))
        node.couriers(folder(disk))
        node.until(lambda: node.outcomes(number) == ["unreached"])
        assert "No space left" in node.get(number).last_error
        assert set(files(disk)) == {"ballast"}
        ballast.unlink()
        node.advance(2000)
        node.until_state(number, "delivered")
        assert list(files(disk).values()) == [content]


@contextmanager
def _small_disk(path):
    path.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", path], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("a file system of its own may not be mounted here")
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", path], check=False)


@contextmanager
def _until_full():
    with pytest.raises(OSError, match="No space left"):
        yield


def test_delivered_is_said_only_after_file_and_names_are_on_stable_storage(node, export, monkeypatch):
    steps = []

    def noting(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            described = arguments[0]
            if name == "fsync":
                described = Path(f"/proc/self/fd/{arguments[0]}").readlink().name
            if threading.current_thread().name.startswith("courier"):
                steps.append((name, described))
            return real(*arguments, **options)

        monkeypatch.setattr(os, name, call)

    for name in ("fsync", "link", "mkdir"):
        noting(name)
    (delivery,) = sent(node, export, small_file(), template="{PatientID}/{SOPInstanceUID}.dcm")
    made = [what for what in steps if what[0] == "mkdir"]
    assert made[-1] == ("mkdir", "P1")
    at = steps.index(("mkdir", "P1"))
    assert steps[at + 1] == ("fsync", "export")  # the new folder's name
    (kind, temporary), link, last = steps[-3:]
    assert kind == "fsync"
    assert link == ("link", temporary)
    assert last == ("fsync", "P1")
    assert delivery.state == "delivered"


def test_a_failed_fsync_is_never_believed(node, export, monkeypatch):
    real, broken = os.fsync, [True]

    def fsync(descriptor):
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        if broken and target.parent.name == TEMPORARY:
            broken.clear()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    content = small_file()
    number = node.ask(NAME, node.receive(content))
    node.couriers(folder(export))
    node.until(lambda: node.outcomes(number) == ["unreached"])
    assert files(export) == {}
    node.advance(2000)
    node.until_state(number, "delivered")
    assert list(files(export).values()) == [content]


def test_without_hard_links_nothing_is_overwritten_either(node, export, monkeypatch):
    def link(*_arguments, **_options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    (export / "CT.dcm").write_bytes(b"somebody's own")
    (export / "CT-2.dcm").touch()  # as a run leaves it that was cut off
    monkeypatch.setattr(os, "link", link)
    one, other = small_file(), small_file()
    sent(node, export, one, other, template="{Modality}.dcm")
    assert files(export) == {"CT.dcm": b"somebody's own", "CT-2.dcm": one, "CT-3.dcm": other}


def test_two_that_write_at_one_time_both_keep_their_files(node, export):
    destination = folder(export, "{Modality}.dcm")
    contents = [small_file() for _ in range(12)]
    paths = [node.folder.data / f"{number}.dcm" for number in range(12)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)

    def write(mine):
        with destination.connect([]) as session:
            for path in mine:
                with path.open("rb") as source:
                    session._put_below(source, ("CT.dcm",))

    threads = [threading.Thread(target=write, args=(paths[at::3],)) for at in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(files(export).values()) == sorted(contents)


def test_one_patients_folder_that_is_closed_does_not_stop_the_others(node, export, monkeypatch):
    real = os.open

    def opened(path, flags, mode=0o777, *, dir_fd=None):
        if path == "CLOSED":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", opened)
    closed = node.ask(NAME, node.receive(small_file(PatientID="CLOSED")))
    fine = node.ask(NAME, node.receive(small_file(PatientID="P2")))
    couriers = node.couriers(folder(export))
    node.until_state(fine, "delivered")
    assert node.outcomes(closed) == ["waiting"]
    assert couriers.health()[NAME].failures == 0


def test_what_a_killed_run_left_half_written_is_removed_a_day_later(node, export):
    temporary = export / TEMPORARY
    temporary.mkdir()
    (temporary / "old").write_bytes(b"half")
    (temporary / "new").write_bytes(b"half")
    os.utime(temporary / "old", (0, 0))
    sent(node, export, small_file())
    assert [path.name for path in temporary.iterdir()] == ["new"]
