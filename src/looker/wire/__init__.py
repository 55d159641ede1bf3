"""Wire formats as numpy columns; no I/O, no clock."""
