"""Associations as rows of the archive."""

from __future__ import annotations

from dataclasses import asdict

from hostd.archive import associations
from hostd.archive.archive import Archive
from hostd.scp.log import AssociationClosed, AssociationOpened


class AssociationRows:
    """Writes what happens on the DICOM face into the archive's table."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def opened(self, facts: AssociationOpened) -> int:
        """Write the row of an association that begins, or is refused; return its number."""
        details = asdict(facts)
        columns = {key: details.pop(key) for key in ("at", "calling_aet", "called_aet", "ip", "port")}
        node = self._archive.node
        return self._archive.writer.do(
            lambda c: associations.open_row(c, **columns, facts=details, node=node), urgent=True
        )

    def closed(self, association_id: int, facts: AssociationClosed) -> None:
        """Complete the row."""
        columns = asdict(facts)
        size = columns.pop("bytes")
        self._archive.writer.do(
            lambda c: associations.close_row(c, association_id, **columns, size=size), topics=("event",)
        )
