"""AutoroutingModification: send a changed copy, and keep neither it nor the original."""


def OnStoredInstance(instanceId, tags, metadata, origin):
    if origin["RequestOrigin"] == "Lua":
        return
    command = {
        "Replace": {"StationName": "My Medical Device"},
        "Remove": ["InstitutionName"],
        "RemovePrivateTags": True,
    }
    modified = RestApiPost("/instances/" + instanceId + "/modify", DumpJson(command))
    Delete(SendToModality(modified, "sample"))
    Delete(instanceId)
