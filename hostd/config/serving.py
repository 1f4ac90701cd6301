"""How hostd shows who it is to who calls it: certificate and key, and whose certificates it wants to see."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from hostd.config.section import Section
from hostd.config.values import FilePath


class Serving(Section):
    """What a face has that can speak TLS."""

    certificate_file: FilePath | None = Field(
        default=None, description="The certificate (PEM) to show who calls, with those that lead to its root."
    )
    key_file: FilePath | None = Field(
        default=None, description="The key (PEM, without a passphrase) of that certificate."
    )
    client_ca_file: FilePath | None = Field(
        default=None,
        description="The certificates (PEM) by which who calls over TLS must be vouched for. Absent: anybody may call.",
    )
    tls_minimum: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest version of TLS to speak.")

    @model_validator(mode="after")
    def _certificate_has_its_key(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("should have certificate_file with its key_file, or neither")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("has client_ca_file, but no certificate_file: only over TLS it is seen who calls")
        return self

    @property
    def files(self) -> dict[str, FilePath]:
        """The files that must be there, by the setting that names them."""
        keys = ("certificate_file", "key_file", "client_ca_file")
        return {key: path for key in keys if (path := getattr(self, key)) is not None}
