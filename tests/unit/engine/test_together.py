"""Coroutines that begin and end together."""

from __future__ import annotations

import asyncio

import pytest

from looker.engine.together import together


async def after(n_turns: int, ended: list[int], error: type[Exception] | None = None) -> int:
    try:
        for _ in range(n_turns):
            await asyncio.sleep(0)
        if error is not None:
            raise error(n_turns)
        return n_turns
    finally:
        # an end that takes its time
        for _ in range(5):
            await asyncio.sleep(0)
        ended.append(n_turns)


def test_results_are_in_the_order_of_the_works() -> None:
    ended: list[int] = []
    found = asyncio.run(together(after(n, ended) for n in (3, 1, 2)))
    assert found == [3, 1, 2]
    assert ended == [1, 2, 3]
    assert asyncio.run(together(after(n, ended) for n in ())) == []


def test_the_first_error_ends_all_before_it_is_raised() -> None:
    ended: list[int] = []

    async def main() -> None:
        works = (after(9999, ended), after(2, ended, KeyError), after(3, ended, ValueError))
        with pytest.raises(KeyError):
            await together(works)
        assert sorted(ended) == [2, 3, 9999]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_a_cancellation_ends_all() -> None:
    ended: list[int] = []

    async def main() -> None:
        outer = asyncio.ensure_future(together([after(9999, ended), after(9998, ended)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        outer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await outer
        assert sorted(ended) == [9998, 9999]

    asyncio.run(main())
