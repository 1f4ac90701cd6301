"""Orthanc's main DICOM tags: what the index says of patients, studies, series and instances."""

from __future__ import annotations

from typing import Any

from hostd.dicom.element_values import NUMBERS, TEXT, UNSPLIT, Elements, Value, known_vr
from hostd.dicom.header import Header


def main_tags(header: Header) -> dict[str, dict[str, str]]:
    """Return Orthanc's main DICOM tags of the four levels by keyword, those that the data set has: '' of one that is empty."""
    tags = header.tags
    return {
        level: {
            keyword: text
            for keyword, tag in keywords.items()
            if tag in tags and (text := _main_text(*tags[tag])) is not None
        }
        for level, keywords in _MAIN_TAGS.items()
    }


def _main_text(vr: str, values: list[Any] | None) -> str | None:
    """Return values as the index holds them; None for such as are no text, or too large to travel."""
    if values is None or (vr not in TEXT and (vr not in NUMBERS or not values)):
        return None
    return "\\".join(map(str, values))


def main_value(tag: int, text: str) -> Value:
    """Return what the index holds of a main tag as VR and values, none where it is ''."""
    vr = known_vr(tag)
    values: list[Any] = [] if not text else [text] if vr in UNSPLIT else text.split("\\")
    if vr not in NUMBERS:
        return vr, values
    try:
        return vr, [int(value) for value in values]
    except ValueError:  # the file has it with another VR
        return "LO", values


def main_elements(attributes: dict[str, str]) -> Elements:
    """Return main tags by keyword, as the index has them, as elements."""
    return {(tag := _TAG_OF[keyword]): main_value(tag, text) for keyword, text in attributes.items()}


def main_keywords(level: str) -> dict[str, int]:
    """Return the keywords and tags of Orthanc's main DICOM tags of a level: patient, study, series or instance."""
    return _MAIN_TAGS[level]


_MAIN_TAGS = {
    "patient": {
        "PatientName": 0x00100010,
        "PatientID": 0x00100020,
        "PatientBirthDate": 0x00100030,
        "PatientSex": 0x00100040,
        "OtherPatientIDs": 0x00101000,
    },
    "study": {
        "StudyDate": 0x00080020,
        "StudyTime": 0x00080030,
        "StudyID": 0x00200010,
        "StudyDescription": 0x00081030,
        "AccessionNumber": 0x00080050,
        "StudyInstanceUID": 0x0020000D,
        "RequestedProcedureDescription": 0x00321060,
        "InstitutionName": 0x00080080,
        "RequestingPhysician": 0x00321032,
        "ReferringPhysicianName": 0x00080090,
    },
    "series": {
        "SeriesDate": 0x00080021,
        "SeriesTime": 0x00080031,
        "Modality": 0x00080060,
        "Manufacturer": 0x00080070,
        "StationName": 0x00081010,
        "SeriesDescription": 0x0008103E,
        "BodyPartExamined": 0x00180015,
        "SequenceName": 0x00180024,
        "ProtocolName": 0x00181030,
        "SeriesNumber": 0x00200011,
        "CardiacNumberOfImages": 0x00181090,
        "ImagesInAcquisition": 0x00201002,
        "NumberOfTemporalPositions": 0x00200105,
        "NumberOfSlices": 0x00540081,
        "NumberOfTimeSlices": 0x00540101,
        "SeriesInstanceUID": 0x0020000E,
        "ImageOrientationPatient": 0x00200037,
        "SeriesType": 0x00541000,
        "OperatorsName": 0x00081070,
        "PerformedProcedureStepDescription": 0x00400254,
        "AcquisitionDeviceProcessingDescription": 0x00181400,
        "ContrastBolusAgent": 0x00180010,
    },
    "instance": {
        "InstanceCreationDate": 0x00080012,
        "InstanceCreationTime": 0x00080013,
        "AcquisitionNumber": 0x00200012,
        "ImageIndex": 0x00541330,
        "InstanceNumber": 0x00200013,
        "NumberOfFrames": 0x00280008,
        "TemporalPositionIdentifier": 0x00200100,
        "SOPInstanceUID": 0x00080018,
        "ImagePositionPatient": 0x00200032,
        "ImageComments": 0x00204000,
        "ImageOrientationPatient": 0x00200037,
    },
}
"""Orthanc's main DICOM tags (its default set)."""
_TAG_OF = {keyword: tag for keywords in _MAIN_TAGS.values() for keyword, tag in keywords.items()}
