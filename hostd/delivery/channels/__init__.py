"""Channels: ways by which people are told something, one file a kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from hostd.config.notify import Channel as Settings
from hostd.errors import HostdError


class ChannelError(HostdError):
    """A notification was not taken; the message says why, and never a secret. `is_final`: trying again would change nothing."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be said. `id` is the same each time one notification is tried; `at` is in seconds since 1970 UTC."""

    id: str
    text: str
    at: float
    script: str | None = None


class Channel(Protocol):
    """One way to tell people something."""

    name: str
    phi: bool
    give_up_after_s: float

    def send(self, message: Message) -> None:
        """Send it. Raises `ChannelError` when it was not taken, or nobody knows."""
        ...


def channel_of(name: str, settings: Settings, node: str) -> Channel:
    """Return the channel of that entry of the configuration."""
    from hostd.delivery.channels.mail import Mail  # noqa: PLC0415 - the kinds need this module
    from hostd.delivery.channels.webhook import Webhook  # noqa: PLC0415

    return Mail(name, settings, node) if settings.host is not None else Webhook(name, settings, node)


def channels_of(entries: Mapping[str, Settings], node: str) -> dict[str, Channel]:
    """Return all channels of the configuration, by name."""
    return {name: channel_of(name, entry, node) for name, entry in entries.items()}
