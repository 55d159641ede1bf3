"""Allows ``python -m looker``."""

from looker.cli.entry import main

main()
