"""A job that takes its sources away takes only what its results were made of (P1, P4)."""

import io

import msgspec
import pytest
from ingest_kit import image
from jobs_kit import get, run_out, runner_of
from pydicom import dcmread

from hostd.archive import instances, jobs
from hostd.archive.job_uids import JobUids
from hostd.archive.pseudonyms import IndexPseudonyms
from hostd.archive.records import Origin
from hostd.editing.editor import WORKER, Editor
from hostd.intake.intake import Intake
from hostd.jobs.modifying import TYPE, Modification, Modifies
from hostd.transcoding.edits import Modify
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products

BOTH_DATABASES = True
COUNT = 13  # more than are stored at once


@pytest.fixture(scope="module")
def pool():
    opened = CodecPool(workers=1, memory_bytes=1 << 30, time_limit_s=60.0, worker=WORKER)
    yield opened
    opened.close()


class Interrupted:
    """Carries out modifications; `at` is called before the commit of what a phase does first."""

    def __init__(self, kind):
        self._kind = kind
        self.at = {}

    def step(self, job):
        step = self._kind.step(job)
        if interrupt := self.at.pop(step.memo.get("phase") if step.commit is not None else None, None):
            interrupt()
        return step

    def __getattr__(self, name):
        return getattr(self._kind, name)


class Bench:
    def __init__(self, archive, pool):
        self.archive = archive
        self.intake = Intake(archive, on_conflict="newest", name_sender=lambda _origin: None)
        names = IndexPseudonyms(archive, archive.secret)
        editor = Editor(pool, archive.secret, names, {}, JobUids(archive), archive.clock, system="test")
        self.kind = Interrupted(Modifies(archive, self.intake, Products(archive, pool, None, editor)))
        self.runner = runner_of(archive, self.kind, **{TYPE: self.kind})

    def receive(self, number, **elements):
        ds = dcmread(io.BytesIO(image(number)))
        for name, value in elements.items():
            setattr(ds, name, value)
        written = io.BytesIO()
        ds.save_as(written)
        reception = self.intake.receive_file(origin=Origin("http"))
        reception.write(written.getvalue())
        return reception.finish().instance

    def submit(self, ids, **options):
        change = Modify(set={"SeriesDescription": "new"}, **options)
        asked = Modification(change, "series", keep_source=False)
        now = self.archive.clock.now()
        return self.archive.writer.do(
            lambda c: jobs.submit(c, TYPE, msgspec.to_builtins(asked), now, items=ids), topics=jobs.TOPICS
        )

    def stored(self):
        """Return of each instance its SOP Instance UID and its patient's name."""
        with self.archive.read() as connection:
            found = instances.page(connection)
        files = [dcmread(self.archive.blobs.path(one.blob.name), stop_before_pixels=True) for one in found]
        return {
            one.id: (str(ds.get("PatientName", "")), ds.get("SeriesDescription"))
            for one, ds in zip(found, files, strict=True)
        }


@pytest.fixture
def bench(archive, pool):
    return Bench(archive, pool)


def test_what_came_with_other_content_after_the_result_was_stored_stays_and_is_named(bench, archive):
    ids = [bench.receive(number) for number in range(COUNT)]
    job = bench.submit(ids)
    bench.kind.at["delete"] = lambda: [bench.receive(number, PatientName="CORRECTED") for number in (0, COUNT - 1)]
    run_out(bench.runner)
    found = get(archive, job)
    assert (found.state, found.content["KeptSources"]) == ("success", [ids[0], ids[-1]])
    stored = bench.stored()
    assert {one: stored.pop(one) for one in (ids[0], ids[-1])} == dict.fromkeys((ids[0], ids[-1]), ("CORRECTED", None))
    assert list(stored.values()) == [("", "new")] * COUNT


@pytest.mark.parametrize("keep", [(), ("SeriesInstanceUID", "SOPInstanceUID")], ids=["beside it", "in its place"])
def test_what_comes_with_other_content_while_the_result_is_stored_is_what_is_changed(bench, archive, clock, keep):
    ids = [bench.receive(number) for number in range(3)]
    job = bench.submit(ids, keep=keep)
    bench.kind.at["store"] = lambda: bench.receive(1, PatientName="CORRECTED")
    run_out(bench.runner)
    assert get(archive, job).state == "retry"
    clock.advance(1000)
    run_out(bench.runner)
    found = get(archive, job)
    assert (found.state, "KeptSources" in found.content) == ("success", False)
    assert sorted(bench.stored().values()) == [("", "new"), ("", "new"), ("CORRECTED", "new")]
