"""Ledger of what was pushed; comparison with what was read."""
