"""Whether a node's memory stays as it is while instances come and go."""
