"""The part of `host` that decides about deliveries that wait or failed, and about quiet time."""

from __future__ import annotations

from hostd.sandbox import acts
from hostd.sandbox.granted import Granted, line, shown
from hostd.sandbox.levels import Level
from hostd.sandbox.run import Run
from hostd.sandbox.told import Destination, EndedDelivery


class Dealing(Granted):
    """What `host` has for deliveries that are not done."""

    __slots__ = ()

    def retry(self, x: EndedDelivery | Destination) -> None:
        """Have a delivery that failed, or waits, tried again at once; of a destination all that wait for it or are held.

        What is being sent, or has arrived, is left alone. Of a destination it is done after the run, and `on_action_done` tells how many
        there were; to hold, redirect or discard all that wait includes what is being sent just then, should it not arrive. Who did it stands with each delivery: `hostd deliveries show`. The destination must be one that this script is given.
        """
        self._deal("retry", x)

    def hold(self, x: EndedDelivery | Destination) -> None:
        """Keep a delivery that waits back until it is retried; of a destination all that wait for it. Otherwise as `retry`."""
        self._deal("hold", x)

    def redirect(self, x: EndedDelivery | Destination, to: str) -> None:
        """Send what failed or waits to another destination instead, in the same form; of a destination all that wait for it.

        The former delivery is over, and says as which one it goes on; a delete that waits for it is held, visibly, since it has not arrived
        where it was meant to. Nothing is sent to where it came from. Both destinations must be such that this script is given. Otherwise as
        `retry`.
        """
        self._deal("redirect", x, self._destination(to))

    def discard(self, x: EndedDelivery | Destination) -> None:
        """Give up a delivery that failed or waits: it is not sent, and says by whom it was given up. Needs the capability "delete".

        A delete that waits for it is held. Otherwise as `retry`.
        """
        self._need("delete")
        self._deal("discard", x)

    def declare_stable(self, x: Level) -> None:
        """Tell a series, study or patient as stable now instead of when its quiet time ends, and what is below it before.

        Where nothing came since it was last told as stable, or instances of it are still being transcoded on ingest, it is not.
        """
        self._run.check_open()
        if not isinstance(x, Level):
            raise TypeError(f"host.declare_stable takes a series, study or patient, not {shown(x)}")
        if object.__getattribute__(x, "_run") is not self._run:
            raise RuntimeError("host.declare_stable was given something of an earlier event")
        self._run.add(acts.DeclareStable(x.id, line()))

    def _deal(self, verb: acts.DealVerb, x: object, to: str = "") -> None:
        self._run.check_open()
        if not isinstance(x, (EndedDelivery, Destination)):
            raise TypeError(f"host.{verb} takes the delivery or the destination that an event is about, not {shown(x)}")
        run: Run = object.__getattribute__(x, "_run")
        if run is not self._run:
            raise RuntimeError(f"host.{verb} was given something of an earlier event")
        self._destination(x.destination if isinstance(x, EndedDelivery) else x.name)
        delivery = x.id if isinstance(x, EndedDelivery) else None
        self._run.add(acts.Deal(verb, delivery, to, line()))
