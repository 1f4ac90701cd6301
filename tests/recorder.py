"""What stands before a peer and sees what goes to it."""

import socket
import threading


class Recorder:
    """A TCP proxy that keeps every byte that goes to the peer behind it: a stream for each connection."""

    def __init__(self, port):
        self.streams = []
        self._peer = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def seen(self):
        return b"".join(map(bytes, self.streams))

    def pdu_types(self):
        """Return the types of the PDUs that went to a DICOM peer (PS3.8 §9.3), of each association in order."""
        found = []
        for stream in map(bytes, self.streams):
            at = 0
            while at < len(stream):
                found.append(stream[at])
                at += 6 + int.from_bytes(stream[at + 2 : at + 6], "big")
        return found

    def _serve(self):
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            stream = bytearray()
            self.streams.append(stream)
            peer = socket.create_connection(("127.0.0.1", self._peer))
            for one, other, keep in ((caller, peer, stream), (peer, caller, bytearray())):
                threading.Thread(target=self._pass, args=(one, other), kwargs={"keep": keep}, daemon=True).start()

    def _pass(self, one, other, *, keep):
        try:
            while data := one.recv(65536):
                keep += data
                other.sendall(data)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
