"""The destinations of a configuration. A new kind adds its section to the settings, and its file to `destinations`; nothing else."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from hostd.config.forwarding import Forwarding
from hostd.config.settings import Settings
from hostd.delivery import destinations
from hostd.delivery.destinations import Destination
from hostd.delivery.terms import Terms


class Kind(Protocol):
    """What a file of `destinations` has, beside the class."""

    SECTION: type[Forwarding]
    """The section of the configuration that describes one."""

    def configured(self, name: str, section: Any, /) -> Destination:
        """Return the destination of that name."""
        ...


def destinations_of(settings: Settings) -> dict[str, Destination]:
    """Return what deliveries may go to, by `kind:name`."""
    kinds = _kinds()
    return {
        f"{kind}:{name}": kinds[kind].configured(name, entry)
        for kind, entries in settings.destinations().items()
        for name, entry in entries.items()
    }


def terms_of(settings: Settings) -> dict[str, Terms]:
    """Return on what terms they are sent to, by `kind:name`."""
    return {
        f"{kind}:{name}": Terms.of(
            entry,
            settings.delivery.batch,
            settings.delivery.linger_s,
            ":".join(settings.resolve_destination(entry.alternate)) if entry.alternate else None,
        )
        for kind, entries in settings.destinations().items()
        for name, entry in entries.items()
    }


def _kinds() -> Mapping[str, Kind]:
    """Return each kind with its file."""
    found = {}
    for module in pkgutil.iter_modules(destinations.__path__, f"{destinations.__name__}."):
        kind = cast("Kind", import_module(module.name))
        found[kind.SECTION.KIND] = kind
    return found
