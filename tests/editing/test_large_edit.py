"""An instance of 4 GiB is edited in a process that may have an eighth of that."""

from __future__ import annotations

import pytest
from editing_kit import content, instance, terms

from hostd.editing.editor import WORKER
from hostd.editing.terms import EditJob, Project
from hostd.transcoding.edits import Anonymize, Modify
from hostd.transcoding.pool import CodecPool


@pytest.mark.large
@pytest.mark.timeout(900)
@pytest.mark.parametrize("step", [Modify(set={"PatientID": "NEW"}), Anonymize("TRIAL7")], ids=["modify", "anonymize"])
def test_four_gibibytes_of_pixels_pass_through_little_memory(tmp_path, step):
    raw = content(instance(Rows=46340, Columns=46340))
    at = raw.index(b"\xe0\x7f\x10\0OW")
    size = 0xFFFFFFFE
    source, result = tmp_path / "in.dcm", tmp_path / "out.dcm"
    with source.open("wb") as file:
        file.write(raw[: at + 8] + size.to_bytes(4, "little"))
        file.truncate(at + 12 + size)
    pool = CodecPool(workers=1, memory_bytes=768 << 20, time_limit_s=800, worker=WORKER)
    try:
        receipt = pool.carry_out(EditJob(step, terms(Project("TRIAL7"))), source, result)
    finally:
        pool.close()
        source.unlink()
        result.unlink(missing_ok=True)
    assert receipt.pixel_hash_before == receipt.pixel_hash_after
    assert receipt.bytes_after > size
