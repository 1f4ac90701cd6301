"""The listener of the DICOM face: a thread for it, and one for each association."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import structlog

from hostd.clock import Clock, SystemClock
from hostd.dicom.commitment import Report
from hostd.dimse.pdu import Connection
from hostd.dimse.tls import ServerTls, Shown
from hostd.errors import NodeError
from hostd.scp.accepted import Accepted
from hostd.scp.access import Callers
from hostd.scp.conversation import Conversation, House
from hostd.scp.limits import Limits
from hostd.scp.log import AssociationLog
from hostd.scp.services import Service, Services
from hostd.scp.storage import StoreService

_LOG = structlog.get_logger(__name__)
_RECEIVE_BUFFER = 1 << 20
_BACKLOG = 128
_SPARE_THREADS = 64
"""Connections beyond the cap of associations that are still listened to, so that they can be rejected in due form."""
_AFTER_GRACE_S = 5.0
_OUT_OF_DESCRIPTORS_S = 0.5


class DicomListener:
    """Accepts associations for Verification, Storage, `services`, and the reports of Storage Commitment, which `on_report` takes.

    `aets`: the called AE titles that it answers to, all when `check_called_aet` is false. `port` 0 takes a free one; after
    `start` the property says which; on `tls_port` associations come over `tls`, and where that is `port` too, on no other way. `accepted` says what is
    taken for storage, `callers` who may do what; both may change while it listens. While `has_room` says no, who wants to store is rejected as transient, temporary congestion.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        aets: Sequence[str],
        check_called_aet: bool,
        store: StoreService,
        associations: AssociationLog,
        on_report: Callable[[Report], bool] = lambda _report: False,
        services: Sequence[Service] = (),
        limits: Limits | None = None,
        clock: Clock | None = None,
        has_room: Callable[[], bool] = lambda: True,
        tls: ServerTls | None = None,
        tls_port: int | None = None,
        accepted: Accepted | None = None,
        callers: Callers | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._tls_port = tls_port
        self._limits = limits or Limits()
        self._lock = threading.Lock()
        self._admitted = 0
        self._conversations: dict[Conversation, threading.Thread] = {}
        self._stopping = threading.Event()
        self._wake_read, self._wake_write = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._house = House(
            aets=frozenset(aets),
            check_called_aet=check_called_aet,
            store=store,
            on_report=on_report,
            services=Services(services),
            associations=associations,
            limits=self._limits,
            clock=clock or SystemClock(),
            wake_fd=self._wake_read.fileno(),
            stopping=self._stopping,
            admit=self._admit,
            leave=self._leave,
            has_room=has_room,
            accepted=accepted or Accepted(),
            callers=callers or Callers(),
        )

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return self._port

    @property
    def tls_port(self) -> int | None:
        """The port that is listened on over TLS."""
        return self._tls_port

    @property
    def open_associations(self) -> int:
        """How many associations are open now."""
        with self._lock:
            return self._admitted

    def start(self) -> None:
        """Bind and begin to accept. Raises `NodeError` when an address cannot be had, `ConfigurationError` for certificates that are none."""
        shown = None if self._tls is None else Shown(self._tls)
        sockets = [self._bound(self._port, "port")]
        if self._tls_port is not None and self._tls_port == self._port != 0:
            plain = None
        else:
            plain = sockets[0]
            self._port = plain.getsockname()[1]
            if self._tls_port is not None:
                try:
                    sockets.append(self._bound(self._tls_port, "tls_port"))
                except NodeError:
                    plain.close()
                    raise
                self._tls_port = sockets[1].getsockname()[1]
        self._thread = threading.Thread(
            target=self._listen, args=(sockets, plain, shown), name="dicom-listener", daemon=True
        )
        self._thread.start()

    def _bound(self, port: int, setting: str) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            # Only a size set before the connection counts for its window.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
            sock.bind((self._host, port))
            sock.listen(_BACKLOG)
        except OSError as error:
            sock.close()
            raise NodeError(
                f"cannot listen for DICOM on {self._host}:{port}: {error.strerror or error}; "
                f"choose another dicom.{setting} or dicom.host"
            ) from error
        sock.setblocking(False)
        return sock

    def stop(self, grace_s: float) -> None:
        """Accept nothing more and end what runs: idle associations at once, the others after their current message.

        After `grace_s` seconds the others are cut off in its middle, which abandons what they were receiving.
        """
        self._stopping.set()
        self._wake_write.close()
        if self._thread is not None:
            self._thread.join()
        # Those that have not begun, or only wait for the peer to close, have nothing to finish.
        self._interrupt(only_idle=True)
        self._join_until(time.monotonic() + grace_s)
        self._interrupt(only_idle=False)
        self._join_until(time.monotonic() + _AFTER_GRACE_S)
        with self._lock:
            stuck = len(self._conversations)
        if stuck:
            _LOG.error("associations did not end; the storage does not answer", count=stuck)
        else:
            self._wake_read.close()

    def _interrupt(self, *, only_idle: bool) -> None:
        with self._lock:
            conversations = list(self._conversations)
        for conversation in conversations:
            if not (only_idle and conversation.is_busy):
                conversation.interrupt()

    def _join_until(self, end: float) -> None:
        with self._lock:
            threads = list(self._conversations.values())
        for thread in threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _admit(self) -> bool:
        with self._lock:
            if self._admitted >= self._limits.associations:
                return False
            self._admitted += 1
            return True

    def _leave(self) -> None:
        with self._lock:
            self._admitted -= 1

    def _listen(self, sockets: Sequence[socket.socket], plain: socket.socket | None, shown: Shown | None) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for sock in sockets:
            poll.register(sock, select.POLLIN)
        by_number = {sock.fileno(): sock for sock in sockets}
        with ExitStack() as open_ones:
            for sock in sockets:
                open_ones.enter_context(sock)
            while True:
                ready = [by_number[number] for number, _ in poll.poll() if number in by_number]
                if self._stopping.is_set():
                    return
                for sock in ready:
                    self._accept(sock, shown if sock is not plain else None)

    def _accept(self, sock: socket.socket, shown: Shown | None) -> None:
        try:
            accepted, address = sock.accept()
        except OSError as error:
            # The peer is gone again, or no file descriptor is free: then trying at once would spin.
            _LOG.warning("a connection could not be accepted", reason=error.strerror or str(error))
            self._stopping.wait(_OUT_OF_DESCRIPTORS_S)
            return
        if shown is not None:
            try:
                # The handshake comes with the first read, in the association's own thread.
                accepted = shown.now().wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
            except OSError as error:
                _LOG.error("a connection was closed: it cannot be spoken to over TLS", reason=str(error))
                accepted.close()
                return
        self._begin(accepted, str(address[0]), int(address[1]))

    def _begin(self, accepted: socket.socket, ip: str, port: int) -> None:
        with self._lock:
            crowd = len(self._conversations)
        if crowd >= self._limits.associations + _SPARE_THREADS:
            _LOG.warning("a connection was closed at once: too many are open", ip=ip, open=crowd)
            accepted.close()
            return
        try:
            connection = Connection(accepted, timeout_s=self._limits.network_s)
        except OSError as error:
            _LOG.info("a connection was gone before it began", ip=ip, reason=error.strerror)
            accepted.close()
            return
        conversation = Conversation(self._house, connection, ip, port)
        thread = threading.Thread(target=self._converse, args=(conversation,), name=f"dicom-{ip}:{port}", daemon=True)
        with self._lock:
            self._conversations[conversation] = thread
        thread.start()

    def _converse(self, conversation: Conversation) -> None:
        try:
            conversation.run()
        finally:
            with self._lock:
                del self._conversations[conversation]
