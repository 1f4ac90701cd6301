"""ModifyInstanceWithSequence: give each instance a sequence, and keep that one in its place."""


def OnStoredInstance(instanceId, tags, metadata, origin):
    if origin.RequestOrigin == "Lua":
        return
    request = {"RequestedProcedureID": 1234, "ScheduledProcedureStepID": "0007"}
    command = {"Replace": {"RequestAttributesSequence": [request]}}
    modified = RestApiPost("/instances/" + instanceId + "/modify", DumpJson(command))
    RestApiPost("/instances", modified)


def on_action_done(action, host):  # of the changed instance, which is in the archive now; the original is let go
    if action.verb == "store" and action.state == "done" and action.instance:
        host.delete(action.instance, after=None)
