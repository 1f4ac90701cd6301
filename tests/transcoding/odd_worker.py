"""A codec worker whose codec misbehaves: run as `odd_worker.py BEHAVIOUR MARKER SOCKET MEMORY_BYTES`, or to be forked off.

It misbehaves as long as the file MARKER exists when it starts.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the code under test, which -I does not find by itself

from hostd.dicom import syntaxes
from hostd.transcoding import registry, worker
from hostd.transcoding.codecs import imagecodecs_jpeg2000

behaviour, marker = sys.argv[1:3]
del sys.argv[1:3]
honest = imagecodecs_jpeg2000.encode


def lie(frame, options):
    wrong = frame.copy()
    wrong[0, 0] ^= 1
    return honest(wrong, options)


def crash(frame, options):
    ctypes.string_at(0)


def hang(frame, options):
    while True:
        time.sleep(1)


def eat(frame, options):
    return bytearray(1 << 40)


def die_decoding(stream):
    ctypes.string_at(0)


def hang_decoding(stream):
    while True:
        time.sleep(1)


numbers = itertools.count(1)


def eat_second(frame, options):
    return bytearray(1 << 40) if next(numbers) == 2 else honest(frame, options)


def look(frame, options):
    """Fail, saying what of the world can be reached."""
    reached = []
    for name, reach in {
        "file": Path("/etc/passwd").read_bytes,
        "folder": lambda: list(Path("/").iterdir()),
        "new file": Path("/tmp/hostd-jail-test").touch,
        "process": os.fork,
        "socket": socket.socket,
        "signal": lambda: os.kill(os.getppid(), 0),
    }.items():
        try:
            reach()
        except OSError:
            continue
        reached.append(name)
    loaded = "numpy.random" in sys.modules
    raise RuntimeError(f"reached {reached}; has numpy's generator {loaded}; environment {sorted(os.environ)}")


def name_thread(frame, options):
    raise RuntimeError(f"thread {threading.get_native_id()}")


def babble(frame, options):
    os.write(connection, b"\xff" * 100)
    time.sleep(60)


def relabel():
    """Have every job done for another target than the host named."""
    true = worker.work.transcode
    other = worker.syntaxes.DEFLATED
    worker.work.transcode = lambda source, target, *rest, **more: true(source, other, *rest, **more)


def surplus():
    """Have more made of several than were asked for."""
    true = worker._several

    def more(job, others, descriptors):
        outcomes = true(job, others, descriptors).outcomes
        return worker.MadeSeveral((*outcomes, outcomes[0]))

    worker._several = more


def confuse():
    """Answer to several as to one."""
    true = worker._several
    worker._several = lambda job, others, descriptors: true(job, others, descriptors).outcomes[0]


kept = []


def keep():
    """Keep the result open, to write to it when it has been looked at."""
    true = worker._carried_out

    def keeping(job, others, descriptors, *rest):
        kept.append(os.dup(descriptors[-1]))
        return true(job, others, descriptors, *rest)

    worker._carried_out = keeping


def misbehave():
    if behaviour in ("relabel", "surplus", "confuse", "keep"):
        globals()[behaviour]()
    elif behaviour.endswith("decoding"):
        for codec in registry.decoders(syntaxes.JPEG2000_LOSSLESS):
            codec.decode = globals()[behaviour]
    else:
        imagecodecs_jpeg2000.encode = globals()[behaviour]


settle = worker.zygote.settle


def settle_and_misbehave(descriptor, what):
    global connection
    connection, memory_bytes = settle(descriptor, what)
    if Path(marker).exists():
        misbehave()
    return connection, memory_bytes


worker.zygote.settle = settle_and_misbehave
worker.main()
