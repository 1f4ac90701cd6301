"""De-identify the studies of a trial, which are sent to the AE title TRIAL7, and pass them on to its core laboratory."""


def on_stored_instance(instance, host):
    if instance.origin.called_aet != host.config["called_aet"]:
        return
    host.forward(host.anonymize(instance, project="TRIAL7"), to="corelab")


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
