"""One run of a script in Orthanc's spelling: what its identifiers stand for, and what is entered when the callback has ended."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import msgspec

from hostd.sandbox import api, frames
from hostd.sandbox.granted import line, shown
from hostd.sandbox.levels import Level
from hostd.sandbox.read_only import ReadOnly
from hostd.sandbox.run import Run
from hostd.sandbox.views import Delivery, Handle, Instance

_set = object.__setattr__


class Chain(ReadOnly):
    """What a function of Orthanc's passes on: `Delete(SendToModality(instanceId, "archive"))`.

    It stands for the instance, or for what was made of it. In a text it is the identifier of what was made, for this run.
    """

    __slots__ = ("_name", "_of", "_run", "_x")
    _run: Run
    _x: Instance | Level | Handle
    _of: str
    _name: str

    def __init__(self, run: Run, x: Instance | Level | Handle, of: str, name: str) -> None:
        _set(self, "_run", run)
        _set(self, "_x", x)
        _set(self, "_of", of)
        _set(self, "_name", name)

    def __repr__(self) -> str:
        return self._name


class _Host(api.Host):
    """What a script may do, and whether it may, before it does it."""

    __slots__ = ()

    def need(self, capability: str) -> None:
        """Raise `NotAllowed` without the capability."""
        self._need(capability)


class Meant(msgspec.Struct, frozen=True):
    """What an identifier or a chain of a script stands for."""

    x: Any
    """An instance, a level, or the handle of a product."""
    of: str
    """The identifier of the instance or level that it is, or that it is made of."""
    name: str
    """Its own identifier."""

    @property
    def is_product(self) -> bool:
        """Whether it is made by this run."""
        return isinstance(self.x, Handle)


class _Product(msgspec.Struct):
    """Something that this run makes, and what is to come of it."""

    handle: Handle
    of: str
    verb: str
    line: int
    is_lossless: bool
    """It is the same image in another transfer syntax, and nothing else."""
    is_kept: bool
    """It is to be in the archive, unless the script deletes it."""
    is_used: bool = False
    is_deleted: bool = False


class Asked(msgspec.Struct, frozen=True):
    """A query of another archive that this run has made, and what matches."""

    modality: str
    level: str
    matches: list[Any]


class Session:
    """One run. Never handed to a script."""

    def __init__(self, run: Run, event: frames.Event, subject: object) -> None:
        self.run = run
        self.host = _Host(run)
        self.event = event
        self._subject = subject if isinstance(subject, (Instance, Level)) else None
        self._members: dict[str, Instance] | None = None
        self._found: dict[str, Instance | Level] = {}
        self._products: dict[str, _Product] = {}
        self._sent: list[tuple[str, Delivery]] = []
        self.asked: list[Asked] = []
        """The queries of other archives, in order."""
        self._deletes: dict[str, tuple[Instance | Level, int]] = {}

    # -- what is meant

    def meant(self, x: object, verb: str) -> Meant:
        """Return what a script's identifier or chain stands for. Raises `TypeError` or `ValueError` when it is nothing of this run."""
        self.run.check_open()
        if isinstance(x, Chain):
            if object.__getattribute__(x, "_run") is not self.run:
                raise RuntimeError(f"{verb} was given something of an earlier event")
            return Meant(*(object.__getattribute__(x, name) for name in ("_x", "_of", "_name")))
        if not isinstance(x, str):
            hint = ": Delete passes nothing on, and nor does what had no answer" if x is None else ""
            raise TypeError(f"{verb} takes the identifier of an instance, not {shown(x)}{hint}")
        name = str.__str__(x)
        if name in self._products:
            return Meant(self._products[name].handle, self._products[name].of, name)
        found = self.resource(name)
        if found is None:
            about = self._subject.id if self._subject is not None else "no instance"
            raise ValueError(
                f"{verb} was given {shown(x)}, and this event is about {about}: what else is to be acted upon is found by /tools/find"
            )
        return Meant(found, name, name)

    def resource(self, identifier: str) -> Instance | Level | None:
        """Return the event's instance or level, an instance of that level, or what was found, by its identifier."""
        if self._subject is not None and identifier == self._subject.id:
            return self._subject
        return self._found.get(identifier) or self.members().get(identifier)

    def found(self, things: Sequence[Any]) -> list[Instance | Level]:
        """Take note of what a search found: from now on the script can name it. Return it."""
        self._found |= {one.id: one for one in things}
        return list(things)

    def members(self) -> dict[str, Instance]:
        """Return the instances that the event is about: its own, or those of its level."""
        if self._members is None:
            match self._subject:
                case Instance():
                    self._members = {self._subject.id: self._subject}
                case Level():
                    self._members = {one.id: one for one in self._subject.instances}
                case _:
                    self._members = {}
        return self._members

    @property
    def subject(self) -> Instance | Level | None:
        """What the event is about, when it is an instance, a series, a study or a patient."""
        return self._subject

    # -- what is asked for

    def chain(self, x: Any, of: str, name: str) -> Chain:
        """Return what is passed on."""
        return Chain(self.run, x, of, name)

    def made(
        self, handle: Handle, meant: Meant, verb: str, *, is_lossless: bool = False, is_kept: bool = False
    ) -> Chain:
        """Take note of a product, which something must come of; return what is passed on."""
        if meant.is_product:
            self._products[meant.name].is_used = True
        name = f"product-{len(self._products) + 1}-of-{meant.of}"
        self._products[name] = _Product(handle, meant.of, verb, line(), is_lossless, is_kept)
        return self.chain(handle, meant.of, name)

    def sent(self, delivery: Delivery, meant: Meant) -> None:
        """Take note of a delivery, which a delete of the same instance waits for."""
        self._sent.append((meant.of, delivery))
        if meant.is_product:
            self._products[meant.name].is_used = True

    def keep(self, meant: Meant) -> None:
        """Have a product brought into the archive. Raises `NotAllowed`, and `ValueError` for what is no product."""
        if not meant.is_product:
            raise ValueError(f"{meant.name} is in the archive already")
        product = self._products[meant.name]
        self.host.need("replace" if product.is_lossless else "store")
        product.is_kept = True

    def delete(self, meant: Meant) -> None:
        """Have an instance or level deleted when the run has ended; a product is merely not kept."""
        if meant.is_product:
            self._products[meant.name].is_deleted = True
            return
        self.host.need("delete")
        self._deletes.setdefault(meant.of, (meant.x, line()))

    def finish(self) -> None:
        """Enter what can only be entered when the callback has ended.

        A delete waits for everything that the run sends of the same instance, before it or after. Raises `ValueError` for a
        product of which nothing would come, and for a delete that could not wait for what takes the place of its instance.
        """
        kept: set[str] = set()
        for product in self._products.values():
            if product.is_kept and not product.is_deleted:
                self._keep(product)
                kept.add(product.of)
            elif not product.is_used and not product.is_deleted:
                raise ValueError(
                    f"nothing would come of what {product.verb} makes in line {product.line}: send it on, as in "
                    f'SendToModality({product.verb}(…), "archive")'
                )
        for of, (x, where) in self._deletes.items():
            waits = [delivery for sent_of, delivery in self._sent if self._concerns(sent_of, of)]
            if not waits and any(self._concerns(one, of) for one in kept):
                raise ValueError(
                    f"the delete in line {where} would not wait for what is stored in its place: delete the original when that is done, in "
                    "`def on_action_done(action, host)`, by host.delete(action.instance, after=None)"
                )
            self.host.delete(x, after=waits or None)
            self._at_line(where)

    def _keep(self, product: _Product) -> None:
        original = self.resource(product.of)
        if product.is_lossless and original is not None:
            self.host.replace(original, product.handle)
        else:
            self.host.store(product.handle)
        self._at_line(product.line)

    def _at_line(self, where: int) -> None:
        """Say of the last action in which line of the script it was asked for."""
        self.run.actions[-1] = msgspec.structs.replace(self.run.actions[-1], line=where)

    def _concerns(self, sent: str, deleted: str) -> bool:
        """Tell whether what was sent is the deleted one, is in it, or has it in it."""
        return sent == deleted or self._subject is None or self._subject.id in (sent, deleted)


def orthanc_id(*parts: str) -> str:
    """Return Orthanc's identifier of a patient, study, series or instance: SHA-1 of the joined parts, in five groups."""
    digest = hashlib.sha1("|".join(parts).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))
