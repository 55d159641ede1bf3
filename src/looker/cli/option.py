"""How options are declared: other names, and an environment variable for each."""

from typing import Any

import typer

from looker.cli.arguments import alias_of


def option(name: str, *more: str, **settings: Any) -> Any:
    """Return an option with its other names and its environment variable ``LOOKER_...``."""
    variable = "LOOKER_" + name.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    return typer.Option(
        name, *more, *alias_of(name), envvar=variable, show_envvar=False, **settings
    )
