"""Decompress everything, pass it on to the server, and keep nothing that the server has."""


def on_stored_instance(instance, host):
    plain = host.transcode(instance, "explicit")
    host.delete(instance, after=[host.forward(plain, to="server")])


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
