"""One codec worker as the host sees it: a process that does one job at a time, and is ended when it takes too long or says what it should not."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from typing import TypeVar

import msgspec

from hostd.errors import CannotTranscodeError, CodecCrashedError, WrongPixelsError
from hostd.launcher import Launcher
from hostd.sandbox.channel import Channel, FrameError
from hostd.transcoding.leisure import put_last
from hostd.transcoding.messages import (
    MAX_MESSAGE,
    Compared,
    Drawn,
    Failed,
    FromWorker,
    Hash,
    Made,
    MadeSeveral,
    Measured,
    Picture,
    Ready,
)

_START_LIMIT_S = 60.0
Done = TypeVar("Done", Made, MadeSeveral, Hash, Measured, Compared, Drawn, Picture)
"""How a job ends that did not fail."""


class CodecWorker:
    """One codec process, which enters its jail, and is ready, before this returns; it may have so much memory. Not for use by several threads, except `kill`."""

    def __init__(self, launcher: Launcher, memory_bytes: int) -> None:
        self._process, connection = launcher.start(memory_bytes)
        self._channel = Channel(connection, FromWorker, max_receive=MAX_MESSAGE)
        self.is_usable = False
        self._deadline = 0.0
        """By when the job that was begun has to be done, by the monotonic clock."""
        self.layers: dict[str, int] = {}
        try:
            reply = self._reply(time.monotonic() + _START_LIMIT_S)
            if not isinstance(reply, Ready):
                raise CodecCrashedError("the codec worker did not start as it should")
            self.layers = reply.layers
            put_last(self._process.pid, reply.leisure)
        except BaseException:
            self.end()
            raise
        self.is_usable = True

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid

    def is_alive(self) -> bool:
        """Tell whether the process runs."""
        return self._process.poll() is None

    def run(self, job: msgspec.Struct, descriptors: list[int], time_limit_s: float, answer: type[Done]) -> Done:
        """Do one job, and return its answer, which is of that type. Raises what the worker reports; after `CodecCrashedError` the worker is not usable."""
        self.begin(job, descriptors, time_limit_s)
        return self.finish(answer)

    def begin(self, job: msgspec.Struct, descriptors: list[int], time_limit_s: float) -> None:
        """Have the worker begin with a job, which `finish` waits for: at most so long from now. Raises `CodecCrashedError`."""
        self.is_usable = False  # until it is known how this job ended
        self._deadline = time.monotonic() + time_limit_s
        self._channel.settimeout(time_limit_s)
        try:
            self._channel.send(job)
            self._channel.send_descriptors(descriptors)
        except TimeoutError as error:
            raise self._too_long() from error
        except OSError as error:
            raise CodecCrashedError(f"the codec worker is gone ({self._ending()}); nothing was done") from error

    def finish(self, answer: type[Done]) -> Done:
        """Return how the job that was begun ended. Raises as `run` does."""
        reply = self._reply(self._deadline)
        if isinstance(reply, Failed):
            self.is_usable = reply.leaves_usable
            raise _error_of(reply)
        if not isinstance(reply, answer):
            raise CodecCrashedError("the codec worker gave an answer to another question")
        self.is_usable = not isinstance(reply, MadeSeveral) or reply.leaves_usable
        return reply

    def kill(self) -> None:
        """End the process at once, from any thread."""
        self._process.kill()

    def end(self) -> None:
        """Close the connection, end the process and take its exit status."""
        self._channel.close()
        self._process.kill()
        self._process.wait()

    def _reply(self, deadline: float) -> FromWorker:
        """Return what the worker says by the deadline (seconds of the monotonic clock), and end it when it has not."""
        try:
            reply: FromWorker = self._channel.receive(deadline=deadline)
        except FrameError as error:
            self._process.kill()
            raise CodecCrashedError(f"the codec worker sent what it should not: {error}") from error
        except TimeoutError as error:
            raise self._too_long() from error
        except (EOFError, OSError) as error:
            raise CodecCrashedError(f"the codec worker died on this file ({self._ending()})") from error
        return reply

    def _too_long(self) -> CodecCrashedError:
        self._process.kill()
        return CodecCrashedError("the codec took longer than it may, and was ended")

    def _ending(self) -> str:
        try:
            status = self._process.wait(5)
        except subprocess.TimeoutExpired:
            return "it closed the connection"
        if status >= 0:
            return f"exit status {status}"
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-status).name}"
        return f"ended by signal {-status}"


def _error_of(failed: Failed) -> Exception:
    """Return what is to be raised for what a worker says."""
    match failed.kind:
        case "cannot":
            return CannotTranscodeError(failed.message)
        case "wrong":
            return WrongPixelsError(failed.message)
        case "memory":
            return CodecCrashedError(failed.message)
        case "system":
            return OSError(failed.number, failed.message)
        case "defect":
            return CodecCrashedError(f"the codec worker failed in a way that it should not: {failed.message}")
