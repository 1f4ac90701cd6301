"""`[sources.NAME]`: modalities that are expected to send."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hostd.config.section import Section


class Source(Section):
    """A modality of `[modalities]` that is expected to send; that it does not is told by `on_source_silent`."""

    silent_after_h: Annotated[float, Field(gt=0)] = Field(
        description="Hours without an instance from it after which it is silent."
    )
