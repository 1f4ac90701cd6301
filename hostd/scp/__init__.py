"""The DICOM face, receiving side."""
