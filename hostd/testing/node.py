"""A whole node for a test, on free ports of this machine."""

from __future__ import annotations

import io
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hostd.archive import deliveries, scripts
from hostd.archive.archive import Archive
from hostd.archive.records import Delivery
from hostd.config.settings import Settings
from hostd.dicom.part10 import data_set_offset
from hostd.dimse import scu
from hostd.node import Node
from hostd.scripting.folder import read_source
from hostd.testing.instances import Sample

_PATIENCE_S = 60.0


class TestedNode:
    """A node that runs. Its scripts are copies in a folder of its own."""

    __test__ = False  # pytest would take it for tests, by its name

    def __init__(
        self,
        folder: Path,
        sources: Sequence[Path],
        settings: Callable[[Mapping[str, Any]], Settings],
        given: Mapping[str, Any],
    ) -> None:
        self.scripts = folder / "scripts"
        """Where its scripts are: an edit there is taken up while it runs."""
        self.scripts.mkdir(parents=True, mode=0o700)
        for source in sources:
            shutil.copy(source, self.scripts / source.name)
        data = folder / "data"
        own = {
            "node": {"data": data, "scripts": self.scripts, "min_free_mb": 0},
            "dicom": {"port": 0},
            "http": {"port": 0},
            "delivery": {"first_retry_s": 0.2, "max_retry_s": 1.0},
        }
        self._node = Node(settings(own | dict(given)))
        self._node.start()
        for source in sources:
            self.until(partial(self._runs, source.name), f"{source.name} runs")

    @property
    def archive(self) -> Archive:
        """Its index and files."""
        return self._node.archive

    def receive(self, *instances: Sample) -> None:
        """Send it instances by C-STORE, each as its origin says. Raises `AssertionError` when one is refused."""
        assert self._node.dicom is not None
        for instance in instances:
            content = instance.file.read_bytes()
            start = data_set_offset(io.BytesIO(content))
            ds = instance.dataset
            kind, uid = str(ds.SOPClassUID), str(ds.SOPInstanceUID)
            body = content[start.offset :]
            with scu.connect(
                "127.0.0.1",
                self._node.dicom.port,
                calling_aet=instance.origin.calling_aet or "MODALITY",
                called_aet=instance.origin.called_aet or "HOSTD",
                contexts=[(kind, [start.transfer_syntax_uid])],
            ) as association:
                answer = association.store(kind, uid, start.transfer_syntax_uid, io.BytesIO(body), len(body))
            assert answer.status == 0, f"the node refused {uid} with status {answer.status:#06x}: {answer.comment}"

    def deliveries(self) -> list[Delivery]:
        """Return all its deliveries, newest first."""
        with self.archive.read() as connection:
            return deliveries.listing(connection, states=(), limit=10_000)

    def until(self, condition: Callable[[], object], what: str, *, timeout_s: float = _PATIENCE_S) -> None:
        """Wait until a condition holds. Raises `AssertionError` after the time."""
        ends = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > ends:
                raise AssertionError(f"not in {timeout_s:g} s: {what}")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it in order."""
        self._node.stop()

    def _runs(self, name: str) -> bool:
        wanted = read_source(self.scripts / name).hash
        with self.archive.read() as connection:
            known = scripts.find(connection, name)
        if known is not None and known.error is not None:
            raise AssertionError(f"{name} was not taken: {known.error}")
        return known is not None and known.version == wanted and known.state == "running"
