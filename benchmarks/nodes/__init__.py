"""How many instances nodes take in: one on SQLite, one and several on one PostgreSQL."""
