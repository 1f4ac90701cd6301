"""DICOMweb (PS3.18 §10): STOW-RS and WADO-RS, at `/dicom-web` as Orthanc's plug-in has them."""
