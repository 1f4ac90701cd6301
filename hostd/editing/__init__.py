"""The editing room: one instance modified, de-identified or with regions blanked, with a receipt of what was proven.

`editor` is the door, and runs in the host. What reads the file runs in `worker`, a codec worker that can edit too.
No de-identifying package is used: those that are kept hold a whole data set with its pixels in memory, decode and write values that
hostd leaves untouched, or do not clean nested and private attributes by the table. The table itself is the standard's: `profile.csv`.
"""
