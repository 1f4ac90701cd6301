"""What hostd negotiates as acceptor, beside pynetdicom: whatever is proposed, both answer the same."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pynetdicom.pdu import A_ASSOCIATE_AC, A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import (
    A_ASSOCIATE,
    AsynchronousOperationsWindowNegotiation,
    ImplementationClassUIDNotification,
    MaximumLengthNotification,
    SCP_SCU_RoleSelectionNegotiation,
    SOPClassExtendedNegotiation,
)
from pynetdicom.presentation import build_context, build_role, negotiate_as_acceptor

from hostd.dimse.acceptor import negotiate
from hostd.dimse.associate import decode_request, encode_acceptance
from hostd.dimse.errors import ProtocolError

CLASSES = ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"]
SYNTAXES = ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.3.99"]

some_syntaxes = st.lists(st.sampled_from(SYNTAXES), min_size=1, unique=True)
proposals = st.lists(st.tuples(st.sampled_from(CLASSES), some_syntaxes), min_size=1, max_size=12)
supported = st.dictionaries(st.sampled_from(CLASSES), some_syntaxes)
roles = st.dictionaries(st.sampled_from(CLASSES), st.sampled_from([(True, False), (False, True), (True, True)]))
served = st.sets(st.sampled_from(CLASSES))


def request_of(contexts, asked, *, proposes_async):
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = "CT1", "HOSTD"
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = 16382
    implementation.implementation_class_uid = "1.2.3.4.5"
    user = [
        length,
        implementation,
        *(build_role(name, scu_role=scu, scp_role=scp) for name, (scu, scp) in asked.items()),
    ]
    if proposes_async:
        window = AsynchronousOperationsWindowNegotiation()
        window.maximum_number_operations_invoked, window.maximum_number_operations_performed = 5, 5
        user.append(window)
    primitive.user_information = user
    return A_ASSOCIATE_RQ(primitive).encode()[6:]


@given(proposals, supported, roles, served, st.booleans())
def test_what_is_proposed_is_answered_as_pynetdicom_answers_it(proposed, ours, asked, may_serve, proposes_async):
    contexts = []
    for number, (sop_class, syntaxes) in enumerate(proposed):
        context = build_context(sop_class, syntaxes)
        context.context_id = 2 * number + 1
        contexts.append(context)
    acceptable = []
    for sop_class, syntaxes in ours.items():
        context = build_context(sop_class, syntaxes)
        context.scu_role, context.scp_role = True, sop_class in may_serve
        acceptable.append(context)
    expected, expected_roles = negotiate_as_acceptor(contexts, acceptable, asked)

    request = decode_request(request_of(contexts, asked, proposes_async=proposes_async))
    assert [(one.abstract_syntax, list(one.transfer_syntaxes)) for one in request.proposals] == proposed
    negotiation = negotiate(request, lambda sop_class, _proposed: ours.get(sop_class), may_serve=may_serve.__contains__)
    answer = A_ASSOCIATE_AC()
    answer.decode(encode_acceptance(request, negotiation.contexts, negotiation.roles, max_pdu=131072))
    read = answer.to_primitive()

    answered = read.presentation_context_definition_results_list
    assert [(one.context_id, one.result) for one in answered] == [(one.context_id, one.result) for one in expected]
    assert [one.transfer_syntax for one in answered if one.result == 0] == [
        one.transfer_syntax for one in expected if one.result == 0
    ]
    assert [one.peer_serves for one in negotiation.outcomes if one.transfer_syntax] == [
        bool(one.as_scu) for one in expected if one.result == 0
    ]
    assert (read.calling_ae_title, read.called_ae_title, read.maximum_length_received) == ("CT1", "HOSTD", 131072)
    items = read.user_information
    given_roles = {
        str(one.sop_class_uid): (one.scu_role, one.scp_role)
        for one in items
        if isinstance(one, SCP_SCU_RoleSelectionNegotiation)
    }
    assert given_roles == {
        str(one.sop_class_uid): (one.scu_role, one.scp_role)
        for one in expected_roles
        if any(other.abstract_syntax == one.sop_class_uid and other.result == 0 for other in expected)
    }
    windows = [
        (one.maximum_number_operations_invoked, one.maximum_number_operations_performed)
        for one in items
        if isinstance(one, AsynchronousOperationsWindowNegotiation)
    ]
    assert windows == ([(1, 1)] if proposes_async else [])


def test_what_is_proposed_beyond_is_answered_for_what_is_accepted_only():
    contexts = []
    for number, sop_class in enumerate(CLASSES[:2]):
        context = build_context(sop_class, SYNTAXES[:1])
        context.context_id = 2 * number + 1
        contexts.append(context)
    encoded = request_of(contexts, {}, proposes_async=False)
    items = [
        struct.pack(">BxHH", 0x56, len(uid) + 4, len(uid)) + uid.encode() + b"\1\1" for uid in (*CLASSES[:2], "1.2.3")
    ]
    broken = struct.pack(">BxHH", 0x56, 4, 999) + b"ab"
    at = encoded.rindex(b"\x50\x00", 0, encoded.rindex(b"\x51\x00"))
    user = encoded[at + 4 :] + b"".join(items) + broken
    request = decode_request(encoded[:at] + struct.pack(">BxH", 0x50, len(user)) + user)
    assert [request.user.extended[uid] for uid in CLASSES[:2]] == [b"\1\1"] * 2
    negotiation = negotiate(
        request,
        lambda sop_class, _: SYNTAXES[:1] if sop_class == CLASSES[0] else None,
        agree=lambda _, wanted: wanted[:1],
    )
    answer = A_ASSOCIATE_AC()
    answer.decode(encode_acceptance(request, negotiation.contexts, {}, max_pdu=16384, extended=negotiation.extended))
    agreed = [one for one in answer.to_primitive().user_information if isinstance(one, SOPClassExtendedNegotiation)]
    assert [(one.sop_class_uid, one.service_class_application_information) for one in agreed] == [(CLASSES[0], b"\1")]


@pytest.mark.parametrize("length", [0, 1, 3, 5])
def test_a_role_item_that_ends_early_is_refused(length):
    context = build_context(CLASSES[0], SYNTAXES[:1])
    context.context_id = 1
    encoded = request_of([context], {CLASSES[0]: (True, True)}, proposes_async=False)
    at = encoded.rindex(b"\x54\x00")
    user = encoded.rindex(b"\x50\x00", 0, at)
    item = b"\x54\x00" + length.to_bytes(2) + encoded[at + 4 : at + 4 + length]
    content = encoded[user + 4 : at] + item
    with pytest.raises(ProtocolError, match="role"):
        decode_request(encoded[:user] + b"\x50\x00" + len(content).to_bytes(2) + content)
