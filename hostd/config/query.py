"""`[query]`: how what is stored is looked for."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hostd.config.section import Section

Most = Annotated[int, Field(ge=0)]


class Query(Section):
    """How queries are answered: by C-FIND, DICOMweb and `POST /tools/find`."""

    case_sensitive_pn: bool = Field(
        default=False,
        description="Whether case and accents count in names of persons, in C-FIND and QIDO-RS. In anything else they always do.",
    )
    limit_results: Most = Field(
        default=0,
        description="How many patients, studies or series one query finds, at most; 0: all. A C-FIND that finds more ends with 0xA700.",
    )
    limit_instances: Most = Field(default=0, description="How many instances one query finds, at most; 0: all.")
    sop_classes_in_study: bool = Field(
        default=False,
        description="Look for studies by SOP Classes in Study, and tell them in C-FIND: that takes a look at each instance.",
    )
    read_files: Literal["always", "answers", "never"] = Field(
        default="always",
        description="Whether a file is read for attributes that the index does not hold: to match and to tell them (`always`), only to tell them"
        " (`answers`), or not at all: then they do not match, and have no value in answers.",
    )
