"""Facts of the DICOM standard, without state."""
