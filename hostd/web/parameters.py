"""Query parameters as Orthanc reads them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Request

LARGEST = 2**62 - 1
"""The largest number that may be asked with: the index has a place for two of them together."""

RowNumber = Annotated[int, Path(ge=-LARGEST, le=LARGEST, description="The number of a row.")]
Since = Annotated[int, Query(ge=0, le=LARGEST, description="How many to leave out at the beginning.")]
Limit = Annotated[int | None, Query(ge=0, le=LARGEST, description="How many to return at most.")]
Expand = Annotated[str | None, Query(description="Return objects instead of names. A flag: it needs no value.")]
Flag = Annotated[str | None, Query(description="A flag: it needs no value.")]
RequestedTags = Annotated[
    str | None, Query(description='Tags that are to be told besides, by keyword or number, with ";" between.')
]
Force = Annotated[
    bool, Query(description="Delete it even though hostd has promised another system to keep it (storage commitment).")
]
Newest = Annotated[int, Query(ge=0, le=10_000, description="How many to return at most, the newest first.")]


def is_set(request: Request, name: str) -> bool:
    """Tell whether a flag is there; `?expand` and `?expand=true` set it, `?expand=false` and `?expand=0` do not."""
    return request.query_params.get(name, "false").lower() not in {"false", "0"}
