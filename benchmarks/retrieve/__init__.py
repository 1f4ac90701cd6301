"""C-MOVE and C-GET, beside Orthanc."""
