"""Making of a file what a transform says, for one answer: kept by nobody, without receipts (P7)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hostd.archive.archive import Archive
from hostd.dicom import syntaxes
from hostd.transcoding.products import Edits, Transcodes
from hostd.transcoding.sameness import identified, require_own_identity, require_same_instance
from hostd.transcoding.stored import Stored
from hostd.transcoding.transform import RunTool, Transcode, Transform


class Maker:
    """Makes them, in the jailed workers. For any number of threads."""

    def __init__(self, archive: Archive, transcoder: Transcodes, editor: Edits) -> None:
        self._archive = archive
        self._transcoder = transcoder
        self._editor = editor

    @contextmanager
    def made(self, stored: Stored, transfer_syntax: str, transform: Transform) -> Iterator[Path]:
        """Give the file that a transform makes of a stored one; it is gone afterwards. Raises `TranscodeError` or `OSError`."""
        source, uid, syntax = self._archive.blobs.path(stored.blob), stored.sop_instance_uid, transfer_syntax
        spares: list[Path] = []
        try:
            for count, step in enumerate(transform.steps):
                assert not isinstance(step, RunTool), "tools are for scripts"
                spare = self._archive.blobs.vacant(is_product=True)
                spares.append(spare.path)
                if isinstance(step, Transcode):
                    before = Transform(transform.steps[:count]).canonical()
                    options = identified(step, self._archive.secret, uid, stored.content, syntax, before)
                    receipt = self._transcoder.transcode(source, syntaxes.by_uid(step.to), spare.path, options)
                    if options is None:
                        require_same_instance(spare.path, uid)
                    else:
                        require_own_identity(spare.path, receipt, uid)
                else:
                    receipt = self._editor.edit(step, source, spare.path)
                source, uid, syntax = spare.path, receipt.sop_instance_uid or uid, receipt.result_syntax
            yield source
        finally:
            for path in spares:
                path.unlink(missing_ok=True)
