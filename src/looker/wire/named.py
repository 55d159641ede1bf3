"""Objects and label sets in which a name stands twice: parsers keep the last value, and are silent.

Which of the values counts is the reader's choice, so an answer may mean one thing to Looker and
another to a dashboard.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson

from looker.errors import DecodeError
from looker.model.words import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence


class Repeated(dict[str, Any]):
    """Names and their last values, where a name came more than once; ``pairs`` are all of them."""

    def __init__(self, pairs: Sequence[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = tuple(pairs)


def named(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return names and values as a dictionary; as a `Repeated` one where a name is repeated."""
    found = dict(pairs)
    return found if len(found) == len(pairs) else Repeated(pairs)


def read_json(text: bytes) -> Any:
    """Parse JSON; DecodeError where it is none. Objects with a name twice are `Repeated`."""
    try:
        value = orjson.loads(text)
        # what comes out as it went in has each name once; that is told much faster
        if orjson.dumps(value) == text.rstrip():
            return value
        return json.loads(text, object_pairs_hook=named)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"the answer is not JSON: {one_line(str(error), 200)}") from error


def refuse_repeated(*objects: Any) -> None:
    """Raise DecodeError where one of some parsed objects has a name twice."""
    for one in objects:
        if isinstance(one, Repeated):
            names = [name for name, _ in one.pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise DecodeError(f"the answer has {one_line(twice, 100)!r} twice in one object")
