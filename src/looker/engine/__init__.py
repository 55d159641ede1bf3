"""Coordinator, worker pool, write phase, read phase."""
