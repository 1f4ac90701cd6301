"""The archive: the index, its tables, the one writer, and the files it speaks of (DESIGN.md §4).

All state of a node is here. Functions that take a connection are units of work or parts of one: what they do is committed by
the writer, together or not at all.
"""
