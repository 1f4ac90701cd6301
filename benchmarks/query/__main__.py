"""`python -m benchmarks.query`: measure queries beside Orthanc, and write the section "Queries" of docs/performance.md.

Both hold the same made instances, and give the same number of answers: one that gives another is an error. Clients are in this process, and
keep their association or connection.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from urllib.parse import urlencode

import requests
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks import command
from benchmarks.command import say
from benchmarks.figures import Dots, Ratio, Section, Spread, Table, Target
from benchmarks.receive import servers
from benchmarks.receive.servers import DICOMWEB, DicomwebOrthanc, Server
from hostd.dicom.query import STUDY_ROOT, SYNTAXES, Question
from hostd.dimse import retrieval, scu
from hostd.dimse.scu import Requestor

SECTION = "queries"
_ROOT = "2.25.77"
_CT = "1.2.840.10008.5.1.4.1.1.2"
_FAMILY = ("FISCHER", "GARCIA", "IVANOV", "JENSEN", "KOWALSKA", "LINDQVIST", "MOREAU", "NAKAMURA", "OKAFOR", "ROSSI")
_TIMEOUT_S = 60
_STUDY_KEYS = ("PatientID", "PatientName", "StudyDate", "StudyDescription", "AccessionNumber", "StudyInstanceUID")
_SERIES_KEYS = ("Modality", "SeriesDescription", "SeriesNumber", "SeriesInstanceUID")


class Hostd(servers.Hostd):
    """A node that answers C-FIND to everybody."""

    dicom = "always_allow_find = true\n"


@dataclass(frozen=True, slots=True)
class Size:
    """How many studies there are; each has two series of two instances."""

    studies: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Query:
    """One query in the words of each face; `answers` is how many there are."""

    name: str
    level: str
    keys: dict[str, str]
    wanted: tuple[str, ...]
    answers: int


@dataclass(frozen=True, slots=True)
class Row:
    """What a query took, in milliseconds, of hostd and of Orthanc, round by round."""

    face: str
    query: Query
    hostd_ms: Sequence[float]
    orthanc_ms: Sequence[float]

    @property
    def ratio(self) -> Ratio:
        """How many times as fast hostd is, in the middle 80 % of the rounds."""
        return Ratio.between(self.orthanc_ms, self.hostd_ms, middle=True)


def made(number: int, series: int, instance: int) -> bytes:
    """Return a small instance without pixels."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = _CT, f"{_ROOT}.{number}.{series}.{instance}"
    data_set.PatientID, data_set.PatientName = f"P{number:05d}", f"{_FAMILY[number % len(_FAMILY)]}{number}^TEST"
    data_set.PatientBirthDate, data_set.PatientSex = "19700101", "O"
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = f"{_ROOT}.{number}", f"{_ROOT}.{number}.{series}"
    data_set.StudyDate, data_set.StudyTime = f"{date(2020, 1, 1) + timedelta(days=number):%Y%m%d}", "120000"
    data_set.StudyID, data_set.AccessionNumber = str(number), f"A{number}"
    data_set.StudyDescription, data_set.SeriesDescription = "Thorax", f"series {series}"
    data_set.Modality = "CT" if series else "SR"
    data_set.SeriesNumber, data_set.InstanceNumber = series, instance
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.MediaStorageSOPClassUID = data_set.SOPClassUID
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    data_set.save_as(out, enforce_file_format=True)
    return out.getvalue()


def queries(studies: int) -> list[Query]:
    """Return what is asked for."""
    tenth = studies // 10
    first, last = date(2020, 1, 1), date(2020, 1, 1) + timedelta(days=tenth - 1)
    return [
        Query("one patient by its ID", "study", {"PatientID": "P00007"}, _STUDY_KEYS, 1),
        Query("one study by its UID", "study", {"StudyInstanceUID": f"{_ROOT}.7"}, _STUDY_KEYS, 1),
        Query("a name within (`*…*`), a tenth of the studies", "study", {"PatientName": "*GARCIA*"}, _STUDY_KEYS, tenth),
        Query("a range of dates, a tenth of the studies", "study", {"StudyDate": f"{first:%Y%m%d}-{last:%Y%m%d}"}, _STUDY_KEYS, tenth),
        Query("all studies", "study", {}, _STUDY_KEYS, studies),
        Query("the series of a study", "series", {"StudyInstanceUID": f"{_ROOT}.7"}, _SERIES_KEYS, 2),
        Query("the instances of a series", "instance", {"SeriesInstanceUID": f"{_ROOT}.7.1"}, ("SOPInstanceUID", "InstanceNumber"), 2),
    ]  # fmt: skip


Ask = Callable[[Query], int]
"""Asks, and returns how many answers there were."""


def by_find(server: Server) -> tuple[Ask, Requestor]:
    """Return what asks by C-FIND, on one association."""
    association = scu.connect(
        "127.0.0.1", server.port, calling_aet="BENCHMARK", called_aet="ANY", contexts=[(STUDY_ROOT, SYNTAXES)], timeout_s=_TIMEOUT_S
    )  # fmt: skip

    def ask(query: Query) -> int:
        question = Question.by_keywords(query.level, query.keys).with_keys(query.wanted)  # type: ignore[arg-type]  # a level
        return len(retrieval.find(association, STUDY_ROOT, question.encode, most=1_000_000, most_bytes=1 << 30).matches)

    return ask, association


