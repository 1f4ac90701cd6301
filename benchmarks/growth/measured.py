"""The tasks that are measured, by turns on an index of few instances and on one of many."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection

from benchmarks.figures import Ratio
from benchmarks.growth import filled
from hostd.archive import answering, deliveries, events, instances, leases, plans, scripts, searching
from hostd.archive.archive import Archive
from hostd.archive.endings import Ending
from hostd.archive.labels import Subject
from hostd.archive.plans import Plan, PlannedForward
from hostd.archive.queries import ORDER
from hostd.archive.records import Attempt, Event, Origin
from hostd.archive.scripts import Version
from hostd.archive.searching import Search
from hostd.clock import SystemClock
from hostd.dicom.element_values import known_vr
from hostd.dicom.main_tags import main_keywords
from hostd.dicom.part10 import data_set_offset
from hostd.intake.intake import Intake

TASKS = {
    "received": "an instance received",
    "listed": "what is stored, listed and searched",
    "queried": "nine queries, as C-FIND and QIDO-RS ask",
    "enqueued": "a delivery asked for",
    "claimed": "a delivery claimed",
    "recorded": "an answer recorded",
    "dispatched": "an event given to a script, its plan entered",
}
QUERIES: tuple[tuple[Subject, Mapping[str, str]], ...] = (
    ("study", {"PatientID": "P7"}),
    ("study", {"PatientID": "P7*", "StudyDate": "20000108"}),
    ("study", {"PatientName": "nakamura7^*"}),
    ("study", {"PatientName": "*amura7^*", "PatientID": "P7"}),
    ("study", {"StudyDate": "20000108", "AccessionNumber": "A7"}),
    ("study", {"AccessionNumber": "A7"}),
    ("study", {"StudyInstanceUID": "2.25.1.7"}),
    ("series", {"StudyInstanceUID": "2.25.1.7", "Modality": "CT"}),
    ("instance", {"SeriesInstanceUID": "2.25.2.37"}),
)
"""Each has as many answers in an index of five thousand made instances as in one of a million."""
_TOLD = ("PatientName", "StudyDescription", "StudyTime")
_TAGS = {keyword: tag for level in ORDER for keyword, tag in main_keywords(level).items()}
TURN = 20
"""How often a task is done before the other index has its turn."""
_SCRIPT = "a.py"
_KINDS = ["stored_instance"]
_LEASE_S = 3600.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Milliseconds of processor time for one, turn by turn: with few instances in the index, and with many."""

    task: str
    few_ms: Sequence[float]
    many_ms: Sequence[float]

    @property
    def ratio(self) -> Ratio:
        """How many times as much it costs with many, of the middle 80 % of the turns."""
        return Ratio.between(self.many_ms, self.few_ms, middle=True)


