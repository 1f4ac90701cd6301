"""How quickly stored instances are fetched over HTTP, beside Orthanc."""
