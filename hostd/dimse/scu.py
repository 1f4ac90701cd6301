"""The requesting side of an association: connect, and what is then there to be asked for."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Collection, Sequence

from hostd.dimse.associate import CONTEXTS_LIMIT, Proposal, decode_acceptance, encode_request
from hostd.dimse.association import MAX_PDU, Association, Context, read_abort
from hostd.dimse.errors import (
    UNEXPECTED_PDU,
    CouldNotConnectError,
    ProtocolError,
    RejectedError,
)
from hostd.dimse.pdu import Connection, PduType, name
from hostd.dimse.rejection import Rejection
from hostd.dimse.requestor import (
    PRIORITY_HIGH,
    PRIORITY_LOW,
    PRIORITY_MEDIUM,
    VERIFICATION,
    Ended,
    OnEvent,
    Requestor,
    StoreAnswer,
)
from hostd.dimse.tls import Tls
from hostd.errors import ConfigurationError

__all__ = [
    "PRIORITY_HIGH",
    "PRIORITY_LOW",
    "PRIORITY_MEDIUM",
    "VERIFICATION",
    "CouldNotConnectError",
    "Ended",
    "OnEvent",
    "Requestor",
    "StoreAnswer",
    "connect",
]


def connect(
    host: str,
    port: int,
    *,
    calling_aet: str,
    called_aet: str,
    contexts: Sequence[tuple[str, Sequence[str]]],
    connect_timeout_s: float = 10,
    timeout_s: float = 30,
    max_pdu: int = MAX_PDU,
    tls: Tls | None = None,
    served: Collection[str] = (),
) -> Requestor:
    """Make an association with the peer.

    Each of `contexts` is (SOP class, transfer syntaxes, best first) and is proposed as one presentation context; the peer
    chooses one of its syntaxes. `timeout_s` limits every wait for the peer, answers included. With `tls` the line is encrypted.
    Of the SOP classes that are `served` hostd proposes to be the SCP, which takes what the peer sends.

    Raises `ConfigurationError` for a title or UID that the standard does not allow, `CouldNotConnectError`, `RejectedError`,
    and the other kinds of `DimseError`.
    """
    if not 1 <= len(contexts) <= CONTEXTS_LIMIT:
        raise ConfigurationError(f"an association has 1 to {CONTEXTS_LIMIT} presentation contexts, not {len(contexts)}")
    proposals = [
        Proposal(2 * index + 1, sop_class, tuple(syntaxes)) for index, (sop_class, syntaxes) in enumerate(contexts)
    ]
    try:
        request = encode_request(
            calling_aet=calling_aet, called_aet=called_aet, proposals=proposals, max_pdu=max_pdu, served=served
        )
    except ValueError as error:
        raise ConfigurationError(f"cannot ask {called_aet!r} at {host}:{port} for an association: {error}") from error
    try:
        sock = socket.create_connection((host, port), timeout=connect_timeout_s)
    except OSError as error:
        why = "no answer in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise CouldNotConnectError(f"could not connect to {called_aet!r} at {host}:{port}: {why}") from error
    if tls is not None:
        sock = _encrypted(sock, tls, host, connect_timeout_s, f"{called_aet!r} at {host}:{port}")
    connection = Connection(sock, timeout_s=timeout_s)
    try:
        return Requestor(_open(connection, request, proposals, called_aet, timeout_s))
    except BaseException as error:
        if isinstance(error, ProtocolError):
            connection.abort(error.abort_source, error.abort_reason)
        connection.close()
        raise


def _encrypted(sock: socket.socket, tls: Tls, host: str, timeout_s: float, peer: str) -> ssl.SSLSocket:
    """Speak TLS on a new connection. Raises `ConfigurationError` and `CouldNotConnectError`; the connection is closed then."""
    try:
        sock.settimeout(timeout_s)
        return tls.context().wrap_socket(sock, server_hostname=tls.name or host)
    except OSError as error:
        sock.close()
        why = "no answer in time" if isinstance(error, TimeoutError) else _tls_reason(error)
        raise CouldNotConnectError(f"no TLS with {peer}: {why}") from error
    except BaseException:
        sock.close()
        raise


def _tls_reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error) or "the peer closed the connection"


def _open(
    connection: Connection, request: bytes, proposals: Sequence[Proposal], called_aet: str, timeout_s: float
) -> Association:
    connection.limit(timeout_s)
    connection.send(request)
    pdu_type, length = connection.header()
    if pdu_type == PduType.A_ABORT:
        raise read_abort(connection, length)
    body = connection.take(length)
    if pdu_type == PduType.A_ASSOCIATE_RJ and length >= 4:
        why = Rejection(result=body[1], source=body[2], reason=body[3])
        lasting = "transient" if why.result == 2 else "permanent"
        raise RejectedError(
            f"{called_aet!r} rejected the association: {why.words} ({lasting})",
            result=why.result, source=why.source, reason=why.reason,
        )  # fmt: skip
    if pdu_type != PduType.A_ASSOCIATE_AC:
        raise ProtocolError(f"{called_aet!r} answered A-ASSOCIATE-RQ with {name(pdu_type)}", reason=UNEXPECTED_PDU)
    results, user = decode_acceptance(body)
    connection.limit(None)
    contexts = {}
    for proposal in proposals:
        result, syntax = results.get(proposal.id, (2, ""))
        # An acceptance of what was not proposed is no acceptance.
        if result == 0 and syntax in proposal.transfer_syntaxes:
            contexts[proposal.id] = Context(proposal.id, proposal.abstract_syntax, syntax)
    return Association(connection, contexts, peer_max_pdu=user.max_pdu)
