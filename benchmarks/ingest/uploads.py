"""Uploads by HTTP, POST /instances, over one connection and over several: hostd beside Orthanc."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.receive import made
from benchmarks.receive.made import Size
from benchmarks.receive.rounds import Sample
from benchmarks.receive.servers import Server

SIZES = (replace(made.SMALL, count=200), replace(made.CT, count=120), replace(made.LARGE, count=8))
CONNECTIONS = (1, 4)
_PATIENCE_S = 300.0


@dataclass(frozen=True, slots=True)
class Case:
    """Instances of one size, over so many connections at once."""

    size: Size
    connections: int


Cells = dict[tuple[Case, str], list[Sample]]


def measured(
    folder: Path, sizes: Sequence[Size], rounds: int, servers: Sequence[type[Server]], say: Callable[[str], None]
) -> Cells:
    """Measure all cases. Raises `RuntimeError` when not all that was sent is stored."""
    cases = [Case(size, count) for size in sizes for count in CONNECTIONS]
    folders = {
        case: made.made(folder / f"files{number}", case.size, case.connections) for number, case in enumerate(cases)
    }
    cells: Cells = {(case, server.name): [] for case in cases for server in servers}
    for number in range(rounds):
        running = [server(folder / server.name) for server in servers]
        try:
            expected = 0
            for case in cases:
                parts = [[file.read_bytes() for file in sorted(one.iterdir())] for one in folders[case]]
                expected += sum(map(len, parts))
                for server in running if number % 2 == 0 else running[::-1]:
                    sample = _upload(server, parts)
                    cells[case, server.name].append(sample)
                    say(
                        f"round {number + 1}, {case.size.name}, {case.connections} connections, {server.name}: {sample.rate:.1f}/s"
                    )
                    if (stored := server.stored()) != expected:
                        raise RuntimeError(f"{server.name} holds {stored} of {expected} instances")
        finally:
            for server in running:
                server.stop()
    return cells


def _upload(server: Server, parts: Sequence[Sequence[bytes]]) -> Sample:
    """Upload each part over a connection of its own, all at once. Raises `RuntimeError` when one was not answered by 200."""
    failed = list[str]()
    server.wait_for_http()
    threads = [threading.Thread(target=_post, args=(server.http_port, part, failed)) for part in parts]
    cpu, began = server.cpu_s(), time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sample = Sample(time.monotonic() - began, server.cpu_s() - cpu, sum(map(len, parts)))
    if failed:
        raise RuntimeError(f"{server.name} refused an upload: {failed[0]}")
    return sample


def _post(port: int, files: Sequence[bytes], failed: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        for file in files:
            connection.request("POST", "/instances", body=file, headers={"Content-Type": "application/dicom"})
            answer = connection.getresponse()
            said = answer.read()
            if answer.status != http.HTTPStatus.OK:
                failed.append(f"{answer.status} {said[:200]!r}")
    except (OSError, http.client.HTTPException) as error:
        failed.append(repr(error))
    finally:
        connection.close()
