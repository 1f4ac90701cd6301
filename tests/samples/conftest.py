import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "peers"))  # whole nodes are made there
sys.path.insert(0, str(Path(__file__).parent.parent / "delivery"))  # a web server is made there
