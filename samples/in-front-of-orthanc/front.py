"""Give Orthanc everything in a transfer syntax that it can show, and keep nothing that it has."""

SHOWN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")


def on_stored_instance(instance, host):
    is_shown = instance.transfer_syntax.uid in SHOWN or not instance.has_pixels
    sent = host.forward(instance if is_shown else host.transcode(instance, "explicit"), to="orthanc")
    host.delete(instance, after=[sent])


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
