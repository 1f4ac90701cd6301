"""A real Orthanc receives from hostd and sends to it, by DICOM and by HTTP."""

import pytest
import requests
from peer_kit import COMPRESS, FORWARD, LiveNode, Orthanc, assert_same_image, needs, sample, until
from pydicom import dcmread

pytestmark = [pytest.mark.peers, needs("Orthanc", "storescu", "gdcmconv", "dcmdrle", "dcmdjpls")]

J2K = "1.2.840.10008.1.2.4.90"
USER, PASSWORD = "hostd", "a päss:word"
IMAGES = {
    "CT_small.dcm": "-xe",
    "MR_small_implicit.dcm": "-xi",
    "examples_overlay.dcm": "-xe",
    "examples_rgb_color.dcm": "-xe",
    "examples_palette.dcm": "-xe",
    "wg04/NM1_UNC": "-xe",
    "wg04/US1_UNC": "-xe",
}
OTHERS = {
    "test-SR.dcm": "-xe",
    "rtdose.dcm": "-xi",
    "examples_jpeg2k.dcm": "-xv",
    "MR_small_jpeg_ls_lossless.dcm": "-xt",
    "SC_rgb_jpeg_dcmtk.dcm": "-xy",
}


def as_modality(orthanc):
    return f'[modalities.archive]\naet = "ORTHANC"\nhost = "127.0.0.1"\nport = {orthanc.dicom_port}\n'


def as_peer(orthanc, password=PASSWORD, **more):
    settings = {"url": orthanc.url, "username": USER, "password": password, **more}
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in settings.items()
    ]
    return "[peers.archive]\n" + "\n".join(lines) + "\n"


@pytest.fixture(scope="module", params=["modality", "peer"])
def pair(request, tmp_path_factory):
    """A node that compresses, and an Orthanc as its archive: by DICOM, and by HTTP with a password."""
    folder = tmp_path_factory.mktemp(request.param)
    orthanc = Orthanc(folder / "orthanc", users={USER: PASSWORD} if request.param == "peer" else None).start()
    described = as_peer(orthanc) if request.param == "peer" else as_modality(orthanc)
    node = LiveNode(folder / "hostd", {"compress.py": COMPRESS}, described)
    yield node, orthanc
    node.stop()
    orthanc.stop()


def sent(node, name, option):
    path = sample(name)
    ran = node.storescu(path, option)
    assert ran.returncode == 0, ran.stderr
    return path, dcmread(path, stop_before_pixels=True).SOPInstanceUID


@pytest.mark.parametrize("name", IMAGES)
def test_orthanc_holds_the_compressed_image_under_the_same_identifiers(pair, tmp_path, name):
    node, orthanc = pair
    path, uid = sent(node, name, IMAGES[name])
    delivery = node.ended(uid)
    assert (delivery.state, delivery.last_error) == ("delivered", None)
    instance = node.instance(uid)
    assert orthanc.holds(instance.id)
    assert orthanc.get(f"/instances/{instance.id}/metadata/TransferSyntax").text == J2K
    for level, theirs in (("patient", "patient"), ("study", "study"), ("series", "series")):
        assert orthanc.get(f"/instances/{instance.id}/{theirs}").json()["ID"] == getattr(instance, level)
    assert_same_image(path, orthanc.file(instance.id, tmp_path / "arrived.dcm"), tmp_path)


@pytest.mark.parametrize("name", OTHERS)
def test_orthanc_holds_the_rest_as_it_came(pair, tmp_path, name):
    node, orthanc = pair
    node.forget(dcmread(sample(name), stop_before_pixels=True).SOPInstanceUID)
    path, uid = sent(node, name, OTHERS[name])
    assert node.ended(uid).state == "delivered"
    instance = node.instance(uid)
    syntax = dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID
    held = orthanc.get(f"/instances/{instance.id}/metadata/TransferSyntax").text
    if held == syntax:
        assert_same_image(path, orthanc.file(instance.id, tmp_path / "arrived.dcm"), tmp_path)
    else:  # Orthanc keeps the first of an instance: the MR was there already, compressed by us
        assert (name, held) == ("MR_small_jpeg_ls_lossless.dcm", J2K)


def test_a_gzipped_body_is_understood_by_orthanc(start, tmp_path):
    orthanc = start.orthanc(users={USER: PASSWORD})
    node = start.node(scripts={"compress.py": COMPRESS}, more=as_peer(orthanc, compress=True))
    path, uid = sent(node, "examples_overlay.dcm", "-xe")
    assert node.ended(uid).state == "delivered"
    assert_same_image(path, orthanc.file(node.instance(uid).id, tmp_path / "arrived.dcm"), tmp_path)


def test_what_orthanc_has_already_counts_as_delivered(start):
    orthanc = start.orthanc(users={USER: PASSWORD})
    path = sample("CT_small.dcm")
    assert orthanc.post("/instances", path.read_bytes()).json()["Status"] == "Success"
    node = start.node(scripts={"forward.py": FORWARD}, more=as_peer(orthanc))
    _, uid = sent(node, "CT_small.dcm", "-xe")
    delivery = node.ended(uid)
    assert delivery.state == "delivered"
    assert "already stored" in node.attempts(delivery)[-1].answer


