"""Starts the processes of script workers. It imports little, so that a node's first workers start while the rest of it is still imported."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from hostd.errors import ScriptError
from hostd.launcher import Launcher, Process
from hostd.sandbox import frames
from hostd.sandbox.channel import Channel

_BOOTSTRAP = (
    "import gc; gc.disable(); import sys; sys.path += sys.argv[3:]; sys.modules['typing_extensions'] = None; "
    "from hostd.sandbox.worker import main; main(int(sys.argv[1]), sys.argv[2])"
)
"""msgspec does without typing_extensions where there is none."""


class WorkerLost(ScriptError):  # noqa: N818 - says what became of the worker, not what is wrong with the script
    """A worker is gone: killed after its time, out of memory, dead, or sent what no honest worker sends. Start another."""


@dataclass(frozen=True, slots=True)
class WorkerProcess:
    """A process that runs `hostd.sandbox.worker`, and the connection to it; it waits for its script."""

    process: Process
    channel: Channel


def launcher() -> Launcher:
    """Return what starts the processes of scripts. They inherit one descriptor and nothing else: no environment, no folder, no terminal.

    Raises `WorkerLost` where a package is missing.
    """
    # -I -S and explicit folders, so that a wheel, an editable install and a checkout start the same way, and no
    # code of other packages' .pth files runs in the worker.
    return Launcher((sys.executable, "-I", "-S", "-B", "-c", _BOOTSTRAP), _folders(), {}, own_session=True)


def start(name: str, memory_bytes: int, forked_by: Launcher | None = None) -> WorkerProcess:
    """Start the process of a script, one that is forked off nothing where nobody is named to do that.

    Raises `WorkerLost` when it cannot be started.
    """
    try:
        process, ours = forked_by.start(memory_bytes) if forked_by else launcher().start_alone(memory_bytes)
    except OSError as error:
        raise WorkerLost(f"no worker could be started for {name}: {error}") from error
    return WorkerProcess(process, Channel(ours, frames.FromWorker, max_receive=frames.MAX_RESULT))


def _folders() -> list[str]:
    """Return the folders that hold what the worker imports beyond the standard library."""
    folders = []
    for package in ("hostd", "msgspec", "RestrictedPython"):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise WorkerLost(f"the package {package} is not installed, which script workers need")
        folders.append(str(Path(spec.origin).resolve().parent.parent))
    return list(dict.fromkeys(folders))
