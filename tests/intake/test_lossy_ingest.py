"""Lossy ingest: an instance of its own, made once, with what was received kept beside it; nothing lost, nothing doubled (P1, P4)."""

import hashlib
import io

import pytest
import sqlalchemy as sa
from ingest_kit import EXPLICIT, FROM_CT1, IMPLICIT, data_set_hash, image
from pydicom import dcmread

from hostd.archive import derived, history, instances, labels
from hostd.archive import tables as t
from hostd.config.storage import Storage
from hostd.dicom import syntaxes
from hostd.dicom.header import Header
from hostd.dicom.identity import Identity
from hostd.dicom.loss import EncodeOptions
from hostd.errors import CannotTranscodeError, ConflictError
from hostd.intake.ingest import Policy
from hostd.transcoding.receipt import Receipt

NEAR = syntaxes.lookup("JPEGLSNearLossless")
LOSSY = Policy(NEAR, options=EncodeOptions(near=2))
DROPPING = Policy(NEAR, options=EncodeOptions(near=2), keep_original=False)


def received_id(number=1):
    """Return Orthanc's identifier of a made image as it was received."""
    return Identity("P1", "1.2.3", "1.2.3.4", f"1.2.3.4.{number}").instance


def send(bench, content):
    """Have a file received; return the outcome and the identifier that the sender is told."""
    reception = bench.intake.receive_file(origin=FROM_CT1)
    reception.write(content)
    received = reception.finish()
    return received.outcome, received.instance


def stored(bench):
    """Return all instances: identifier → instance."""
    with bench.archive.read() as connection:
        return {one.id: one for one in instances.page(connection)}


def versions(bench):
    return {
        row.instance: (bench.archive.blobs.path(row.blob).read_bytes(), row.is_original)
        for row in bench.rows(t.version)
    }


def held_up(make, **options):
    """Return an intake whose codec is held up, so that everything is put off."""
    bench = make(policy=options.pop("policy", LOSSY), budget=0, **options)
    bench.pool.gate.clear()
    return bench


def finished(bench):
    bench.pool.gate.set()
    bench.until_ended()
    bench.until(lambda: bench.pool.running == 0)


def pairs(bench):
    return [(event.kind, event.subject) for event in bench.events()]


# -- before the acknowledgement -------------------------------------------------------------------------------------------


def test_what_is_stored_is_an_instance_of_its_own_with_the_original_as_its_version(make):
    bench = make(policy=LOSSY)
    content = image()
    outcome, told = send(bench, content)
    ((made, instance),) = stored(bench).items()
    assert (outcome, told) == ("stored", made)
    assert made != received_id()
    assert instance.blob.transfer_syntax == NEAR.uid
    assert (instance.received_sha256, instance.origin) == (data_set_hash(content), FROM_CT1)
    assert instance.metadata == {"ModifiedFrom": received_id()}
    file = dcmread(bench.archive.blobs.path(instance.blob.name))
    assert file.SOPInstanceUID == instance.sop_instance_uid
    assert (file.SourceImageSequence[0].ReferencedSOPInstanceUID, file.LossyImageCompression) == ("1.2.3.4.1", "01")
    assert abs(file.pixel_array.astype(int) - dcmread_of(content).pixel_array.astype(int)).max() <= 2
    assert versions(bench) == {made: (content, True)}
    bench.check_files()


def dcmread_of(content):
    return dcmread(io.BytesIO(content))


def test_the_one_event_is_about_the_instance_that_was_made_with_its_receipt(make):
    bench = make(policy=LOSSY)
    content = image()
    _, made = send(bench, content)
    (event,) = bench.events()
    header = Header.decode(event.header)
    assert (event.kind, event.subject, event.content) == ("stored_instance", made, data_set_hash(content))
    assert (header.identity.instance, header.transfer_syntax) == (made, NEAR.uid)
    receipt = Receipt.from_dict(event.receipt)
    assert (receipt.outcome, receipt.sop_instance_uid) == ("made", header.sop_instance_uid)
    assert receipt.source_sha256 == hashlib.sha256(content).hexdigest()
    (row,) = bench.rows(t.receipt)
    assert (row.result, row.transform) == (event.blob, '{"verb":"transcode","to":"1.2.840.10008.1.2.4.81","near":2}')