@dataclass
class Index:
    """An archive with so many made instances, and what each task has taken on it."""

    archive: Archive
    rows: int
    taken: dict[str, list[float]] = field(default_factory=lambda: {task: [] for task in TASKS})

    def __post_init__(self) -> None:
        """Have a script and a lease, as a node has."""
        archive, now = self.archive, self.archive.clock.now()
        self.intake = Intake(archive, on_conflict="newest", name_sender=lambda _origin: None)
        archive.writer.do(lambda c: scripts.meet(c, _SCRIPT, now, from_beginning=False))
        version = Version("0" * 64, "", ("on_stored_instance",), {})
        self.cursor, _ = archive.writer.do(lambda c: scripts.accept(c, _SCRIPT, version, now))
        token = archive.writer.do(lambda c: leases.acquire(c, "destination:x", "node", now, _LEASE_S))
        assert token is not None, "nobody else has it"
        self.token = token
        self.passed = self.cursor.low_water
        self.asked = 0

    def turn(self, files: Sequence[Path]) -> None:
        """Do each task some times."""
        tasks: dict[str, Callable[[], None]] = {
            "received": lambda: self._receive(files), "dispatched": self._dispatch, "listed": self._list, "queried": self._query,
            "enqueued": self._enqueue, "claimed": self._claim, "recorded": self._record,
        }  # fmt: skip
        for task, does in tasks.items():
            began = time.process_time()
            does()
            self.taken[task].append(1e3 * (time.process_time() - began) / TURN)

    def check(self, received: int) -> None:
        """Raise `RuntimeError` unless all that was done is there."""
        with self.archive.read() as connection:
            found = {
                "instances": instances.count(connection) - self.rows,
                "events passed": events.count_among(connection, self.cursor.low_water + 1, self.passed, script=_SCRIPT),
            }
            left = deliveries.next_due(connection, filled.DESTINATION)
        # Besides what was received there are the series, study and patient that are new with it.
        if found["instances"] != received or found["events passed"] < received or left is not None:
            raise RuntimeError(
                f"an index of {self.rows} instances does not hold what was done: {found}, next due {left}"
            )

    def _receive(self, files: Sequence[Path]) -> None:
        for file in files:
            with file.open("rb") as opened:
                start = data_set_offset(opened)
                data_set = opened.read()
            reception = self.intake.receive(
                sop_class_uid=start.meta[0x00020002], sop_instance_uid=start.meta[0x00020003],
                transfer_syntax=start.transfer_syntax_uid, origin=Origin("dicom", calling_aet="BENCHMARK", ip="127.0.0.1"),
            )  # fmt: skip
            reception.write(data_set)
            reception.finish()

    def _dispatch(self) -> None:
        """Each event by itself, as it comes in."""
        now = self.archive.clock.now()
        while True:
            with self.archive.read() as connection:
                found = events.after(connection, self.passed, _KINDS, 1, script=_SCRIPT)
            if not found:
                return
            plan = _plan(found[0], now)
            self.archive.writer.do(lambda c, plan=plan: self._enter(c, plan))  # type: ignore[misc]  # keeps the loop's value

    def _enter(self, connection: Connection, plan: Plan) -> None:
        after, self.passed = self.passed, plan.event.number
        plans.enter(connection, plan, self.cursor.token, after=after)

    def _list(self) -> None:
        for number in range(TURN):
            at = (self.asked + number) * 7919 % self.rows
            with self.archive.read() as connection:
                series = filled.series_instance_uid(at)
                if not all((
                    len(instances.page(connection, limit=20)) == 20,
                    len(instances.newest(connection, limit=20)) == 20,
                    len(instances.by_sop_instance_uid(connection, filled.sop_instance_uid(at))) == 1,
                    len(searching.find(connection, Search("instance", {"SeriesInstanceUID": series}, limit=20), time_limit_s=60)) == 20,
                    len(searching.find(connection, Search("study", {"StudyInstanceUID": filled.study_instance_uid(at)}), time_limit_s=60)) == 1,
                )):  # fmt: skip
                    raise RuntimeError(f"not everything is found of the made instance {at}")

    def _query(self) -> None:
        for _ in range(TURN):
            for level, keys in QUERIES:
                if not self.ask(level, keys):
                    raise RuntimeError(f"nothing is found of {keys}")

    def ask(self, level: Subject, keys: Mapping[str, str]) -> int:
        """Ask as C-FIND and QIDO-RS do; return how many answers there are."""
        wanted = {
            _TAGS[keyword]: (known_vr(_TAGS[keyword]), text)
            for keyword, text in (dict.fromkeys(_TOLD, "") | dict(keys)).items()
        }
        wanted[0x00201208] = ("IS", "")
        asked = answering.asked(level, wanted, is_exact=lambda vr: vr != "PN", files="never")
        return sum(len(page) for page in answering.answers(self.archive, asked))

    def _enqueue(self) -> None:
        now, first = self.archive.clock.now(), self.asked
        for number in (n * 7919 % self.rows for n in range(first, first + TURN)):
            self.archive.writer.do(lambda c, number=number: _ask(c, number, now))  # type: ignore[misc]  # keeps the loop's value
        self.asked += TURN

    def _claim(self) -> None:
        now = self.archive.clock.now()
        self.claimed = [
            one
            for _ in range(2 * TURN)  # the script's forwards wait for the same
            for one in self.archive.writer.do(
                lambda c: deliveries.claim(c, filled.DESTINATION, self.token, now, 1, on_wire=1)
            )
        ]

    def _record(self) -> None:
        now = self.archive.clock.now()
        for one in self.claimed:
            ending = Ending(
                Attempt(one.id, one.attempts, now, "delivered", "Success", 0, 0.01, one.blob and "1.2.840.10008.1.2.1")
            )
            self.archive.writer.do(lambda c, ending=ending: deliveries.finish_all(c, [ending], self.token))  # type: ignore[misc]  # as above


def measured(folder: Path, files: Sequence[Path], sizes: tuple[int, int], say: Callable[[str], None]) -> list[Cost]:
    """Measure all tasks with so few and so many instances in the index. Raises `RuntimeError` where not all is there that is to be."""
    turns = [files[begin : begin + TURN] for begin in range(0, len(files), TURN)]
    with index(folder / "few", sizes[0], say) as few, index(folder / "many", sizes[1], say) as many:
        for number, turn in enumerate(turns):
            for one in (few, many) if number % 2 else (many, few):
                one.turn(turn)
        for one in (few, many):
            one.check(len(files))
        # The first turn fills caches.
        return [Cost(task, few.taken[task][1:], many.taken[task][1:]) for task in TASKS]


@contextmanager
def index(folder: Path, rows: int, say: Callable[[str], None]) -> Iterator[Index]:
    """Make an archive with so many instances as rows, whose files do not exist, and open it."""
    folder.mkdir(mode=0o700)
    began = time.monotonic()
    filled.fill(folder, rows)
    say(f"an index of {rows} made instances is there after {time.monotonic() - began:.0f} s")
    archive = Archive(folder, "benchmark", SystemClock())
    try:
        yield Index(archive, rows)
    finally:
        archive.close()


def _ask(connection: Connection, number: int, now: float) -> None:
    deliveries.ask(
        connection, instance=filled.instance_id(number), sop_instance_uid=filled.sop_instance_uid(number), sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        destination=filled.DESTINATION, content=filled.content(number), blob=filled.blob(number), now=now,
    )  # fmt: skip


def _plan(event: Event, now: float) -> Plan:
    forward = PlannedForward(0, {"to": "archive", "line": 1}, filled.DESTINATION)
    return Plan(
        script=_SCRIPT, version="0" * 64, event=event, sop_instance_uid="1.2.3", sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        outcome="done", actions=(forward,), tags_read=("Modality",), log=(), error=None, at=now, seconds=0.001,
    )  # fmt: skip
