"""Change what the archive is to get: attributes replaced, removed and given as a sequence; the original goes when it has arrived."""


def on_stored_instance(instance, host):
    requested = {"RequestedProcedureID": instance.tags.AccessionNumber, "ScheduledProcedureStepID": "1"}
    changed = host.modify(
        instance,
        set={"StationName": host.config["station"], "RequestAttributesSequence": [requested]},
        remove=["InstitutionAddress", "OperatorsName"],
        private="remove",
    )
    sent = host.forward(changed, to="archive")
    host.delete(instance, after=[sent])


def on_conflicting_instance(instance, host):  # a corrected image under a known UID goes the same way
    on_stored_instance(instance, host)
