"""More than 4 GiB: frames are streamed, and offsets have 64 bits where 32 do not do."""

from __future__ import annotations

import struct
import zlib
from array import array

import pytest
from processes import peak_bytes, resident_bytes
from transcoding_images import image, saved

from hostd.dicom import part10
from hostd.dicom.syntaxes import DEFLATED_FRAMES, ENCAPSULATED_UNCOMPRESSED, EXPLICIT_LE
from hostd.errors import CannotTranscodeError
from hostd.transcoding import elements as el
from hostd.transcoding.pool import CodecPool

SIDE = 1024
FRAMES = 4200
BOUND = 300 << 20


def small_file_of_many_frames(path):
    """Write 4.1 GiB of frames, deflated to a few MiB; each begins with its own number."""
    ds = image(rows=1, columns=1, allocated=8, stored=8)
    del ds.PixelData
    ds.Rows = ds.Columns = SIDE
    ds.NumberOfFrames = FRAMES
    plain = saved(ds)
    data_set = plain[plain.index(b"\x08\x00\x16\x00") :]
    rest = bytes(SIDE * SIDE - 4)
    with path.open("wb") as file:
        file.write(part10.file_header(ds.SOPClassUID, ds.SOPInstanceUID, DEFLATED_FRAMES.uid) + data_set)
        file.write(el.pixel_head(el.PIXEL_DATA, b"OB", el.UNDEFINED, implicit=False) + b"\xfe\xff\x00\xe0\0\0\0\0")
        for number in range(FRAMES):
            frame = zlib.compress(struct.pack("<I", number) + rest, 1, wbits=-15)
            frame += bytes(len(frame) % 2)
            file.write(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(frame)) + frame)
        file.write(b"\xfe\xff\xdd\xe0\0\0\0\0")


@pytest.mark.large
@pytest.mark.timeout(1200)
def test_over_4_gib_is_written_and_read_with_64_bit_offsets_in_bounded_memory(tmp_path):
    source, large, back = tmp_path / "small.dcm", tmp_path / "large.dcm", tmp_path / "back.dcm"
    small_file_of_many_frames(source)
    pool = CodecPool(workers=1, time_limit_s=1200)
    with pytest.raises(CannotTranscodeError, match="over the 4 GiB"):
        pool.transcode(source, EXPLICIT_LE, tmp_path / "too large")
    (worker,) = pool._idle
    idle = resident_bytes(worker.pid)
    forth = pool.transcode(source, ENCAPSULATED_UNCOMPRESSED, large)
    assert large.stat().st_size > 1 << 32
    assert_frames_are_where_their_table_says(large)
    again = pool.transcode(large, DEFLATED_FRAMES, back)
    assert forth.pixel_hash_before == forth.pixel_hash_after == again.pixel_hash_before == again.pixel_hash_after
    assert peak_bytes(worker.pid) - idle < BOUND
    pool.close()


def assert_frames_are_where_their_table_says(path):
    with path.open("rb") as file:
        file.seek(part10.data_set_offset(file).offset)
        header, pixel = el.read_until_pixels(file, implicit=False)
        offsets = array("Q", header[0x7FE00001].value)
        lengths = array("Q", header[0x7FE00002].value)
        assert len(offsets) == len(lengths) == FRAMES
        assert offsets[-1] > 1 << 32
        first = pixel.value_at + 8  # after the empty basic offset table
        for number in (0, 1, FRAMES // 2, FRAMES - 1):
            file.seek(first + offsets[number])
            head = file.read(12)
            assert head[:4] == b"\xfe\xff\x00\xe0"
            assert int.from_bytes(head[4:8], "little") == lengths[number] == SIDE * SIDE
            assert int.from_bytes(head[8:], "little") == number
