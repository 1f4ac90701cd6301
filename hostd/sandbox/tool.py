"""Becomes an external tool, behind the wall of `hostd.sandbox.jail.confine`: run by `hostd.transcoding.tools` in a process of its own.

The only argument is JSON, the `Order` of that module as a table. What became of it is said over the descriptor `report`, in
JSON: the layers in force, and then nothing more, or why the program could not be started.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

_NICENESS = 10


def main() -> None:
    """Confine this process, then execute the command; returns only where that fails."""
    order = json.loads(sys.argv[1])
    sys.path.insert(0, order["code"])
    from hostd.sandbox import jail  # noqa: PLC0415 - found only now

    report = order["report"]
    os.set_inheritable(report, False)
    os.nice(_NICENESS)
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python; a program inherits that, and others do not expect it
        signal.signal(ignored, signal.SIG_DFL)
    paths = dict.fromkeys(map(Path, order["reads"]), jail.READ) | dict.fromkeys(map(Path, order["writes"]), jail.WRITE)
    try:
        layers = jail.confine(
            memory_bytes=order["memory_bytes"],
            cpu_seconds=order["cpu_seconds"],
            open_files=order["open_files"],
            file_bytes=order["file_bytes"],
            processes=order["processes"],
            paths=paths,
            network=order["network"],
        )
        os.write(report, json.dumps({"layers": layers}).encode() + b"\n")
        os.execve(order["command"][0], order["command"], order["environment"])  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(report, json.dumps({"errno": error.errno, "reason": error.strerror}).encode() + b"\n")
        sys.exit(127)


if __name__ == "__main__":
    main()
