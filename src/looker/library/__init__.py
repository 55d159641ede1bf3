"""The engine as a library: one stream or series at a time, in a few lines."""
