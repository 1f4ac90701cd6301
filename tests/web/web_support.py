"""What the tests of the HTTP face share: a face on a real archive, and DICOM files."""

import io
from pathlib import Path

import pydicom
from argon2 import PasswordHasher
from processes import open_files_of
from pydicom.data import get_testdata_file
from starlette.testclient import TestClient

from hostd.archive.archive import Archive
from hostd.clock import SystemClock
from hostd.config.sections import User
from hostd.config.settings import Settings
from hostd.delivery.remotes import Remotes
from hostd.intake.intake import Intake
from hostd.jobs.running import Runner
from hostd.web.app import create_app

LIMIT = 4 << 20
LOCAL = ("127.0.0.1", 50000)


def dicom_file(name="CT_small.dcm"):
    return Path(get_testdata_file(name, download=False)).read_bytes()


def changed(content, **elements):
    """Return the file with other values of some elements."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    out = io.BytesIO()
    dataset.save_as(out)
    return out.getvalue()


def user(password, role):
    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    return User(password_hash=quick.hash(password), role=role)


class Waits:
    """What failed for a passing reason is tried again after the test."""

    def next_attempt(self, now, attempts, random):
        return now + 3600


class Face:
    """The app on an archive of its own."""

    def __init__(
        self, folder, *, users=None, on_conflict="newest", intake=None, limit=LIMIT, kinds=None, settings=None, **other
    ):
        """`kinds` are what carries out jobs, by their type."""
        self.archive = Archive(folder, "test", SystemClock())
        self.runner = Runner(self.archive, kinds or {}, Waits(), at_once=2)
        if kinds:
            self.runner.start()
        self.users = users or {}
        self.remotes = Remotes(self.archive, settings or Settings())
        self.app = create_app(
            self.archive,
            intake or Intake(self.archive, on_conflict=on_conflict, name_sender=lambda _origin: None),
            name="unit",
            dicom_aet="HOSTD",
            dicom_port=4242,
            max_upload_bytes=limit,
            users=lambda: self.users,
            runner=self.runner,
            remotes=self.remotes,
            **other,
        )

    def client(self, *, peer=LOCAL, base_url="http://localhost:8042", auth=None):
        # As in real life: an exception is answered, not raised in the client.
        client = TestClient(self.app, client=peer, base_url=base_url, raise_server_exceptions=False)
        client.auth = auth
        return client

    def files(self):
        return list(self.archive.blobs.names())

    def close(self):
        self.runner.stop(60)
        self.archive.close()


class FailingReception:
    """Takes a file, and fails when told to."""

    def __init__(self, at, error):
        self.at, self.error = at, error
        self.abandoned = False
        self.pieces = []

    def write(self, piece):
        self.pieces.append(len(piece))
        if self.at == "write":
            raise self.error

    def finish(self):
        raise self.error

    def abandon(self):
        self.abandoned = True


class OneReception:
    def __init__(self, reception):
        self.reception = reception

    def receive_file(self, *, origin):
        self.origin = origin
        return self.reception


def is_orthanc_error(response, status, orthanc_status):
    """Tell whether an answer is Orthanc's error object with these numbers."""
    error = response.json()
    assert (response.status_code, error["HttpStatus"], error["OrthancStatus"]) == (status, status, orthanc_status), (
        error
    )
    assert set(error) - {"Details"} == {
        "HttpError", "HttpStatus", "Message", "Method", "OrthancError", "OrthancStatus", "Uri",
    }  # fmt: skip
    assert error["Method"] == response.request.method
    assert error["Uri"] == response.request.url.path
    return True


def open_files_below(folder):
    """Return the files below a folder that this process holds open."""
    return [path for path in open_files_of("self") if path.is_relative_to(folder)]
