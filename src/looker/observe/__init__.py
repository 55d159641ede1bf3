"""What a person sees of a run: logging and result tables."""
