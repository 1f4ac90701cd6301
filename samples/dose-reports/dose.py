"""Read radiation dose reports, tell the dose registry their values, and note both the values and its answer with the report."""

handles = {"Modality": ["SR"]}
VALUES = {"113838": "CTDIvol", "113813": "DLPTotal", "113830": "MeanCTDIvol", "113725": "DoseAreaProductTotal"}
"""Concepts of PS3.16 (DCM) that are noted → their names here."""


def on_stored_instance(instance, host):
    found = {}
    for code, number in numbers(instance.tags.ContentSequence or ()):
        if code in VALUES:
            found.setdefault(VALUES[code], []).append(number)
    if not found:
        return
    for name, values in found.items():
        host.set_metadata(instance, name, " ".join(map(str, values))[:4000])
    host.post(
        "registry",
        "doses",
        {"report": instance.sop_instance_uid, "device": instance.tags.DeviceSerialNumber, "values": found},
    )


def on_action_done(action, host):  # what the registry answered, or that it never did
    if action.verb == "post" and action.instance:
        host.set_metadata(action.instance, "RegistryStatus", str(action.result.get("status", action.reason))[:4000])


def numbers(items):
    """Give the code and the value of each number in a report, however deep."""
    for item in items:
        concept, measured = item.ConceptNameCodeSequence, item.MeasuredValueSequence
        if item.ValueType == "NUM" and concept and measured:
            yield concept[0].CodeValue, measured[0].NumericValue
        yield from numbers(item.ContentSequence or ())
