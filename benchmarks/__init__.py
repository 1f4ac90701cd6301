"""Measurements of hostd beside other systems; each folder is one command, and writes its section of docs/performance.md."""

import os
import sys
from pathlib import Path

# pynetdicom's programs have the names of DCMTK's, and an activated environment puts them first.
if sys.prefix != sys.base_prefix:
    own = Path(sys.executable).parent
    os.environ["PATH"] = os.pathsep.join(folder for folder in os.get_exec_path() if Path(folder) != own)
