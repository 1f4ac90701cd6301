"""Folders that instances are written to: `[folders.NAME]`."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from hostd.config.forwarding import Forwarding
from hostd.config.values import FilePath
from hostd.dicom.file_paths import PathTemplate, safe_name


def _template(text: str) -> str:
    PathTemplate.parse(text)
    return text


def _name(text: str) -> str:
    if not text or safe_name(text) != text:
        raise ValueError("should be a word that is safe in a file name, as unknown")
    return text


class Folder(Forwarding):
    """A destination that is a folder of this machine, or mounted on it. Files are never overwritten there."""

    KIND: ClassVar[str] = "folder"

    path: FilePath = Field(
        description="The folder. It must exist: hostd does not make it, lest it fill the disk below a share that is not mounted."
    )
    template: Annotated[str, AfterValidator(_template)] = Field(
        default="{PatientID}/{StudyDate}/{Modality}/{SOPInstanceUID}.dcm",
        description="Where in it: attributes by keyword, in braces. What is unsafe in a name is replaced, and a digest is added to what was changed.",
    )
    missing: Annotated[str, AfterValidator(_name)] = Field(
        default="unknown", description="What stands for an attribute that an instance does not have."
    )

    @property
    def parsed(self) -> PathTemplate:
        """The template."""
        return PathTemplate.parse(self.template)
