"""How another system is reached by HTTP: its address, who hostd is to it, and which certificates are trusted and shown."""

from __future__ import annotations

from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from hostd.config.credentials import Credentials
from hostd.config.forwarding import Asking
from hostd.config.values import Seconds

_OURS = frozenset(
    (
        "accept",
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "transfer-encoding",
    )
)


def _root(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:  # its message may quote the URL, and with it a password
        raise ValueError("should be a URL such as https://buffer.example/") from error
    if parts.scheme not in {"http", "https"}:
        raise ValueError("should begin with https:// or http://")
    if "@" in parts.netloc:
        raise ValueError("credentials in a URL end up in logs: write `username` and `password_file` instead")
    if not parts.hostname or port == 0 or any(c.isspace() for c in url):
        raise ValueError("should name a host, as https://buffer.example/")
    if parts.query or parts.fragment:
        raise ValueError(
            "should have no '?' and no '#': it is the root of the other system, as https://buffer.example/"
        )
    return url.rstrip("/") + "/"


class HttpReach(Credentials):
    """What everything has that is reached by HTTP."""

    url: Annotated[str, AfterValidator(_root)] = Field(
        description="Its root, http or https, without credentials; it always ends in '/'."
    )
    timeout_s: Seconds = Field(
        default=30.0, description="Seconds to wait for its answer. Absent: that of `[delivery]`."
    )

    @model_validator(mode="after")
    def _credentials_go_together(self) -> Self:
        given = self.passwords
        if given and self.username is None:
            raise ValueError(f"has {given[0]} but no username: add the username")
        if self.username is not None and not given:
            raise ValueError("has a username but no password: add password_file, password_env or password")
        ours = _OURS - {"authorization"} if self.username is None else _OURS
        if taken := ours & {name.lower() for name in self.header_names}:
            raise ValueError(f"has a header {min(taken)}, which hostd writes itself")
        return self


class HttpAccess(HttpReach, Asking):
    """What every destination by HTTP has."""
