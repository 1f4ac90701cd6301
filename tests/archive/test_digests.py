"""A file is known to be what was stored, however its digest was made: no byte of it may be another, and none may come or go."""

import hashlib
import io

import pytest

from hostd.archive import digests

HEAD, DATA_SET = bytes(range(200)), b"data set " * 50_000
FILE = HEAD + DATA_SET
WHOLE = hashlib.sha256(FILE).hexdigest()
PARTS = digests.of_parts(HEAD, hashlib.sha256(DATA_SET).hexdigest())
BARE = digests.of_parts(b"", WHOLE)


@pytest.mark.parametrize("digest", [WHOLE, PARTS, BARE])
def test_what_is_as_it_was_has_the_same_digest(digest):
    assert digests.of_file(io.BytesIO(FILE), digest) == digest


@pytest.mark.parametrize("digest", [WHOLE, PARTS, BARE])
@pytest.mark.parametrize(
    "changed",
    [
        FILE[:-1],
        FILE + b"\0",
        b"",
        HEAD,
        FILE[1:],
        HEAD[:-1],
        b"\1" + FILE[1:],
        HEAD[:-1] + b"\0" + DATA_SET,
        HEAD + b"D" + DATA_SET[1:],
        FILE[:300_000] + b"X" + FILE[300_001:],
        HEAD + HEAD[-1:] + DATA_SET,
    ],
)
def test_what_is_another_file_has_another_digest(digest, changed):
    assert digests.of_file(io.BytesIO(changed), digest) != digest


@pytest.mark.parametrize("sizes", [[1], [199, 1, 5], [200], [201], [64, 1000]])
@pytest.mark.parametrize("digest", [WHOLE, PARTS, BARE])
def test_in_whatever_pieces_a_file_is_read_its_digest_is_the_same(digest, sizes):
    made, at = digests.Digest(like=digest), 0
    while at < 2000:
        for size in sizes:
            made.update(FILE[at : at + size])
            at += size
    made.update(FILE[at:])
    assert made.text() == digest
