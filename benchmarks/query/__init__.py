"""Queries beside Orthanc's: C-FIND, QIDO-RS and `POST /tools/find`."""