@pytest.mark.parametrize("policy", [LOSSY, DROPPING])
def test_the_same_file_sent_again_is_a_repeat_and_never_a_second_instance(make, policy):
    bench = make(policy=policy)
    first = send(bench, image())
    assert send(bench, image()) == ("already stored", first[1])
    assert pairs(bench) == [("stored_instance", first[1]), ("received_again", first[1])]
    event, header = bench.event(1)
    assert (header.identity.instance, event.receipt["outcome"]) == (first[1], "made")
    assert (bench.pool.calls, len(stored(bench))) == (1, 1)
    bench.check_files()


def test_a_repeat_stays_one_whatever_the_configuration_says_by_then(make):
    bench = make(policy=LOSSY)
    first = send(bench, image())
    for policy in (Policy(), Policy(NEAR, options=EncodeOptions(near=9))):
        bench.intake._policy = policy
        assert send(bench, image()) == ("already stored", first[1])
    assert len(stored(bench)) == 1


def test_what_stood_under_its_own_identity_before_stays_there(make):
    bench = make(policy=Policy())
    send(bench, image())
    bench.intake._policy = LOSSY
    assert send(bench, image()) == ("already stored", received_id())
    assert (set(stored(bench)), bench.pool.calls) == ({received_id()}, 0)


@pytest.mark.parametrize("on_conflict", ["newest", "first"])
def test_other_content_becomes_an_instance_beside_it(make, on_conflict):
    bench = make(policy=LOSSY, on_conflict=on_conflict)
    one, two = send(bench, image(seed=1)), send(bench, image(seed=2))
    assert (one[0], two[0]) == ("stored", "stored")
    assert set(stored(bench)) == {one[1], two[1]}
    assert one[1] != two[1]
    assert pairs(bench) == [("stored_instance", one[1]), ("stored_instance", two[1])]
    assert send(bench, image(seed=1)) == ("already stored", one[1])
    bench.check_files()


def test_other_content_is_refused_where_that_is_asked_for(make):
    bench = make(policy=LOSSY, on_conflict="refuse")
    send(bench, image(seed=1))
    with pytest.raises(ConflictError):
        bench.receive(image(seed=2))
    bench.intake._policy = Policy()
    with pytest.raises(ConflictError):
        bench.receive(image(seed=2))
    assert (len(stored(bench)), bench.pool.calls) == (1, 1)
    assert [(event.kind, event.blob is None) for event in bench.events()][1:] == [("conflicting_instance", True)] * 2
    bench.check_files()


def test_without_its_original_the_bytes_go_when_the_trash_time_is_over_and_not_before(make):
    bench = make(policy=DROPPING)
    _, made = send(bench, image())
    assert (versions(bench), len(bench.files())) == ({}, 2)
    assert bench.archive.collect(trash_seconds=100) == 0
    bench.archive.clock.advance(101)
    assert bench.archive.collect(trash_seconds=100) == 1
    assert bench.files() == [stored(bench)[made].blob.name]
    assert send(bench, image()) == ("already stored", made)


def test_a_kept_original_is_never_collected(make):
    bench = make(policy=LOSSY)
    send(bench, image())
    for _ in range(2):
        bench.archive.clock.advance(1e9)
        assert bench.archive.collect(trash_seconds=0) == 0


def test_a_failure_keeps_what_was_received_as_it_was_received(make, capsys):
    bench = make(policy=LOSSY)
    bench.pool.failures = [CannotTranscodeError("its pixels are odd")]
    content = image()
    assert send(bench, content) == ("stored", received_id())
    ((_, instance),) = stored(bench).items()
    assert bench.archive.blobs.path(instance.blob.name).read_bytes() == content
    assert instance.metadata == {"IngestTranscodingFailed": "its pixels are odd"}
    event, header = bench.event(0)
    assert (event.subject, header.transfer_syntax) == (received_id(), EXPLICIT)
    assert (event.receipt["outcome"], event.receipt["reason"]) == ("kept original", "its pixels are odd")
    assert "the original is kept" in capsys.readouterr().out
    assert send(bench, content) == ("already stored", received_id())
    bench.check_files()


