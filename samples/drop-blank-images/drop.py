"""Send everything to the archive but images on which there is nothing to see; those are deleted."""

from hostd.api import PixelsUnknown


def on_stored_instance(instance, host):
    try:
        is_blank = instance.pixels is not None and instance.pixels.is_blank
    except PixelsUnknown as why:  # what nobody can look at is kept
        host.log(f"kept, for {why}", "warning")
        is_blank = False
    if is_blank:
        host.log("there is nothing to see on it")
        return host.delete(instance)
    host.forward(instance, to="archive")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
