"""Where an archive is: what a node, and a command that looks at it, must know to find it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Place:
    """`data` is this node's own folder, `blobs` that of the files, which nodes may share.

    `database` is the SQLAlchemy URL of a PostgreSQL database, with its password; None: SQLite in `data`.
    """

    data: Path
    blobs: Path
    database: str | None = field(default=None, repr=False)

    @staticmethod
    def of(data: Path | Place) -> Place:
        """Return the place of a node that keeps everything in one folder."""
        return data if isinstance(data, Place) else Place(data, data / "blobs")
