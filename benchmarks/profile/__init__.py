"""Where a node's time goes while it receives."""
