"""Command line: options to a run configuration, exit codes."""
