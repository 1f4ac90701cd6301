"""Send everything to the archive as it came, urgent studies first; once it has arrived, let go of it."""

URGENT = ("STAT", "HIGH")


def on_stored_instance(instance, host):
    urgent = instance.tags.RequestedProcedurePriority in URGENT
    host.forward(instance, to="archive", priority="high" if urgent else "normal")
    host.delete(instance, after="delivered")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
