"""Send everything to the archive as JPEG 2000, and keep it so here as well where that makes it smaller by a tenth."""


def on_stored_instance(instance, host):
    if instance.transfer_syntax.is_compressed or not instance.has_pixels:
        return host.forward(instance, to="archive")
    compressed = host.transcode(instance, "j2k")
    host.forward(compressed, to="archive")
    if compressed.ratio > host.config["ratio"]:  # it is made for this, once; 1.0 where the codec does not take it
        host.replace(instance, compressed)


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)


def on_action_done(action, host):
    if action.verb == "replace" and action.state == "failed":
        host.log(f"kept as it was received: {action.reason}", level="warning")
