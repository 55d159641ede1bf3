"""Content and timestamps of many streams at once, in columns; no I/O, no clock."""
