"""Have a program of one's own work on images, and send what it makes of them."""


def on_stored_instance(instance, host):
    if not instance.has_pixels:
        return
    strength = "3" if instance.tags.Modality == "US" else "1"
    host.forward(host.run_tool("despeckle", instance, [strength]), to="archive")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
