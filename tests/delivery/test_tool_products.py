"""What a tool makes is in the transfer syntax that it likes: it is brought to one that the peer takes, or fails and says why."""

from types import SimpleNamespace

import pytest
from delivery_kit import CT, EXPLICIT

from hostd.delivery.destinations import Outgoing, deviation
from hostd.delivery.destinations.modality import Modality
from hostd.delivery.negotiation import contexts_of
from hostd.errors import InstanceFault
from hostd.transcoding.stored import Product
from hostd.transcoding.transform import RunTool, Transform

IMPLICIT, J2K, RLE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"


class ToolGives:
    """Products of a tool whose result is in that transfer syntax, whatever was foreseen."""

    def __init__(self, syntax, tmp_path):
        self.syntax = syntax
        self.path = tmp_path / "product.dcm"
        self.brought = []

    def obtain(self, delivery, transform=None):
        if transform is None:
            return Product(self.path, self.syntax, "n/1", "1.2.3")
        self.brought.append(transform)
        return Product(self.path, transform.syntax_of(self.syntax), "n/2", "1.2.3")


def outgoing(products, makes=None):
    delivery = SimpleNamespace(id=1, sop_class_uid=CT, blob="n/0", sop_instance_uid="1.2.3", content="c")
    return Outgoing(delivery, EXPLICIT, Transform((RunTool("x", makes=makes),)), products)


def modality(**facts):
    return Modality("archive", aet="A", host="127.0.0.1", port=1, calling_aet="HOSTD", **facts)


def test_an_unforeseen_syntax_is_brought_to_the_one_that_was_foreseen(tmp_path):
    products = ToolGives(J2K, tmp_path)
    sent = outgoing(products)
    assert modality().product(sent, [EXPLICIT]).transfer_syntax == EXPLICIT
    (transform,) = products.brought
    assert transform.steps[0] == RunTool("x")  # P7: of what the tool made, never of the instance


def test_an_unforeseen_syntax_that_the_peer_takes_is_sent_as_it_is(tmp_path):
    sent = outgoing(ToolGives(J2K, tmp_path))
    product = modality().product(sent, [EXPLICIT, J2K])
    assert product.transfer_syntax == J2K
    assert deviation(sent, product) == f"; sent in JPEG 2000 Lossless ({J2K})"


def test_where_nothing_may_be_transcoded_an_unforeseen_syntax_fails_with_its_name(tmp_path):
    with pytest.raises(InstanceFault, match="what was made of it is in JPEG 2000 Lossless"):
        modality(transcode=False).product(outgoing(ToolGives(J2K, tmp_path)), [EXPLICIT])


def test_what_the_configuration_foretells_is_proposed(tmp_path):
    sent = outgoing(ToolGives(J2K, tmp_path), makes=J2K)
    assert contexts_of(sent, (EXPLICIT, IMPLICIT)) == [(CT, (J2K,)), (CT, (EXPLICIT, IMPLICIT))]
    assert modality().product(sent, [J2K]).transfer_syntax == J2K