def by_qido(server: Server, session: requests.Session) -> Ask:
    """Return what asks by QIDO-RS."""

    def ask(query: Query) -> int:
        plural = {"study": "studies", "series": "series", "instance": "instances"}[query.level]
        keys = urlencode(query.keys, safe="*")
        headers = {"Accept": "application/dicom+json"}
        answer = session.get(f"{server.url}/dicom-web/{plural}?{keys}", headers=headers, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return len(answer.json())

    return ask


def by_tools(server: Server, session: requests.Session, *, expand: bool) -> Ask:
    """Return what asks by `POST /tools/find`."""

    def ask(query: Query) -> int:
        body = {"Level": query.level.capitalize(), "Query": query.keys, "Expand": expand}
        answer = session.post(f"{server.url}/tools/find", json=body, timeout=_TIMEOUT_S)
        answer.raise_for_status()
        return len(answer.json())

    return ask


def measured(face: str, ours: Ask, theirs: Ask, query: Query, rounds: int) -> Row:
    """Ask both in turns. Raises `RuntimeError` when one gives another number of answers."""
    times: dict[str, list[float]] = {"hostd": [], "Orthanc": []}
    pairs = [("hostd", ours), ("Orthanc", theirs)]
    for number in range(rounds + 1):
        for name, ask in pairs if number % 2 else reversed(pairs):
            began = time.perf_counter()
            count = ask(query)
            took = time.perf_counter() - began
            if count != query.answers:
                raise RuntimeError(f"{name} gives {count} answers by {face} to {query.name!r}, and not {query.answers}")
            if number:  # the first fills caches
                times[name].append(1000 * took)
    return Row(face, query, times["hostd"], times["Orthanc"])


def taken(folder: Path, size: Size, say: Callable[[str], None]) -> list[Row]:
    """Fill both, and measure all queries by all faces."""
    started: list[Server] = []
    try:
        ours = Hostd(folder / Hostd.name)
        started.append(ours)
        theirs = DicomwebOrthanc(folder / DicomwebOrthanc.name)
        started.append(theirs)
        with requests.Session() as session:
            _fill(started, session, size.studies)
            say(f"{4 * size.studies} instances are in both")
            (find_ours, mine), (find_theirs, other) = by_find(ours), by_find(theirs)
            with mine, other:
                faces = {
                    "C-FIND": (find_ours, find_theirs),
                    "QIDO-RS": (by_qido(ours, session), by_qido(theirs, session)),
                    "`/tools/find`": (by_tools(ours, session, expand=False), by_tools(theirs, session, expand=False)),
                    "`/tools/find`, `Expand`": (
                        by_tools(ours, session, expand=True),
                        by_tools(theirs, session, expand=True),
                    ),
                }
                rows = []
                for query in queries(size.studies):
                    for face, (ask, beside) in faces.items():
                        rows.append(measured(face, ask, beside, query, size.rounds))
                        say(f"{face}, {query.name}: {rows[-1].ratio.median:.2f} times as fast as Orthanc")
                return rows
    finally:
        for server in started:
            server.stop()


def _fill(started: Sequence[Server], session: requests.Session, studies: int) -> None:
    for server in started:
        server.wait_for_http()
    for number in range(studies):
        for series in range(2):
            for instance in range(2):
                content = made(number, series, instance)
                for server in started:
                    session.post(f"{server.url}/instances", data=content, timeout=_TIMEOUT_S).raise_for_status()


def section(rows: Sequence[Row], size: Size) -> Section:
    """Return the section of the page."""
    faces = dict.fromkeys(row.face for row in rows)
    return Section(
        name=SECTION,
        title="Queries",
        command="python -m benchmarks.query",
        rounds=size.rounds,
        how=f"""{4 * size.studies} instances of {size.studies} studies in hostd and in Orthanc with its DICOMweb plug-in, both on SQLite.
Clients keep their association or connection, and ask both in turns, once a round; both give the same number of answers. Medians, and in brackets the middle 80 %.""",
        targets=[
            Target.none_slower(face, {row.query.name: row.ratio for row in rows if row.face == face}) for face in faces
        ],
        picture=Dots(
            [(row.query.name, row.face, row.ratio) for row in rows],
            "times as fast as Orthanc (right of 1: faster); bars have the middle 80 %",
        ),
        caption="How many times as fast as Orthanc",
        tables=[
            Table(
                ("query", "answers", "by", "times as fast as Orthanc", "hostd, ms", "Orthanc, ms"),
                [
                    (
                        row.query.name, row.query.answers, row.face, row.ratio, Spread.middle(row.hostd_ms), Spread.middle(row.orthanc_ms),
                    )
                    for row in rows
                ],
            )
        ],
    )  # fmt: skip


def main() -> None:
    """Measure, print, and with `--write` write the section."""
    parser = command.parser("query", __doc__, rounds=20, most="a few studies, twice: does it run?")
    parser.add_argument("--studies", type=int, default=500, help="how many studies of four instances (default 500)")
    with command.begun(parser, ["Orthanc", str(DICOMWEB)]) as (asked, folder):
        size = Size(20, 2) if asked.quick else Size(asked.studies, asked.rounds)
        command.finish(asked, [section(taken(folder, size, say), size)])


if __name__ == "__main__":
    main()
