"""Ports for servers that tests start: ours, and those of real peers, which must be told a number beforehand."""

import os
import random
import re
import socket

# Below the ports that the kernel gives to outgoing connections and to servers that ask for any: none of those, of a test that runs
# at the same time, may take the port of a server that is not up yet or is down, nor may a sender that tries it meet itself.
_PORTS = range(12_000, 30_000)
_SHARES = 16
_chance = random.SystemRandom()  # the common one may be seeded, and then two tests at one time draw the same
_left = []


def free_port():
    """Return a port that nobody listens on, and that no other test of this run is given."""
    while True:
        if not _left:
            _left.extend(_share(os.environ.get("PYTEST_XDIST_WORKER", "gw0")))
            _chance.shuffle(_left)
        port = _left.pop()
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def _share(worker):
    """Return the ports of one of the processes that share a run."""
    return _PORTS[int(re.sub(r"\D", "", worker)) % _SHARES :: _SHARES]
