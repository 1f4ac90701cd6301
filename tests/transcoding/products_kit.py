"""Stored files, for tests of what is made of them."""

import hashlib

from transcoding_images import CT, EXPLICIT

from hostd.archive.instances import add_blob
from hostd.archive.records import Blob
from hostd.dicom.part10 import file_header


def source(sop_instance_uid):
    """Return a file of which only the header can be read."""
    return file_header(CT, sop_instance_uid, EXPLICIT) + b"source"


def store(archive, content=None, syntax=EXPLICIT):
    """Store a file, of no instance; return its name."""
    content = source("1.2.3") if content is None else content
    file = archive.blobs.create()
    file.write(content)
    file.seal()
    file.close()
    made = Blob(file.name, len(content), hashlib.sha256(content).hexdigest(), syntax)
    archive.writer.do(lambda c: add_blob(c, made, 0.0), blobs=[file.name])
    return file.name
