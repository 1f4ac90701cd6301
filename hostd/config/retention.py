"""`[retention.NAME]`: for how long instances are stored, by where they came from or by a label."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from hostd.config.section import Section


class Retention(Section):
    """Instances that are deleted by age. One of which a delivery or another action is open or failed stays until that is settled (P4)."""

    source: str | None = Field(
        default=None, description="Only those that came from this modality of `[modalities]`. Absent: from anywhere."
    )
    label: str | None = Field(
        default=None, description="Only those with this label, or whose series, study or patient has it. Absent: all."
    )
    keep_days: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        description="Days that they are stored after they were received."
    )

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.source is None and self.label is None:
            raise ValueError("should have a source or a label, or both")
        return self
