"""`hostd`, but that what a codec made is not decoded again and compared: what verifying costs cannot be seen otherwise.

hostd has no such setting. A node that is run so is for measuring.
"""

from __future__ import annotations

from hostd.cli import main
from hostd.transcoding.pool import CodecPool


def without_verification() -> None:
    """Have transcodes of this process not verified unless they ask for it."""
    defaults = CodecPool.transcode.__kwdefaults__
    assert defaults is not None
    assert defaults["verify"] is True, "this is about the default of CodecPool.transcode"
    defaults["verify"] = False


if __name__ == "__main__":
    without_verification()
    main()
