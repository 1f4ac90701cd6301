"""How fast instances are received that are transcoded as they come, and how fast they are uploaded, beside Orthanc."""
