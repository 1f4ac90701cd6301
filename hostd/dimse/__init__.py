"""The DICOM network, synchronous and blocking: PDUs, command sets, associations of both sides."""