def test_a_codec_that_gives_no_instance_of_its_own_is_not_believed(make, monkeypatch):
    bench = make(policy=LOSSY)
    honest = bench.pool.transcode
    j2k = syntaxes.lookup("j2k")
    monkeypatch.setattr(bench.pool, "transcode", lambda source, target, result, options: honest(source, j2k, result))
    assert send(bench, image())[1] == received_id()
    assert "another instance" in bench.instance().metadata["IngestTranscodingFailed"]
    assert bench.instance().blob.transfer_syntax == EXPLICIT
    bench.check_files()


@pytest.mark.parametrize("put_off", [False, True])
def test_an_identity_that_is_taken_by_other_content_is_left_alone(make, capsys, put_off):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    product = bench.archive.blobs.path(stored(bench)[made].blob.name).read_bytes()
    bench.archive.writer.do(lambda c: instances.hide(c, made, 5.0))
    bench.intake._policy = Policy()
    assert send(bench, product) == ("stored", made)  # it comes back from where it was forwarded to
    bench.intake._policy = LOSSY
    if put_off:
        bench.intake._ack_budget_s = 0
    assert send(bench, image()) == ("stored", received_id())
    bench.until_ended()
    assert set(stored(bench)) == {made, received_id()}
    assert "identity" in stored(bench)[received_id()].metadata["IngestTranscodingFailed"]
    assert bench.events()[-1].receipt["outcome"] == "kept original"
    assert "other content is stored" in capsys.readouterr().out
    bench.until(lambda: len(bench.files()) == len(bench.rows(t.blob)), "the unwanted product is removed")


def test_an_instance_that_is_deleted_takes_everything_along_and_can_come_again(make):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    assert bench.archive.writer.do(lambda c: instances.hide(c, made, 5.0)) == "deleted"
    assert [bench.rows(table) for table in (t.derived, t.version, t.instance)] == [[], [], []]
    assert send(bench, image()) == ("stored", made)
    assert [kind for kind, _ in pairs(bench)] == ["stored_instance", "deleted_instance", "stored_instance"]
    bench.archive.clock.advance(1e9)
    bench.archive.collect(trash_seconds=0)
    bench.archive.clock.advance(1e9)
    assert bench.archive.collect(trash_seconds=0) in {0, 2}
    assert len(bench.files()) == 2
    bench.check_files()


@pytest.mark.parametrize("is_known", [False, True])
@pytest.mark.parametrize("put_off", [False, True])
def test_a_product_whose_file_is_missing_is_made_again_when_its_source_comes_again(make, put_off, is_known):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    bench.archive.blobs.unlink(stored(bench)[made].blob.name)
    if is_known:
        bench.archive._sweep()
    if put_off:
        bench.intake._ack_budget_s = 0
    assert send(bench, image()) == ("stored", received_id() if put_off else made)
    bench.until_ended()
    assert set(stored(bench)) == {made}
    assert dcmread(bench.archive.blobs.path(stored(bench)[made].blob.name)).LossyImageCompression == "01"
    assert pairs(bench) == [("stored_instance", made), ("received_again", made)]
    assert versions(bench) == {made: (image(), True)}


def test_other_content_under_the_derived_identity_leaves_the_original_where_it_is(make):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    changed = dcmread(bench.archive.blobs.path(stored(bench)[made].blob.name))
    changed.ImageComments = "changed elsewhere"
    file = io.BytesIO()
    changed.save_as(file)
    bench.intake._policy = Policy()
    assert send(bench, file.getvalue()) == ("replaced", made)
    assert sorted(row.is_original for row in bench.rows(t.version)) == [False, True]
    assert send(bench, image()) == ("already stored", made)
    bench.check_files()


# -- after the acknowledgement --------------------------------------------------------------------------------------------


