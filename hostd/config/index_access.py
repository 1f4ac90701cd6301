"""Where a node finds its index and its files: settings that the table of the node has among others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from hostd.config.place import Place
from hostd.config.secret_files import secret_of
from hostd.config.section import Section
from hostd.config.values import FilePath


class IndexAccess(Section):
    """What a node must know to reach its index and its files."""

    data: FilePath = Field(
        default=Path("./hostd-data"),
        description="The folder of index, files and state. It is created for its owner alone (0700).",
    )
    database: str | None = Field(
        default=None,
        description="The index, as `postgresql+psycopg://USER@HOST/NAME`, without a password: see docs/several-machines.md. Absent: SQLite in the data folder.",
    )
    database_password: SecretStr | None = Field(
        default=None,
        description="The password of `database`. Better in a file of its own (`database_password_file`) or a variable (`database_password_env`).",
    )
    database_password_file: FilePath | None = Field(
        default=None,
        description="A file that holds the password of `database`; one newline at its end is left out.",
    )
    database_password_env: str | None = Field(
        default=None, description="The environment variable that holds the password of `database`."
    )
    blobs: FilePath | None = Field(
        default=None,
        description="The folder of the files; nodes on one database share it. Absent: `blobs` in the data folder.",
    )

    @field_validator("database")
    @classmethod
    def _is_served(cls, url: str | None) -> str | None:
        if url is None:
            return None
        scheme, separator, rest = url.partition("://")
        if scheme != "postgresql+psycopg" or not separator:
            raise ValueError(
                "should be postgresql+psycopg://USER@HOST/NAME; leave it out to use SQLite in the data folder"
            )
        if ":" in rest.rpartition("@")[0]:
            raise ValueError("holds a password: put that into database_password_file or database_password_env")
        if "password" in urlsplit(url).query:
            raise ValueError("holds a password: put that into database_password_file or database_password_env")
        if not urlsplit(url).path.strip("/"):
            raise ValueError("names no database: add its name, as postgresql+psycopg://USER@HOST/NAME")
        return url

    @model_validator(mode="after")
    def _a_database_is_shared_whole(self) -> Self:
        names = ("database_password", "database_password_file", "database_password_env")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"has {' and '.join(given)}: keep one of them")
        if given and self.database is None:
            raise ValueError(f"has {given[0]} but no database: add the database")
        return self

    @property
    def place(self) -> Place:
        """Where the archive is."""
        url = self.database
        if url is not None and self.database_password is not None:
            scheme, _, rest = url.partition("://")
            user, at, address = rest.rpartition("@")
            url = f"{scheme}://{user}:{quote(self.database_password.get_secret_value(), safe='')}{at}{address}"
        return Place(self.data, self.blobs or self.data / "blobs", url)

    def with_secrets(self, environ: Mapping[str, str]) -> Self:
        """Return them with the password of the database from its file or variable. Raises `ValueError`, which does not say it."""
        file, variable = self.database_password_file, self.database_password_env
        password = secret_of(self.database_password, file, variable, environ, "password")
        return self.model_copy(update={"database_password": password})
