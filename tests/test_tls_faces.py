"""hostd's own faces over TLS: who calls is told who hostd is, and shows who it is itself where that is wanted."""

import shutil
import socket
import ssl
import subprocess

import pytest
import requests
from certificates import Certificates, needs_openssl
from ports import free_port
from pydicom.data import get_testdata_file

from hostd.config.settings import Settings, load
from hostd.dimse import scu
from hostd.dimse.errors import DimseError
from hostd.dimse.tls import Tls
from hostd.errors import ConfigurationError, NodeError
from hostd.node import Node

pytestmark = needs_openssl

VERIFICATION = [(scu.VERIFICATION, ("1.2.840.10008.1.2",))]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@pytest.fixture
def node(tmp_path, certificates):
    certificate, key = certificates.server
    shown = {"certificate_file": certificate, "key_file": key, "client_ca_file": certificates.ca}
    made = Node(
        Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            dicom={"port": 0, "tls_port": 0, **shown},
            http={"port": 0, **shown},
        ),
        run_scripts=False,
    )
    made.start()
    yield made
    made.stop()


def echo(port, tls):
    options = {"calling_aet": "ME", "called_aet": "HOSTD", "contexts": VERIFICATION, "tls": tls}
    with scu.connect("127.0.0.1", port, timeout_s=60, **options) as association:
        return association.echo()


def test_each_face_wants_to_see_who_calls_and_the_plain_port_stays(node, certificates):
    assert echo(node.dicom.tls_port, Tls(certificates.ca, certificates.client)) == 0
    assert echo(node.dicom.port, None) == 0
    for tls in (Tls(certificates.ca), None):  # without a certificate, without TLS
        with pytest.raises(DimseError):
            echo(node.dicom.tls_port, tls)
    system = f"https://127.0.0.1:{node.http.port}/system"
    client = tuple(map(str, certificates.client))
    assert requests.get(system, verify=str(certificates.ca), cert=client, timeout=60).status_code == 200
    with pytest.raises(requests.ConnectionError):
        requests.get(system, verify=str(certificates.ca), timeout=60)
    with pytest.raises(requests.ConnectionError):
        requests.get(system.replace("https", "http"), timeout=60)
    said = " ".join(node.facts().sentences())
    assert f"HTTPS on 127.0.0.1:{node.http.port}" in said
    assert f"DICOM over TLS on 127.0.0.1:{node.dicom.tls_port}" in said


def test_one_port_for_both_speaks_tls_alone(tmp_path, certificates):
    certificate, key = certificates.server
    port = free_port()
    node = Node(
        Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            dicom={"port": port, "tls_port": port, "certificate_file": certificate, "key_file": key},
            http={"enabled": False},
        ),
        run_scripts=False,
    )
    node.start()
    try:
        assert echo(port, Tls(certificates.ca)) == 0
        with pytest.raises(DimseError):
            echo(port, None)
        said = [line for line in node.facts().sentences() if line.startswith("DICOM")]
        assert said == [f"DICOM over TLS on 127.0.0.1:{port}"]
    finally:
        node.stop()


def test_a_stop_ends_an_association_over_tls(node, certificates):
    tls = Tls(certificates.ca, certificates.client)
    options = {"calling_aet": "ME", "called_aet": "HOSTD", "contexts": VERIFICATION, "tls": tls}
    association = scu.connect("127.0.0.1", node.dicom.tls_port, timeout_s=60, **options)
    assert association.echo() == 0
    assert node.dicom.open_associations == 1
    node.stop()
    with pytest.raises(DimseError):
        association.echo()
    assert node.dicom.open_associations == 0


