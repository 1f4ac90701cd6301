"""Files of the archive in another transfer syntax, made for one answer by the codec workers (P6), and kept by nobody."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Protocol

from starlette.responses import Response

from hostd.archive.archive import Archive
from hostd.archive.records import Instance
from hostd.dicom import syntaxes
from hostd.dicom.syntaxes import TransferSyntax, UnknownSyntaxError
from hostd.errors import CannotTranscodeError
from hostd.transcoding.options import DEFAULT_QUALITY, EncodeOptions
from hostd.transcoding.receipt import Receipt
from hostd.transcoding.sameness import identified, require_own_identity, require_same_instance
from hostd.transcoding.transform import Transcode
from hostd.web.errors import INEXISTENT_FILE, NOT_IMPLEMENTED, PARAMETER_OUT_OF_RANGE, WebError
from hostd.web.files import disposition, file_response, opened
from hostd.web.forms import file_uuid
from hostd.web.promptness import takes_long
from hostd.web.resources import existing


class Transcodes(Protocol):
    """What makes results (`hostd.transcoding.transcoder.Transcoder`)."""

    def transcode(
        self, source: Path, target: TransferSyntax, result: Path, options: EncodeOptions | None = None
    ) -> Receipt:
        """Write `result`, which must not exist, and return its receipt. Raises `TranscodeError` or `OSError`."""
        ...


def wanted_syntax(name: str) -> TransferSyntax:
    """Return the transfer syntax of a UID, keyword or short name. Raises `WebError` for one that nobody knows."""
    try:
        return syntaxes.lookup(name)
    except UnknownSyntaxError as error:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, str(error)) from error


def lossy_quality(target: TransferSyntax, quality: int | None) -> EncodeOptions | None:
    """Return how lossy a result in that transfer syntax is to be; None where nothing is lost. Raises `WebError`."""
    if quality is not None and not 1 <= quality <= 100:
        raise WebError(400, PARAMETER_OUT_OF_RANGE, "the quality is a number from 1 to 100")
    return EncodeOptions(quality=quality or DEFAULT_QUALITY) if target.is_lossy else None


class Made:
    """Makes them. For any number of threads."""

    def __init__(self, archive: Archive, transcoder: Transcodes | None) -> None:
        self._archive = archive
        self._transcoder = transcoder

    def response(
        self, instance: Instance, target: TransferSyntax, options: EncodeOptions | None, filename: str | None = None
    ) -> Response:
        """Return an instance in that transfer syntax as an answer. Raises `WebError`."""
        name = filename or f"{file_uuid(instance.blob.name)}.dcm"
        return file_response(self.open(instance, target, options), headers=disposition(name))

    def open(self, instance: Instance, target: TransferSyntax, options: EncodeOptions | None = None) -> BinaryIO:
        """Return an open file of an instance in that transfer syntax; it is gone when it is closed. Raises `WebError`.

        Without `options` nothing is lost, and it is the same instance; with them it is one of its own.
        """
        if instance.blob.transfer_syntax == target.uid:
            return opened(self._archive, instance)
        if self._transcoder is None:
            raise WebError(501, NOT_IMPLEMENTED, "this node transcodes nothing")
        takes_long()
        source = self._archive.blobs.path(instance.blob.name)
        spare = self._archive.blobs.vacant(is_product=True)
        step = Transcode(target.uid, quality=options.quality if options is not None else None)
        secret, content = self._archive.secret, instance.received_sha256
        known = identified(step, secret, instance.sop_instance_uid, content, instance.blob.transfer_syntax)
        try:
            receipt = self._transcoder.transcode(source, target, spare.path, known)
            if known is None:
                require_same_instance(spare.path, instance.sop_instance_uid)
            else:
                require_own_identity(spare.path, receipt, instance.sop_instance_uid)
            return spare.path.open("rb")
        except CannotTranscodeError as error:
            raise WebError(501, NOT_IMPLEMENTED, str(error)) from error
        except FileNotFoundError as error:
            existing(self._archive, instance.id)  # deleted meanwhile: that is no fault
            raise WebError(500, INEXISTENT_FILE, "the file of this instance is missing from the archive") from error
        finally:
            spare.path.unlink(missing_ok=True)
