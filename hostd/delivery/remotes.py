"""Modalities and peers that were put by HTTP, beside those of the configuration: where both name one, the configuration wins."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import structlog
from sqlalchemy import Connection

from hostd.archive import remotes
from hostd.archive.archive import Archive
from hostd.archive.remotes import Kind
from hostd.config.forwarding import Forwarding
from hostd.config.orthanc.put import entry
from hostd.config.settings import DESTINATION_TABLES, Settings
from hostd.errors import ConfigurationError, NotFoundError

_log = structlog.get_logger(__name__)


class NamedByFileError(ConfigurationError):
    """A modality or peer stands in the configuration, and is changed there."""


def with_remotes(settings: Settings, connection: Connection) -> tuple[Settings, list[str]]:
    """Return the settings with what was put by HTTP, and what is to be said of it: what the configuration names, or cannot be used."""
    remarks, added = [], {}
    for kind, entries in remotes.listing(connection).items():
        found: dict[str, Forwarding] = {}
        for name, given in entries.items():
            if name in settings.destinations()[kind]:
                remarks.append(f"the {kind} {name} was put by HTTP, but stands in the configuration, which wins")
                continue
            try:
                found[name] = entry(kind, name, given)
            except ConfigurationError as error:
                remarks.append(str(error))
        added[DESTINATION_TABLES[kind]] = found
    return settings.with_destinations(added), remarks


class Remotes:
    """What the modalities and peers of a node are. `on_change` is called with the settings after something was put or deleted."""

    def __init__(
        self, archive: Archive, of_file: Settings, on_change: Callable[[Settings], None] = lambda _settings: None
    ) -> None:
        self._archive = archive
        self._on_change = on_change
        self._lock = threading.Lock()
        self._said: list[str] = []
        self.of_file = of_file
        """The settings as the configuration has them."""
        self.settings = self.use(of_file)
        """The settings with what was put."""

    def use(self, of_file: Settings) -> Settings:
        """Go on with another configuration; return it with what was put."""
        with self._lock:
            with self._archive.read() as connection:
                settings, remarks = with_remotes(of_file, connection)
            for remark in remarks:
                if remark not in self._said:
                    _log.warning(remark)
            self._said, self.of_file, self.settings = remarks, of_file, settings
            return settings

    def put(self, kind: Kind, name: str, given: Any, by: str) -> bool:
        """Keep a modality or peer, given in Orthanc's form; return whether it is new.

        Raises `ConfigurationError` for one that cannot be used, and `NamedByFileError`.
        """
        self._refuse_named_by_file(kind, name)
        entry(kind, name, given)
        is_new = name not in self.settings.destinations()[kind]
        now = self._archive.clock.now()
        self._archive.writer.do(lambda c: remotes.put(c, kind, name, given, now, by), urgent=True)
        _log.info(f"{kind} put by HTTP", name=name, username=by)
        self._on_change(self.use(self.of_file))
        return is_new

    def delete(self, kind: Kind, name: str) -> None:
        """Forget one that was put. Raises `NotFoundError` where there is none, and `NamedByFileError`."""
        self._refuse_named_by_file(kind, name)
        if not self._archive.writer.do(lambda c: remotes.delete(c, kind, name), urgent=True):
            raise NotFoundError(f"there is no {kind} {name}")
        _log.info(f"{kind} deleted by HTTP", name=name)
        self._on_change(self.use(self.of_file))

    def _refuse_named_by_file(self, kind: Kind, name: str) -> None:
        if name in self.of_file.destinations()[kind]:
            raise NamedByFileError(
                f"the {kind} {name} stands in the configuration, which wins: change it there, [{DESTINATION_TABLES[kind]}.{name}]"
            )
