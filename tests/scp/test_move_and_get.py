"""C-MOVE and C-GET as they are answered: who may, what is meant, counts, failures, cancelling, and that each is on record."""

import io
import threading

import pytest
import requests
import sqlalchemy as sa
from lying_peer import BREAK, LyingPeer, say
from pydicom import dcmread
from retrieving_kit import CT, EXPLICIT, IMPLICIT, J2K, JPEG, STUDY, Asker, Holder, file_of, identifier

from hostd.archive import tables
from hostd.dicom.retrieve import PATIENT_ROOT_MOVE, STUDY_ROOT_GET, STUDY_ROOT_MOVE
from hostd.dimse import commands
from hostd.scp import retrieve
from hostd.transcoding.passing import Passing
from hostd.transcoding.public import transcode

J2K_MC, RLE = "1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.5"
DEFLATED, BIG_ENDIAN, PRIVATE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2", "1.2.752.24.3.7.6"


@pytest.fixture
def peer():
    with LyingPeer() as made:
        yield made


@pytest.fixture(autouse=True)
def _each_is_told(monkeypatch):
    """Have a pending response after each sub-operation."""
    monkeypatch.setattr(retrieve, "_PENDING_S", 0.0)


@pytest.fixture
def hold(tmp_path, request):
    """Start a node that holds so many made images."""

    def start(count=3, **given):
        holder = Holder(tmp_path / "node", **given)
        request.addfinalizer(holder.stop)
        holder.uids = holder.store(*(file_of(number) for number in range(1, count + 1)))
        return holder

    return start


@pytest.fixture
def asks(kit, request):
    """Associate with a node by hand."""

    def start(holder, **facts):
        wire = kit.Wire(holder.port)
        request.addfinalizer(wire.close)
        return Asker(wire, kit, **facts)

    return start


def archive_at(peer, **more):
    return {"archive": {"aet": "ARCHIVE", "host": "127.0.0.1", "port": peer.port, **more}}