def test_what_is_put_off_stands_as_received_until_its_instance_takes_over(make):
    bench = held_up(make)
    content = image()
    assert send(bench, content) == ("stored", received_id())
    ((_, before),) = stored(bench).items()
    assert (before.blob.transfer_syntax, bench.kinds()) == (EXPLICIT, [])
    bench.archive.clock.advance(50)
    finished(bench)
    ((made, instance),) = stored(bench).items()
    assert (made != received_id(), instance.blob.transfer_syntax) == (True, NEAR.uid)
    assert (instance.received_at, instance.origin) == (before.received_at, FROM_CT1)
    assert instance.metadata == {"ModifiedFrom": received_id()}
    assert versions(bench) == {made: (content, True)}
    assert pairs(bench) == [("stored_instance", made)]
    assert bench.events()[0].receipt["outcome"] == "made"
    assert send(bench, content) == ("already stored", made)
    assert bench.pool.calls == 1
    bench.check_files()


def test_put_off_too_the_original_can_be_let_go(make):
    bench = held_up(make, policy=DROPPING)
    send(bench, image())
    finished(bench)
    assert versions(bench) == {}
    assert bench.archive.collect(trash_seconds=100) == 0
    bench.archive.clock.advance(101)
    assert bench.archive.collect(trash_seconds=100) == 1
    bench.check_files()


def test_what_others_said_of_it_meanwhile_goes_along(make):
    bench = held_up(make)
    send(bench, image())
    bench.archive.writer.do(lambda c: c.execute(sa.update(t.instance).values(metadata={"note": "x"})))
    bench.archive.writer.do(lambda c: labels.add(c, "instance", received_id(), ["a"]))
    finished(bench)
    ((_, instance),) = stored(bench).items()
    assert (instance.metadata, instance.labels) == ({"note": "x", "ModifiedFrom": received_id()}, ["a"])


@pytest.mark.parametrize("on_conflict", ["newest", "first"])
def test_other_content_while_pending_becomes_an_instance_of_its_own_too(make, on_conflict):
    bench = held_up(make, on_conflict=on_conflict)
    for seed in (1, 2, 3):
        send(bench, image(seed=seed))
        assert bench.receive(image(seed=seed)) == "already stored"
    finished(bench)
    contents = {one.received_sha256 for one in stored(bench).values()}
    assert contents == {data_set_hash(image(seed=seed)) for seed in (1, 2, 3)}
    assert received_id() not in stored(bench)
    assert sorted(versions(bench).values()) == sorted((image(seed=seed), True) for seed in (1, 2, 3))
    told = [event for event in bench.events() if event.kind != "received_again"]
    assert {(event.kind, event.subject) for event in told} == {("stored_instance", one) for one in stored(bench)}
    assert len(told) == 3
    bench.check_files()


def test_versions_that_nothing_is_made_of_move_along_to_the_instance_that_takes_over(make):
    bench = held_up(make, on_conflict="first")
    send(bench, image(seed=1))
    send(bench, image(seed=2))
    bench.intake._policy = Policy()
    assert bench.receive(image(seed=3)) == "kept as version"
    finished(bench)
    made = {one.received_sha256: one.id for one in stored(bench).values()}
    assert set(made) == {data_set_hash(image(seed=1)), data_set_hash(image(seed=2))}
    along = [(row.instance, row.received_sha256) for row in bench.rows(t.version) if not row.is_original]
    assert along == [(made[data_set_hash(image(seed=1))], data_set_hash(image(seed=3)))]
    bench.check_files()


def test_where_the_second_fails_it_stands_as_it_was_received(make):
    bench = held_up(make)
    bench.pool.failures = [None, CannotTranscodeError("odd")]
    send(bench, image(seed=1))
    send(bench, image(seed=2))
    finished(bench)
    second = stored(bench)[received_id()]
    (first,) = (one for one in stored(bench).values() if one.id != received_id())
    assert second.metadata == {"IngestTranscodingFailed": "odd"}
    assert second.received_sha256 == data_set_hash(image(seed=2))
    assert first.received_sha256 == data_set_hash(image(seed=1))
    assert bench.pending() == 0
    bench.check_files()


