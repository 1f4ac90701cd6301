"""Products enter the archive by `store` and `replace` only, proven, once, and as the doing of their script (P4, P7)."""

import io
import threading

import msgspec
import pytest
from ingest_kit import image
from pydicom import dcmread
from tasks_kit import Steady, ask, later, rows, told

from hostd.archive import events, holding, instances, marks, removal
from hostd.archive import tables as t
from hostd.archive.job_uids import JobUids
from hostd.archive.limits import Allowance
from hostd.archive.pseudonyms import IndexPseudonyms
from hostd.archive.records import Origin
from hostd.config.storage import Storage
from hostd.dicom import syntaxes
from hostd.editing.editor import WORKER, Editor
from hostd.errors import CannotTranscodeError, LimitReachedError
from hostd.intake.intake import Intake
from hostd.jobs.carrying import Carrier
from hostd.jobs.quiet import tell_due
from hostd.jobs.storing import REPLACE, STORE, Replacing, Storing
from hostd.transcoding.edits import Modify
from hostd.transcoding.pool import CodecPool
from hostd.transcoding.products import Products
from hostd.transcoding.transform import Transcode, Transform

J2K, J2K_LOSSY = (syntaxes.lookup(name).uid for name in ("j2k", "JPEG2000"))
RENAMED = Transform((Modify(set={"PatientID": "OTHER"}),))
COMPRESSED = Transform.into(J2K)


@pytest.fixture(scope="module")
def pool():
    opened = CodecPool(workers=1, memory_bytes=1 << 30, time_limit_s=60.0, worker=WORKER)
    yield opened
    opened.close()


class Bench:
    def __init__(self, archive, pool, on_conflict="newest"):
        self.archive = archive
        self.limits = Storage()
        allowance = Allowance(archive, lambda: self.limits)
        self.intake = Intake(archive, on_conflict=on_conflict, name_sender=lambda _origin: None, allowance=allowance)
        key = archive.secret
        editor = Editor(
            pool, key, IndexPseudonyms(archive, key), {}, JobUids(archive), archive.clock, system="hostd test"
        )
        self.products = Products(archive, pool, None, editor)
        self.store = Carrier(archive, STORE, Storing(archive, self.intake, self.products), Steady())
        self.replace = Carrier(archive, REPLACE, Replacing(archive, self.products, allowance), Steady())

    def receive(self, number=1, **options):
        reception = self.intake.receive_file(origin=Origin("http", username="x"))
        reception.write(image(number, **options))
        return reception.finish().instance

    def ask(self, verb, transform, position=0, **changes):
        ask(
            self.archive,
            later(position, verb=verb, queue=verb, transform=transform.canonical()),
            uid="1.2.3.4.1",
            **changes,
        )

    def run_out(self):
        for carrier in (self.store, self.replace):
            while carrier.turn() == 0:
                pass

    def get(self, identifier):
        with self.archive.read() as connection:
            return instances.get(connection, identifier)

    def told_to(self, script, after=0):
        kinds = {row.kind for row in rows(self.archive, t.event)}
        with self.archive.read() as connection:
            return [event.kind for event in events.after(connection, after, kinds, 100, script=script)]


@pytest.fixture
def bench(archive, pool):
    return Bench(archive, pool)


def ended(bench):
    return told(bench.archive, "action_done")[-1].facts


def test_a_product_becomes_an_instance_of_its_own_beside_its_source(bench):
    source = bench.receive()
    before = bench.get(source)
    bench.ask("store", RENAMED)
    bench.run_out()
    made = bench.get(ended(bench)["result"]["instance"])
    assert ended(bench)["result"]["outcome"] == "stored"
    assert (made.patient_id, made.origin) == ("OTHER", Origin("script", script="a.py", hops=1))
    assert made.metadata == {"ModifiedFrom": source}
    assert bench.get(source) == before
    ds = dcmread(bench.archive.blobs.path(made.blob.name))
    assert (ds.PatientID, ds.SOPInstanceUID) == ("OTHER", made.sop_instance_uid)


def test_its_events_are_told_to_all_scripts_but_its_own_also_when_it_is_stable(bench, clock):
    bench.receive()
    bench.ask("store", RENAMED)
    clock.advance(60)
    tell_due(bench.archive)  # the source's levels
    first = told(bench.archive, "stable_patient")[-1].number
    bench.run_out()
    clock.advance(60)
    tell_due(bench.archive)
    new = ["stored_instance", "new_patient", "new_study", "new_series", "action_done"]
    assert bench.told_to("b.py", first) == [*new, "stable_series", "stable_study", "stable_patient"]
    assert bench.told_to("a.py", first) == ["action_done"]
    assert events.hops_of(told(bench.archive, "stable_series")[-1]) == 1


