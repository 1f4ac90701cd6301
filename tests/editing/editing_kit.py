"""Made instances, and edits of them in this process; what needs the worker's process has the fixture `edit_pool`."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import pydicom
import pytest
from pydicom.data import get_charset_files
from pydicom.dataset import Dataset
from transcoding_images import EXPLICIT, IMPLICIT, image, saved

from hostd.dicom import part10
from hostd.editing.terms import EditJob, Project, Terms
from hostd.editing.worker import edit
from hostd.transcoding import elements as el

KEY = bytes(range(32))
AT = "20260101120000+0000"


def instance(number=1, *, study="1.2.826.0.1.5", series="1.2.826.0.1.5.7", **keywords):
    """Return a made CT image that belongs to a patient."""
    ds = image(rows=8, columns=8)
    values = {
        "PatientName": "Doe^Jane", "PatientID": "00123", "IssuerOfPatientID": "HOSPITAL", "PatientBirthDate": "19501224",
        "PatientSex": "F", "PatientAge": "075Y", "StudyInstanceUID": study, "SeriesInstanceUID": series,
        "SOPInstanceUID": f"{series}.{number}", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "Modality": "CT", "StudyDate": "20240229",
        "StudyTime": "101112", "SeriesDate": "20240301", "AccessionNumber": "ACC77", "InstitutionName": "General Hospital",
        "StudyDescription": "CT THORAX Jane Doe", "SeriesDescription": "Thorax 5mm for Dr Miller", "FrameOfReferenceUID": "1.2.826.0.1.9",
        "InstanceNumber": str(number), "ReferringPhysicianName": "Miller^Ann",
    }  # fmt: skip
    for keyword, value in (values | keywords).items():
        setattr(ds, keyword, value)
    return ds


def item(**keywords):
    ds = Dataset()
    for keyword, value in keywords.items():
        setattr(ds, keyword, value)
    return ds


def terms(project=None, *, key=KEY, pseudonym="P1", days=-100):
    return Terms(key, AT, "hostd at home", project, pseudonym, days)


def content(source, syntax=EXPLICIT):
    """Return a file: of bytes themselves, of elements, or of a pydicom data set."""
    if isinstance(source, bytes):
        return source
    if isinstance(source, dict):
        uids = [el.text(source, tag) or "1.2.3" for tag in (0x00080016, 0x00080018)]
        return part10.file_header(*uids, syntax) + el.encode(source, implicit=syntax == IMPLICIT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return saved(source, syntax)


def done(step, source, given=None, *, syntax=EXPLICIT):
    """Return the bytes of the result, and the facts."""
    result = io.BytesIO()
    facts = edit(EditJob(step, given or terms()), io.BytesIO(content(source, syntax)), result)
    return result.getvalue(), facts


def changed(step, source, given=None, *, syntax=EXPLICIT):
    """Return the result as pydicom reads it."""
    return read(done(step, source, given, syntax=syntax)[0])


def read(raw):
    return pydicom.dcmread(io.BytesIO(raw))


def project(**options):
    return terms(Project("TRIAL7", **options))


def charset_file(name):
    """Return the bytes of one of pydicom's files of many character sets."""
    found = get_charset_files(name)
    if not found:
        pytest.skip(f"this pydicom does not ship {name}")
    return Path(found[0]).read_bytes()
