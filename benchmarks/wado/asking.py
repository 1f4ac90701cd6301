"""Asking one server for the same things again and again, over kept connections."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.receive.servers import Server

_PIECE = 1 << 18
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: `path` may have the words of an instance (`Stored`) in braces; it is asked of every instance, or of the `series` once."""

    name: str
    path: str
    accept: str = "*/*"
    series: bool = False


_INSTANCE = "/dicom-web/studies/{study}/series/{series}/instances/{instance}"
QUESTIONS = (
    Question("`/instances/{id}/file`", "/instances/{id}/file"),
    Question("WADO-RS, an instance as stored", _INSTANCE, 'multipart/related; type="application/dicom"; transfer-syntax=*'),
    Question("WADO-RS, a frame", _INSTANCE + "/frames/1", 'multipart/related; type="application/octet-stream"'),
    Question("WADO-RS, metadata of an instance", _INSTANCE + "/metadata", "application/dicom+json"),
    Question(
        "WADO-RS, a series as stored",
        "/dicom-web/studies/{study}/series/{series}",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        series=True,
    ),
    Question(
        "WADO-RS, metadata of a series", "/dicom-web/studies/{study}/series/{series}/metadata", "application/dicom+json", series=True
    ),
)  # fmt: skip


class Asking:
    """One kept connection to a server."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)

    def get(self, path: str, accept: str) -> int:
        """Return how many bytes the answer has. Raises `RuntimeError` where it is no success."""
        self._http.request("GET", path, headers={"Accept": accept})
        answer = self._http.getresponse()
        length = 0
        while piece := answer.read(_PIECE):
            length += len(piece)
        if answer.status != 200:
            raise RuntimeError(f"{path} was answered with {answer.status}")
        return length

    def close(self) -> None:
        """Close the connection."""
        self._http.close()


def store(server: Server, files: Sequence[Path]) -> list[dict[str, str]]:
    """Upload files; return the words by which each is asked for."""
    server.wait_for_http()
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=_PATIENCE_S)
    found = []
    for file in files:
        stored = _json(connection, "POST", "/instances", file.read_bytes())
        tags = _json(connection, "GET", f"/instances/{stored['ID']}/tags?simplify")
        found.append(
            {
                "id": stored["ID"],
                "series_id": stored["ParentSeries"],
                "study": tags["StudyInstanceUID"],
                "series": tags["SeriesInstanceUID"],
                "instance": tags["SOPInstanceUID"],
            }
        )
    connection.close()
    return found


def _json(connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None) -> dict[str, str]:
    connection.request(method, path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise RuntimeError(f"{method} {path} was answered with {answer.status}: {content[:300]!r}")
    found: dict[str, str] = json.loads(content)
    return found


def seconds(port: int, question: Question, stored: Sequence[dict[str, str]], clients: int) -> float:
    """Return how long one answer takes, with so many clients that ask at one time; every instance is asked for by each."""
    paths = [question.path.format(**one) for one in (stored[:1] if question.series else stored)]
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            asking = Asking(port)
            for path in paths:
                asking.get(path, question.accept)
            asking.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    if failures:
        raise failures[0]
    return took / (len(paths) * clients)