def test_a_level_in_which_others_have_part_is_told_to_the_script_too(bench, clock):
    bench.receive()
    bench.ask("store", Transform((Modify(set={"InstitutionName": "X"}),)))  # of the same study and series
    bench.run_out()
    clock.advance(60)
    tell_due(bench.archive)
    assert "stable_series" in bench.told_to("a.py")


def test_the_same_product_again_is_a_repeat_and_leaves_no_file(bench):
    bench.receive()
    for position in range(2):
        bench.ask("store", RENAMED, event=told(bench.archive)[0], script=f"{position}.py")
        bench.run_out()
    assert ended(bench)["result"]["outcome"] == "already stored"
    with bench.archive.read() as connection:
        named = removal.names_present(connection, "node")
    assert set(bench.archive.blobs.names()) == named


def test_a_product_that_cannot_be_made_enters_nothing_and_says_so(bench):
    bench.receive(pixels=False)
    bench.ask("store", Transform((*RENAMED.steps, Transcode(J2K_LOSSY, quality=50))))
    bench.run_out()
    assert ended(bench)["state"] == "failed"
    assert ended(bench)["reason"]
    assert len(rows(bench.archive, t.instance)) == 1


def test_other_content_under_the_same_identity_is_refused_where_conflicts_are(archive, pool):
    bench = Bench(archive, pool, on_conflict="refuse")
    source = bench.receive()
    before = bench.get(source)
    bench.ask("store", Transform((Modify(set={"InstitutionName": "X"}, keep_uids=True),)))
    bench.run_out()
    assert (ended(bench)["state"], "on_conflict is refuse" in ended(bench)["reason"]) == ("failed", True)
    assert bench.get(source) == before
    with archive.read() as connection:
        assert set(archive.blobs.names()) == removal.names_present(connection, "node")


def test_an_instance_is_replaced_by_a_lossless_transcode_and_its_original_kept(bench):
    source = bench.receive()
    before = bench.get(source)
    number = told(bench.archive)[-1].number
    bench.ask("replace", COMPRESSED)
    bench.run_out()
    after = bench.get(source)
    assert after.blob.transfer_syntax == J2K
    assert (after.received_sha256, after.received_at, after.origin) == (
        before.received_sha256,
        before.received_at,
        before.origin,
    )
    (version,) = rows(bench.archive, t.version)
    assert (version.blob, version.is_original) == (before.blob.name, True)
    assert ended(bench)["result"]["outcome"] == "replaced"
    (updated,) = told(bench.archive, "updated_instance")
    assert (updated.blob, updated.by, updated.facts["changes"], updated.receipt["verified_by"] != "") == (
        after.blob.name, "a.py", ["content"], True,
    )  # fmt: skip
    assert rows(bench.archive, t.instance)[0].told == number  # still a member as of every event before
    removed = bench.archive.writer.do(lambda c: removal.collect(c, now=1e12, trash_seconds=0))
    assert removed == []
    with bench.archive.blobs.path(after.blob.name).open("rb") as file:
        assert (
            dcmread(io.BytesIO(file.read())).pixel_array
            == dcmread(bench.archive.blobs.path(before.blob.name)).pixel_array
        ).all()


def test_a_repeat_of_what_was_replaced_is_a_repeat(bench):
    bench.receive()
    bench.ask("replace", COMPRESSED)
    bench.run_out()
    bench.receive()
    assert told(bench.archive)[-1].kind == "stored_instance"
    (again,) = told(bench.archive, "received_again")
    assert again.blob == rows(bench.archive, t.instance)[0].blob


def test_what_was_replaced_meanwhile_is_left_alone(bench):
    source = bench.receive()
    bench.ask("replace", COMPRESSED)
    bench.receive(seed=1)  # other content under the same identity
    newer = bench.get(source)
    bench.run_out()
    assert ended(bench)["result"]["outcome"] == "superseded"
    assert bench.get(source) == newer


class Unable:
    def transcode(self, *_args, **_kwargs):
        raise CannotTranscodeError("nothing here encodes that")


