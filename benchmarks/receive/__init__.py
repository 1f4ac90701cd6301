"""How fast instances are received, beside Orthanc, DCMTK and plain pynetdicom."""
