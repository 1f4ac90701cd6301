"""How a lossy product of ingest is entered: as an instance of its own, with what was received as a version of it (P4).

Until its transcode has ended, what was put off stands under the identity that it was received with; then the instance that was made
takes over, and everything that is told comes once, about that. Other content under the same received identity becomes an instance
beside it, so that no content takes another's place.
"""

from __future__ import annotations

from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import Connection

from hostd.archive import attachments, derived, instances, labels, pending, receiving
from hostd.archive import tables as t
from hostd.archive.pending import Pending
from hostd.archive.receiving import Arrival, OnConflict, Outcome
from hostd.archive.records import Blob, Origin
from hostd.dicom.header import Header


def is_derived(source: Header, product: Header) -> bool:
    """Tell whether a product is another instance than its source."""
    return source.identity.instance != product.identity.instance


def beside(on_conflict: OnConflict) -> OnConflict:
    """Return what holds for content that is to become an instance of its own: it is refused, or displaces nothing."""
    return "refuse" if on_conflict == "refuse" else "first"


def take_in(
    connection: Connection,
    arrival: Arrival,
    on_conflict: OnConflict,
    product: Blob,
    header: Header,
    facts: dict[str, Any],
) -> Outcome | None:
    """Enter an arrival whose lossy product is made; None, and nothing is entered, where the product's identity is taken.

    A repeat of what stands under the received identity (since it could not be transcoded once, or before ingest was lossy) stays one.
    """
    source = arrival.header.identity.instance
    on_conflict = beside(on_conflict)
    foreseen = receiving.foresee(connection, source, arrival.content, on_conflict, arrival.is_there)
    if foreseen not in receiving.KEPT or receiving.holds(connection, source, arrival.content):
        return receiving.take_in(connection, arrival, on_conflict)
    if receiving.is_taken(connection, header.identity.instance, arrival.content):
        return None
    outcome = receiving.take_in(connection, receiving.as_product(arrival, header, product, facts), on_conflict)
    derived.note(connection, arrival.header, arrival.content, header)
    if outcome in receiving.KEPT:
        instances.add_blob(connection, arrival.blob, arrival.at)
        _keep_original(connection, arrival, header, arrival.at, is_kept=arrival.keep_original)
        _change(connection, header.identity.instance, {derived.MODIFIED_FROM: source}, [])
    return outcome


def finish(
    connection: Connection, row: Pending, product: Blob, header: Header, facts: dict[str, Any], at: float
) -> Literal["made", "made before", "taken", "superseded"]:
    """End what is pending with the instance that was made of it, which takes over from the one that stood for it.

    "made before": the instance is there already, and the product is not wanted; "taken": other content has its identity;
    "superseded": what was received is not there any more. For the last two nothing was done.
    """
    received = Header.decode(row.header)
    source, made = received.identity.instance, header.identity.instance
    current = connection.execute(
        sa.select(t.instance.c.metadata).where(t.instance.c.id == source, t.instance.c.blob == row.blob.name)
    ).first()
    labelled = labels.of(connection, "instance", source) if current is not None else []
    of_version = t.version.c.blob == row.blob.name
    if current is None and connection.execute(sa.select(t.version.c.id).where(of_version)).first() is None:
        return "superseded"
    if receiving.is_taken(connection, made, row.content):
        return "taken"
    pending.forget(connection, row.number)
    # Its quiet time began when it came.
    arrival = Arrival(received, row.blob, row.content, row.origin, at, quiet_s=0.0)
    outcome = receiving.take_in(connection, receiving.as_product(arrival, header, product, facts), "first")
    connection.execute(sa.update(t.instance).where(t.instance.c.id == made).values(received_at=row.at))
    derived.note(connection, received, row.content, header)
    if current is None:
        connection.execute(sa.delete(t.version).where(of_version))
    else:
        _vacate(connection, source, made)
    _keep_original(connection, arrival, header, row.at, is_kept=row.keep_original)
    own = current.metadata if current is not None else {}
    _change(connection, made, {**own, derived.MODIFIED_FROM: source}, labelled)
    return "made" if outcome in receiving.KEPT else "made before"


def _vacate(connection: Connection, source: str, made: str) -> None:
    """Let the received identity go: its versions move along, but what is itself pending takes the place that is left."""
    query = (
        sa.select(t.ingest.c.header, t.version)
        .join(t.version, t.version.c.blob == t.ingest.c.blob)
        .where(t.version.c.instance == source)
        .order_by(t.ingest.c.id)
        .limit(1)
    )
    heir = connection.execute(query).first()
    still_pending = sa.select(t.ingest.c.blob)
    connection.execute(
        sa.update(t.version)
        .where(t.version.c.instance == source, t.version.c.blob.not_in(still_pending))
        .values(instance=made)
    )
    if heir is None:
        labels.forget(connection, "instance", source)
        attachments.forget(connection, "instance", source)
        connection.execute(sa.delete(t.instance).where(t.instance.c.id == source))
        return
    connection.execute(sa.delete(t.version).where(t.version.c.id == heir.id))
    receiving.put_in_place(
        connection, Header.decode(heir.header), heir.blob, heir.received_sha256, Origin(**heir.origin), heir.received_at
    )


def _keep_original(
    connection: Connection, arrival: Arrival, product: Header, received_at: float, *, is_kept: bool
) -> None:
    """Make what was received a version of its product, in the place of one that is missing; or let go of it."""
    instance = product.identity.instance
    of_original = (
        t.version.c.instance == instance,
        t.version.c.received_sha256 == arrival.content,
        t.version.c.is_original,
    )
    earlier = connection.execute(sa.select(t.version.c.blob).where(*of_original)).scalars().all()
    connection.execute(sa.delete(t.version).where(*of_original))
    instances.release(connection, [*earlier, *([] if is_kept else [arrival.blob.name])])
    if is_kept:
        connection.execute(
            sa.insert(t.version).values(
                instance=instance,
                blob=arrival.blob.name,
                received_sha256=arrival.content,
                origin=arrival.origin.to_json(),
                received_at=received_at,
                at=arrival.at,
                is_original=True,
            )
        )


def _change(connection: Connection, instance: str, metadata: dict[str, str], labelled: list[str]) -> None:
    where = t.instance.c.id == instance
    row = connection.execute(sa.select(t.instance.c.metadata).where(where)).one()
    connection.execute(sa.update(t.instance).where(where).values(metadata={**row.metadata, **metadata}))
    labels.add(connection, "instance", instance, labelled)
