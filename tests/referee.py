"""A second, plain and slow account of what Looker writes and of how servers answer.

Nothing of ``looker.generate`` or ``looker.wire`` is used but the official protobuf classes:
integers are Python's, one sample at a time.
"""

from __future__ import annotations

import itertools
import json
import struct
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from looker.generate.content import Content
from looker.model.config import Compressability, Mode, ReadApi, RunConfig
from looker.model.fragment import LEDGER_DTYPE, FragmentBatch, FragmentState
from looker.model.labels import LabelScheme
from looker.model.retry import RetryPolicy
from looker.verify.pages import Page, PageLimits, Selection, pages
from looker.wire.proto import loki_pb2, prometheus_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from looker.model.mismatch import Findings
    from looker.verify.proof import PageProof

MASK = 2**64 - 1
NS = 1_795_475_977_000_000_000
MS = 1_000_000
ACKED, REJECTED, MAYBE = (
    FragmentState.ACKNOWLEDGED,
    FragmentState.REJECTED,
    FragmentState.INDETERMINATE,
)
Samples = list[tuple[int, Any]]
Elements = list[tuple[dict[str, str], Samples]]
EXTRA_LABELS = (
    (),
    (("zone", "eu"),),
    (("A", "1"), ("looker_h", 'a "b" \\c'), ("looker_v", "\u00e4\u20ac" * 50)),
)


def mix(z: int) -> int:
    """Return the finalizer of splitmix64 as published (Stafford's Mix13)."""
    z &= MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def fragment_key(content: Content, stream: int, fragment: int) -> int:
    base = mix(mix(content.seed) + content.generation * 0xD1B54A32D192ED03)
    return mix((stream << 32) + fragment + base)


def span_key(key: int, span: int) -> int:
    return mix(key + span * 0x9E3779B97F4A7C15) if span else key


@cache
def _table(seed: int, n_words: int) -> list[int]:
    return [int(word) for word in np.random.PCG64(seed).random_raw(n_words)]


