"""Compress what is not yet compressed to JPEG 2000 without loss, and send everything to the archive."""


def on_stored_instance(instance, host):
    if instance.transfer_syntax.is_compressed or not instance.has_pixels:
        return host.forward(instance, to="archive")
    host.forward(host.transcode(instance, "j2k"), to="archive")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
