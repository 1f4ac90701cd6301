"""OnStableStudy: say what has come, and keep a changed copy of each study once it is complete."""


def Initialize():
    print("ready")


def OnStablePatient(patientId, tags, metadata):
    print("patient " + patientId + " is stable")


def OnStableSeries(seriesId, tags, metadata):
    print("series " + seriesId + " is stable: " + (tags["Modality"] or "unknown"))


def OnStableStudy(studyId, tags, metadata):
    if metadata["ModifiedFrom"] is not None or metadata["AnonymizedFrom"] is not None:
        return
    description = tags["StudyDescription"] or ""
    for instance in ParseJson(RestApiGet("/studies/" + studyId + "/instances")):
        ModifyInstance(instance["ID"], {"StudyDescription": description + " - modified"}, [], False)
