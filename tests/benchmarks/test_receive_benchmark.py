"""The benchmark of receiving runs, sees that all is stored, and says it in its section."""

import logging
import re
import shutil

import pydicom
import pytest
import structlog

from benchmarks import real
from benchmarks.figures import Ratio
from benchmarks.receive import __main__ as command
from benchmarks.receive import made, report, rounds
from benchmarks.receive.made import SMALL
from benchmarks.receive.report import Run
from benchmarks.receive.rounds import Case, Sample
from benchmarks.receive.servers import Hostd

pytestmark = [
    pytest.mark.peers,
    pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK is not installed"),
]


def test_it_measures_and_writes_its_section(tmp_path):
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    run = command.taken(tmp_path, rounds_=1, quick=True)
    assert set(run.servers) == {"hostd", "pynetdicom"}
    assert all(len(samples) == 1 and samples[0].rate > 0 for samples in run.cells.values())
    assert all(samples[0].cpu >= 0 for samples in run.cells.values())
    text = report.section(run).markdown()
    assert "| 30 kB | 2 associations | hostd |" in text


def test_what_is_sent_is_whole_however_it_was_written(tmp_path):
    (folder,) = made.made(tmp_path, made.Size("few", 10, 12, 3, 2), 1)
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        assert image.pixel_array.shape == (3, 10, 12)
        assert image["PixelData"].VR == "OW"


def test_the_memory_of_each_process_is_looked_at(tmp_path):
    (folder,) = made.made(tmp_path / "sent", made.Size("few", 300, 300, 1, 40), 1)
    server = command.Pynetdicom(tmp_path / "server")
    try:
        sample = rounds.send([folder], server, looks=True)
    finally:
        server.stop()
    assert [one.name.startswith("python") for one in sample.memory] == [True]
    assert all(one.most >= one.before > 1 << 20 for one in sample.memory)
    case = Case(made.HUGE, 1)
    text = report.section(Run(1, [case], ["pynetdicom"], {(case, "pynetdicom"): [sample]})).markdown()
    assert re.search(r"\| 1 GB, 1 association \| pynetdicom \| [\d.]+ \| python", text)


def test_its_picture_shows_each_server_beside_orthanc():
    case = Case(made.CT, 4)
    cells = {(case, "hostd"): [Sample(1, 0.1, 100)], (case, "Orthanc"): [Sample(2, 0.2, 100)]}
    said = report.section(Run(1, [case], ["hostd", "Orthanc"], cells))
    assert said.picture.points == [("0.5 MB, 4 associations", "hostd", Ratio(2.0, 2.0, 2.0))]
    assert said.picture.marks == [("0.5 MB, 4 associations", 2.0)]
    (target,) = said.targets
    assert (target.measured.median, target.is_reached, target.note) == (2.0, True, "by processor time **2.00**")


def test_what_differs_from_image_to_image_is_what_a_scanner_writes_anew(tmp_path):
    (folder,) = made.made(tmp_path, made.Size("few", 10, 12, 1, 3), 1)
    one, other = (pydicom.dcmread(folder / f"{number}.dcm", stop_before_pixels=True) for number in (1, 2))
    differing = {element.keyword for element in one if element != other[element.tag]}
    assert len(differing) == 15
    assert {
        "SOPInstanceUID",
        "InstanceNumber",
        "AcquisitionTime",
        "ImagePositionPatient",
        "SliceLocation",
        "WindowCenter",
    } < differing


def test_a_server_that_lost_an_instance_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(command.Pynetdicom, "stored", lambda _self: 5)
    with pytest.raises(RuntimeError, match="holds 5 of 6"):
        rounds.measured(tmp_path, [Case(SMALL.__class__("few", 10, 10, 1, 6), 1)], [command.Pynetdicom], 1, print)


def test_ratios_are_taken_round_by_round():
    case = Case(SMALL, 1)
    cells = {
        (case, "hostd"): [Sample(1, 0.1, 100), Sample(4, 0.1, 100), Sample(1, 0.1, 100)],
        (case, "Orthanc"): [Sample(2, 0.1, 100), Sample(12, 0.1, 100), Sample(5, 0.1, 100)],
    }
    found = rounds.ratio(cells, case, "hostd", "Orthanc")
    assert (found.low, found.median, found.high) == (2, 3, 5)


@pytest.mark.skipif(
    not all(file.exists() for file in real.UNCOMPRESSED), reason="the real files are not beside the checkout"
)
def test_real_files_are_sent_too(tmp_path):
    case = Case(made.Size(made.REAL.name, 0, 0, 0, 12), 2)
    cells = rounds.measured(tmp_path, [case], [Hostd, command.Pynetdicom], 1, print)
    assert {samples[0].instances for samples in cells.values()} == {12}
