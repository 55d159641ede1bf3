"""Comparing runs from their reports: statistics, whether they are alike, tables."""
