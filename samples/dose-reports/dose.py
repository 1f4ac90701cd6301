"""Read radiation dose reports, and note their values as metadata of the report."""

handles = {"Modality": ["SR"]}
VALUES = {"113838": "CTDIvol", "113813": "DLPTotal", "113830": "MeanCTDIvol", "113725": "DoseAreaProductTotal"}
"""Concepts of PS3.16 (DCM) that are noted → their names here."""


def on_stored_instance(instance, host):
    found = {}
    for code, number in numbers(instance.tags.ContentSequence or ()):
        if code in VALUES:
            found.setdefault(VALUES[code], []).append(number)
    for name, values in found.items():
        host.set_metadata(instance, name, " ".join(map(str, values))[:4000])


def numbers(items):
    """Give the code and the value of each number in a report, however deep."""
    for item in items:
        concept, measured = item.ConceptNameCodeSequence, item.MeasuredValueSequence
        if item.ValueType == "NUM" and concept and measured:
            yield concept[0].CodeValue, measured[0].NumericValue
        yield from numbers(item.ContentSequence or ())