def test_an_instance_that_stands_by_itself_is_not_displaced_by_what_is_put_off(make):
    bench = held_up(make)
    bench.intake._policy = Policy()
    send(bench, image(seed=1))
    bench.intake._policy = LOSSY
    assert bench.receive(image(seed=2)) == "kept as version"
    assert stored(bench)[received_id()].received_sha256 == data_set_hash(image(seed=1))
    finished(bench)
    assert len(stored(bench)) == 2
    assert stored(bench)[received_id()].received_sha256 == data_set_hash(image(seed=1))
    assert [kind for kind, _ in pairs(bench)] == ["stored_instance", "stored_instance"]
    bench.check_files()


def test_a_delete_while_pending_is_told_of_what_was_received_and_makes_nothing(make):
    bench = held_up(make)
    send(bench, image())
    bench.archive.writer.do(lambda c: instances.hide(c, received_id(), 5.0))
    finished(bench)
    assert pairs(bench) == [("stored_instance", received_id()), ("deleted_instance", received_id())]
    assert (stored(bench), bench.rows(t.derived), bench.rows(t.receipt)) == ({}, [], [])


def test_a_failure_afterwards_keeps_what_was_received(make):
    bench = held_up(make)
    bench.pool.failures = [CannotTranscodeError("its pixels are odd")]
    send(bench, image())
    finished(bench)
    assert stored(bench)[received_id()].metadata == {"IngestTranscodingFailed": "its pixels are odd"}
    assert [event.receipt["outcome"] for event in bench.events()] == ["kept original"]
    bench.check_files()


def test_a_restart_goes_on_with_what_was_asked_for_before_it(make):
    bench = held_up(make)
    send(bench, image(1))
    send(bench, image(2))
    assert bench.pool.entered.acquire(timeout=60)
    bench.stop()
    assert bench.kinds() == []
    bench.pool.is_closed = False
    bench.policy = Policy()
    bench.start()
    bench.until_ended()
    assert {one.blob.transfer_syntax for one in stored(bench).values()} == {NEAR.uid}
    assert [row.facts["verified_by"] != "" for row in bench.rows(t.receipt)] == [True, True]
    assert '"near":2' in bench.rows(t.receipt)[0].transform
    assert len(bench.kinds()) == 2
    bench.check_files()


def test_the_identity_is_the_same_before_and_after_the_acknowledgement(make):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    bench.archive.writer.do(lambda c: instances.hide(c, made, 5.0))
    bench.intake._ack_budget_s = 0
    assert send(bench, image())[1] == received_id()
    bench.until_ended()
    assert set(stored(bench)) == {made}


def test_the_same_pixels_in_another_transfer_syntax_share_no_identity(make):
    bench = make(policy=LOSSY)
    assert send(bench, image())[1] != send(bench, image(syntax=IMPLICIT))[1]


# -- looking --------------------------------------------------------------------------------------------------------------


def test_the_instance_is_found_by_the_identity_that_was_received(make):
    bench = make(policy=LOSSY)
    _, made = send(bench, image())
    with bench.archive.read() as connection:
        assert history.named(connection, "1.2.3.4.1") == {"SOP Instance UID of what it was made of": [made]}
        assert history.named(connection, received_id()) == {"identifier of what it was made of": [made]}
        assert history.of(connection, made).instance.id == made
        assert derived.is_source(connection, received_id())


def test_what_is_made_afterwards_and_would_not_fit_beside_its_original_is_not_used(make):
    bench = make(policy=LOSSY, budget=0)
    bench.limits = Storage(max_size_mb=1)
    assert send(bench, image(side=710)) == ("stored", received_id())  # 0.96 MiB
    bench.until_ended()
    one = stored(bench)[received_id()]
    assert (one.blob.transfer_syntax, one.metadata["IngestTranscodingFailed"]) == (
        EXPLICIT, "what was made would not fit into the archive (storage.max_size_mb is 1)",
    )  # fmt: skip
    assert bench.kinds() == ["stored_instance"]
    bench.check_files()
