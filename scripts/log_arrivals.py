"""Write one line for each instance that arrives: what it is, never whose it is.

Safe to run as it is: it changes nothing and sends nothing. Edit it while hostd runs; a good edit takes over at once, a bad
one changes nothing and is reported. More to start from is in samples/.
"""


def on_stored_instance(instance, host):
    modality = instance.tags.Modality or "no modality"
    sender = instance.origin.calling_aet or instance.origin.kind
    host.log(f"{modality} in {instance.transfer_syntax.keyword} from {sender}, {instance.size} bytes")


def on_conflicting_instance(instance, host):
    host.log(
        "other content under a known SOP Instance UID; both are kept unless the configuration says otherwise", "warning"
    )