def random_text(key: int, position: int, n_chars: int) -> bytes:
    n_words = -(-n_chars // 8)
    span, line_of_span = divmod(position, max(1, 2**14 // n_words))
    key = span_key(key, span)
    first, second = (_table(seed, 2**13 + max(2**14, n_words)) for seed in (0x7E470001, 0x7E470002))
    begin = line_of_span * n_words
    text = b""
    for word in range(begin, begin + n_words):
        z = first[key % 2**13 + word] ^ second[(key >> 51) + word] ^ key * 0x9FB21C651E98DF25
        text += bytes((byte & 0x3B) | 0x40 for byte in (z & MASK).to_bytes(8, "little"))
    return text[:n_chars]


def line_text(key: int, position: int, n_chars: int, compressability: Compressability) -> bytes:
    share = {Compressability.MIN: 0, Compressability.MEDIUM: 1, Compressability.MAX: 2}
    n_filler = n_chars * share[compressability] // 2
    n_random = n_chars - n_filler
    return (random_text(key, position, n_random) if n_random else b"") + b"a" * n_filler


def line(content: Content, stream: int, number: int, time_ns: int) -> str:
    fragment, position = divmod(number, content.n_samples)
    key = fragment_key(content, stream, fragment)
    text = line_text(key, position, content.n_chars - 20, content.compressability)
    return f"{time_ns:019d}:{text.decode()}"


def key_bits(key: int, position: int, compressability: Compressability) -> int:
    if compressability is Compressability.MAX:
        return bits_of(1.0)
    span, at = divmod(position, 2**14)
    word = (span_key(key, span) | 1) * _table(0x7E470003, 2**14)[at] & MASK
    word ^= word >> 32
    sign, low_exponent, mantissa = word >> 63, word >> 52 & 0xF, word & (1 << 52) - 1
    if compressability is Compressability.MEDIUM:
        mantissa = mantissa >> 32 << 32
    return sign << 63 | (0x3F0 | low_exponent) << 52 | mantissa


def value_bits(content: Content, stream: int, number: int) -> int:
    fragment, position = divmod(number, content.n_samples)
    key = fragment_key(content, stream, fragment)
    return key_bits(key, position, content.compressability)


def bits_of(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


def float_of(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def uniquename(scheme: LabelScheme, stream: int) -> str:
    digits = len(str(scheme.n_streams - 1))
    return f"{scheme.invocation_id}-{scheme.born_in_cycle}-{str(stream).zfill(digits)}"


def labels(scheme: LabelScheme, stream: int) -> dict[str, str]:
    n_groups = (scheme.n_streams + scheme.group_size - 1) // scheme.group_size
    group = str(stream // scheme.group_size).zfill(len(str(n_groups - 1)))
    own = {
        "looker_group": f"{scheme.invocation_id}-{scheme.born_in_cycle}-g{group}",
        "looker_uniquename": uniquename(scheme, stream),
    }
    own |= dict(scheme.extra)
    if scheme.metrics:
        n_names = (scheme.n_streams + 9_999) // 10_000
        name = str(stream // 10_000).zfill(len(str(n_names - 1)))
        own["__name__"] = f"looker_metric_{name}"
    return {name: own[name] for name in sorted(own)}


def selector(own: dict[str, str]) -> str:
    return "{" + ", ".join(f"{name}={quoted(value)}" for name, value in own.items()) + "}"


def quoted(value: str) -> str:
    return '"' + "".join("\\" + char if char in '"\\' else char for char in value) + '"'


@cache
def _keys(seed: int, n_keys: int) -> list[int]:
    return [int(number) for number in np.random.PCG64(seed).random_raw(n_keys)]


def multilinear(low_seed: int, high_seed: int, words: Sequence[int], first: int = 0) -> int:
    """Return the sum of words times keys, and of their upper halves times keys of their own."""
    end = first + len(words)
    low, high = (_keys(seed, 1 << 15)[first:end] for seed in (low_seed, high_seed))
    terms = zip(low, high, words, strict=True)
    return sum(key * word + other * (word >> 32) for key, other, word in terms) & MASK


def line_words(text: bytes) -> list[int]:
    return [int.from_bytes(text[at : at + 8], "little") for at in range(0, len(text), 8)]


def checksum(samples: Sequence[tuple[int, Any]], first: int = 0) -> int:
    """Return the checksum of (time in ns, line or bit pattern), the first at position ``first``."""
    sums = block_sums(samples, first)
    if len(sums) == 1:
        return sums.popitem()[1]
    return multilinear(0x5EED_0005, 0x5EED_0006, [sums[block] for block in sorted(sums)])


def block_sums(samples: Sequence[tuple[int, Any]], first: int = 0) -> dict[int, int]:
    """Return what samples from position ``first`` on add to the sums of blocks, by number."""
    sums: dict[int, int] = {}
    for position, (_, value) in enumerate(samples, first):
        if isinstance(value, int):
            words = [value]
        else:
            words = line_words(value.encode() if isinstance(value, str) else value)
        block, at = divmod(position, max(1, 2**14 // len(words)))
        added = multilinear(0x5EED_0003, 0x5EED_0004, words, at * len(words))
        sums[block] = (sums.get(block, 0) + added) & MASK
    return sums


def make_content(**changed: Any) -> Content:
    """Return a small content; arguments replace fields of it or of its label scheme."""
    scheme = {"invocation_id": "id.x", "born_in_cycle": 0, "n_streams": 12, "group_size": 12}
    scheme |= {name: changed.pop(name) for name in list(changed) if name in scheme}
    metrics, extra = changed.pop("metrics", False), changed.pop("extra", ())
    fields = {
        "seed": 7,
        "generation": 0,
        "scheme": LabelScheme(**scheme, metrics=metrics, extra=extra),  # type: ignore[arg-type]
        "n_chars": 45,
        "compressability": Compressability.MIN,
        "n_samples": 4,
        "step_ns": 1000,
    }
    return Content(**fields | changed)


def make_batch(
    content: Content, streams: Sequence[int], fragments: Sequence[int], starts_ns: Sequence[int]
) -> FragmentBatch:
    return FragmentBatch(
        np.array(streams, np.uint32),
        np.array(fragments, np.uint32),
        np.array(starts_ns, np.int64),
        content.n_samples,
        content.step_ns,
    )


def fragment_samples(content: Content, stream: int, fragment: int, start_ns: int) -> Samples:
    """Return (time in ns, line or bit pattern) of each sample."""
    samples: Samples = []
    for position in range(content.n_samples):
        number = fragment * content.n_samples + position
        time_ns = start_ns + position * content.step_ns
        if content.scheme.metrics:
            samples.append((time_ns, value_bits(content, stream, number)))
        else:
            samples.append((time_ns, line(content, stream, number, time_ns)))
    return samples


def push_request(content: Content, fragments: Iterable[tuple[int, int, int]]) -> bytes:
    """Let the protobuf library encode (stream, fragment, start) as a push or write request."""
    if content.scheme.metrics:
        written = [
            (labels(content.scheme, one[0]), fragment_samples(content, *one)) for one in fragments
        ]
        request = prometheus_pb2.WriteRequest(timeseries=_series(written))
        return bytes(request.SerializeToString())
    message = loki_pb2.PushRequest()
    for stream, fragment, start_ns in fragments:
        one = message.streams.add(labels=selector(labels(content.scheme, stream)))
        for time_ns, text in fragment_samples(content, stream, fragment, start_ns):
            entry = one.entries.add(line=text)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(time_ns, 10**9)
    return bytes(message.SerializeToString())


def _series(elements: Elements) -> list[prometheus_pb2.TimeSeries]:
    return [
        prometheus_pb2.TimeSeries(
            labels=[prometheus_pb2.Label(name=name, value=value) for name, value in own.items()],
            samples=[
                prometheus_pb2.Sample(timestamp=time_ns // MS, value=float_of(bits))
                for time_ns, bits in samples
            ],
        )
        for own, samples in elements
    ]


def read_response(elements: Elements) -> bytes:
    """Return a remote read answer to one query."""
    result = prometheus_pb2.QueryResult(timeseries=_series(elements))
    return bytes(prometheus_pb2.ReadResponse(results=[result]).SerializeToString())


def matrix_response(elements: Elements, *, cortex: bool = False) -> bytes:
    """Return an answer of the query API, written as Prometheus or as Cortex does."""
    result = []
    for own, samples in elements:
        rows = []
        for time_ns, bits in samples:
            seconds, ms = divmod(time_ns // MS, 1000)
            decimals = f".{ms:03d}" if ms else ""
            if cortex:
                decimals = decimals.rstrip("0")
            value = np.format_float_positional(float_of(bits), trim="-")
            if not cortex and 0 < abs(float_of(bits)) < 1e-6:
                value = repr(float_of(bits))
            rows.append(f'[{seconds}{decimals},"{value}"]')
        metric = json.dumps(own, separators=(",", ":"))
        result.append(f'{{"metric":{metric},"values":[{",".join(rows)}]}}')
    data = f'{{"resultType":"matrix","result":[{",".join(result)}]}}'
    return f'{{"status":"success","data":{data}}}'.encode()


def streams_response(
    elements: Elements, *, metadata: dict[str, Any] | None = None, flags: bool = False
) -> bytes:
    """Return an answer of Loki; ``metadata`` is each row's third value."""
    extra = () if metadata is None else (metadata,)
    data: dict[str, Any] = {"resultType": "streams"}
    if flags:
        data["encodingFlags"] = ["categorize-labels"]
    data["result"] = [
        {
            "stream": own,
            "values": [[str(time_ns), text, *extra] for time_ns, text in samples],
        }
        for own, samples in elements
    ]
    data["stats"] = {"summary": {"execTime": 0.5}}
    return json.dumps({"status": "success", "data": data}, separators=(",", ":")).encode() + b"\n"


LEVEL_UNKNOWN = {"structuredMetadata": {"detected_level": "unknown"}}


@dataclass(frozen=True)
class Written:
    """A fragment that was pushed."""

    stream: int
    fragment: int
    start_ns: int
    state: FragmentState = ACKED
    cycle: int = 0
    n_repeats: int = 0


@dataclass(frozen=True)
class History:
    """What was written; makes the ledger rows, pages, and the answer of a faithful server."""

    content: Content
    written: tuple[Written, ...]

    def samples(self, one: Written) -> Samples:
        return fragment_samples(self.content, one.stream, one.fragment, one.start_ns)

    def rows(self) -> np.ndarray[Any, Any]:
        rows = np.zeros(len(self.written), LEDGER_DTYPE)
        for row, one in zip(rows, self.written, strict=True):
            row["start_ns"], row["stream"], row["fragment"] = one.start_ns, one.stream, one.fragment
            row["checksum"] = checksum(self.samples(one))
            row["state"], row["cycle"], row["n_repeats"] = one.state, one.cycle, one.n_repeats
        return rows

    def page(self, cycle: int = 0) -> Page:
        """Return all of a cycle as one page."""
        return self.pages(10**9, cycle)[0]

    def pages(self, max_samples: int, cycle: int = 0) -> list[Page]:
        rows = self.rows()
        content = self.content
        selection = Selection(("looker_group", "=", "x"), range(content.scheme.n_streams))
        limits = PageLimits(max_samples, max_answer=10**9)
        return list(pages(content, selection, rows, np.arange(len(rows)), cycle, limits))

    def elements(self, *, optional: bool = False) -> Elements:
        """Return what a faithful server holds, sorted; indeterminate ones if asked for."""
        states = (ACKED, MAYBE) if optional else (ACKED,)
        chosen = sorted(
            (one for one in self.written if one.state in states),
            key=lambda one: (one.stream, one.start_ns),
        )
        return [
            (
                dict(labels(self.content.scheme, stream)),
                [sample for one in group for sample in self.samples(one)],
            )
            for stream, group in itertools.groupby(chosen, key=lambda one: one.stream)
        ]

    def changed(self, index: int, **changes: Any) -> History:
        written = list(self.written)
        written[index] = replace(written[index], **changes)
        return replace(self, written=tuple(written))


def history(*, n_streams: int = 3, n_fragments: int = 2, **changed: Any) -> History:
    """Return acknowledged fragments of some streams, the fragments one step apart."""
    if changed.get("metrics"):
        changed = {"step_ns": 250 * MS, **changed}
    content = make_content(**changed)
    span = content.n_samples * content.step_ns
    written = [
        Written(stream, fragment, NS + fragment * span)
        for stream in range(n_streams)
        for fragment in range(n_fragments)
    ]
    return History(content, tuple(written))


def sums_by_row(proof: PageProof) -> dict[tuple[int, int], int]:
    """Return what a page adds to the sums of blocks, by ledger row and block."""
    n_blocks = proof.expectation.content.checksum().n_blocks
    places = proof.sums.places(proof.expectation.rows, n_blocks)
    found: dict[tuple[int, int], int] = {}
    for place, value in zip(places.tolist(), proof.sums.values.tolist(), strict=True):
        at = divmod(place, n_blocks)
        found[at] = (found.get(at, 0) + value) & MASK
    return found


def summary(findings: Findings) -> dict[str, int]:
    """Return every counter that is not zero."""
    counters = {kind.value: n for kind, n in findings.counts.items()}
    for name in ("n_expected", "n_validated", "n_optional_seen", "retry_duplicates"):
        counters[name] = getattr(findings, name)
    assert findings.n_mismatches == sum(findings.counts.values())
    return {name: n for name, n in counters.items() if n}


def log_config() -> RunConfig:
    """Return a good configuration of a run that writes logs."""
    return RunConfig(
        mode=Mode.LOGS,
        url="http://127.0.0.1:3100",
        invocation_id="looker-1",
        seed=1,
        n_streams=100,
        n_samples_per_fragment=10,
        n_fragments_per_message=5,
        n_chars_per_line=100,
        compressability=Compressability.MIN,
        stop_after_n_fragments=10,
        stop_after_n_seconds=None,
        n_cycles=1,
        change_streams_every_n_cycles=0,
        skip_read=False,
        read_n_streams=None,
        read_api=ReadApi.AUTO,
        read_grace_s=10.0,
        max_concurrent_writes=10,
        max_concurrent_reads=10,
        step_ns=1000,
        min_lag_s=30.0,
        max_lag_s=120.0,
        n_workers=2,
        align_phases=True,
        tenant=None,
        retry=RetryPolicy(),
        report=None,
        log_level="info",
    )
