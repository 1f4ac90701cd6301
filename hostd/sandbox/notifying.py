"""The part of `host` that tells people something."""

from __future__ import annotations

import datetime as dt

from hostd.sandbox.granted import Granted, line, shown, text_of
from hostd.sandbox.refusals import NotAllowed
from hostd.sandbox.run import missing
from hostd.sandbox.situations import Notify

MAX_TEXT = 4000
MAX_KEY = 200
_YEAR_S = 366 * 86_400.0


class Notifying(Granted):
    """What `host` has for notifications."""

    __slots__ = ()

    def notify(
        self, channel: str, text: str, key: str | None = None, at_most_every: dt.timedelta | float | None = None
    ) -> None:
        """Tell people something by a channel of the configuration, `[notify.NAME]`: by mail, or to another system.

        `text` has up to 4000 characters. With `at_most_every`, a timedelta or seconds, one of the same `key` that this script
        asked for in that time stands for this one, too; without a `key`, the same text is meant. Needs the channel in the script's
        entry: `channels = ["ops"]`.

        Unless the channel has `phi = true`, values of this event's instance that tell who the patient is are blanked in the text,
        and after a run that read such an element the text is left out altogether: people are sent to `hostd explain` instead.

        Raises `ValueError` for an unknown channel or a text that is too long, `NotAllowed` for a channel that this script is not given.
        """
        self._run.check_open()
        name = self._channel(channel)
        said = _text("the text", text, MAX_TEXT)
        if not said.strip():
            raise ValueError("the text is empty")
        kept = None if key is None else _text("the key", key, MAX_KEY)
        self._run.add(Notify(name, said, kept, _seconds(at_most_every), line()))

    def _channel(self, name: object) -> str:
        if not isinstance(name, str):
            raise TypeError(f"a channel is named by a text, not {shown(name)}")
        text, load = str.__str__(name), self._run.world.load
        if text in load.channels:
            return text
        if text in load.known_channels:
            allowing = self._run.world.config_line("channels", [*load.channels, text])
            raise NotAllowed(
                f"this script may not notify {text!r}; this line of the configuration would allow it: {allowing}"
            )
        raise ValueError(missing("channel", text, load.known_channels))


def _text(what: str, value: object, longest: int) -> str:
    text = text_of(value, f"{what} of a notification")
    if len(text) > longest:
        raise ValueError(f"{what} of a notification has up to {longest} characters, and this one {len(text)}")
    return text


def _seconds(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, dt.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value <= _YEAR_S:
        raise ValueError(
            f"at_most_every must be a timedelta or seconds, more than 0 and up to a year, not {shown(value)}"
        )
    return float(value)
