"""Measurements of hostd beside other systems; each folder is one command, and writes its section of docs/performance.md."""
