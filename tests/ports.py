"""Ports for servers that tests start: ours, and those of real peers, which must be told a number beforehand."""

import random
import socket

# Below the ports that the kernel gives to outgoing connections and to servers that ask for any: none of those, of a test that runs
# at the same time, may take the port of a server that is not up yet or is down, nor may a sender that tries it meet itself.
_PORTS = range(12_000, 30_000)
_chance = random.SystemRandom()  # the common one may be seeded, and then two tests at one time draw the same


def free_port():
    """Return a port that nobody listens on."""
    while True:
        port = _chance.choice(_PORTS)
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
