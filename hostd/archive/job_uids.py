"""Which UIDs are those of the instances that a job is about, kept in mind: it is asked of each of them that refers to others."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Set as AbstractSet
from functools import lru_cache

import sqlalchemy as sa

from hostd.archive import tables as t
from hostd.archive.archive import Archive

_JOBS_IN_MIND = 4
_ROWS = 1000


class JobUids:
    """Knows them of the jobs that were last asked about, by eight bytes each. For any number of threads."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._hashes = lru_cache(_JOBS_IN_MIND)(self._read)

    def among(self, job: str, uids: AbstractSet[str]) -> AbstractSet[str]:
        """Return which of these UIDs are SOP, series or study UIDs of instances that the job of that identifier is about."""
        known = self._hashes(job)
        return {
            uid for uid in uids if (place := bisect_left(known, hash(uid))) < len(known) and known[place] == hash(uid)
        }

    def _read(self, job: str) -> array[int]:
        uids = t.instance.c["sop_instance_uid", "series_instance_uid", "study_instance_uid"]
        query = (
            sa.select(*uids)
            .join(t.job_item, t.job_item.c.instance == t.instance.c.id)
            .join(t.job, t.job.c.number == t.job_item.c.job)
            .where(t.job.c.id == job)
        )
        with self._archive.read() as connection:
            rows = connection.execution_options(yield_per=_ROWS).execute(query)
            return array("q", sorted({hash(uid) for row in rows for uid in row}))
