"""How fast a study is downloaded as a ZIP, beside Orthanc."""
