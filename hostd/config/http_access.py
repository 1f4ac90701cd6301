"""How another system is reached by HTTP: its address, who hostd is to it, and which certificates are trusted and shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from hostd.config.forwarding import Forwarding
from hostd.config.secret_files import from_file, from_variable
from hostd.config.section import Section
from hostd.config.values import FilePath, Seconds

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
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
        raise ValueError(
            "credentials in a URL end up in logs: write `username` and `password_file` (or `password_env`) instead"
        )
    if not parts.hostname or port == 0 or any(c.isspace() for c in url):
        raise ValueError("should name a host, as https://buffer.example/")
    if parts.query or parts.fragment:
        raise ValueError(
            "should have no '?' and no '#': it is the root of the other system, as https://buffer.example/"
        )
    return url.rstrip("/") + "/"


class HttpReach(Section):
    """What everything has that is reached by HTTP."""

    url: Annotated[str, AfterValidator(_root)] = Field(
        description="Its root, http or https, without credentials; it always ends in '/'."
    )
    username: str | None = Field(default=None, description="The user to sign in as.")
    password: SecretStr | None = Field(
        default=None,
        description="The password. Better in a file of its own (`password_file`) or a variable (`password_env`).",
    )
    password_file: FilePath | None = Field(
        default=None, description="A file that holds the password; one newline at its end is left out."
    )
    password_env: str | None = Field(default=None, description="The environment variable that holds the password.")
    headers: dict[str, SecretStr] = Field(default={}, description="Headers of every request, by name.")
    header_files: dict[str, FilePath] = Field(
        default={}, description='Headers whose values are in files, as `Authorization = "/run/secrets/token"`.'
    )
    header_env: dict[str, str] = Field(default={}, description="Headers whose values are in environment variables.")
    ca_file: FilePath | None = Field(
        default=None,
        description="The certificates (PEM) to trust for it. Absent: those of the system. Certificates are always checked.",
    )
    client_certificate_file: FilePath | None = Field(
        default=None, description="The certificate (PEM) to show, with those that lead to its root. Absent: none."
    )
    client_key_file: FilePath | None = Field(
        default=None, description="The key (PEM, without a passphrase) of that certificate."
    )
    timeout_s: Seconds = Field(
        default=30.0, description="Seconds to wait for its answer. Absent: that of `[delivery]`."
    )

    @model_validator(mode="after")
    def _credentials_go_together(self) -> Self:
        given = [k for k in ("password", "password_file", "password_env") if getattr(self, k) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one of them")
        if given and self.username is None:
            raise ValueError(f"has {given[0]} but no username: add the username")
        if self.username is not None and not given:
            raise ValueError("has a username but no password: add password_file, password_env or password")
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("should have client_certificate_file with its client_key_file, or neither")
        names = [name.lower() for name in (*self.headers, *self.header_files, *self.header_env)]
        if len(set(names)) != len(names):
            raise ValueError("names a header twice")
        if not all(_HEADER.fullmatch(name) for name in names):
            raise ValueError("has a header whose name is none (RFC 9110 §5.1)")
        ours = _OURS - {"authorization"} if self.username is None else _OURS
        if taken := ours & set(names):
            raise ValueError(f"has a header {min(taken)}, which hostd writes itself")
        return self

    @property
    def files(self) -> dict[str, FilePath]:
        """The files that must be there, by the setting that names them."""
        keys = ("ca_file", "client_certificate_file", "client_key_file")
        return {key: path for key in keys if (path := getattr(self, key)) is not None}

    def with_secrets(self, environ: Mapping[str, str]) -> Self:
        """Return the same with password and headers in place.

        Raises `ValueError` saying what is wrong with a file or a variable, never what is in it.
        """
        password = self.password
        if self.password_file is not None:
            password = SecretStr(from_file(self.password_file, "password"))
        elif self.password_env is not None:
            password = SecretStr(from_variable(self.password_env, environ, "password"))
        headers = dict(self.headers)
        headers |= {name: SecretStr(from_file(path, "header")) for name, path in self.header_files.items()}
        headers |= {
            name: SecretStr(from_variable(variable, environ, "header")) for name, variable in self.header_env.items()
        }
        for name, value in headers.items():
            text = value.get_secret_value()
            if not text.isprintable() or not text.isascii():
                raise ValueError(f"the value of the header {name} is not of printable ASCII characters")
        return self.model_copy(update={"password": password, "headers": headers})


class HttpAccess(HttpReach, Forwarding):
    """What every destination by HTTP has."""
