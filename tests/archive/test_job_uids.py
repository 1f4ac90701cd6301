"""Which UIDs are of a job is read once, whoever asks how often."""

from hostd.archive import jobs
from hostd.archive.job_uids import JobUids
from hostd.testing.made import arrive, header

BOTH_DATABASES = True


def test_the_uids_of_what_a_job_is_about_are_told_from_all_others(archive, monkeypatch):
    one, other = header(), header("1.2.3.4.999")
    for each in (one, other):
        arrive(archive, each.sop_instance_uid)
    first, second = (
        archive.writer.do(lambda c, ids=ids: jobs.submit(c, "Count", {}, 0.0, items=ids))
        for ids in ([one.identity.instance], [one.identity.instance, other.identity.instance])
    )
    known = JobUids(archive)
    shared = {one.study_instance_uid, one.series_instance_uid}
    asked = {one.sop_instance_uid, other.sop_instance_uid, "1.2.9", *shared}
    assert known.among(first, asked) == {one.sop_instance_uid, *shared}
    assert known.among(second, asked) == {one.sop_instance_uid, other.sop_instance_uid, *shared}
    assert known.among("no such job", asked) == set()
    monkeypatch.setattr(archive, "read", None)
    assert known.among(first, asked - shared) == {one.sop_instance_uid}
