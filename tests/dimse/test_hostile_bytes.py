"""Whatever bytes come, decoding gives a value or a `ProtocolError`, and nothing else."""

import contextlib
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hostd.dimse import commands
from hostd.dimse.associate import Proposal, decode_acceptance, decode_request, encode_acceptance, encode_request
from hostd.dimse.errors import ProtocolError
from hostd.scp.accepted import Accepted
from hostd.scp.access import Callers
from hostd.scp.negotiating import Negotiator
from hostd.scp.services import Services

CT = "1.2.840.10008.5.1.4.1.1.2"
GOOD = encode_request(
    calling_aet="A", called_aet="B", proposals=[Proposal(1, CT, ("1.2.840.10008.1.2", "1.2.3"))], max_pdu=16384
)[6:]

items = st.recursive(
    st.binary(max_size=40),
    lambda inner: st.lists(
        st.tuples(st.sampled_from([*range(0x50, 0x5A), 0x10, 0x20, 0x21, 0x30, 0x40, 0x99]), inner), max_size=4
    ).map(lambda parts: b"".join(struct.pack(">BxH", kind, len(content)) + content for kind, content in parts)),
    max_leaves=12,
)
changes = st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6)


def survives(body):
    with contextlib.suppress(ProtocolError):
        decode_acceptance(body)
    try:
        request = decode_request(body)
    except ProtocolError:
        return
    else:
        # What could be decoded can be negotiated and answered.
        negotiation = Negotiator(request, Callers().caller("WIRE", "127.0.0.1"), Accepted(), Services()).negotiate()
        assert len(negotiation.outcomes) == len(request.proposals)
        assert encode_acceptance(request, negotiation.contexts, negotiation.roles, max_pdu=16384)


@settings(max_examples=300, deadline=None)
@given(items)
def test_any_items(content):
    survives(GOOD[:68] + content)


@settings(max_examples=300, deadline=None)
@given(changes)
def test_any_changed_bytes_of_a_good_request(places):
    body = bytearray(GOOD)
    for place, value in places:
        body[place] = value
    survives(bytes(body))


@settings(max_examples=50, deadline=None)
@given(st.integers(0, len(GOOD) - 1))
def test_any_truncation(length):
    survives(GOOD[:length])


def test_a_request_made_to_be_slow_is_refused_fast():
    syntaxes = b"".join(struct.pack(">BxH", 0x40, 4) + b"%04d" % number for number in range(8000))
    context = struct.pack(">BxHB3x", 0x20, len(syntaxes) + 4, 1) + syntaxes
    began = time.thread_time()
    with pytest.raises(ProtocolError, match="transfer syntaxes"):
        decode_request(GOOD[:68] + context * 10)
    assert time.thread_time() - began < 1


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_command_set(encoded):
    try:
        command = commands.decode(encoded)
    except ProtocolError:
        return
    else:
        assert commands.decode(commands.response(command, 0xC000, "é" * 100)).number(commands.STATUS) == 0xC000


@given(st.text(max_size=200))
def test_any_error_comment_is_a_valid_lo(text):
    encoded = commands.comment(text)
    assert len(encoded) % 2 == 0
    assert len(encoded) <= 64
    assert b"\\" not in encoded
    assert all(0x20 <= byte < 0x7F for byte in encoded)
