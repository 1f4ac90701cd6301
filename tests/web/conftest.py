import os

import pytest
from web_support import Face

READ = os.preadv


@pytest.fixture(autouse=True)
def in_memory(monkeypatch):
    """The files of the tests are in memory, of a file system that cannot say so."""
    monkeypatch.setattr(os, "preadv", lambda descriptor, buffers, at, _flags=0: READ(descriptor, buffers, at))


@pytest.fixture
def make_face(tmp_path, prepared):
    faces = []

    def make(**other):
        folder = tmp_path / str(len(faces))
        folder.mkdir(mode=0o700)
        faces.append(Face(prepared(folder), **other))
        return faces[-1]

    yield make
    for face in faces:
        face.close()


@pytest.fixture
def face(make_face):
    return make_face()


@pytest.fixture(scope="module")
def idle_face(tmp_path_factory):
    """A face for questions that store nothing."""
    face = Face(tmp_path_factory.mktemp("idle"))
    yield face
    face.close()


@pytest.fixture
def client(face):
    return face.client()
