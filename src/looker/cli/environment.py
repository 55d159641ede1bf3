"""Settings from the environment: ``LOOKER_N_CYCLES=3``. One that would not count is refused."""

from __future__ import annotations

import difflib
import os
import re
from typing import TYPE_CHECKING, Any, Final

from looker.cli.arguments import ALIASES, variable_of
from looker.errors import UsageError
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX: Final = "LOOKER_"
OF_TESTS: Final = frozenset({"LOOKER_REQUIRE_REAL_SERVERS", "LOOKER_HTTP_CASES"})
"""Variables that Looker's own tests read."""
_KUBERNETES: Final = re.compile(
    r"LOOKER_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)"
)
"""What Kubernetes sets in every pod for a service whose name begins with ``looker``."""
_NEAR: Final = 0.7
_MAX_CHARS: Final = 100


def variables_of(commands: Iterable[Any]) -> set[str]:
    """Return the variables that stand for the options and arguments of commands."""
    return {
        variable
        for command in commands
        for parameter in command.params
        for variable in as_list(parameter.envvar)
    }


def as_list(variables: str | list[str] | None) -> list[str]:
    """Return the variables of one parameter, as the parser has them, as a list."""
    return [variables] if isinstance(variables, str) else list(variables or ())


def refuse_what_would_not_count(known: set[str], environment: Mapping[str, str] | None) -> None:
    """Raise UsageError for a variable that is unknown, empty, or given under two names.

    ``known`` are all commands' variables; ``environment`` None is this process's.
    """
    given = os.environ if environment is None else environment
    for name in sorted(name for name in given if name.startswith(PREFIX)):
        if name in known:
            if not given[name].strip():
                raise UsageError(name, "is set, but empty: give it a value, or unset it")
        elif name not in OF_TESTS and not _KUBERNETES.fullmatch(name):
            shown = one_line(name, _MAX_CHARS)
            near = difflib.get_close_matches(name, sorted(known), 1, cutoff=_NEAR)
            hint = f"is {near[0]} meant?" if near else "docs/usage.md has the options"
            raise UsageError(shown, f"is no setting of Looker's; {hint}")
    for alias, option in ALIASES.items():
        one, other = variable_of(alias), variable_of(option)
        if one in given and other in given:
            raise UsageError(one, f"is another name of {other}: set one of them")