def test_each_sub_operation_is_counted_and_recorded_and_says_whose_it_is(hold, asks, peer):
    holder = hold(modalities=archive_at(peer))
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    responses, failed, _ = asker.ended()
    assert responses == [(0xFF00, 2, 1, 0, 0), (0xFF00, 1, 2, 0, 0), (0x0000, None, 3, 0, 0)]
    assert failed == []
    assert set(peer.kept) == set(holder.uids)
    assert peer.associations == 1
    ((one, sent),) = holder.retrievals()
    assert (one.kind, one.calling_aet, one.destination, one.state) == ("move", "ASKER", "modality:archive", "done")
    assert (one.count, one.completed, one.failed) == (3, 3, 0)
    assert one.asked == {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": [STUDY]}
    assert [each.answer for each in sent] == ["0x0000 (success): so it says"] * 3


def test_what_was_retrieved_is_seen_by_http(hold, asks, peer):
    holder = hold(2, modalities=archive_at(peer), http={"port": 0})
    peer.manner = lambda uid: say(0xA700 if uid == holder.uids[0] else 0)
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    asker.ended()
    url = f"http://127.0.0.1:{holder.node.http.port}/retrievals"
    (said,) = requests.get(url, timeout=60).json()
    assert (said["CallingAet"], said["Destination"], said["State"]) == ("ASKER", "modality:archive", "done")
    assert (said["Count"], said["Completed"], said["Failed"]) == (2, 1, 1)
    one = requests.get(f"{url}/{said['ID']}", timeout=60).json()
    assert {each["SOPInstanceUID"]: each["Status"] for each in one["Instances"]} == dict(
        zip(holder.uids, (0xA700, 0), strict=True)
    )
    assert requests.get(f"{url}/99", timeout=60).status_code == 404


def test_what_fails_is_named_and_what_the_other_side_warned_of_is_counted_apart(hold, asks, peer):
    holder = hold(modalities=archive_at(peer))
    first, second, third = holder.uids
    peer.manner = lambda uid: say({first: 0xA700, second: 0xB000}.get(uid, 0))
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    responses, failed, _ = asker.ended()
    assert responses[-1] == (0xB000, None, 1, 1, 1)
    assert failed == [first]
    ((one, sent),) = holder.retrievals()
    assert {each.sop_instance_uid: each.outcome for each in sent} == {
        first: "failed",
        second: "warning",
        third: "delivered",
    }
    assert (one.completed, one.warnings, one.failed) == (1, 1, 1)


def test_a_destination_that_is_down_fails_all_with_its_reason(hold, asks, peer):
    holder = hold(modalities=archive_at(peer))
    peer.die()
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    responses, failed, comment = asker.ended()
    assert responses == [(0xA702, None, 0, 3, 0)]
    assert set(failed) == set(holder.uids)
    assert "could not connect" in comment
    ((one, sent),) = holder.retrievals()
    assert (one.state, one.failed) == ("failed", 3)
    assert all("could not connect" in each.answer for each in sent)


def test_an_association_that_breaks_costs_one_instance_and_the_rest_goes_over_another(hold, asks, peer):
    holder = hold(modalities=archive_at(peer))
    peer.manner = lambda uid: BREAK if uid == holder.uids[1] else say(0)
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    responses, failed, _ = asker.ended()
    assert responses[-1] == (0xB000, None, 2, 1, 0)
    assert failed == [holder.uids[1]]
    assert peer.associations == 2


def test_an_identifier_that_means_nothing_is_refused_and_the_association_goes_on(hold, asks, peer):
    holder = hold(1, modalities=archive_at(peer))
    asker = asks(holder)
    for data_set, status, comment in (
        (identifier(None, StudyInstanceUID=STUDY), 0xA900, "the level is"),
        (identifier("PATIENT", PatientID="P1"), 0xA900, "not one of STUDY"),
        (identifier("STUDY"), 0xA900, "StudyInstanceUID says not"),
        (identifier("IMAGE", StudyInstanceUID=STUDY), 0xA900, "SOPInstanceUID says not"),
        (identifier("STUDY", StudyInstanceUID="1.2.*"), 0xA900, "which is no UID"),
        (b"\x08\x00\x52\x00\x06\x00\x00\x00SERIES\x0d", 0xC000, "cut off"),
        (b"\x08\x00\x52\x00\xff\xff\xff\xffSERIES", 0xA900, "the level is"),
        (b"", 0xA900, "the level is"),
    ):
        asker.ask(data_set, destination="ARCHIVE")
        responses, _, said = asker.ended()
        assert (responses[-1][0], comment in said) == (status, True), said
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    assert asker.ended()[0][-1] == (0, None, 1, 0, 0)


def test_it_goes_to_configured_modalities_only_and_for_those_who_may(hold, asks, peer):
    holder = hold(
        1, modalities=archive_at(peer) | {"shy": {"aet": "SHY", "host": "127.0.0.1", "port": 1, "allow_move": False}}
    )
    for aet, destination, status in (
        ("ASKER", "NOWHERE", 0xA801), ("ASKER", None, 0xA801), ("STRANGER", "ARCHIVE", 0x0124), ("SHY", "ARCHIVE", 0x0124),
    ):  # fmt: skip
        asker = asks(holder, aet=aet)
        asker.ask(identifier(StudyInstanceUID=STUDY), destination=destination)
        assert asker.ended()[0] == [(status, None, None, None, None)]
    assert not peer.kept


def test_lists_of_uids_and_keys_of_the_levels_above_are_heeded(hold, asks, peer):
    holder = hold(3, modalities=archive_at(peer))
    (other,) = holder.store(file_of(9, PatientID="P2", StudyInstanceUID="1.2.9", SeriesInstanceUID="1.2.9.1"))
    asker = asks(holder, sop_class=PATIENT_ROOT_MOVE)
    for keys, count in (
        ({"level": "PATIENT", "PatientID": "P1"}, 3),
        ({"level": "STUDY", "StudyInstanceUID": [STUDY, "1.2.9", "1.2.99"]}, 4),
        ({"level": "STUDY", "PatientID": "P2", "StudyInstanceUID": [STUDY, "1.2.9"]}, 1),
        ({"level": "SERIES", "StudyInstanceUID": STUDY, "SeriesInstanceUID": "1.2.9.1"}, 0),
        ({"level": "IMAGE", "SOPInstanceUID": [other, holder.uids[0]]}, 2),
        ({"level": "STUDY", "StudyInstanceUID": STUDY, "SOPInstanceUID": other}, 3),
        ({"level": "PATIENT", "PatientID": "P*"}, 0),
    ):
        asker.ask(identifier(**keys), destination="ARCHIVE")
        assert asker.ended()[0][-1] == (0, None, count, 0, 0), keys


def test_a_cancel_ends_it_and_says_what_remains(hold, asks, peer):
    holder = hold(4, modalities=archive_at(peer))
    reached, may_go_on = threading.Event(), threading.Event()

    def manner(uid):
        if uid == holder.uids[1]:
            reached.set()
            assert may_go_on.wait(60)
        return say(0)

    peer.manner = manner
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    assert reached.wait(60)
    asker.cancel()
    may_go_on.set()
    responses, _, _ = asker.ended()
    assert responses[-1] == (0xFE00, 2, 2, 0, 0)
    ((one, sent),) = holder.retrievals()
    assert (one.state, len(sent)) == ("cancelled", 2)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    assert asker.ended()[0][-1] == (0, None, 4, 0, 0)


def test_who_asks_and_leaves_ends_it_and_the_record_says_so(hold, asks, peer, kit):
    holder = hold(3, modalities=archive_at(peer))
    reached, may_go_on = threading.Event(), threading.Event()

    def manner(_uid):
        reached.set()
        assert may_go_on.wait(60)
        return say(0)

    peer.manner = manner
    asker = asks(holder)
    asker.ask(identifier(StudyInstanceUID=STUDY), destination="ARCHIVE")
    assert reached.wait(60)
    asker.wire.close()
    may_go_on.set()
    kit.until(lambda: [one for one, _ in holder.retrievals() if one.ended_at is not None])
    ((one, sent),) = holder.retrievals()
    assert one.state == "broken"
    assert len(sent) == one.completed + one.failed


def test_what_was_under_way_when_a_node_died_is_closed_at_its_next_start(hold):
    holder = hold(1)
    with holder.archive.read() as connection:
        assert not connection.exec_driver_sql("SELECT * FROM retrieval").all()
    columns = "kind, at, calling_aet, ip, destination, asked, count, node"
    holder.archive.writer.do(
        lambda c: c.exec_driver_sql(
            f"INSERT INTO retrieval ({columns}) VALUES ('get', 1, 'A', '', 'caller:A', '{{}}', 5, '{holder.archive.node}')"
        )
    )
    holder.stop()
    holder.start()
    ((one, _),) = holder.retrievals()
    assert (one.state, one.reason) == ("broken", "hostd ended while it lasted")


# -- C-GET ------------------------------------------------------------------------------------------------------------


def test_instances_come_on_the_association_on_which_they_are_asked_for(hold, asks):
    holder = hold(3)
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[J2K, EXPLICIT]])
    asker.status = lambda uid: 0xA700 if uid == holder.uids[0] else 0
    asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, failed, _ = asker.ended()
    assert responses[-1] == (0xB000, None, 2, 1, 0)
    assert failed == [holder.uids[0]]
    assert asker.got.keys() == set(holder.uids)
    command = asker.got[holder.uids[0]][2]
    assert commands.MOVE_ORIGINATOR_AET not in command.elements
    ((one, _),) = holder.retrievals()
    assert (one.kind, one.destination, one.failed) == ("get", "modality:asker", 1)


