"""Count what each sender sends, over restarts too, and report it every morning."""

from hostd.api import cron


def on_association_closed(association, host):
    counts = host.state.setdefault("stored", {})
    sender = association.calling_aet or "unknown"
    counts[sender] = counts.get(sender, 0) + association.stored
    if association.failed:
        failed = host.state.setdefault("failed", {})
        failed[sender] = failed.get(sender, 0) + association.failed


@cron("0 7 * * MON-FRI")
def report(host):
    stored, failed = host.state.pop("stored", {}), host.state.pop("failed", {})
    lines = [f"{sender}: {count} stored, {failed.get(sender, 0)} failed" for sender, count in sorted(stored.items())]
    host.notify("office", "\n".join(lines) or "Nothing has arrived since the last report.")
