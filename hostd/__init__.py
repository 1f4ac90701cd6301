"""hostd: an event-driven scripting host for DICOM.

This package imports nothing by itself, so that a sandbox worker, which imports `hostd.sandbox` only, starts fast and
holds nothing worth stealing.
"""

__version__ = "0.1.0"