@pytest.mark.parametrize(
    ("proposed", "chosen"),
    [
        ([J2K, BIG_ENDIAN, IMPLICIT, EXPLICIT], IMPLICIT),
        ([JPEG, DEFLATED, J2K], DEFLATED),
        ([BIG_ENDIAN, JPEG, J2K_MC, RLE, J2K], RLE),
        ([BIG_ENDIAN, J2K_MC, JPEG], J2K_MC),
        ([PRIVATE, EXPLICIT], EXPLICIT),
    ],
)
def test_of_the_syntaxes_of_a_context_that_is_chosen_in_which_all_can_be_sent(hold, asks, proposed, chosen):
    holder = hold(0)
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[proposed])
    assert asker.results[3] == (0, chosen)


@pytest.mark.parametrize("first", [J2K, RLE, BIG_ENDIAN, DEFLATED])
def test_what_no_codec_takes_comes_in_a_context_that_proposes_one_first(hold, asks, first):
    holder = hold(1)
    (deep,) = holder.store(file_of(2, BitsAllocated=32, BitsStored=32, HighBit=31, PixelData=bytes(4 * pixels_of(1))))
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[first, EXPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    assert asker.ended()[0][-1] == (0, None, 2, 0, 0)
    assert asker.got.keys() == {*holder.uids, deep}


def pixels_of(number):
    ds = dcmread(io.BytesIO(file_of(number)))
    return ds.Rows * ds.Columns


def compressed(content):
    return transcode(content, "j2k").content


def test_what_is_not_accepted_is_decompressed_on_the_way_out_and_the_pixels_are_the_same(hold, asks):
    holder = hold(0)
    content = file_of(1)
    (uid,) = holder.store(compressed(content))
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[IMPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    assert asker.ended()[0][-1] == (0, None, 1, 0, 0)
    syntax, data, _ = asker.got[uid]
    assert syntax == IMPLICIT
    assert dcmread(io.BytesIO(content)).PixelData in data


def test_those_that_follow_are_made_while_one_is_sent_however_few_are_looked_up_at_once(hold, asks, monkeypatch):
    monkeypatch.setattr(retrieve, "_AT_ONCE", 1)
    asked, all_asked = set(), threading.Event()

    def obtain(passing, delivery, transform=None, obtain=Passing.obtain):
        asked.add(delivery.sop_instance_uid)
        if len(asked) == 3:
            all_asked.set()
        return obtain(passing, delivery, transform)

    monkeypatch.setattr(Passing, "obtain", obtain)
    holder = hold(0)
    uids = holder.store(*(compressed(file_of(number)) for number in (1, 2, 3)))
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[IMPLICIT]])
    asker.status = lambda uid: 0 if all_asked.wait(60) else 0xA700
    asker.ask(identifier(StudyInstanceUID=STUDY))
    assert asker.ended()[0][-1] == (0, None, 3, 0, 0)
    assert asker.got.keys() == set(uids)


