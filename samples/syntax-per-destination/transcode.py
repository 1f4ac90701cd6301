"""Each destination gets what it can read: one JPEG 2000, one nothing that is compressed, one the original."""


def on_stored_instance(instance, host):
    for destination, syntax in host.config["syntaxes"].items():
        if instance.has_pixels and syntax:
            host.forward(host.transcode(instance, syntax), to=destination)
        else:
            host.forward(instance, to=destination)


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
