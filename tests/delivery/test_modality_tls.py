"""DICOM over TLS, tested against DCMTK; and what a modality says when it is asked what it accepts."""

import subprocess
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from certificates import Certificates, needs_openssl
from lying_peer import LyingPeer
from peers_kit import needs_storescp, shipped, storescp
from ports import free_port
from pydicom import dcmread

from hostd.delivery.destinations.modality import Modality
from hostd.dimse.tls import Tls
from hostd.errors import ConfigurationError, DestinationFault

NAME = "modality:archive"


def modality(port, **options):
    return Modality(
        "archive", aet="ANY", host="127.0.0.1", port=port, calling_aet="HOSTD", **{"timeout_s": 10, **options}
    )


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("tls") / "certificates")


@contextmanager
def secure_storescp(folder, certificates, *options):
    certificate, key = certificates.server
    with storescp(folder, "+tls", key, certificate, "+cf", certificates.ca, *options) as port:
        yield port


@pytest.mark.peers
@needs_storescp
@needs_openssl
@pytest.mark.parametrize("minimum", ["1.2", "1.3"])
def test_a_modality_that_wants_a_certificate_is_sent_to_over_tls(node, tmp_path, certificates, minimum):
    instance = node.receive(shipped("CT_small.dcm"))
    with secure_storescp(tmp_path / "peer", certificates, "-rc") as port:
        tls = Tls(certificates.ca, certificates.client, minimum)
        number = node.ask(NAME, instance)
        node.couriers(modality(port, tls=tls))
        node.until(lambda: node.get(number).state == "delivered", 60)
    (stored,) = (tmp_path / "peer").iterdir()
    assert dcmread(stored).SOPInstanceUID == instance.sop_instance_uid


@pytest.mark.peers
@needs_storescp
@needs_openssl
@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ca_file": None}, "certificate is not trusted"),
        ({"client_certificate": None}, ""),
        ({"name": "other.example"}, "certificate is not trusted"),
        ({"ca_file": Path("/nowhere/ca.pem")}, "/nowhere/ca.pem holds no certificates"),
    ],
)
def test_without_the_right_certificates_not_a_byte_of_an_instance_goes(node, tmp_path, certificates, change, why):
    with secure_storescp(tmp_path / "peer", certificates, "-rc") as port:
        tls = replace(Tls(certificates.ca, certificates.client), **change)
        number = node.ask(NAME)
        node.couriers(modality(port, tls=tls))
        node.until(lambda: node.outcomes(number) == ["unreached"], 60)
    assert why in node.get(number).last_error
    assert list((tmp_path / "peer").iterdir()) == []


@needs_storescp
@needs_openssl
def test_a_peer_without_tls_and_a_name_that_does_not_matter(node, tmp_path, certificates):
    with storescp(tmp_path / "plain") as port:
        number = node.ask(NAME)
        node.couriers(modality(port, tls=Tls(certificates.ca), timeout_s=2, connect_timeout_s=2))
        node.until(lambda: node.outcomes(number) == ["unreached"], 60)
        assert "no TLS with 'ANY'" in node.get(number).last_error
    with secure_storescp(tmp_path / "peer", certificates, "-ic") as port:
        tls = Tls(certificates.ca, name="other.example", check_name=False)
        node.started[0].use({NAME: modality(port, tls=tls)})
        node.advance(2000)
        node.until(lambda: node.get(number).state == "delivered", 60)


@needs_openssl
def test_a_key_with_a_passphrase_is_refused_and_asks_nobody(certificates, tmp_path):
    certificate, key = certificates.client
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", key, "-out", locked, "-passout", "pass:s3cret"],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ConfigurationError, match="without a passphrase"):
        Tls(certificates.ca, (certificate, locked)).context()


# -- asking what it accepts -------------------------------------------------------------------------------------------


@pytest.mark.peers
@needs_storescp
def test_a_modality_tells_that_it_answers_and_what_it_accepts(tmp_path):
    with storescp(tmp_path / "peer", "+xi") as port:
        echo, accepted, *services = modality(port).examine()
    assert echo == "C-ECHO: 0x0000 (success)"
    assert accepted.startswith("accepts CT Image")
    assert "1.2.840.10008.1.2" in accepted
    assert "JPEG" not in accepted
    assert services == ["does not offer storage commitment", "does not offer queries (C-FIND)"]
    assert list((tmp_path / "peer").iterdir()) == []


def test_a_modality_tells_what_it_offers_beside_storage():
    with LyingPeer() as peer:
        peer.finds = lambda uid: []
        assert modality(peer.port).examine()[-2:] == ["offers storage commitment", "offers queries (C-FIND)"]


def test_a_dead_modality_says_so():
    with pytest.raises(DestinationFault, match="could not connect"):
        modality(free_port()).examine()