def test_of_many_that_are_made_several_at_one_time_a_broken_one_costs_no_other(hold, asks):
    holder = hold(0)
    files = [compressed(file_of(number)) for number in range(1, 31)]
    broken = files[12]
    at = broken.index(b"\xff\x4f\xff\x51")  # SOC and SIZ, with which a codestream begins
    files[12] = broken[:at] + b"no codestream" + broken[at + 13 :]
    uids = holder.store(*files)
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, failed, _ = asker.ended()
    assert responses[-1] == (0xB000, None, 29, 1, 0)
    assert failed == [uids[12]]
    for number, uid in enumerate(uids, 1):
        if uid != uids[12]:
            assert dcmread(io.BytesIO(file_of(number))).PixelData in asker.got[uid][1]
    ((_, sent),) = holder.retrievals()
    (said,) = [one.answer for one in sent if one.sop_instance_uid == uids[12]]
    assert "could not be brought to" in said


def test_nothing_is_brought_to_a_syntax_that_loses_information_nor_to_any_where_that_is_off(hold, asks):
    holder = hold(0, dicom={"transcode": False})
    (uid,) = holder.store(compressed(file_of(1)))
    (plain,) = holder.store(file_of(2))
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[JPEG]])
    assert asker.results[3] == (0, JPEG)
    asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, failed, _ = asker.ended()
    assert responses[-1] == (0xA702, None, 0, 2, 0)
    assert set(failed) == {uid, plain}
    assert not asker.got
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[JPEG, EXPLICIT]])
    assert asker.results[3] == (0, EXPLICIT)  # what loses nothing is chosen
    asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, failed, _ = asker.ended()
    assert failed == [uid]  # dicom.transcode is off
    assert asker.got.keys() == {plain}
    (_, sent), *_ = holder.retrievals()
    assert any("no common transfer syntax" in each.answer for each in sent)


