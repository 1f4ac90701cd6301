import sys
from pathlib import Path

# The crash tests' kit: nodes in processes of their own, made instances, senders.
sys.path.insert(0, str(Path(__file__).parent.parent / "crash"))
