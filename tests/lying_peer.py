"""A made DICOM peer that lies: it refuses, hangs, breaks off, says what it is told to say, and counts what it got."""

import contextlib
import io
import socket
import threading
import time
from collections import Counter

from pydicom.dataset import Dataset

from hostd.dicom import data_sets, query
from hostd.dicom.commitment import INSTANCE, PUSH_MODEL
from hostd.dimse import acceptor, commands, rejection
from hostd.dimse.errors import DimseError
from hostd.dimse.pdu import Connection

TAKE = ("answer", 0x0000)
REFUSE = ("reject", rejection.TEMPORARY_CONGESTION)
BREAK = ("break",)
"""Reset the connection in the middle of the data set."""
NO_ANSWER = ("no answer",)
"""Keep the instance, and close the connection without an answer."""
FORGET = ("forget",)
"""Say that it is stored, and keep nothing."""
HANG = ("hang",)


def say(status):
    """Answer with that status; what is not a success or warning is not kept."""
    return ("answer", status)


def reject(why):
    """Reject the association for that reason."""
    return ("reject", why)


def slowly(seconds):
    """Take it, but only after so long."""
    return ("slow", seconds)


class LyingPeer:
    """Listens on a port of 127.0.0.1, as long as it is up.

    `manner(sop_instance_uid)` says how to deal with an instance, None for the association as a whole. `syntaxes`: the only transfer
    syntaxes that it accepts, None for any. `kept` counts what it keeps by SOP Instance UID, `seen` notes in what syntax.
    """

    def __init__(self, manner=lambda _uid: TAKE, *, syntaxes=None):
        self.manner = manner
        self.syntaxes = syntaxes
        self.commit = lambda uids: (uids, ())
        """What it says of storage commitment: SOP Instance UIDs → those committed to and those not; None: nothing."""
        self.finds = None
        """What it answers to C-FIND: SOP Instance UID → the SOP Instance UIDs that match, or a status; `BREAK`: it breaks off. None: it takes no queries."""
        self.roots = query.ROOTS
        """The information models in which it takes queries."""
        self.queried = []
        """The SOP Instance UIDs that it was asked for."""
        self.takes_request = True
        self.asked = []
        """Transaction UID and SOP Instance UIDs of each request for storage commitment."""
        self.kept = Counter()
        self.seen = {}
        self.associations = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._open = set()
        self._server = None
        self.port = 0
        self.rise()

    def rise(self):
        """Listen, on the same port as before."""
        self._server = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()

    def die(self):
        """Stop listening, and reset every connection."""
        server, self._server = self._server, None
        with self._lock:
            going = list(self._open)
        if server is not None:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for sock in going:
            _reset(sock)

    def report(self, association, context_id, transaction, uids):
        """Report on an association; return the status of the answer. Nothing where it does not want to."""
        said = self.commit(uids)
        if said is None:
            return None
        committed, failed = said
        data_set = Dataset()
        data_set.TransactionUID = transaction
        data_set.ReferencedSOPSequence = [reference(uid) for uid in committed]
        if failed:
            data_set.FailedSOPSequence = [reference(uid, reason=0x0112) for uid in failed]
        syntax = association.contexts[context_id].transfer_syntax
        request = commands.encode(
            (
                (commands.AFFECTED_SOP_CLASS_UID, commands.uid(PUSH_MODEL)),
                (commands.COMMAND_FIELD, commands.us(commands.N_EVENT_REPORT_RQ)),
                (commands.MESSAGE_ID, commands.us(7)),
                (commands.COMMAND_DATA_SET_TYPE, commands.us(commands.WITH_DATA_SET)),
                (commands.AFFECTED_SOP_INSTANCE_UID, commands.uid(INSTANCE)),
                (commands.EVENT_TYPE_ID, commands.us(2 if failed else 1)),
            )
        )
        association.send_command(context_id, request)
        association.send_data_set(context_id, io.BytesIO(data_sets.encode(data_set, syntax)).readinto)
        answer = association.receive()
        association.drain()
        return answer.command.number(commands.STATUS)

    def let_go(self):
        """End every hanging."""
        self._released.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go()
        self.die()

    # -- its side of the conversation

    def _listen(self, server):
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=self._converse, args=(sock,), daemon=True).start()

    def _converse(self, sock):
        with self._lock:
            self._open.add(sock)
            self.associations += 1
        try:
            self._hold(sock)
        except (DimseError, OSError):
            pass
        finally:
            with self._lock:
                self._open.discard(sock)
            sock.close()

    def _hold(self, sock):
        connection = Connection(sock, timeout_s=60)
        request = acceptor.read_request(connection, artim_s=60)
        manner = self.manner(None)
        if manner == HANG:
            self._released.wait()
        if manner is not None and manner[0] == "reject":
            acceptor.reject(connection, manner[1])
            return
        negotiation = acceptor.negotiate(request, self._choose)
        association = acceptor.accept(connection, request, negotiation, max_pdu=16384)
        while (message := association.receive()) is not None:
            if not self._answer(sock, association, message):
                return
        association.confirm_release()

    def _choose(self, abstract, proposed):
        if abstract in query.ROOTS:
            return list(proposed) if self.finds is not None and abstract in self.roots else None
        return [uid for uid in proposed if self.syntaxes is None or uid in self.syntaxes] or None

    def _take_request(self, association, message):
        data = b"".join(bytes(piece) for piece in association.data_set())
        data_set = data_sets.decode(data, message.context.transfer_syntax)
        uids = tuple(str(item.ReferencedSOPInstanceUID) for item in data_set.ReferencedSOPSequence)
        status = 0 if self.takes_request else 0x0110
        association.send_command(message.context.id, commands.response(message.command, status))
        with self._lock:
            self.asked.append((str(data_set.TransactionUID), uids))
        if self.takes_request:
            self.report(association, message.context.id, str(data_set.TransactionUID), uids)
        return True

    def _find(self, sock, association, message):
        syntax = message.context.transfer_syntax
        data = b"".join(bytes(piece) for piece in association.data_set())
        uid = query.sop_instance_uid(data, syntax)
        self.queried.append(uid)
        answer = self.finds(uid)
        if answer == BREAK:
            _reset(sock)
            return False
        if isinstance(answer, int):
            association.send_command(message.context.id, commands.response(message.command, answer, "so it says"))
            return True
        for match in answer:
            found = Dataset()
            found.QueryRetrieveLevel, found.SOPInstanceUID = "IMAGE", match
            pending = (
                (commands.AFFECTED_SOP_CLASS_UID, commands.uid(message.context.abstract_syntax)),
                (commands.COMMAND_FIELD, commands.us(message.command.command | commands.RESPONSE)),
                (commands.MESSAGE_ID_BEING_RESPONDED_TO, commands.us(message.command.message_id)),
                (commands.COMMAND_DATA_SET_TYPE, commands.us(commands.WITH_DATA_SET)),
                (commands.STATUS, commands.us(0xFF00)),
            )
            association.send_command(message.context.id, commands.encode(pending))
            association.send_data_set(message.context.id, io.BytesIO(data_sets.encode(found, syntax)).readinto)
        association.send_command(message.context.id, commands.response(message.command, 0))
        return True

    def _answer(self, sock, association, message):
        """Deal with one message; return whether the conversation goes on."""
        command = message.command
        if command.command == commands.C_FIND_RQ:
            return self._find(sock, association, message)
        if command.command == commands.N_ACTION_RQ:
            return self._take_request(association, message)
        uid = command.text(commands.AFFECTED_SOP_INSTANCE_UID)
        manner = self.manner(uid) if command.command == commands.C_STORE_RQ else TAKE
        if manner == BREAK:
            next(association.data_set(), None)
            _reset(sock)
            return False
        association.drain()
        if manner == HANG:
            self._released.wait()
        if manner[0] == "slow":
            time.sleep(manner[1])
        status = manner[1] if manner[0] == "answer" else 0
        if command.command == commands.C_STORE_RQ and manner != FORGET and (status == 0 or status >> 12 == 0xB):
            with self._lock:
                self.kept[uid] += 1
                self.seen[uid] = message.context.transfer_syntax
        if manner == NO_ANSWER:
            return False
        association.send_command(message.context.id, commands.response(command, status, "so it says"))
        return True


def reference(uid, reason=None):
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _reset(sock):
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