def test_a_cancel_in_the_middle_of_a_get_ends_it(hold, asks):
    holder = hold(4)
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT]])
    asker.before_answer = asker.cancel
    asker.ask(identifier(StudyInstanceUID=STUDY))
    responses, _, _ = asker.ended()
    assert responses[-1] == (0xFE00, 3, 1, 0, 0)
    assert len(asker.got) == 1


def test_without_the_role_of_scp_nothing_can_be_got(hold, asks):
    holder = hold(1)
    asker = asks(holder, sop_class=STUDY_ROOT_MOVE, storage=[[EXPLICIT]])
    assert asker.results[3][0] == 0
    asker.wire.close()
    asker = asks(holder, sop_class=STUDY_ROOT_GET)
    asker.ask(identifier(StudyInstanceUID=STUDY))
    assert asker.ended()[0][-1] == (0xA702, None, 0, 1, 0)
    ((_, (sent,)),) = holder.retrievals()
    assert f"no presentation context of SOP class {CT}" in sent.answer


@pytest.mark.parametrize("role", [b"\1\1", b"\0\1"])
@pytest.mark.parametrize(
    ("aet", "dicom", "modalities"),
    [
        ("STRANGER", {"always_allow_store": False}, {}),
        ("VIEWER", {}, {"viewer": {"aet": "VIEWER", "host": "127.0.0.1", "port": 104, "allow_store": False}}),
        ("ASKER", {"rejected_sop_classes": ["CTImageStorage"]}, {}),
        ("ASKER", {"accepted_transfer_syntaxes": [IMPLICIT]}, {}),
    ],
)
def test_nobody_may_store_by_the_role_that_it_proposes_for_what_it_gets(hold, asks, aet, dicom, modalities, role):
    holder = hold(0, dicom=dicom, modalities=modalities)
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT]], aet=aet, role=role)
    assert asker.results[3] == (0, EXPLICIT)
    assert asker.user.roles == {CT: (False, True)}
    assert asker.store(file_of(1), context=3) == 0x0124
    assert not held(holder)


def test_who_may_store_may_in_both_roles_and_only_in_that_which_it_proposes(hold, asks):
    holder = hold(0, dicom={"accepted_transfer_syntaxes": [EXPLICIT]})
    both = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[IMPLICIT], [EXPLICIT]], role=b"\1\1")
    assert both.user.roles == {CT: (True, True)}
    assert both.store(file_of(1), context=3) == 0x0124  # implicit is not accepted
    assert both.store(file_of(1), context=5) == 0
    both.ask(identifier(StudyInstanceUID=STUDY))
    assert both.ended()[0][-1] == (0, None, 1, 0, 0)
    gets = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT]])
    assert gets.store(file_of(2), context=3) == 0x0124
    assert len(held(holder)) == 1


def held(holder):
    with holder.archive.read() as connection:
        return list(connection.execute(sa.select(tables.instance.c.id)).scalars())


def test_an_instance_deleted_meanwhile_is_one_that_failed(hold, asks):
    holder = hold(2)
    path = holder.archive.blobs.path
    with holder.archive.read() as connection:
        blob = connection.exec_driver_sql("SELECT blob FROM instance ORDER BY id LIMIT 1").scalar_one()
    path(blob).unlink()
    asker = asks(holder, sop_class=STUDY_ROOT_GET, storage=[[EXPLICIT]])
    asker.ask(identifier(StudyInstanceUID=STUDY))
    assert asker.ended()[0][-1] == (0xB000, None, 1, 1, 0)
    ((_, sent),) = holder.retrievals()
    assert sum("is missing from the archive" in each.answer for each in sent) == 1
