"""The errors that the API raises in a script, beside Python's own. A script can catch them by name."""

from __future__ import annotations


class NotAllowed(Exception):  # noqa: N818 - a script reads it as a sentence
    """The configuration does not give this script that power; the message names the line that would."""


class ValueTooLarge(Exception):  # noqa: N818 - the name is part of the public interface
    """The value of an element is over 1 MiB, or this run has read more than 8 MiB of such values."""


class PixelsUnknown(ValueError):  # noqa: N818 - see NotAllowed
    """What the pixels of an instance come to cannot be worked out; the message says why: they cannot be decoded, or the file is gone."""


class TooManyActions(Exception):  # noqa: N818 - see NotAllowed
    """This run has asked for as many actions as one run may."""


class UnknownKeyword(AttributeError):  # noqa: N818 - see NotAllowed
    """No element of the standard has that keyword; the message names the nearest."""


SCRIPT_EXCEPTIONS: dict[str, type[Exception]] = {
    error.__name__: error for error in (NotAllowed, PixelsUnknown, ValueTooLarge, TooManyActions, UnknownKeyword)
}
"""Which of them scripts find by name, without an import."""
