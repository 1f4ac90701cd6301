"""The one door: every instance comes in here, whichever face it came through."""
