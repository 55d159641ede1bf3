"""The library, and its page of documentation, which runs."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import numpy as np
import pytest

import looker
from looker import Connection, LogStream, MetricSeries
from looker.errors import TargetError, UsageError
from looker.model.mismatch import MismatchKind
from looker.model.verdict import Verdict
from looker.target.server import serving
from looker.wire.decode import decode_push_request
from looker.wire.snappy import decompress

PAGE = Path(__file__).parents[2] / "docs" / "library.md"


def test_the_page_runs() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    with serving() as target:
        source = "\n".join(blocks).replace("http://127.0.0.1:3100", target.url)
        names: dict[str, object] = {}
        exec(compile(source, str(PAGE), "exec"), names)  # noqa: S102 - our own page
    assert isinstance(names["body"], bytes)


def test_all_public_names_are_there() -> None:
    assert all(getattr(looker, name) is not None for name in looker.__all__)
    with pytest.raises(AttributeError):
        _ = looker.nothing  # type: ignore[attr-defined]


def test_a_fragment_is_what_it_serializes_to() -> None:
    stream = LogStream(
        n_samples_per_series_fragment=20,
        n_chars_per_message=50,
        starttime=1_700_000_000_123_456_789,
        timediff_nanoseconds=1000,
        labelset={"job": "x"},
        seed=3,
        unique_name="one",
    )
    for number in range(3):
        fragment = stream.generate_fragment()
        columns = decode_push_request(decompress(fragment.serialize(), 10**6))
        assert columns.timestamps_ns.tolist() == fragment.timestamps_ns.tolist()
        assert fragment.timestamps_ns[0] == 1_700_000_000_123_456_789 + number * 20_000
        text = [columns.buffer[at : at + 50].tobytes() for at in columns.line_offsets.tolist()]
        assert text == [line.tobytes() for line in fragment.content]
        assert text[0].startswith(str(fragment.timestamps_ns[0]).encode() + b":")
    assert stream.n_fragments == 3
    assert stream.labels == {
        "job": "x",
        "looker_group": "one-0-g0",
        "looker_uniquename": "one-0-0",
    }


def test_push_and_validate_both_ways() -> None:
    async def both(url: str) -> None:
        series = MetricSeries(n_samples_per_series_fragment=10, labelset={"job": "x"})
        pushed = await series.push_async(Connection(url, tenant="a"), 4)
        assert (pushed.n_acknowledged, pushed.n_samples, pushed.refusal) == (4, 40, None)
        found = await series.validate_async(Connection(url, tenant="a", read_grace_s=0))
        assert (found.verdict, found.n_validated) == (Verdict.PASSED, 40)
        elsewhere = await series.validate_async(Connection(url, tenant="b", read_grace_s=0))
        assert elsewhere.verdict is Verdict.FAILED
        assert elsewhere.mismatches[MismatchKind.MISSING] == 40

    with serving() as target:
        asyncio.run(both(target.url))
        stream = LogStream(n_samples_per_series_fragment=5)
        fragment = stream.generate_fragment()
        fragment.acknowledged()
        assert stream.push(target.url, 2).n_acknowledged == 2
        found = stream.validate(Connection(target.url, read_grace_s=0))
        assert (found.n_expected, found.n_validated) == (15, 10)
        assert found.mismatches[MismatchKind.MISSING] == 5


def test_values_are_those_of_the_seed() -> None:
    first, again = (MetricSeries(seed=9).generate_fragment() for _ in range(2))
    assert np.array_equal(first.content, again.content)
    assert not np.array_equal(first.content, MetricSeries(seed=8).generate_fragment().content)


def test_mistakes_are_named() -> None:
    with pytest.raises(UsageError, match="--n-chars-per-msg"):
        LogStream(n_chars_per_message=10)
    with pytest.raises(ValueError, match="nothing"):
        LogStream(compressability="nothing")
    with pytest.raises(TargetError, match="cannot reach"):
        LogStream().push("http://127.0.0.1:9")
