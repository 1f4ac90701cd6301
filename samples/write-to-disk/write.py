"""Write what arrives into folders: each sender's into its own, all else by patient."""


def on_stored_instance(instance, host):
    folders = host.config["folders"]
    host.forward(instance, to=folders.get(instance.origin.calling_aet, host.config["otherwise"]))


def on_conflicting_instance(instance, host):  # both files are kept: none is ever written over
    on_stored_instance(instance, host)
