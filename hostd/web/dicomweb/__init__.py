"""DICOMweb (PS3.18 §10): STOW-RS, WADO-RS and QIDO-RS, at `/dicom-web` as Orthanc's plug-in has them."""