def test_a_wrong_password_waits_and_fails_nothing_until_it_is_right(start, tmp_path):
    orthanc = start.orthanc(users={USER: "another"})
    node = start.node(scripts={"forward.py": FORWARD}, more=as_peer(orthanc))
    path, uid = sent(node, "CT_small.dcm", "-xe")
    waiting = until(
        lambda: next((d for d in node.deliveries(uid) if d.last_error and d.state == "waiting"), None),
        "the refusal is written down",
    )
    assert "401" in waiting.last_error
    assert PASSWORD not in waiting.last_error
    assert node.deliveries(states=("failed",)) == []
    orthanc.stop()
    orthanc.users = {USER: PASSWORD}
    orthanc.start()
    assert node.ended(uid).state == "delivered"
    assert_same_image(path, orthanc.file(node.instance(uid).id, tmp_path / "arrived.dcm"), tmp_path)


@pytest.mark.parametrize("kind", ["modality", "peer"])
def test_an_orthanc_that_starts_late_gets_everything(start, kind):
    orthanc = start.orthanc(started=False, users={USER: PASSWORD})
    described = as_modality(orthanc) if kind == "modality" else as_peer(orthanc)
    node = start.node(scripts={"compress.py": COMPRESS}, more=described)
    uids = [sent(node, name, option)[1] for name, option in [*IMAGES.items()][:4]]
    until(lambda: all(d.last_error for d in node.deliveries()[-1:]), "an attempt was made")
    assert {d.state for d in node.deliveries()} <= {"waiting", "preparing", "sending"}
    orthanc.start()
    until(lambda: len(node.deliveries(states=("delivered",))) == len(uids), "all are delivered")
    assert all(orthanc.holds(node.instance(uid).id) for uid in uids)


# -- Orthanc sends -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sender(tmp_path_factory):
    """An Orthanc that knows a node both as modality and as peer."""
    folder = tmp_path_factory.mktemp("sender")
    node = LiveNode(folder / "hostd")
    orthanc = Orthanc(
        folder / "orthanc",
        more={
            "DicomModalities": {"hostd": ["HOSTD", "127.0.0.1", node.port]},
            "OrthancPeers": {"hostd": [f"{node.url}/"]},
        },
    ).start()
    yield orthanc, node
    orthanc.stop()
    node.stop()


@pytest.mark.parametrize("kind", ["modalities", "peers"])
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "examples_rgb_color.dcm", "examples_jpeg2k.dcm", "test-SR.dcm", "MR_small_bigendian.dcm"]
)
def test_orthanc_sends_and_hostd_stores(sender, tmp_path, kind, name):
    orthanc, node = sender
    path = sample(name)
    uid = dcmread(path, stop_before_pixels=True).SOPInstanceUID
    node.forget(uid)
    theirs = orthanc.post("/instances", path.read_bytes()).json()
    answer = orthanc.post(f"/{kind}/hostd/store", theirs["ID"])
    assert answer.status_code == 200, answer.text
    assert (answer.json()["InstancesCount"], answer.json()["FailedInstancesCount"]) == (1, 0)
    instance = node.instance(uid)
    assert (instance.id, instance.study) == (theirs["ID"], theirs["ParentStudy"])
    assert (instance.series, instance.patient) == (theirs["ParentSeries"], theirs["ParentPatient"])
    assert instance.origin.kind == ("dicom" if kind == "modalities" else "http")
    assert_same_image(path, node.path(uid), tmp_path)


def test_orthanc_verifies_the_node_and_sees_it_as_a_peer(sender):
    orthanc, node = sender
    echo = orthanc.post("/modalities/hostd/echo", "{}")
    assert echo.status_code == 200, echo.text
    assert orthanc.get("/peers/hostd/system").json()["Name"] == "hostd"
    assert requests.get(f"{node.url}/system", timeout=60).json()["DicomAet"] == "HOSTD"


def test_the_same_instance_twice_from_orthanc_is_kept_once(sender):
    orthanc, node = sender
    path = sample("rtplan.dcm")
    theirs = orthanc.post("/instances", path.read_bytes()).json()
    for kind in ("modalities", "modalities", "peers", "peers"):
        answer = orthanc.post(f"/{kind}/hostd/store", theirs["ID"])
        assert answer.status_code == 200, answer.text
    uid = dcmread(path).SOPInstanceUID
    assert len([i for i in node.instances() if i.sop_instance_uid == uid]) == 1
    assert node.post(path.read_bytes()).json()["ID"] == theirs["ID"]


def test_a_file_posted_twice_is_already_stored(sender):
    _, node = sender
    content = sample("reportsi.dcm").read_bytes()
    assert node.post(content).json()["Status"] == "Success"
    before = node.files()
    assert node.post(content).json()["Status"] == "AlreadyStored"
    assert node.files() == before
