import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "transcoding"))  # transcoding_images: made images, judges

from hostd.editing.editor import WORKER
from hostd.transcoding.pool import CodecPool


@pytest.fixture(scope="session")
def edit_pool():
    pool = CodecPool(workers=1, worker=WORKER)
    yield pool
    pool.close()
