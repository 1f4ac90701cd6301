"""Reads a configuration of Orthanc's as if it were one of hostd's."""
