"""ModifyInstanceWithSequence: give each instance a sequence, and pass that one on in its place."""


def OnStoredInstance(instanceId, tags, metadata, origin):
    if origin.RequestOrigin == "Lua":
        return
    request = {"RequestedProcedureID": 1234, "ScheduledProcedureStepID": "0007"}
    modified = ModifyInstance(instanceId, {"RequestAttributesSequence": [request]}, [], False)
    Delete(SendToModality(modified, "sample"))
    Delete(instanceId)