@pytest.mark.parametrize(("or_original", "state"), [(True, "done"), (False, "failed")])
def test_what_cannot_be_compressed_stays_as_it_is(bench, or_original, state):
    source = bench.receive()
    before = bench.get(source)
    bench.replace = Carrier(
        bench.archive, REPLACE, Replacing(bench.archive, Products(bench.archive, Unable())), Steady()
    )
    bench.ask("replace", Transform.into(J2K, or_original=or_original))
    bench.run_out()
    assert (ended(bench)["state"], bench.get(source)) == (state, before)
    said = ended(bench)["result"].get("reason") or ended(bench)["reason"]
    assert "nothing here encodes that" in said


def test_nothing_is_replaced_without_proof(archive):
    unproven = CodecPool(workers=1, memory_bytes=1 << 30, time_limit_s=60.0, worker=WORKER)

    class Claims:
        def transcode(self, *args, **kwargs):
            receipt = unproven.transcode(*args, **kwargs)
            return msgspec.structs.replace(receipt, verified_by="not verified, as asked")

    try:
        bench = Bench(archive, unproven)
        bench.products = Products(archive, Claims())
        bench.replace = Carrier(archive, REPLACE, Replacing(archive, bench.products), Steady())
        source = bench.receive()
        before = bench.get(source)
        bench.ask("replace", COMPRESSED)
        bench.run_out()
    finally:
        unproven.close()
    assert (ended(bench)["state"], "nothing proves" in ended(bench)["reason"]) == ("failed", True)
    assert bench.get(source) == before


def test_a_product_carries_no_metadata_or_labels_of_its_source(bench):
    source = bench.receive()
    bench.archive.writer.do(lambda c: marks.set_metadata(c, "instance", source, "Secret", "x"))
    bench.ask("store", RENAMED)
    bench.run_out()
    assert bench.get(ended(bench)["result"]["instance"]).metadata == {"ModifiedFrom": source}


# -- [storage] --------------------------------------------------------------------------------------------------------


def files_and_rows(bench):
    with bench.archive.read() as connection:
        return set(bench.archive.blobs.names()), removal.names_present(connection, "node")


def test_what_would_not_fit_leaves_nothing_and_is_tried_again(bench, clock):
    bench.receive()
    bench.ask("store", RENAMED)
    bench.limits = Storage(max_patients=1)
    bench.run_out()
    files, named = files_and_rows(bench)
    assert files == named
    assert told(bench.archive, "action_done") == []
    bench.limits = Storage(max_patients=2)
    clock.advance(10)
    bench.run_out()
    assert ended(bench)["result"]["outcome"] == "stored"


def test_a_product_recycles_others_but_not_what_it_is_made_of(bench, clock):
    source = bench.receive()
    bench.ask("store", RENAMED)
    bench.limits = Storage(max_patients=1, when_full="recycle")
    bench.run_out()
    assert bench.get(source) is not None
    assert told(bench.archive, "action_done") == []


def test_of_products_made_at_one_time_no_more_are_entered_than_fit(bench, tmp_path):
    """Each of them fits while it is made: what counts is when they are entered."""
    bench.limits = Storage(max_patients=3)
    made = []
    for number in range(6):
        ds = dcmread(io.BytesIO(image(number + 1)))
        ds.PatientID = f"P{number}"
        ds.save_as(tmp_path / "product")
        made.append(bench.intake.produced(tmp_path / "product", Origin("script", script="a.py")))
    outcomes = []

    def enter(arrival):
        try:
            write = bench.intake.within_limits([arrival])
            outcomes.append(write(lambda c: bench.intake.enter_produced(c, arrival), blobs=[arrival.blob.name])[0])
        except LimitReachedError:
            outcomes.append("refused")

    threads = [threading.Thread(target=enter, args=(arrival,)) for arrival in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["refused"] * 3 + ["stored"] * 3
    with bench.archive.read() as connection:
        assert holding.held(connection).patients == 3


def test_a_replacement_counts_for_what_it_stands_for_is_kept(bench, clock):
    source = bench.receive(side=710)
    bench.ask("replace", COMPRESSED)
    before = bench.get(source)
    bench.limits = Storage(max_size_mb=1)  # 0.96 MiB are there
    bench.run_out()
    assert bench.get(source) == before
    bench.limits = Storage()
    clock.advance(10)
    bench.run_out()
    assert bench.get(source).blob.transfer_syntax == J2K
