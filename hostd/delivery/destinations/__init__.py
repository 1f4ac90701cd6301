"""Destinations: where deliveries go, one file a kind.

A kind has a class with the methods of `Destination`, the `SECTION` of the configuration that describes one, whose `KIND` is the word
for it, and a function `configured(name, section)`, which makes one of it.

A courier connects once for a batch and sends one instance after another; when more come meanwhile, they go over the same
connection if it `takes` them. A destination decides nothing about retries: it says
with an `Answer`, or with the error that it raises, what happened and whose fault that was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from hostd.archive.manners import Manner
from hostd.archive.records import Delivery
from hostd.delivery.faults import Verdict
from hostd.dicom import syntaxes
from hostd.dicom.identity import Identity
from hostd.transcoding.stored import Product, Stored
from hostd.transcoding.transform import Transcode, Transform


class Products(Protocol):
    """What makes products: `hostd.transcoding.products.Products`."""

    def obtain(self, delivery: Delivery, transform: Transform | None = None) -> Product:
        """Return what the delivery asks for, or its instance after another transform."""
        ...

    def source(self, stored: Stored) -> Product:
        """Return the stored file as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One instance on its way. Nothing is made of it before one of the `as_…` or `in_…` methods is called.

    `stored_syntax` is the UID of the transfer syntax of the stored file; `transform` is what the delivery asks for.
    """

    delivery: Delivery
    stored_syntax: str
    transform: Transform
    products: Products
    _made: list[Product] = field(default_factory=list, compare=False)

    @property
    def manner(self) -> Manner:
        """How it is to be sent, where the destination's settings are not to hold."""
        return Manner.parse(self.delivery.manner)

    @property
    def bytes_made(self) -> int:
        """The size of the file that was made last to be sent, 0 when none was."""
        return self._made[-1].path.stat().st_size if self._made else 0

    @property
    def own_syntax(self) -> str:
        """The UID of the transfer syntax in which the instance is, after what must be done to it."""
        return self.transform.required.syntax_of(self.stored_syntax)

    @property
    def wanted_syntax(self) -> str:
        """The UID of the transfer syntax that the delivery asks for: its own, when it asks for none."""
        return self.transform.syntax_of(self.stored_syntax)

    @property
    def may_go_otherwise(self) -> bool:
        """Whether it may be sent in another transfer syntax than was asked for."""
        return not self.transform.is_strict or self.wanted_syntax == self.stored_syntax

    def stored(self) -> Product:
        """Return the stored file as it is. Raises as `Products.source` does."""
        return self.products.source(Stored.of(self.delivery))

    def as_wanted(self) -> Product:
        """Return what the delivery asks for. Raises as `hostd.transcoding.products.Products.obtain` does."""
        return self._handing(self.products.obtain(self.delivery))

    def as_it_is(self) -> Product:
        """Return the instance after what must be done to it. Raises as `Products.obtain` does."""
        return self._handing(self.products.obtain(self.delivery, self.transform.required))

    def in_syntax(self, uid: str) -> Product:
        """Return the same in another transfer syntax, without loss. Raises `InstanceFault` when that cannot be done."""
        return self._handing(self.products.obtain(self.delivery, self.to_syntax(uid)))

    def to_syntax(self, uid: str) -> Transform:
        """Return what is to be done to have the instance in another transfer syntax, without loss."""
        return self.transform.required.then(Transcode(uid, or_original=False))

    def _handing(self, product: Product) -> Product:
        self._made.append(product)
        return product


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of sending one instance.

    `text` is for people; `status` is the DIMSE or HTTP status, None when there was none; `sent_syntax` the UID of the transfer syntax
    it was sent in, None when nothing was sent, and `sent_sop_instance_uid` what it was sent as. `lost`: all was sent and no answer came, so the peer may have the instance.
    """

    verdict: Verdict
    text: str
    status: int | None = None
    sent_syntax: str | None = None
    lost: bool = False
    sent_sop_instance_uid: str | None = None


class Session(Protocol):
    """A connection to a destination, for one batch."""

    @property
    def is_open(self) -> bool:
        """Whether another instance can be sent; otherwise the courier connects anew."""
        ...

    def takes(self, outgoing: Outgoing) -> bool:
        """Tell whether an instance can go over this connection that was not in the batch for which it was made."""
        ...

    def send(self, outgoing: Outgoing) -> Answer:
        """Send one instance of the batch, or another that the connection takes.

        Raises `DestinationFault`, `NoCommonSyntaxError` or another `InstanceFault` where nothing was sent; whatever else it raises is logged and tried again later.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Looks(Protocol):
    """A session that can ask the peer what it has."""

    def has(self, identity: Identity) -> bool | None:
        """Tell whether the peer says that it has an instance; None when it cannot be asked. Raises `DestinationFault`."""
        ...


class Destination(Protocol):
    """Where deliveries go."""

    @property
    def name(self) -> str:
        """Kind and configured name, as `modality:archive`."""
        ...

    def connect(self, batch: Sequence[Outgoing]) -> Session:
        """Reach the peer for these instances. Raises `DestinationFault` when it cannot be reached or does not want to talk."""
        ...

    def examine(self) -> list[str]:
        """Ask whether it answers and what it accepts, without sending anything; return that in lines for people. Raises `DestinationFault`."""
        ...


def deviation(outgoing: Outgoing, product: Product) -> str:
    """Return what to add to an answer when something else was sent than what was asked for, '' otherwise."""
    if product.kept_original:
        return f"; sent in its own syntax, because {product.reason}"
    if product.transfer_syntax != outgoing.wanted_syntax:
        if outgoing.transform.is_foretold:
            return f"; sent in {syntaxes.named(product.transfer_syntax)}"
        return f"; sent in {syntaxes.named(product.transfer_syntax)}, because the peer does not accept {syntaxes.named(outgoing.wanted_syntax)}"
    return ""
