"""Allows ``python -m looker``."""

from looker.cli.main import main

main()
