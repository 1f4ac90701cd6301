"""An instance of 4 GiB comes and goes by every way there is, and no process of the node ever has more than a part of it in memory."""

import hashlib
import io
import re
import shutil
import subprocess
import zipfile

import numpy as np
import pytest
import requests
from node_kit import NodeProcess, Place
from processes import descendants_of, peak_bytes
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MultiFrameGrayscaleByteSecondaryCaptureImageStorage, generate_uid

from hostd.dicom.part10 import data_set_offset, file_header
from hostd.dimse import scu

SOP_CLASS = str(MultiFrameGrayscaleByteSecondaryCaptureImageStorage)
EXPLICIT = str(ExplicitVRLittleEndian)
SIZE = 0xFFFFFFFE
BOUND = 400 << 20
PIECE = 1 << 20


def huge(path):
    """Write an instance with the longest native pixel data there can be, a sparse file; return its identity."""
    data_set = Dataset()
    data_set.SOPClassUID, data_set.SOPInstanceUID = SOP_CLASS, generate_uid()
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = generate_uid(), generate_uid()
    data_set.PatientID, data_set.Modality = "HUGE", "OT"
    data_set.Rows = data_set.Columns = 65535
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 8, 8, 7, 0
    data_set.PixelData = np.arange(16, dtype=np.uint8).tobytes()
    buffer = io.BytesIO()
    data_set.save_as(buffer, implicit_vr=False, little_endian=True)
    encoded = buffer.getvalue()
    at = encoded.index(b"\xe0\x7f\x10\0O")
    with path.open("wb") as file:
        header = file_header(SOP_CLASS, str(data_set.SOPInstanceUID), EXPLICIT) + encoded[:at]
        file.write(header + encoded[at : at + 8] + SIZE.to_bytes(4, "little") + encoded[at + 12 :])
        file.truncate(len(header) + 12 + SIZE)
    return data_set


def digest(pieces):
    found, size = hashlib.sha256(), 0
    for piece in pieces:
        found.update(piece)
        size += len(piece)
    return size, found.hexdigest()


def pieces_of(path):
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def peak(pid):
    """Return the most memory that a process or one of those it has started had so far, in bytes."""
    return max(peak_bytes(pid), *(peak_bytes(one) or 0 for one in descendants_of(pid)))


@pytest.mark.large
@pytest.mark.timeout(900)
def test_four_gibibytes_come_and_go_by_every_way_in_little_memory(tmp_path):
    place = Place(tmp_path, "large", more='[modalities.sender]\naet = "SENDER"\nhost = "127.0.0.1"\nport = 9\n')
    place.config.write_text(place.config.read_text().replace("[http]\n", "[http]\nmax_upload_mb = 8192\n"))
    source = tmp_path / "huge.dcm"
    made = huge(source)
    whole = digest(pieces_of(source))
    url = f"http://127.0.0.1:{place.http_port}"
    web = f"{url}/dicom-web/studies"
    one = f"{web}/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"

    def stored():
        [found] = requests.get(f"{url}/instances", timeout=60).json()
        return f"{url}/instances/{found}"

    def fetched():
        with requests.get(f"{stored()}/file", stream=True, timeout=120) as answer:
            return digest(answer.iter_content(PIECE))

    with NodeProcess(place) as node:
        idle = peak(node.pid)
        with source.open("rb") as file, scu.connect(
            "127.0.0.1", place.dicom_port, calling_aet="SENDER", called_aet=place.aet, contexts=[(SOP_CLASS, [EXPLICIT])], timeout_s=300
        ) as association:  # fmt: skip
            data_set_offset(file)
            left = source.stat().st_size - file.tell()
            assert association.store(SOP_CLASS, str(made.SOPInstanceUID), EXPLICIT, file, left).status == 0
        assert fetched()[0] >= SIZE
        requests.delete(stored(), timeout=60).raise_for_status()

        with source.open("rb") as file:
            answer = requests.post(f"{url}/instances", data=file, timeout=300)
        assert answer.json()["Status"] == "Success", answer.text
        assert fetched() == whole
        study = answer.json()["ParentStudy"]
        packed = tmp_path / "packed.zip"
        with (
            requests.get(f"{url}/studies/{study}/archive", stream=True, timeout=300) as answer,
            packed.open("wb") as file,
        ):
            shutil.copyfileobj(answer.raw, file, PIECE)
        with zipfile.ZipFile(packed) as zipped, zipped.open(zipped.namelist()[0]) as file:
            assert digest(iter(lambda: file.read(PIECE), b"")) == whole
        packed.unlink()

        accepts = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
        with requests.get(one, headers=accepts, stream=True, timeout=300) as answer:
            assert answer.status_code == 200
            boundary = re.search('boundary="?([^";]+)', answer.headers["Content-Type"])[1]
            raw = answer.raw
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += raw.read(1)
            left, found = whole[0], hashlib.sha256()
            while left:
                piece = raw.read(min(left, PIECE))
                assert piece, "the answer is cut"
                found.update(piece)
                left -= len(piece)
            assert found.hexdigest() == whole[1]
            assert raw.read() == f"\r\n--{boundary}--\r\n".encode()
        requests.delete(stored(), timeout=60).raise_for_status()

        def part():
            yield b"--b\r\nContent-Type: application/dicom\r\n\r\n"
            yield from pieces_of(source)
            yield b"\r\n--b--\r\n"

        kind = {
            "Content-Type": 'multipart/related; type="application/dicom"; boundary=b',
            "Accept": "application/dicom+json",
        }
        answer = requests.post(web, data=part(), headers=kind, timeout=300)
        assert answer.status_code == 200, answer.text
        assert fetched() == whole

        if shutil.which("getscu"):
            into = tmp_path / "got"
            into.mkdir()
            keys = ["-k", "QueryRetrieveLevel=IMAGE", "-k", f"StudyInstanceUID={made.StudyInstanceUID}",
                    "-k", f"SeriesInstanceUID={made.SeriesInstanceUID}", "-k", f"SOPInstanceUID={made.SOPInstanceUID}"]  # fmt: skip
            command = ["getscu", "-S", "+B", "+xe", "-aet", "SENDER", "-aec", place.aet, "-od", str(into), "127.0.0.1"]
            done = subprocess.run(
                [*command, str(place.dicom_port), *keys], capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            [got] = into.iterdir()
            assert got.stat().st_size >= SIZE
        assert peak(node.pid) - idle < BOUND, f"{(peak(node.pid) - idle) >> 20} MiB"
        assert node.stop() == 0
