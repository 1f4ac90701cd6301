"""`[notify.NAME]`: channels by which people are told something, by mail or by a request to another system."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from hostd.config.credentials import Credentials
from hostd.config.loopback import is_loopback
from hostd.config.secret_files import secret_of
from hostd.config.values import FilePath, Host, Port, Seconds, Strings

_ADDRESS = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_PORTS = {"tls": 465, "starttls": 587, "none": 25}


class Channel(Credentials):
    """A channel for notifications: mail (with `host`) or a webhook (with `url`). The one called `default` is told, without any script, of parked scripts, failed deliveries, destinations that are down, a full disk and silent sources: at most once an hour for each."""

    SECRET_SOURCES: ClassVar[tuple[str, ...]] = ("url_file", "url_env", *Credentials.SECRET_SOURCES)

    host: Host | None = Field(default=None, description="The mail server (SMTP).")
    port: Port | None = Field(
        default=None, description="Its TCP port. Absent: 587 with STARTTLS, 465 with TLS, 25 without."
    )
    tls: Literal["starttls", "tls", "none"] = Field(
        default="starttls",
        description="How the line is encrypted. `none` takes no password, unless the server is on this machine.",
    )
    sender: str | None = Field(default=None, description="The address that mail comes from.")
    to: Strings = Field(default=(), description="The addresses that mail goes to.")
    url: SecretStr | None = Field(
        default=None,
        description="Where to POST a JSON object: https, or http on this machine. It is never shown, for it may hold a key.",
    )
    url_file: FilePath | None = Field(default=None, description="A file that holds the URL.")
    url_env: str | None = Field(default=None, description="The environment variable that holds the URL.")
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
        if self.header_names:
            raise ValueError("has headers, which are a webhook's; mail takes none")
        if self.client_certificate is not None:
            raise ValueError(
                "has client_certificate_file, which is a webhook's; mail signs in by username and password"
            )
        given = self.passwords
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
        if self.url is not None:
            check_url(self.url.get_secret_value())

    @property
    def smtp_port(self) -> int:
        """The port of the mail server."""
        return self.port if self.port is not None else _PORTS[self.tls]

    def with_secrets(self, environ: Mapping[str, str]) -> Self:
        """Return the channel with its password, URL and headers in place. Raises `ValueError` as all with credentials do."""
        url = secret_of(self.url, self.url_file, self.url_env, environ, "URL")
        if url is not None:
            check_url(url.get_secret_value())
        return super().with_secrets(environ).model_copy(update={"url": url})


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
