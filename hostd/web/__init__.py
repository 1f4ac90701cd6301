"""The HTTP face: Orthanc-compatible routes (docs/http.md lists them all), and hostd's own."""
