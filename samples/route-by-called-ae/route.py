"""Send what arrives where its sender means: the AE title that was called says where, and what is urgent goes before all else."""


def on_stored_instance(instance, host):
    called = instance.origin.called_aet
    destinations = host.config["routes"].get(called, host.config["otherwise"])
    for destination in destinations:
        urgent = called in host.config["urgent"] and destination == destinations[0]
        host.forward(instance, to=destination, priority="stat" if urgent else "normal")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
