"""The host's side of scripts: the folder they live in, the workers that run them, their events, and their plans."""
