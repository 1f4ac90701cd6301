"""`[notify.NAME]`: channels by which people are told something, by mail or by a request to another system."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from hostd.config.loopback import is_loopback
from hostd.config.section import Section
from hostd.config.values import FilePath, Host, Port, Seconds, Strings

_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_PORTS = {"tls": 465, "starttls": 587, "none": 25}


class Channel(Section):
    """A channel for notifications: mail (with `host`) or a webhook (with `url`). The one called `default` is told, without any script, of parked scripts, failed deliveries, destinations that are down, a full disk and silent sources: at most once an hour for each."""

    host: Host | None = Field(default=None, description="The mail server (SMTP).")
    port: Port | None = Field(
        default=None, description="Its TCP port. Absent: 587 with STARTTLS, 465 with TLS, 25 without."
    )
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the line is encrypted. `none` takes no password, unless the server is on this machine.",
    )
    username: str | None = Field(default=None, description="The user to sign in as at the mail server.")
    password: SecretStr | None = Field(
        default=None, description="The password. Better in a file (`password_file`) or a variable (`password_env`)."
    )
    password_file: FilePath | None = Field(
        default=None, description="A file that holds the password; one newline at its end is left out."
    )
    password_env: str | None = Field(default=None, description="The environment variable that holds the password.")
    sender: str | None = Field(default=None, description="The address that mail comes from.")
    to: Strings = Field(default=(), description="The addresses that mail goes to.")
    url: SecretStr | None = Field(
        default=None,
        description="Where to POST a JSON object: https, or http on this machine. It is never shown, for it may hold a key.",
    )
    url_file: FilePath | None = Field(default=None, description="A file that holds the URL.")
    url_env: str | None = Field(default=None, description="The environment variable that holds the URL.")
    headers: dict[str, SecretStr] = Field(default={}, description="Headers of the request, by name.")
    header_files: dict[str, FilePath] = Field(
        default={}, description='Headers whose values are in files, as `Authorization = "/run/secrets/hook"`.'
    )
    header_env: dict[str, str] = Field(default={}, description="Headers whose values are in environment variables.")
    ca_file: FilePath | None = Field(
        default=None,
        description="The certificates (PEM) to trust. Absent: those of the system. They are always checked.",
    )
    timeout_s: Seconds = Field(default=30.0, description="Seconds to wait for an answer.")
    give_up_after_h: Annotated[float, Field(gt=0)] = Field(
        default=24.0, description="Hours after which a notification that could not be sent has failed."
    )
    phi: bool = Field(default=False, description="Whether patient data may go there.")

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        urls = [key for key in ("url", "url_file", "url_env") if getattr(self, key) is not None]
        if bool(urls) == (self.host is not None):
            raise ValueError("should have either a host, for mail, or a url, for a webhook")
        if len(urls) > 1:
            raise ValueError(f"has {' and '.join(urls)}: keep one of them")
        if self.host is not None:
            self._check_mail()
        else:
            self._check_webhook()
        return self

    def _check_mail(self) -> None:
        for what, addresses in (("sender", (self.sender or "",)), ("to", self.to or ("",))):
            if not all(_ADDRESS.fullmatch(address) for address in addresses):
                raise ValueError(f"{what} should be a mail address, as hostd@hospital.example")
        if self.headers or self.header_files or self.header_env:
            raise ValueError("has headers, which are a webhook's; mail takes none")
        given = [key for key in ("password", "password_file", "password_env") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one of them")
        if bool(given) != (self.username is not None):
            raise ValueError("should have a username with its password, or neither")
        if given and self.tls == "none" and not is_loopback(self.host or ""):
            raise ValueError('would send its password over an open line: write tls = "starttls" or tls = "tls"')

    def _check_webhook(self) -> None:
        for key in ("port", "username", "password", "password_file", "password_env", "sender"):
            if getattr(self, key) is not None:
                raise ValueError(f"has {key}, which is mail's; a webhook takes its key in header_files or header_env")
        if self.to:
            raise ValueError("has to, which is mail's")
        names = [*self.headers, *self.header_files, *self.header_env]
        if len({name.lower() for name in names}) != len(names):
            raise ValueError("names a header twice")
        if not all(_HEADER.fullmatch(name) for name in names):
            raise ValueError("has a header whose name is none (RFC 9110 §5.1)")
        if self.url is not None:
            check_url(self.url.get_secret_value())

    @property
    def smtp_port(self) -> int:
        """The port of the mail server."""
        return self.port if self.port is not None else _PORTS[self.tls]


def check_url(url: str) -> None:
    """Raise `ValueError`, which says nothing of it, for what is no URL of a webhook."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError("should be a URL such as https://chat.example/hook") from error
    if not host or any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("should be a URL such as https://chat.example/hook")
    if "@" in parts.netloc:
        raise ValueError("should have no credentials in it: use header_files or header_env")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ValueError("should begin with https://; http:// is for this machine only")
