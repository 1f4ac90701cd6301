"""ParseDoseReport: note the values of a dose report as metadata of its instance."""

NAMES = {"113830": "2000", "113813": "2001", "113838": "2002"}


def values(items):
    for item in items or []:
        concept = (item["ConceptNameCodeSequence"] or [{}])[0]
        measured = (item["MeasuredValueSequence"] or [{}])[0]
        if item["ValueType"] == "NUM":
            yield concept["CodeValue"], measured["NumericValue"]
        yield from values(item["ContentSequence"])


def OnStoredInstance(instanceId, tags, metadata, origin):
    if tags["Modality"] != "SR":
        return
    for code, value in values(tags["ContentSequence"]):
        if code in NAMES:
            RestApiPut("/instances/" + instanceId + "/metadata/" + NAMES[code], value)
