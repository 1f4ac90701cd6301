"""`[storage]`: how much is stored, and what is done when more comes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hostd.config.section import Section


class Storage(Section):
    """How much is stored. What is deleted and waits in the trash (`node.trash_days`) does not count; what is recycled skips the trash."""

    max_size_mb: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Megabytes (MiB) of files, those of versions among them, that are stored at most. 0: any.",
    )
    max_patients: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Patients that are stored at most. 0: any."
    )
    when_full: Literal["recycle", "refuse"] = Field(
        default="refuse",
        description="What is done with what would go beyond: `recycle` deletes the patients of whom nothing came for longest, unless they are protected"
        " (`PUT /patients/ID/protected`), or something of them is to be delivered, is promised or is still worked on; where nobody may go, and with"
        " `refuse`, it is refused with 0xA700, HTTP 507.",
    )
