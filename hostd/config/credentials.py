"""Who hostd is to another system: password, headers and certificate; and whose certificates are trusted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from hostd.config.secret_files import from_file, from_variable, secret_of
from hostd.config.section import Section
from hostd.config.values import FilePath

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")


class Certified(Section):
    """What everything has that may be spoken to over TLS."""

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

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("should have client_certificate_file with its client_key_file, or neither")
        return self

    @property
    def files(self) -> dict[str, FilePath]:
        """The files that must be there, by the setting that names them."""
        keys = ("ca_file", "client_certificate_file", "client_key_file")
        return {key: path for key in keys if (path := getattr(self, key)) is not None}

    @property
    def client_certificate(self) -> tuple[FilePath, FilePath] | None:
        """The certificate to show, and its key."""
        certificate, key = self.client_certificate_file, self.client_key_file
        return (certificate, key) if certificate and key else None


class Credentials(Certified):
    """What everything has that is signed in to. Which of it may stand together each kind says itself."""

    SECRET_SOURCES: ClassVar[tuple[str, ...]] = ("password_file", "password_env", "header_files", "header_env")

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

    @field_validator("headers")
    @classmethod
    def _values_are_values(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        # What has another fault in its name is not repeated: it may be a whole header.
        _check_values({name: value for name, value in headers.items() if _HEADER.fullmatch(name)})
        return headers

    @model_validator(mode="after")
    def _headers_are_headers(self) -> Self:
        names = [name.lower() for name in self.header_names]
        if len(set(names)) != len(names):
            raise ValueError("names a header twice")
        if not all(_HEADER.fullmatch(name) for name in names):
            raise ValueError("has a header whose name is none (RFC 9110 §5.1)")
        return self

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if len(self.passwords) > 1:
            raise ValueError(f"has {' and '.join(self.passwords)}: keep one of them")
        return self

    @property
    def passwords(self) -> list[str]:
        """The settings that say what the password is."""
        return [key for key in ("password", "password_file", "password_env") if getattr(self, key) is not None]

    @property
    def header_names(self) -> list[str]:
        """The names of all headers, as they are written."""
        return [*self.headers, *self.header_files, *self.header_env]

    @property
    def secret_source(self) -> str:
        """The first setting that names where a secret is to be read from, else that of the headers that stand there."""
        return next((key for key in self.SECRET_SOURCES if getattr(self, key)), "headers")

    def with_secrets(self, environ: Mapping[str, str]) -> Self:
        """Return the same with password and headers in place.

        Raises `ValueError` saying what is wrong with a file or a variable, never what is in it.
        """
        password = secret_of(self.password, self.password_file, self.password_env, environ, "password")
        headers = dict(self.headers)
        headers |= {name: SecretStr(from_file(path, "header")) for name, path in self.header_files.items()}
        headers |= {
            name: SecretStr(from_variable(variable, environ, "header")) for name, variable in self.header_env.items()
        }
        _check_values(headers)
        return self.model_copy(update={"password": password, "headers": headers})


def _check_values(headers: Mapping[str, SecretStr]) -> None:
    """Raise `ValueError` for a header whose value cannot be sent, without the value (RFC 9110 §5.5)."""
    for name, value in headers.items():
        text = value.get_secret_value()
        if not text.isprintable() or not text.isascii() or text.startswith(" "):
            raise ValueError(
                f"the value of the header {name} is not of printable ASCII characters, or begins with a blank"
            )
