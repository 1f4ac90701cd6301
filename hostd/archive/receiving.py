"""Taking an instance in: what came becomes the current content, a version, a repeat, or is refused, each with its event (P1, P2)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection, Row

from hostd.archive import (
    attachments,
    catalogue,
    derived,
    events,
    filterings,
    instances,
    labels,
    levels,
    pending,
    removal,
    rows,
)
from hostd.archive import tables as t
from hostd.archive.filterings import Filtering
from hostd.archive.records import NOBODY, Blob, Origin
from hostd.dicom.header import Header
from hostd.dicom.main_tags import main_tags

OnConflict = Literal["newest", "first", "refuse"]
Outcome = Literal["stored", "already stored", "replaced", "kept as version", "refused"]


KEPT: frozenset[Outcome] = frozenset(("stored", "replaced", "kept as version"))
"""Outcomes after which the file that came is wanted."""
CURRENT: frozenset[Outcome] = frozenset(("stored", "replaced"))
"""Outcomes after which what came is the current content."""

IsThere = Callable[[str, int], bool]
"""Tells whether a file of the archive, by its name, is there with so many bytes."""


def assumed(_name: str, _size: int) -> bool:
    """Take it that a file is there of which the index says so."""
    return True


INGEST_FAILED = "IngestTranscodingFailed"
"""Metadata of an instance whose current file could not be transcoded on ingest: the reason."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An instance that has come in: its header, its file, the SHA-256 of its data set as received, whence and when.

    `receipt` says how its transcode on ingest ended, where there was one. `put_off_for` is the transfer syntax (UID) that it is being
    brought to: the event of what is kept then waits until that has ended; `options` and `keep_original` are as in `pending.Pending`.
    `filtering` is what filters did with it, where they did anything; `header` and `blob` are then as they changed it. `quiet_s` is the
    quiet time, in seconds, after which its series, study and patient are stable. What is `silent` is told to no script, and nothing begins
    with it: its event is for `NOBODY`, and a repeat has none. `file` is the path that it was imported from. `is_there` is asked for the
    file that is stored already, where an arrival is a repeat: its sender will forget the only copy.
    """

    header: Header
    blob: Blob
    content: str
    origin: Origin
    at: float
    receipt: dict[str, Any] | None = None
    put_off_for: str | None = None
    filtering: Filtering | None = None
    quiet_s: float = 60.0
    options: str | None = None
    keep_original: bool = True
    silent: bool = False
    file: str | None = None
    is_there: IsThere = assumed


def as_product(arrival: Arrival, header: Header, product: Blob, facts: dict[str, Any]) -> Arrival:
    """Return an arrival whose transcode has ended, as what was made of it, with its receipt."""
    return replace(arrival, header=header, blob=product, receipt=facts)


def is_known(connection: Connection, instance: str) -> bool:
    """Tell whether an instance is stored, or something that was made of it."""
    return bool(_KNOWN.rows(connection, instance=instance))


def foresee(
    connection: Connection, instance: str, content: str, on_conflict: OnConflict, is_there: IsThere = assumed
) -> Outcome:
    """Tell what `take_in` would answer for that content of an instance, if it were asked now."""
    if not is_known(connection, instance):
        return "stored"
    made = derived.find(connection, instance, content)
    if made is not None and is_there(made.blob, made.size):
        return "already stored"
    return _foresee(connection, instance, content, on_conflict, is_there)


def _foresee(
    connection: Connection, instance: str, content: str, on_conflict: OnConflict, is_there: IsThere
) -> Outcome:
    present = _present(connection, instance)
    if present is None:
        is_other = derived.is_source(connection, instance, other_than=content)
        return "refused" if on_conflict == "refuse" and is_other else "stored"
    if present.received_sha256 == content:
        return _of_repeat(connection, present.blob, is_there)
    if on_conflict == "refuse":
        return "refused"
    if on_conflict == "newest":
        return "replaced"
    known = _version(connection, instance, content)
    return _of_repeat(connection, known.blob, is_there) if known else "kept as version"


def _of_repeat(connection: Connection, stored: str, is_there: IsThere) -> Outcome:
    blob = connection.execute(_BLOB, {"name": stored}).one()
    return "already stored" if blob.state != "missing" and is_there(stored, blob.size) else "stored"


def take_in(connection: Connection, arrival: Arrival, on_conflict: OnConflict) -> Outcome:
    """Enter an arrival with its event.

    A repeat of the same data set changes nothing but the log. Other content under the same identity becomes the current one
    ("newest"), a version beside it ("first"), or is not kept ("refuse"). A repeat of what is known but whose file is missing is
    "stored": it takes the place of the missing file. The file is wanted when the outcome is one of `KEPT`. What a lossy ingest
    made an instance of (`derived`) is a repeat too: of that instance.
    """
    identity = arrival.header.identity.instance
    if arrival.filtering is not None:
        filterings.enter(connection, arrival.filtering, identity)
    if not is_known(connection, identity):
        _take_in_new(connection, arrival)
        return "stored"
    again = _made_before(connection, arrival)
    if again is not None:
        _tell_repeat(connection, replace(arrival, header=again.header), again.blob)
        return "already stored"
    outcome = _foresee(connection, identity, arrival.content, on_conflict, arrival.is_there)
    present = _present(connection, identity)
    known = _version(connection, identity, arrival.content)
    same = present if present is not None and present.received_sha256 == arrival.content else known
    match outcome:
        case "stored" if same is not None:
            _take_place_of(connection, arrival, same.blob)
            _tell(connection, arrival, "received_again")
        case "stored":
            _take_in_new(connection, arrival)
        case "already stored":
            assert same is not None
            _tell_repeat(connection, arrival, same.blob)
        case "refused":
            _tell(connection, arrival, "conflicting_instance", kept=False)
        case "kept as version":
            instances.add_blob(connection, arrival.blob, arrival.at)
            _insert_version(
                connection, arrival, arrival.blob.name, arrival.content, arrival.origin.to_json(), arrival.at
            )
            _tell(connection, arrival, "conflicting_instance")
        case "replaced":
            assert present is not None
            _replace(connection, arrival, present, known)
            _note_levels(connection, arrival)
            _tell(connection, arrival, "conflicting_instance")
    return outcome


def _made_before(connection: Connection, arrival: Arrival) -> derived.Derived | None:
    """Return what was made of that content; None where nothing was, or its file is not there: it is to be made again then."""
    found = derived.find(connection, arrival.header.identity.instance, arrival.content)
    if found is None or arrival.is_there(found.blob, found.size):
        return found
    removal.mark_missing(connection, [found.blob])
    return None


# Made once, as are those below: they are executed for each instance that comes, or comes again.
_KNOWN = rows.Prepared(
    sa.select(t.instance.c.id)
    .where(t.instance.c.id == sa.bindparam("instance"))
    .union_all(sa.select(t.derived.c.source).where(t.derived.c.source == sa.bindparam("instance")))
    .limit(1)
)
"""Whether anything is known of an instance: it is stored, or something that was made of it."""


def _take_in_new(connection: Connection, arrival: Arrival) -> None:
    """Enter an instance that is not there, with its event, and what begins with it."""
    instances.add_blob(connection, arrival.blob, arrival.at)
    columns = _columns(arrival)
    catalogue.enter(connection, arrival.header.identity, columns["attributes"], arrival.at)
    if arrival.put_off_for is not None:
        rows.add(connection, t.instance, **columns, metadata={})
        _note_levels(connection, arrival)
        _tell(connection, arrival, "stored_instance")
        return
    number = _append(connection, arrival, "stored_instance", kept=True)
    rows.add(connection, t.instance, **columns, metadata={}, told=number)
    if arrival.silent:
        levels.entered_silently(connection, _levels(arrival), number)
        return
    identity = arrival.header.identity
    levels.new_instance(connection, identity.instance, _levels(arrival), arrival.at + arrival.quiet_s, arrival.at)
    _tell_kept(connection, arrival)


_Present = Row[str, str, dict[str, Any], float, dict[str, str]]
_Version = Row[int, str]


def _present(connection: Connection, instance: str) -> _Present | None:
    return connection.execute(_PRESENT, {"instance": instance}).first()


def _version(connection: Connection, instance: str, content: str) -> _Version | None:
    return connection.execute(_VERSION, {"instance": instance, "content": content}).first()


_PRESENT = sa.select(
    t.instance.c.blob,
    t.instance.c.received_sha256,
    t.instance.c.origin,
    t.instance.c.received_at,
    t.instance.c.metadata,
).where(t.instance.c.id == sa.bindparam("instance"))
_VERSION = sa.select(t.version.c.id, t.version.c.blob).where(
    t.version.c.instance == sa.bindparam("instance"),
    t.version.c.received_sha256 == sa.bindparam("content"),
    ~t.version.c.is_original,
)
_BLOB = sa.select(t.blob.c.state, t.blob.c.size, t.blob.c.transfer_syntax).where(t.blob.c.name == sa.bindparam("name"))
_RECEIPT = (
    sa.select(t.receipt.c.facts).where(t.receipt.c.result == sa.bindparam("name")).order_by(t.receipt.c.id).limit(1)
)


def holds(connection: Connection, instance: str, content: str) -> bool:
    """Tell whether that content is stored under that very identity, as the current one or as a version."""
    present = _present(connection, instance)
    return present is not None and (
        present.received_sha256 == content or _version(connection, instance, content) is not None
    )


def is_taken(connection: Connection, instance: str, content: str) -> bool:
    """Tell whether other content is the current one of that instance."""
    present = _present(connection, instance)
    return present is not None and present.received_sha256 != content


def _replace(connection: Connection, arrival: Arrival, present: _Present, known: _Version | None) -> None:
    """Make other content the current one; what was current becomes a version."""
    identity = arrival.header.identity.instance
    pending.end_early(connection, identity, "other content came under the same identity first", arrival.at)
    if known is not None:  # a former content comes back: it is current again, and no longer a version
        connection.execute(sa.delete(t.version).where(t.version.c.id == known.id))
        instances.release(connection, [known.blob])
    instances.add_blob(connection, arrival.blob, arrival.at)
    _insert_version(connection, arrival, present.blob, present.received_sha256, present.origin, present.received_at)
    metadata = {name: value for name, value in present.metadata.items() if name != INGEST_FAILED}
    columns = _columns(arrival)
    catalogue.enter(connection, arrival.header.identity, columns["attributes"], arrival.at)
    swapped = connection.execute(
        sa.update(t.instance)
        .where(t.instance.c.id == identity, t.instance.c.blob == present.blob)
        .values(**columns, metadata=metadata, told=None)
    )
    assert swapped.rowcount == 1, "the current blob changed inside one transaction"


def _take_place_of(connection: Connection, arrival: Arrival, missing: str) -> None:
    """Have what speaks of a missing file speak of the one that came: the sender will forget its copy, and this is the only one."""
    pending.end_early(connection, arrival.header.identity.instance, "its file was missing", arrival.at)
    instances.add_blob(connection, arrival.blob, arrival.at)
    for table in (t.instance, t.version, t.event, t.delivery):
        connection.execute(sa.update(table).where(table.c.blob == missing).values(blob=arrival.blob.name))
    instances.release(connection, [missing])


def _note_levels(connection: Connection, arrival: Arrival) -> None:
    if arrival.silent:
        return
    levels.arrived(connection, _levels(arrival), arrival.at + arrival.quiet_s)


def _levels(arrival: Arrival) -> dict[levels.Level, str]:
    identity = arrival.header.identity
    return {"series": identity.series, "study": identity.study, "patient": identity.patient}


def _tell(connection: Connection, arrival: Arrival, kind: str, *, kept: bool = True) -> None:
    """Write the event of an arrival, or put it off until its ingest has ended."""
    if arrival.put_off_for is not None and kept:
        pending.put_off(
            connection,
            instance=arrival.header.identity.instance,
            blob=arrival.blob.name,
            content=arrival.content,
            target=arrival.put_off_for,
            kind=kind,
            header=arrival.header.encode(),
            origin=arrival.origin,
            at=arrival.at,
            options=arrival.options,
            keep_original=arrival.keep_original,
        )
        return
    if arrival.silent and not kept:
        return
    number = _append(connection, arrival, kind, kept=kept)
    if arrival.silent:
        if levels.told_silently(connection, arrival.header.identity.instance, arrival.blob.name, number, kind):
            levels.entered_silently(connection, _levels(arrival), number)
    elif kept:
        levels.told(connection, arrival.header.identity.instance, arrival.blob.name, number, kind, arrival.at)
        _tell_kept(connection, arrival)


def _append(connection: Connection, arrival: Arrival, kind: str, *, kept: bool) -> int:
    return events.append(
        connection,
        kind,
        arrival.header.identity.instance,
        arrival.at,
        blob=arrival.blob.name if kept else None,
        content=arrival.content,
        header=arrival.header.encode(),
        study=arrival.header.study_instance_uid,
        origin=arrival.origin,
        receipt=arrival.receipt if kept else None,
        facts=_facts(arrival),
        by=arrival.origin.script,
        only_for=NOBODY if arrival.silent else None,
    )


def _tell_kept(connection: Connection, arrival: Arrival) -> None:
    pending.tell_kept(
        connection,
        arrival.header.identity.instance,
        arrival.at,
        blob=arrival.blob.name,
        content=arrival.content,
        receipt=arrival.receipt,
        study=arrival.header.study_instance_uid,
    )


def _tell_repeat(connection: Connection, arrival: Arrival, stored: str) -> None:
    """Write the event of a repeat: about the file that is stored, which ingest may have brought to another transfer syntax."""
    if arrival.silent:
        return
    blob = connection.execute(_BLOB, {"name": stored}).one()
    header = msgspec.structs.replace(arrival.header, size=blob.size, transfer_syntax=blob.transfer_syntax)
    receipt = connection.execute(_RECEIPT, {"name": stored}).scalar()
    events.append(
        connection,
        "received_again",
        header.identity.instance,
        arrival.at,
        blob=stored,
        content=arrival.content,
        header=header.encode(),
        origin=arrival.origin,
        receipt=receipt,
        facts=_facts(arrival),
        by=arrival.origin.script,
    )


def _facts(arrival: Arrival) -> dict[str, Any] | None:
    found = {"hops": arrival.origin.hops, "file": arrival.file}
    return {name: value for name, value in found.items() if value} or None


def put_in_place(
    connection: Connection, header: Header, blob: str, content: str, origin: Origin, received_at: float
) -> None:
    """Make what is in the archive already the current content of its instance, in the place of one that went elsewhere."""
    values = _described(header) | _received(blob, content, origin, received_at)
    where = t.instance.c.id == header.identity.instance
    catalogue.enter(connection, header.identity, values["attributes"], received_at)
    labels.forget(connection, "instance", header.identity.instance)
    attachments.forget(connection, "instance", header.identity.instance)
    connection.execute(sa.update(t.instance).where(where).values(**values, metadata={}, told=None))


def describe(connection: Connection, header: Header, blob: str) -> bool:
    """Write anew what the index says of an instance whose file has this header; False where that is not its file any more."""
    values = {name: value for name, value in _described(header).items() if name in {"accession_number", "attributes"}}
    where = t.instance.c.id == header.identity.instance, t.instance.c.blob == blob
    return bool(connection.execute(sa.update(t.instance).where(*where).values(values)).rowcount)


def _columns(arrival: Arrival) -> dict[str, Any]:
    return _described(arrival.header) | _received(arrival.blob.name, arrival.content, arrival.origin, arrival.at)


def _received(blob: str, content: str, origin: Origin, at: float) -> dict[str, Any]:
    return {"blob": blob, "received_sha256": content, "origin": origin.to_json(), "received_at": at}


def _described(header: Header) -> dict[str, Any]:
    identity = header.identity
    attributes = main_tags(header)
    return {
        "id": identity.instance,
        "patient": identity.patient,
        "study": identity.study,
        "series": identity.series,
        "patient_id": identity.patient_id,
        "study_instance_uid": identity.study_instance_uid,
        "series_instance_uid": identity.series_instance_uid,
        "sop_instance_uid": identity.sop_instance_uid,
        "sop_class_uid": header.sop_class_uid,
        "accession_number": attributes["study"].get("AccessionNumber", ""),
        "attributes": attributes,
    }


def _insert_version(
    connection: Connection,
    arrival: Arrival,
    blob: str,
    content: str,
    origin: dict[str, Any],
    received_at: float,
) -> None:
    connection.execute(
        sa.insert(t.version).values(
            instance=arrival.header.identity.instance,
            blob=blob,
            received_sha256=content,
            origin=origin,
            received_at=received_at,
            at=arrival.at,
        )
    )
