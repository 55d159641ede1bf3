"""What is at a path of a report: the page shows whatever a file holds, so nothing is presumed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def at(tree: object, path: str) -> Any:
    """Return what is at a dotted path; None where there is nothing."""
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def number(tree: object, path: str) -> float | None:
    """Return the finite number at a path; None where there is none."""
    return _finite(at(tree, path))


def text(tree: object, path: str) -> str | None:
    """Return the text at a path, None where there is none."""
    value = at(tree, path)
    return value if isinstance(value, str) else None


def branch(tree: object, path: str) -> Mapping[str, Any]:
    """Return the object at a path, {} where there is none."""
    value = at(tree, path)
    return value if isinstance(value, dict) else {}


def branches(tree: object, path: str) -> list[Mapping[str, Any]]:
    """Return the objects in the list at a path, [] where there is none."""
    return [one for one in elements(tree, path) if isinstance(one, dict)]


def elements(tree: object, path: str) -> list[Any]:
    """Return the list at a path, [] where there is none."""
    value = at(tree, path)
    return value if isinstance(value, list) else []


def column(tree: object, path: str) -> list[float | None] | None:
    """Return the list of numbers at a path, None in place of what is none; None without a list."""
    value = at(tree, path)
    return [_finite(one) for one in value] if isinstance(value, list) else None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # an integer of any length may be too large for a double
    as_float = float(value) if abs(value) < 1e300 else math.inf
    return as_float if math.isfinite(as_float) else None
