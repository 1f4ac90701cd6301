"""label-incoming-studies: give a new study the label of who sent it, so that it can be found by that."""


def OnStableStudy(studyId, tags, metadata):
    if metadata["RemoteAET"]:
        RestApiPut("/studies/" + studyId + "/labels/" + metadata["RemoteAET"], "")
