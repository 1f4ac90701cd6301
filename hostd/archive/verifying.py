"""Whether a data folder, or a backup, holds what its index says: every file there, whole and unchanged, and none that nobody knows."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from hostd.archive import digests
from hostd.archive.archive import is_held
from hostd.archive.blobs import stored_at
from hostd.archive.inventory import Inventory, Named
from hostd.config.place import Place

_AT_ONCE = 500
_YOUNG_S = 3600.0
"""Seconds for which a file without a row is no finding while a node runs: it is being received."""

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class Findings:
    """What is wrong: names of files that are missing, changed (with how), or unknown to the index; and what the database says of the index."""

    files: int = 0
    size: int = 0
    missing: list[str] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict)
    orphans: list[str] = field(default_factory=list)
    index: list[str] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.missing or self.changed or self.orphans or self.index)


def verify(place: Path | Place, *, hashes: bool = True, progress: Progress = lambda _size, _total: None) -> Findings:
    """Look at every file; without `hashes` only at its size. Nothing is changed. Raises `NodeError` when there is no index."""
    place = Place.of(place)
    findings = Findings()
    try:
        with contextlib.closing(Inventory.of(place)) as inventory:
            findings.index = inventory.faults()
            total = inventory.size()
            progress(0, total)
            for named in inventory.files():
                _look(place, named, inventory, findings, hashes=hashes)
                progress(named.size, total)
            findings.orphans = sorted(_orphans(place, inventory))
    except DBAPIError as error:
        findings.index.append(f"the index cannot be read: {error.orig}")
    return findings


def _look(place: Place, named: Named, inventory: Inventory, findings: Findings, *, hashes: bool) -> None:
    path = stored_at(place, named.name)
    try:
        found = path.stat().st_size
        if found != named.size:
            findings.changed[named.name] = f"{found} bytes instead of {named.size}"
        elif hashes and not _is_as_stored(path, named):
            findings.changed[named.name] = "its content is not what was stored"
        else:
            findings.files += 1
            findings.size += named.size
    except FileNotFoundError:
        if inventory.among([named.name]):  # or it was removed in this moment
            findings.missing.append(named.name)
    except OSError as error:
        findings.changed[named.name] = f"it cannot be read: {error.strerror or error}"


def _is_as_stored(path: Path, named: Named) -> bool:
    with path.open("rb") as file:
        return digests.of_file(file, named.sha256) == named.sha256


def _orphans(place: Place, inventory: Inventory) -> Iterator[str]:
    runs, now = place.database is not None or is_held(place.data), time.time()  # of several nodes one may run anywhere
    stored = _stored(place)
    while names := list(islice(stored, _AT_ONCE)):
        known = inventory.among(names)
        for name in names:
            if name in known:
                continue
            with contextlib.suppress(FileNotFoundError):
                if not runs or now - stored_at(place, name).stat().st_mtime > _YOUNG_S:
                    yield name


def _stored(place: Place) -> Iterator[str]:
    for top, _, names in os.walk(place.blobs):
        for name in names:
            yield str(Path(top, name).relative_to(place.blobs))
