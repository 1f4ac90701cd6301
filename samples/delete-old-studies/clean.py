"""Every night, delete the studies that are older than two weeks and that the archive has committed to keep, whole."""

import datetime as dt

from hostd.api import cron


@cron("0 3 * * *")
def clean(host):
    before = host.now() - dt.timedelta(days=host.config["days"])
    studies = host.find("study", stored_before=before, delivered_to="archive", limit=500)
    for study in studies:
        host.delete(study, after="committed")  # which waits for what the archive has not promised yet
    host.log(f"{len(studies)} studies of before {before:%Y-%m-%d} go once the archive has committed to them")


def on_stored_instance(instance, host):
    host.forward(instance, to="archive")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
