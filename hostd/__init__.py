"""hostd: an event-driven scripting host for DICOM.

This package imports nothing by itself, so that a sandbox worker, which imports `hostd.sandbox` only, starts fast and
holds nothing worth stealing. Its public names are imported when they are first asked for.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hostd.errors import HostdError, TranscodeError
    from hostd.transcoding.public import Transcoded, transcode
    from hostd.transcoding.receipt import Receipt

__version__ = "0.1.0"
__all__ = ["HostdError", "Receipt", "TranscodeError", "Transcoded", "transcode"]

_WHERE = {
    "HostdError": "errors",
    "Receipt": "transcoding.receipt",
    "TranscodeError": "errors",
    "Transcoded": "transcoding.public",
    "transcode": "transcoding.public",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - the sandbox worker needs it not

    found: object = getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
