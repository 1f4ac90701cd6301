"""What a caller may ask of a lossy encoder (`hostd.dicom.loss`, where the configuration finds it too)."""

from hostd.dicom.loss import DEFAULT_QUALITY, IDENTITY_BYTES, EncodeOptions

__all__ = ["DEFAULT_QUALITY", "IDENTITY_BYTES", "EncodeOptions"]
