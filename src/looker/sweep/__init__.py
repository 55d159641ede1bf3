"""Sweeps: what is to be run, in which order, where its results are, and running it."""
