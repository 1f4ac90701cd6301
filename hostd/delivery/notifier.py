"""Notifiers: one thread a channel that carries notifications out, tries again, and gives up in the open (P3)."""

from __future__ import annotations

import random
from collections.abc import Mapping

import structlog
from sqlalchemy import Connection

from hostd.archive import leases, notices
from hostd.archive.archive import Archive
from hostd.archive.notices import Notification
from hostd.archive.turning import Turning, stopped
from hostd.clock import Clock
from hostd.delivery.channels import Channel, ChannelError, Message
from hostd.delivery.retry import Waits

TOPIC = "notification"
LEASE_S = leases.SECONDS
"""Seconds that a notifier owns its channel without renewing. It renews before each try."""
_LONGEST_WAIT_S = 3600.0

_log = structlog.get_logger(__name__)


class Notifier(Turning):
    """Carries out the notifications of one channel, one after another, until it is asked to stop.

    The channel may be replaced by another of the same name; it is looked at once a notification.
    """

    def __init__(self, archive: Archive, channel: Channel, policy: Waits, clock: Clock, node_name: str) -> None:
        super().__init__(archive.bulletin, TOPIC, f"notifier {channel.name}")
        self._archive = archive
        self.channel = channel
        self._policy = policy
        self._clock = clock
        self._node_name = node_name
        self._lease = f"channel:{channel.name}"
        self._log = _log.bind(channel=channel.name)

    def failed(self) -> float:
        """Log it; what was not recorded is sent again."""
        self._log.exception("the notifier failed; it goes on after a pause")
        return self._policy.first_s

    def turn(self) -> float | None:
        """Send one notification if one is due; return for how many seconds there is nothing to do, None for until it is rung."""
        with self._archive.read() as connection:
            one = notices.next_waiting(connection, self.channel.name)
            before = notices.held_back_before(connection, one) if one is not None else 0
        if one is None:
            return None
        now = self._clock.now()
        if one.next_attempt_at > now:
            return min(one.next_attempt_at - now, _LONGEST_WAIT_S)
        if not self._own():
            return leases.LOOK_S
        try:
            channel = self.channel
            channel.send(_message(one, before, phi=channel.phi))
        except ChannelError as error:
            self._not_sent(one, error)
        except Exception as error:  # noqa: BLE001 - a defect of one kind of channel must not end its notifier
            self._log.exception("sending a notification failed in a way that it should not", notification=one.id)
            self._not_sent(one, ChannelError(f"hostd failed while sending ({type(error).__name__})"))
        else:
            self._record(one, "sent", None, None)
        return 0

    def _own(self) -> bool:
        def take(connection: Connection) -> bool:
            now = self._clock.now()
            return leases.acquire(connection, self._lease, self._node_name, now, LEASE_S) is not None

        return self._archive.writer.do(take)

    def _not_sent(self, one: Notification, error: ChannelError) -> None:
        now = self._clock.now()
        if error.is_final or now - one.created_at >= self.channel.give_up_after_s:
            self._log.error("a notification could not be sent, and is given up", notification=one.id, reason=str(error))
            self._record(one, "failed", str(error), None)
            return
        self._log.warning("a notification was not sent; it is tried again", notification=one.id, reason=str(error))
        jitter = random.random()  # noqa: S311 - it spreads retries and keeps no secret
        self._record(one, "waiting", str(error), self._policy.next_attempt(now, one.attempts + 1, jitter))

    def _record(self, one: Notification, state: str, error: str | None, until: float | None) -> None:
        now = self._clock.now()
        self._archive.writer.do(
            lambda c: notices.settle(c, one, state=state, error=error, now=now, until=until), topics=(TOPIC,)
        )


class Notifiers:
    """One notifier a channel, so that a dead mail server delays no webhook."""

    def __init__(
        self, archive: Archive, channels: Mapping[str, Channel], policy: Waits, clock: Clock, node_name: str
    ) -> None:
        self._archive = archive
        self._channels = dict(channels)
        self._policy = policy
        self._clock = clock
        self._node_name = node_name
        self._serving: dict[str, Notifier] = {}
        self._leaving: list[Notifier] = []

    def start(self) -> None:
        """Note which channels there are, and begin."""
        self.use(self._channels)

    def use(self, channels: Mapping[str, Channel]) -> None:
        """Go on with these channels: new ones get a notifier, changed ones are used from the next notification on, others end.

        What waits for a channel that is no longer there stays where it is.
        """
        self._archive.writer.do(lambda c: notices.configure(c, list(channels)))
        for name in self._serving.keys() - channels.keys():
            one = self._serving.pop(name)
            one.ask_to_stop()
            self._leaving.append(one)
        for name, channel in channels.items():
            if name in self._serving:
                self._serving[name].channel = channel
            else:
                one = Notifier(self._archive, channel, self._policy, self._clock, self._node_name)
                self._serving[name] = one
                one.start()
        self._archive.bulletin.ring(TOPIC)

    def stop(self, grace_s: float) -> None:
        """End after what is being sent; what waits is carried out after the next start."""
        if late := stopped(self._archive.bulletin, TOPIC, [*self._serving.values(), *self._leaving], grace_s):
            _log.warning("notifications are still being sent and are left behind", count=len(late))


def _message(one: Notification, held_back_before: int, *, phi: bool) -> Message:
    text = one.text
    if phi and one.detail:
        text += f"\n\n{one.detail}"
    held_back = held_back_before + one.more
    if held_back:
        text += f"\n\n{held_back} more like it {'was' if held_back == 1 else 'were'} held back."
    return Message(f"notification-{one.id}", text, one.created_at, one.script)
