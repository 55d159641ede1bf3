"""The limits as options of the command line, each with its servers' name for it."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

from looker.target.limits import OPTION_OF, Limits

if TYPE_CHECKING:
    from collections.abc import Callable


def with_limit_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a typer command, which takes them as ``**limits``, an option for every limit.

    An option that is not given is None. Times are durations such as 10m.
    """
    import typer  # noqa: PLC0415

    kinds: dict[type, Any] = {bool: bool | None, int: int | None, float: float | None}
    signature = inspect.signature(command)
    own = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    for one in fields(Limits):
        option = OPTION_OF[one.name]
        kind = str | None if one.name.endswith("_s") else kinds[type(one.default)]
        names = f"{option}/--no-{option[2:]}" if kind == bool | None else option
        owners = ", ".join(name.title() for name in one.metadata["products"] if name != "looker")
        help_text = f"{owners}: {one.metadata['help']} Default: as --like."
        own.append(
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[kind, typer.Option(names, help=help_text)],
            )
        )
    command.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    return command
