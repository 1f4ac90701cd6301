"""The kinds of value that settings are made of: AE titles, ports, times, paths, names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, Field

_base: ContextVar[Path | None] = ContextVar("_base", default=None)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@contextmanager
def relative_to(folder: Path) -> Iterator[None]:
    """Take relative paths, of settings made in this block, relative to that folder instead of the current one."""
    token = _base.set(folder)
    try:
        yield
    finally:
        _base.reset(token)


def absolute(path: Path) -> Path:
    """Return the path, absolute; a relative one is relative to the configuration file. `~` is the home folder."""
    if "\0" in str(path):
        raise ValueError("has a character that is in no path")
    try:
        path = path.expanduser()
    except RuntimeError as error:
        raise ValueError("there is no home folder to put in the place of '~': write the whole path") from error
    # Not Path.resolve(): a symbolic link is kept as written, so that it may be pointed elsewhere.
    return Path(os.path.abspath((_base.get() or Path.cwd()) / path))  # noqa: PTH100 - pathlib's absolute() keeps `..`


def _not_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("should be a number, not true or false")  # noqa: TRY004 - pydantic reports only ValueError
    return value


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


_MEDIA_TYPE = re.compile(r"[!#$&^_.+0-9A-Za-z-]{1,127}/[!#$&^_.+0-9A-Za-z-]{1,127}(; ?[ -~]{1,127})?")


def _media_type(value: str) -> str:
    if _MEDIA_TYPE.fullmatch(value) is None:
        raise ValueError("should be a media type, as application/pdf")
    return value


def _ae_title(value: str) -> str:
    value = value.strip(" ")
    if not 1 <= len(value) <= 16:
        raise ValueError("an AE title has 1 to 16 characters (PS3.5 §6.2)")
    if not value.isascii() or not value.isprintable() or "\\" in value:
        raise ValueError("an AE title is of printable ASCII characters without backslash (PS3.5 §6.2)")
    return value


def _host(value: str) -> str:
    if value.startswith("[") and value.endswith("]"):
        raise ValueError("write an IPv6 address without brackets")
    if not value or any(c.isspace() or c in "/@[]" for c in value):
        raise ValueError("should be a host name or an address, such as 127.0.0.1, without scheme, port or path")
    return value


def _name_of(what: str, example: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if _NAME.fullmatch(value) is None:
            raise ValueError(
                f"{what} is of 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit, as {example}"
            )
        return value

    return check


def _destination_name(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", value) is None:
        raise ValueError(
            "the name of a destination is of 1 to 64 letters, digits, '.', '_' and '-', and does not begin with '.', as archive"
        )
    return value


def _user_name(value: str) -> str:
    # Basic authentication puts a colon behind it (RFC 7617 §2).
    if not 1 <= len(value) <= 64 or not value.isprintable() or ":" in value:
        raise ValueError("a user's name is of 1 to 64 printable characters, without ':', as anna")
    return value


def _modality_code(value: str) -> str:
    if re.fullmatch(r"[A-Z0-9_ ]{1,16}", value) is None:
        raise ValueError(
            "should be a value of Modality (0008,0060), such as CT: up to 16 capital letters, digits and '_'"
        )
    return value


def _time_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("should be a time zone of the IANA database, as Europe/Berlin") from None
    return value


def _script_name(value: str) -> str:
    if _NAME.fullmatch(value) is None or not value.endswith(".py"):
        raise ValueError('this is the name of a file in the scripts folder, as [scripts."compress.py"]')
    return value


AeTitle = Annotated[str, AfterValidator(_ae_title)]
"""An AE title (PS3.5 §6.2), without padding."""

ModalityCode = Annotated[str, AfterValidator(_modality_code)]
"""A value of Modality (0008,0060): VR CS (PS3.5 §6.2)."""

Host = Annotated[str, AfterValidator(_host)]
"""A host name, or an IPv4 or IPv6 address without brackets."""

ListenPort = Annotated[int, BeforeValidator(_not_bool), Field(ge=0, le=65535)]
"""A TCP port to listen on; 0: any free one."""

Port = Annotated[int, BeforeValidator(_not_bool), Field(ge=1, le=65535)]
"""A TCP port of another system."""

Seconds = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, allow_inf_nan=False)]
"""A duration in seconds."""

Rate = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, allow_inf_nan=False)]
"""So much a second."""

Hours = Annotated[float, BeforeValidator(_not_bool), Field(gt=0, allow_inf_nan=False)]
"""A duration in hours; parts of an hour are allowed."""

Wait = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, allow_inf_nan=False)]
"""A duration in seconds; 0: none."""

Days = Annotated[float, BeforeValidator(_not_bool), Field(ge=0, allow_inf_nan=False)]
"""A duration in days; parts of a day are allowed."""

Count = Annotated[int, BeforeValidator(_not_bool), Field(ge=1)]
"""How many, at least one."""

UserNumber = Annotated[int, BeforeValidator(_not_bool), Field(ge=1024, le=65535)]
"""The number of a metadata or an attachment that is no node's own."""

MediaType = Annotated[str, AfterValidator(_media_type)]
"""What a file is, as HTTP says it (RFC 9110 §8.3)."""

Strings = Annotated[tuple[str, ...], BeforeValidator(_listed)]
"""A list of texts; one text with commas is taken apart, which suits environment variables."""

AeTitles = Annotated[tuple[AeTitle, ...], BeforeValidator(_listed), Field(min_length=1)]
"""At least one AE title."""

FilePath = Annotated[Path, AfterValidator(absolute)]
"""A path; a relative one is relative to the configuration file."""

TimeZone = Annotated[str, AfterValidator(_time_zone)]
"""A time zone of the IANA database, by its name."""

NodeName = Annotated[str, AfterValidator(_name_of("a node's name", "hostd"))]
DestinationName = Annotated[str, AfterValidator(_destination_name)]
ChannelName = Annotated[str, AfterValidator(_name_of("the name of a channel", "default"))]
ToolName = Annotated[str, AfterValidator(_name_of("the name of a tool", "gdcmconv"))]
ProjectName = Annotated[str, AfterValidator(_name_of("the name of a project", "TRIAL7"))]
NotedName = Annotated[str, AfterValidator(_name_of("the name of a metadata or an attachment", "Report"))]
RetentionName = Annotated[str, AfterValidator(_name_of("the name of a retention", "teaching"))]
UserName = Annotated[str, AfterValidator(_user_name)]
ScriptName = Annotated[str, AfterValidator(_script_name)]
