"""Puts what scripts make into the archive: `store`, beside what it was made of, and `replace`, in its place (P4, P7)."""

from __future__ import annotations

from functools import partial
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection

from hostd.archive import derived, marks, receipts, receiving, replacing
from hostd.archive.archive import Archive
from hostd.archive.limits import Allowance
from hostd.archive.records import Origin
from hostd.archive.tasks import Task
from hostd.config.storage import Storage
from hostd.dicom.header import read_file_header
from hostd.errors import ActionFault, StorageError
from hostd.intake.intake import Intake
from hostd.jobs.carrying import Done
from hostd.transcoding.stored import Product
from hostd.transcoding.tool_results import NOT_VERIFIED
from hostd.transcoding.transform import Transform

STORE, REPLACE = "store", "replace"
"""The queues that are served here."""


class Makes(Protocol):
    """What makes products: `hostd.transcoding.products.Products`."""

    def obtain_for(self, task: Task) -> Product:
        """Return what a task asks for. Raises `InstanceFault` when that cannot be."""
        ...


class Storing:
    """Carries out `store`: the product comes in by the one door, as the doing of its script."""

    def __init__(self, archive: Archive, intake: Intake, products: Makes) -> None:
        self._archive = archive
        self._intake = intake
        self._products = products

    def prepare(self, task: Task) -> Done:
        """Make the product, and a copy of it that is the archive's own."""
        product = self._products.obtain_for(task)
        if product.kept_original:
            raise ActionFault(f"what was to be stored could not be made: {product.reason}")
        arrival = self._intake.produced(product.path, Origin("script", script=task.script, hops=task.hops))
        blob = arrival.blob.name

        def enter(connection: Connection) -> dict[str, Any]:
            outcome, instance = self._intake.enter_produced(connection, arrival)
            if outcome == "refused":
                raise ActionFault(
                    "other content is stored under the identity of what was to be stored, and ingest.on_conflict is refuse"
                )
            if outcome == "stored" and task.instance not in (None, instance):
                kind = "AnonymizedFrom" if Transform.parse(task.transform).until_anonymized else derived.MODIFIED_FROM
                marks.set_metadata(connection, "instance", instance, kind, task.instance)
            return {"outcome": outcome, "instance": instance, "sop_instance_uid": arrival.header.sop_instance_uid}

        def after(result: dict[str, Any]) -> None:
            if result["outcome"] not in receiving.KEPT:
                self._archive.blobs.unlink(blob)

        return Done(
            commit=enter, blobs=[blob], after=after, undo=lambda: self._archive.blobs.unlink(blob),
            write=self._intake.within_limits([arrival]),
        )  # fmt: skip


class Replacing:
    """Carries out `replace`: the file of an instance is exchanged for the same image in another transfer syntax, by its receipt (P4)."""

    def __init__(self, archive: Archive, products: Makes, allowance: Allowance | None = None) -> None:
        self._archive = archive
        self._products = products
        self._allowance = allowance or Allowance(archive, Storage)

    def prepare(self, task: Task) -> Done:
        """Make the product, and see that it is proven. What it stands for is kept as a version, so that more is stored then."""
        assert task.blob is not None
        assert task.instance is not None
        product = self._products.obtain_for(task)
        if product.kept_original:
            return Done({"outcome": "kept original", "reason": product.reason})
        if product.blob == task.blob:
            return Done({"outcome": "as it was"})
        with self._archive.read() as connection:
            receipt = receipts.find(connection, task.blob, task.transform)
        if receipt is None or receipt.result is None or receipt.result.name != product.blob:
            raise StorageError("the product was made again meanwhile")  # and is looked at again
        facts = receipt.facts
        if not facts.get("verified_by") or facts["verified_by"].startswith(NOT_VERIFIED):
            raise ActionFault("nothing proves that the product is the same image, so that the original stays")
        header = msgspec.structs.replace(
            read_file_header(product.path), size=product.path.stat().st_size, transfer_syntax=product.transfer_syntax
        )

        def swap(connection: Connection) -> dict[str, Any]:
            return replacing.swap(connection, task, product.blob, header.encode(), facts, self._archive.clock.now())

        write = partial(self._allowance.enter, size=header.size, patient=header.identity.patient, urgent=False)
        return Done(commit=swap, write=write)
