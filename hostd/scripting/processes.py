"""Starts the processes of script workers. It imports little, so that a node's first workers start while the rest of it is still imported."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hostd.errors import ScriptError
from hostd.sandbox import frames

_BOOTSTRAP = (
    "import gc; gc.disable(); import sys; sys.path += sys.argv[3:]; sys.modules['typing_extensions'] = None; "
    "from hostd.sandbox.worker import main; gc.freeze(); gc.enable(); main(int(sys.argv[1]), int(sys.argv[2]))"
)
"""What is imported stays: the collector would look at it again and again. msgspec does without typing_extensions where there is none."""
AHEAD = min(2 * len(os.sched_getaffinity(0)), 8)
"""Workers that may be starting at one time, so that no processor waits."""
_NO_SCRIPT = "(no script)"


class WorkerLost(ScriptError):  # noqa: N818 - says what became of the worker, not what is wrong with the script
    """A worker is gone: killed after its time, out of memory, dead, or sent what no honest worker sends. Start another."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process that runs `hostd.sandbox.worker`, and the connection to it. It may use so much memory, and waits for its script."""

    process: subprocess.Popen[bytes]
    channel: frames.Channel
    memory_bytes: int


def start(name: str, memory_bytes: int) -> WorkerProcess:
    """Start the process of a script. It inherits one descriptor and nothing else: no environment, no folder, no terminal.

    Raises `WorkerLost` when it cannot be started.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        # -I -S and explicit folders, so that a wheel, an editable install and a checkout start the same way, and no
        # code of other packages' .pth files runs in the worker.
        command = [
            *(sys.executable, "-I", "-S", "-B", "-c", _BOOTSTRAP),
            *(str(theirs.fileno()), str(memory_bytes)),
            *_folders(),
        ]
        try:
            process = subprocess.Popen(
                command, env={}, cwd="/", pass_fds=(theirs.fileno(),), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise WorkerLost(f"no worker could be started for {name}: {error}") from error
    return WorkerProcess(process, frames.Channel(ours, frames.FromWorker, max_receive=frames.MAX_RESULT), memory_bytes)


def started_ahead(folder: Path, memory_mb: Mapping[str, int], otherwise_mb: int) -> list[WorkerProcess]:
    """Start the processes of a folder's first scripts, before it is known whether these are to run; where it has none, one to see the jail by.

    `memory_mb` is what some scripts may use (MiB); the others may use `otherwise_mb`. Raises `WorkerLost` when one cannot be started.
    """
    names = sorted(path.name for path in folder.glob("[!._]*.py"))[:AHEAD] or [_NO_SCRIPT]
    return [start(name, memory_mb.get(name, otherwise_mb) << 20) for name in names]


def _folders() -> list[str]:
    """Return the folders that hold what the worker imports beyond the standard library."""
    folders = []
    for package in ("hostd", "msgspec", "RestrictedPython"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise WorkerLost(f"the package {package} is not installed, which script workers need")
        folders.append(str(Path(spec.origin).resolve().parent.parent))
    return list(dict.fromkeys(folders))
