"""Exchanging the file of an instance for the same image in another transfer syntax (P4): by compare-and-set, the old one kept as a version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import levels
from hostd.archive import tables as t
from hostd.archive.tasks import Task


def swap(
    connection: Connection, task: Task, blob: str, header: bytes, receipt: dict[str, Any], at: float
) -> dict[str, Any]:
    """Make `blob`, which a receipt proves to be the same image, the current file of a task's instance; return what became of it.

    Only while the instance has the file that the task is about: what came later under the same identity was not meant. The image is the
    same, so that events which came before go on to mean it, and a delivery that was asked for before sends the file that it named.
    """
    current = t.instance.c.id == task.instance, t.instance.c.blob == task.blob
    row = connection.execute(sa.select(t.instance).where(*current)).first()
    if row is None:
        return {"outcome": "superseded", "reason": "the instance was deleted or replaced meanwhile"}
    connection.execute(
        sa.insert(t.version).values(
            instance=row.id, blob=row.blob, received_sha256=row.received_sha256, origin=row.origin,
            received_at=row.received_at, at=at, is_original=True,
        )
    )  # fmt: skip
    connection.execute(
        sa.update(t.blob).where(t.blob.c.name == blob).values(released=False, recycled=False, unpinned_at=None)
    )
    swapped = connection.execute(sa.update(t.instance).where(*current).values(blob=blob))
    assert swapped.rowcount == 1, "the current blob changed inside one transaction"
    levels.changed(connection, row.id, at, "content", by=task.script, hops=task.hops, header=header, receipt=receipt)
    return {"outcome": "replaced", "ratio": receipt["ratio"], "transfer_syntax": receipt["result_syntax"]}
