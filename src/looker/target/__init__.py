"""Embedded target: a Loki- and Prometheus-compatible server for tests and first steps."""