@pytest.mark.peers
@pytest.mark.skipif(shutil.which("storescu") is None, reason="DCMTK's storescu is not on the PATH")
def test_storescu_stores_over_tls(node, certificates):
    certificate, key = certificates.client
    file = get_testdata_file("examples_rgb_color.dcm", download=False)
    command = ["storescu", "+tls", key, certificate, "+cf", certificates.ca, "-aec", "HOSTD", "127.0.0.1"]
    done = subprocess.run(
        [*map(str, command), str(node.dicom.tls_port), file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert node.facts().instances == 1


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[dicom]\ntls_port = 2762", "tls_port with certificate_file"),
        ('[dicom]\ncertificate_file = "c"\nkey_file = "k"', "tls_port with certificate_file"),
        ('[http]\ncertificate_file = "c"', "certificate_file with its key_file"),
        ('[http]\nclient_ca_file = "c"', "only over TLS"),
        ('[http]\ncertificate_file = "c"\nkey_file = "k"', "there is no file"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, text, why):
    (tmp_path / "hostd.toml").write_text(f"[node]\nallow_insecure_permissions = true\n{text}\n")
    with pytest.raises(ConfigurationError, match=why):
        load(tmp_path / "hostd.toml", environ={})


def test_a_certificate_that_is_none_stops_the_start(tmp_path, certificates):
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("no certificate")
    for face, more in (("dicom", {"tls_port": 0}), ("http", {})):
        other = "http" if face == "dicom" else "dicom"
        settings = Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            **{face: {"port": 0, "certificate_file": nonsense, "key_file": nonsense, **more}, other: {"port": 0}},
        )
        with pytest.raises(NodeError, match=r"nonsense\.pem"):
            Node(settings, run_scripts=False).start()


def shown(port, certificates):
    """Return the certificate that a face shows, and check that it still asks for one itself."""
    context = ssl.create_default_context(cafile=certificates.ca)
    context.load_cert_chain(*certificates.client)
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as speaking:
        return speaking.getpeercert(binary_form=True)


def put(file, content):
    """Replace a file as those do that renew certificates."""
    fresh = file.with_suffix(".fresh")
    fresh.write_bytes(content)
    fresh.replace(file)


def test_a_renewed_certificate_is_shown_without_a_restart_and_one_that_cannot_be_used_is_not(tmp_path, certificates):
    certificate, key = tmp_path / "shown.pem", tmp_path / "shown.key"
    first, second = certificates.server, certificates.another(tmp_path, "second")
    put(certificate, first[0].read_bytes())
    put(key, first[1].read_bytes())
    face = {"certificate_file": certificate, "key_file": key, "client_ca_file": certificates.ca, "port": 0}
    node = Node(
        Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            dicom={"tls_port": 0, **face},
            http=face,
        ),
        run_scripts=False,
    )
    node.start()
    try:
        ports = (node.dicom.tls_port, node.http.port)
        before = ssl.PEM_cert_to_DER_cert(first[0].read_text())
        after = ssl.PEM_cert_to_DER_cert(second[0].read_text())
        assert [shown(port, certificates) for port in ports] == [before, before]
        put(certificate, second[0].read_bytes())  # its key is still to come
        assert [shown(port, certificates) for port in ports] == [before, before]
        put(key, second[1].read_bytes())
        assert [shown(port, certificates) for port in ports] == [after, after]
        certificate.unlink()
        assert [shown(port, certificates) for port in ports] == [after, after]
        assert echo(node.dicom.tls_port, Tls(certificates.ca, certificates.client)) == 0
        with pytest.raises(DimseError):
            echo(node.dicom.tls_port, Tls(certificates.ca))
        with pytest.raises(requests.ConnectionError):
            requests.get(f"https://127.0.0.1:{node.http.port}/system", verify=str(certificates.ca), timeout=60)
    finally:
        node.stop()


def test_who_may_call_is_renewed_too(tmp_path, certificates):
    other = Certificates(tmp_path / "others")
    trusted = tmp_path / "trusted.pem"
    put(trusted, certificates.ca.read_bytes())
    certificate, key = certificates.server
    node = Node(
        Settings(
            node={"name": "n", "data": tmp_path / "data", "scripts": tmp_path / "scripts"},
            dicom={"enabled": False},
            http={"port": 0, "certificate_file": certificate, "key_file": key, "client_ca_file": trusted},
        ),
        run_scripts=False,
    )
    node.start()
    try:
        ask = {"url": f"https://127.0.0.1:{node.http.port}/system", "verify": str(certificates.ca), "timeout": 60}
        assert requests.get(**ask, cert=tuple(map(str, certificates.client))).status_code == 200
        put(trusted, other.ca.read_bytes())
        assert requests.get(**ask, cert=tuple(map(str, other.client))).status_code == 200
        with pytest.raises(requests.ConnectionError):
            requests.get(**ask, cert=tuple(map(str, certificates.client)))
    finally:
        node.stop()
