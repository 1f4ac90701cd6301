"""CallDcm2Xml: run a program on each instance. Here what it makes is sent on, and its own trace is the receipt."""


def OnStoredInstance(instanceId, tags, metadata, origin):
    if origin["RequestOrigin"] != "Lua":
        Delete(SendToModality(CallSystem(instanceId, "/usr/local/bin/renew", []), "sample"))
