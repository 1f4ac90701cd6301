"""Label each new study with who sent it, and mark what came without an order, so that it can be found."""

import re


def on_new_study(study, host):
    sender = study.first and (study.first.origin.modality or study.first.origin.calling_aet)
    if sender:
        host.label(study, "from-" + re.sub("[^A-Za-z0-9_.-]", "-", sender)[:50])
    if not study.tags.AccessionNumber:
        host.label(study, "no-order")
    host.set_metadata(study, "BegunAt", host.now().isoformat(timespec="seconds"))
