"""How fast deliveries go, beside Orthanc's own ways of sending, in one run."""
