"""Autorouting: pass everything on, and keep nothing of it."""


def OnStoredInstance(instanceId, tags, metadata):
    Delete(SendToModality(instanceId, "sample"))
