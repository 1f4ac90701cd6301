"""AutoroutingConditional: pass on what is of a patient called David, and let go of all else."""


def OnStoredInstance(instanceId, tags, metadata):
    name = tags["PatientName"] or ""
    if "david" in name.lower():
        Delete(SendToModality(instanceId, "sample"))
    else:
        Delete(instanceId)
