"""The process that runs one version of one script: enter the jail, take the script, answer events until the connection ends.

Started by `hostd.scripting.processes` with an empty environment and one open descriptor. Everything is imported before the
jail closes; the first byte that a stranger wrote is read after.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import socket
import sys
import threading
import warnings
from typing import Any, NoReturn

import msgspec

from hostd.sandbox import facades, frames, jail, zygote
from hostd.sandbox.channel import Channel, FrameError, encoded
from hostd.sandbox.refusals import ValueTooLarge
from hostd.sandbox.script import RefusedScriptError, Script

_RESERVE_BYTES = 4 << 20
_M_ARENA_MAX = -8  # malloc.h


class _Conversation:
    """The worker's side: frames in turn, and questions in the middle of a run."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._questions = 0

    def ask(
        self,
        path: list[int],
        verb: frames.Verb = "value",
        of: str = "",
        about: str = "",
        more: dict[str, Any] | None = None,
        actions: list[frames.Makes] | None = None,
    ) -> list[Any]:
        """Ask the host. Raises `ValueTooLarge`, or `ValueError` with the host's reason."""
        self._questions += 1
        self._channel.send(frames.Question(self._questions, verb, path, of, about, more or {}, actions or []))
        answer = self._channel.receive()
        if not isinstance(answer, frames.Answer) or answer.id != self._questions:
            os._exit(frames.EXIT_PROTOCOL)  # not an exception: a script's bare `except` would catch it
        if answer.error is not None:
            raise (ValueTooLarge if answer.too_large else ValueError)(answer.error)
        return msgspec.convert(answer.value, list[Any])

    def serve(self) -> int:
        """Load the script and run events until the host closes the connection; return the exit code."""
        load = self._channel.receive()
        if not isinstance(load, frames.Load):
            return frames.EXIT_PROTOCOL
        try:
            script = Script(load)
        except RefusedScriptError as refused:
            self._channel.send(frames.Refused(refused.problems))
            return frames.EXIT_DONE
        self._channel.send(
            frames.Ready(script.handlers, script.findings, script.load_log, script.handles, script.schedules)
        )
        while True:
            event = self._channel.receive()
            if isinstance(event, frames.Filter):
                self._channel.send_encoded(_within_limit(script.judge(event, self.ask)))
            elif isinstance(event, frames.Event):
                self._channel.send_encoded(_within_limit(script.run(event, self.ask)))
            else:
                return frames.EXIT_PROTOCOL


def _within_limit(result: frames.Result | frames.Verdict) -> bytes:
    """Return what is to be sent of a result, encoded: a failure where it is too large."""
    body = encoded(result)
    if len(body) <= frames.MAX_RESULT:
        return body
    reason = f"what this run asked for takes {len(body)} bytes, over the limit of {frames.MAX_RESULT}"
    failure = frames.Failure("TooManyActions", reason)
    if isinstance(result, frames.Verdict):
        return encoded(frames.Verdict(result.id, "accept", [], [], failure=failure))
    return encoded(frames.Result(result.id, [], [], [], failure))


def _leave_with_the_host(descriptor: int) -> None:
    """End this process when the other end of the connection is gone, also in the middle of a script's endless loop."""
    hang_up = select.poll()
    hang_up.register(descriptor, 0)  # reports only that the other side has closed
    hang_up.poll()
    os._exit(frames.EXIT_DONE)


def main(descriptor: int, what: str) -> NoReturn:
    """Run as a worker on an open socket, or as what workers are forked off (`zygote.settle`). Never returns."""
    facades.preload()
    warnings.simplefilter("ignore")  # showing one would open a file
    sys.unraisablehook = _say_nothing
    descriptor, memory_bytes = zygote.settle(descriptor, what)
    channel = Channel(socket.socket(fileno=descriptor), frames.FromHost, max_receive=frames.MAX_FRAME)
    # The C library would set 64 MiB of address space aside for the second thread, out of what the script may use.
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    threading.stack_size(256 << 10)
    threading.Thread(target=_leave_with_the_host, args=(descriptor,), daemon=True).start()
    layers = jail.enter(
        memory_bytes=memory_bytes, open_files=descriptor + 2, file_bytes=0
    )  # Landlock needs one for a moment
    reserve = [bytes(_RESERVE_BYTES)]
    try:
        channel.send(frames.Hello(layers))
        code = _Conversation(channel).serve()
    except (EOFError, OSError):
        code = frames.EXIT_DONE  # the host is gone or has closed: that is how a worker is told to leave
    except FrameError:
        code = frames.EXIT_PROTOCOL
    except MemoryError:
        reserve.clear()
        code = frames.EXIT_MEMORY
    os._exit(code)  # not sys.exit: a script's leftovers get no turn


def _say_nothing(_: object) -> None:
    """Stand in for the traceback that Python prints when a leftover of a script fails: there is nowhere to print it."""
