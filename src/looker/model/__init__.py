"""Frozen records that all layers share; no I/O, no clock."""
