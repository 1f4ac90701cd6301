"""What the fixture `hostd` gives a test."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError
from pydicom import dcmread

from hostd.archive.records import Origin
from hostd.config.problems import InvalidConfigurationError, problems_of
from hostd.config.settings import Settings, load
from hostd.scripting.configured import Configuration
from hostd.scripting.folder import read_source
from hostd.testing.clock import ManualClock
from hostd.testing.instances import Sample, changed, made, write
from hostd.testing.node import TestedNode
from hostd.testing.peer import Peer
from hostd.testing.script import Script


class Bench:
    """Everything to test scripts with. Used in a `with`; what it made ends there.

    `folder` is made and takes the files; paths that are not absolute are looked for `beside` the test first.
    """

    def __init__(self, folder: Path, *, beside: Path | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.clock = ManualClock()
        """The time of events; it stands still until `clock.advance(seconds)`."""
        self._folder = folder
        self._beside = beside or Path.cwd()
        self._numbers = itertools.count(1)
        self._ends = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()

    def instance(
        self,
        file: str | Path | None = None,
        *,
        syntax: str | None = None,
        pixels: bool | None = None,
        calling_aet: str = "MODALITY",
        called_aet: str = "HOSTD",
        sender: str | None = None,
        **elements: Any,
    ) -> Sample:
        """Return an instance: a small one of this modality, or a file, with these elements: `hostd.instance(Modality="MR", Rows=512)`.

        Made ones are of one series, study and patient, unless their UIDs say otherwise. None removes an element. `syntax` is the transfer
        syntax that it is in ("j2k"); `pixels`: whether it has any (None: as its modality has). It came by C-STORE from `calling_aet`, which
        is the modality of that name (`sender`) in the configuration.
        """
        number = next(self._numbers)
        dataset = dcmread(self._path(file)) if file is not None else made(number, pixels=pixels, elements=elements)
        path = write(changed(dataset, elements), self._folder / f"{number}.dcm", syntax)
        origin = Origin("dicom", calling_aet=calling_aet, called_aet=called_aet, ip="192.0.2.1", modality=sender)
        return Sample(path, origin)

    def script(
        self,
        source: str | Path,
        *,
        configuration: str | Path | None = None,
        destinations: Sequence[str] = ("archive",),
        notify: Mapping[str, Mapping[str, Any]] | None = None,
        tables: Mapping[str, Any] | None = None,
        **entry: Any,
    ) -> Script:
        """Load a script: a file, or its text.

        With `configuration` it is what that hostd.toml says of it. Otherwise there are modalities of the names in `destinations`, channels as
        in `notify` ({"alarms": {"phi": True}}), other tables of a configuration as `tables` gives them ({"projects": …}), and `entry` is its
        own: may=["lossy"], config={"limit": 3}, time_limit_s=1. Raises `ScriptError` when it cannot be loaded, and `ConfigurationError`.
        """
        if isinstance(source, str) and "\n" in source:
            path = self._folder / f"script{next(self._numbers)}.py"
            path.write_text(source)
        else:
            path = self._path(source)
        if configuration is not None:
            file = self._path(configuration)
            configured = Configuration(load(file, environ={}), file)
        else:
            given = {
                "modalities": {name: {"aet": "PEER", "host": "127.0.0.1", "port": 104} for name in destinations},
                "notify": {name: {"url": "http://127.0.0.1:9/"} | dict(one) for name, one in (notify or {}).items()},
                "scripts": {path.name: entry | ({"channels": [*notify]} if notify else {})},
            }
            configured = Configuration(_settings(given | dict(tables or {})), None)
        script = Script(path.name, read_source(path), configured, self.clock)
        self._ends.callback(script.close)
        return script

    def peer(self, aet: str = "PEER", *, accepts: list[str] | None = None) -> Peer:
        """Return a C-STORE SCP that listens on a free port; see `Peer`."""
        return self._ends.enter_context(Peer(aet, accepts=accepts))

    def node(
        self,
        *scripts: str | Path,
        destinations: Mapping[str, Peer] | None = None,
        entries: Mapping[str, Mapping[str, Any]] | None = None,
        tables: Mapping[str, Any] | None = None,
    ) -> TestedNode:
        """Start a whole node with these scripts, whose `destinations` are peers by name; `entries` are the scripts' own, by file name.

        It takes a second or two and runs by the true time, so it is for the one test that wants to see images arrive.
        """
        given = {
            "modalities": {
                name: {"aet": peer.aet, "host": "127.0.0.1", "port": peer.port}
                for name, peer in (destinations or {}).items()
            },
            "scripts": {name: dict(entry) for name, entry in (entries or {}).items()},
        }
        folder = self._folder / f"node{next(self._numbers)}"
        node = TestedNode(folder, [self._path(script) for script in scripts], _settings, given | dict(tables or {}))
        self._ends.callback(node.stop)
        return node

    def _path(self, name: str | Path) -> Path:
        beside = self._beside / name
        return beside if beside.exists() else Path(name)


def _settings(given: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**given)
    except ValidationError as error:
        raise InvalidConfigurationError(problems_of(error, Settings, file=None, text="", variables={})) from None
