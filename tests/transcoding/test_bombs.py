"""Small files that declare 60000 rows and columns in header and codestream alike: an error, in bounded memory, and the pool lives."""

from __future__ import annotations

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from processes import peak_bytes
from transcoding_images import done, image, pixels_of, saved, with_codestreams

from hostd.dicom.syntaxes import EXPLICIT_LE, JPEG_LS_LOSSLESS
from hostd.errors import TranscodeError
from hostd.transcoding.pool import CodecPool

SIDE = 60000
MEMORY_BYTES = 1 << 30
SMALL = np.zeros((64, 80), "u1")


def _sized(stream, old, new):
    assert old in stream[:200]
    return stream.replace(old, new, 1)


def _jpeg(**settings):
    return _sized(bytes(imagecodecs.jpeg8_encode(SMALL, **settings)), b"\0\x40\0\x50", struct.pack(">2H", SIDE, SIDE))


def _jpeg2000(stream):
    twice = struct.pack(">2I", 80, 64)  # the image, and its tile
    large = struct.pack(">2I", SIDE, SIDE)
    return _sized(_sized(bytes(stream), twice, large), twice, large)


def _jpeg_ls():
    return _sized(bytes(imagecodecs.jpegls_encode(SMALL)), b"\0\x40\0\x50", struct.pack(">2H", SIDE, SIDE))


def _jpeg_xl():
    side = 9000  # said in as many bits as 60000
    stream = bytes(imagecodecs.jpegxl_encode(np.zeros((side, side), "u1"), lossless=True, effort=1))
    assert stream.startswith(b"\xff\x0a")
    bits = int.from_bytes(stream[2:5], "little")
    assert (bits & 7, bits >> 3 & (1 << 18) - 1, bits >> 21) == (0b100, side - 1, 1)
    return stream[:2] + (0b100 | SIDE - 1 << 3 | 1 << 21).to_bytes(3, "little") + stream[5:]


def _deflated():
    """Return what inflates to a whole frame."""
    deflater = zlib.compressobj(9, wbits=-15)
    block = deflater.compress(bytes(1 << 24)) + deflater.flush(
        zlib.Z_FULL_FLUSH
    )  # stands alone, so that it may be repeated
    return block * (SIDE * SIDE >> 24) + deflater.compress(bytes(SIDE * SIDE % (1 << 24))) + deflater.flush()


ROOT = "1.2.840.10008.1.2"
BOMBS = {
    f"{ROOT}.4.50": lambda: _jpeg(level=90),
    f"{ROOT}.4.57": lambda: _jpeg(lossless=True, predictor=6),
    f"{ROOT}.4.70": lambda: _jpeg(lossless=True, predictor=1),
    f"{ROOT}.4.80": _jpeg_ls,
    f"{ROOT}.4.90": lambda: _jpeg2000(imagecodecs.jpeg2k_encode(SMALL, level=0, codecformat="j2k", reversible=True)),
    f"{ROOT}.4.201": lambda: _jpeg2000(imagecodecs.htj2k_encode(SMALL, reversible=True)),
    f"{ROOT}.4.110": _jpeg_xl,
    f"{ROOT}.5": lambda: struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 2000,
    f"{ROOT}.8.1": _deflated,
}


@pytest.fixture(scope="module")
def pool():
    made = CodecPool(workers=1, memory_bytes=MEMORY_BYTES, time_limit_s=30)
    yield made
    made.close()


@pytest.mark.parametrize("uid", BOMBS, ids=lambda uid: uid.removeprefix(ROOT))
def test_a_bomb_is_an_error_in_bounded_memory_and_the_next_file_is_done(uid, pool, tmp_path):
    ds = image(SMALL[None], allocated=8, stored=8)
    ds.Rows = ds.Columns = SIDE
    stream = BOMBS[uid]()
    assert len(stream) < 4 << 20
    source, result = tmp_path / "bomb.dcm", tmp_path / "result.dcm"
    source.write_bytes(with_codestreams(ds, [stream], syntax=uid))
    before = peak_bytes("self")
    with pytest.raises(TranscodeError) as caught:
        pool.transcode(source, EXPLICIT_LE, result)
    assert not result.exists()
    assert peak_bytes("self") - before < 64 << 20, "the host itself took memory for it"
    assert "should not" not in str(caught.value)
    for worker in pool._idle:  # none where it needed more than it may have, see the error
        assert peak_bytes(worker.pid) < MEMORY_BYTES // 2, caught.value
    good = tmp_path / "good.dcm"
    good.write_bytes(done(saved(image(SMALL[None], allocated=8, stored=8)), JPEG_LS_LOSSLESS)[0])
    pool.transcode(good, EXPLICIT_LE, result)
    assert np.array_equal(pixels_of(result.read_bytes())[0], SMALL)
