"""Servers that take instances by DICOMweb: `[dicomweb.NAME]`."""

from __future__ import annotations

from typing import ClassVar

from hostd.config.http_access import HttpAccess


class DicomWeb(HttpAccess):
    """A destination that speaks DICOMweb, by STOW-RS (PS3.18 §10.5). Its root is the one before `studies`, as `https://pacs.example/dicom-web/`."""

    KIND: ClassVar[str] = "dicomweb"
