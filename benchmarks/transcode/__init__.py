"""How fast hostd transcodes, and how small: each codec, on a CT, a CR and a colour multi-frame, beside DCMTK, GDCM and Orthanc."""
