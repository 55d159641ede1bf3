"""A run's configuration as plain values, to be kept with what it wrote and made again later.

What belongs to one host or run only is left out: files, the URL and its credentials, ports, log
lines, conditions to fail under, what the target is asked of itself.
"""

from __future__ import annotations

import types
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Union, get_args, get_origin, get_type_hints

from looker.errors import UsageError
from looker.model.config import RunConfig, check

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEFT_OUT: Final[Mapping[str, Any]] = {
    "url": None,
    "log_level": "info",
    "http_server_port": None,
    "fail_if": (),
    "target_metrics_url": None,
    "target_metrics": (),
    "target_metrics_every_s": 1.0,
}


def _kept() -> dict[str, Any]:
    """Return the fields that are kept, and their types."""
    hints = get_type_hints(RunConfig, localns={"Path": Path})
    return {
        name: hint
        for name, hint in hints.items()
        if name not in _LEFT_OUT and Path not in (hint, *get_args(hint))
    }


def stored(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as JSON-ready values.

    The number of streams that share a group label is spelt out, so that the labels do not depend
    on how a later version divides streams among workers.
    """
    config = replace(config, streams_per_group=config.group_size)
    return {name: _plain(getattr(config, name)) for name in _kept()}


def restored(values: Mapping[str, Any]) -> RunConfig:
    """Return the checked configuration of :func:`stored`; ValueError says what is wrong with it."""
    kept = _kept()
    unknown = sorted(values.keys() - kept.keys())
    if unknown:
        raise ValueError(f"setting {unknown[0]!r} is not known to this version of Looker")
    given: dict[str, Any] = {}
    for name, value in values.items():
        try:
            given[name] = _typed(value, kept[name])
        except (TypeError, ValueError, AttributeError, KeyError) as error:
            raise ValueError(f"setting {name} cannot be {value!r}") from error
    try:
        config = RunConfig(**_LEFT_OUT, report=None, **given)
        check(config)
    except TypeError as error:
        raise ValueError("a setting is missing") from error
    except UsageError as error:
        raise ValueError(str(error)) from error
    if not config.streams_per_group or config.streams_per_group < 1:
        raise ValueError("setting streams_per_group must be at least 1")
    return config


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    if is_dataclass(value):
        return {spec.name: _plain(getattr(value, spec.name)) for spec in fields(value)}
    return value


def _typed(value: Any, hint: Any) -> Any:
    """Return a plain value as the type that ``hint`` names; TypeError or ValueError if it is not.

    Lists become tuples; a whole number will do for a float.
    """
    if get_origin(hint) in (Union, types.UnionType):
        kinds = get_args(hint)
        if value is None and type(None) in kinds:
            return None
        (hint,) = (kind for kind in kinds if kind is not type(None))
    if get_origin(hint) is tuple:
        return _tuple(value)
    if issubclass(hint, Enum):
        return hint(value)
    if is_dataclass(hint):
        known = get_type_hints(hint)
        kind: Any = hint
        return kind(**{name: _typed(one, known[name]) for name, one in value.items()})
    # a bool is an int to Python
    right = type(value) is hint or (hint is float and type(value) is int)
    if not right:
        raise TypeError(f"{value!r} is not of type {hint.__name__}")
    return value


def _tuple(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_tuple(one) for one in value)
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is neither text nor a list of texts")
    return value
