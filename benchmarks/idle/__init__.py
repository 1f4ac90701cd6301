"""What a node needs while nothing happens, and how soon it takes its first association."""
