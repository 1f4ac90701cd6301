"""What a script's worker is told when it is started: its source, its words, what it may do, and the names that it may write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hostd.config.sections import Script
from hostd.config.settings import Settings
from hostd.sandbox import frames
from hostd.scripting.plan import Destinations
from hostd.scripting.vocabulary import vocabulary
from hostd.scripting.zones import zones_for


@dataclass(frozen=True, slots=True)
class Names:
    """What the configuration has that scripts may name, given to this script or that one or to none.

    `channels` says of each whether patient data may go there.
    """

    destinations: Sequence[str] = ()
    tools: Sequence[str] = ()
    projects: Sequence[str] = ()
    channels: Mapping[str, bool] = field(default_factory=dict)
    targets: Sequence[str] = ()
    modalities: Sequence[str] = ()
    aets: Sequence[str] = ()

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """Return the names of a configuration."""
        return cls(
            settings.destination_names(),
            tuple(settings.tools),
            tuple(settings.projects),
            {name: channel.phi for name, channel in settings.notify.items()},
            tuple(settings.targets),
            tuple(settings.modalities),
            tuple(settings.dicom.aets),
        )

    def channels_of(self, granted: Script) -> dict[str, bool]:
        """Return the channels that a script is given."""
        return {name: self.channels[name] for name in granted.channels if name in self.channels}


def load_frame(
    name: str,
    source: str,
    granted: Script,
    names: Names,
    resolve: Destinations,
    helpers: Mapping[str, str] | None = None,
) -> frames.Load:
    """Return what a worker is told of a script: its source and that of its `helpers`, its words, and what it may do.

    Destinations that the script is granted may be written in another way than in `names` (`modality:x` for `x`).
    """
    keywords, syntaxes, lossless_of = vocabulary()
    allowed = list(names.destinations)
    if granted.destinations is not None:
        meant = {resolve(destination) for destination in granted.destinations}
        allowed = [destination for destination in names.destinations if resolve(destination) in meant]
    return frames.Load(
        name=name,
        source=source,
        keywords=keywords,
        syntaxes=syntaxes,
        lossless_of=lossless_of,
        destinations=allowed,
        known_destinations=list(names.destinations),
        may=list(granted.may),
        tools=list(names.tools),
        targets=list(names.targets),
        modalities=list(names.modalities),
        aets=list(names.aets),
        projects=list(names.projects),
        channels=list(names.channels_of(granted)),
        known_channels=sorted(names.channels),
        config=granted.config,
        max_actions=granted.max_actions,
        max_log_bytes=granted.log_kb << 10,
        memory_bytes=granted.memory_mb << 20,
        helpers=dict(helpers or {}),
        zones=zones_for([source, *(helpers or {}).values()], granted.config),
    )
