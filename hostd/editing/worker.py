"""A codec worker that edits too: the same process, jail and messages, with one more kind of job."""

from __future__ import annotations

import contextlib
import io
from typing import BinaryIO, cast

import msgspec

from hostd.dicom import part10, syntaxes
from hostd.editing import charsets, profile, words
from hostd.editing.anonymize import anonymize
from hostd.editing.modify import modify
from hostd.editing.redact import redact
from hostd.editing.rewriting import rewrite
from hostd.editing.terms import EditJob, Project, Terms
from hostd.errors import CannotEditError, CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding import worker
from hostd.transcoding.edits import Anonymize, Modify, Redact
from hostd.transcoding.receipt import Facts


def edit(job: EditJob, source: BinaryIO, result: BinaryIO) -> Facts:
    """Write the edited instance to `result`, an empty file that can be read and sought, and return what proves it.

    Raises `CannotTranscodeError` with the reason; `result` is worth nothing then.
    """
    step, terms = job.edit, job.terms
    try:
        match step:
            case Modify():
                return rewrite(source, result, lambda header, _: modify(header, step, terms), names_sender=True)
            case Anonymize():
                return rewrite(
                    source,
                    result,
                    lambda header, has_pixels: anonymize(header, step, terms, has_pixels=has_pixels),
                    names_sender=False,
                )
            case Redact():
                return redact(source, result, step, terms)
    except RecursionError as error:
        raise CannotEditError("its sequences are nested too deep to be read") from error


def warm_up() -> None:
    """Load everything that is loaded on first use; no file opens afterwards."""
    charsets.warm_up()
    profile.table()
    profile.safe_private()
    words.vocabulary()
    words.standard_schemes()
    head = part10.file_header("1.2.840.10008.5.1.4.1.1.66", "2.25.1", syntaxes.EXPLICIT_LE.uid)
    header: el.Elements = {}
    texts = {
        0x00080016: "1.2.840.10008.5.1.4.1.1.66", 0x00080018: "2.25.1", 0x0020000D: "2.25.2", 0x0020000E: "2.25.3",
    }  # fmt: skip
    for tag, text in texts.items():
        header = el.with_text(header, tag, b"UI", text)
    header = el.with_text(header, 0x0008103E, b"LO", "Thorax 5mm")
    project = Project("warm-up", clean_descriptors=True, retain_safe_private=True)
    terms = Terms(bytes(32), "20200101", "hostd", project, "P", -40)
    steps = (
        Modify(set={"PatientName": "\u5c71\u7530^A", "PatientID": "1", "PatientWeight": 70.5, "nonsense": ""}),
        Modify(set={"PatientName": "\u5c71\u7530^A", "PatientID": "1", "PatientWeight": 70.5}),
        Anonymize("warm-up"),
        Redact(((0, 0, 1, 1),)),
    )
    for step in steps:
        with contextlib.suppress(CannotTranscodeError):
            edit(EditJob(step, terms), io.BytesIO(head + el.encode(header, implicit=False)), io.BytesIO())


def run() -> None:
    """Do the work of the process."""
    worker.run(worker.Others(EditJob, _do, warm_up))


def _do(job: msgspec.Struct, source: BinaryIO, result: BinaryIO) -> Facts:
    return edit(cast("EditJob", job), source, result)
