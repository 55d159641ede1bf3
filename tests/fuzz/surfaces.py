"""Everything that takes a server's (or, in the target, a client's) bytes apart, and what must hold.

A check takes bytes. It returns whether they were taken for something (or refused, as they should
be), and fails with AssertionError, or whatever else escapes, where that is a finding.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import cramjam
import numpy as np
from google.protobuf.message import DecodeError as ProtobufError
from multidict import CIMultiDict, CIMultiDictProxy

import referee
from looker.backend.api import RemoteReadApi, Target
from looker.backend.discovery import _discover, _Use
from looker.backend.outcomes import Product, classify
from looker.backend.probe import Probe, Reply
from looker.backend.transport import Answer
from looker.errors import DecodeError, TargetError
from looker.model.config import Mode, ReadApi
from looker.model.labels import LOKI_ADDS
from looker.model.outcome import Outcome
from looker.model.retry import parse_retry_after
from looker.target import answers, loki_push
from looker.target.memory import Budget
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from looker.verify.proof import ChecksumLedger
from looker.wire.decode import decode_push_request, decode_read_response, decode_write_request
from looker.wire.loki_answer import parse_streams
from looker.wire.prometheus_json import parse_matrix
from looker.wire.proto import loki_pb2, prometheus_pb2
from looker.wire.records import slices
from looker.wire.snappy import compress, decompress
from servers import run_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from looker.verify.expectation import Expectation
    from looker.verify.proof import PageProof
    from referee import History

CAPTURES: Final = Path(__file__).parents[1] / "golden" / "captures"
NS: Final = 10**9


@dataclass(frozen=True)
class Surface:
    """What takes bytes apart, and the valid bytes from which others are made."""

    name: str
    seeds: tuple[bytes, ...]
    check: Callable[[bytes], bool]
    weight: int = 1


@cache
def captures(prefix: str) -> tuple[bytes, ...]:
    """Return the bodies that real servers sent, by the beginning of their names."""
    found = [path.read_bytes() for path in sorted(CAPTURES.glob(f"{prefix}*.body"))]
    assert found, prefix
    return tuple(found)


def is_one_clear_line(words: str) -> bool:
    return len(words) < 900 and words.isprintable()


def must_be_clear(error: TargetError) -> None:
    """Insist that what is said of refused bytes can be shown."""
    assert is_one_clear_line(str(error)), repr(str(error))


# --- answers, and what they mean ---------------------------------------------------------------

Samples = Counter[tuple[frozenset[tuple[str, str]], int, Any]]


def due(history: History) -> Samples:
    """Return what a faithful answer holds."""
    return Counter(
        (frozenset(own.items()), time_ns, content)
        for own, samples in history.elements()
        for time_ns, content in samples
    )


def told_by_streams(body: bytes) -> Samples:
    """Return what an answer of Loki holds, by a plain reading of it."""
    told: Samples = Counter()
    answer = json.loads(body)
    assert answer["status"] == "success"
    for element in answer["data"]["result"]:
        own = {name: value for name, value in element["stream"].items() if name not in LOKI_ADDS}
        for row in element["values"]:
            assert isinstance(row[0], str)
            told[frozenset(own.items()), int(row[0]), row[1]] += 1
    return told


def told_by_matrix(body: bytes, begin_ms: int) -> Samples:
    """Return what an answer of the query API holds, apart from the open end of its range."""
    told: Samples = Counter()
    answer = json.loads(body, parse_float=Decimal, parse_int=Decimal)
    assert answer["status"] == "success"
    for element in answer["data"]["result"]:
        for seconds, value in element["values"]:
            time_ms = (seconds * 1000).quantize(Decimal("1.00"))
            if time_ms != begin_ms - 1:
                bits = referee.bits_of(float(value))
                told[frozenset(element["metric"].items()), int(time_ms * 10**6), bits] += 1
    return told


def told_by_protobuf(body: bytes) -> Samples:
    """Return what an answer of remote read holds, as the protobuf library reads it."""
    told: Samples = Counter()
    for result in prometheus_pb2.ReadResponse.FromString(body).results:
        for series in result.timeseries:
            own = frozenset((label.name, label.value) for label in series.labels)
            for sample in series.samples:
                bits = int(np.float64(sample.value).view(np.uint64))
                told[own, sample.timestamp * 10**6, bits] += 1
    return told


class Comparison:
    """Compares answers, for a while with the same state: one may leave a trace for the next."""

    def __init__(
        self,
        history: History,
        compare_with: Callable[[], Callable[[bytes], PageProof]],
        told: Callable[[bytes], Samples],
    ) -> None:
        self._rows = history.rows()
        self._content = history.content
        self._due = due(history)
        self._compare_with = compare_with
        self._told = told
        self._compare = compare_with()
        self._n = 0

    def __call__(self, body: bytes) -> bool:
        self._n += 1
        if self._n % 50 == 0:
            self._compare = self._compare_with()
        try:
            proof = self._compare(body)
        except DecodeError as error:
            must_be_clear(error)
            return False
        # InternalError where the two proofs contradict each other
        ledger = ChecksumLedger(self._rows, self._content)
        ledger.add(proof)
        n_proved = ledger.check(0)
        found = proof.findings
        n_due = self._due.total()
        assert found.n_expected == n_due
        assert 0 <= found.n_validated <= n_due
        if found.n_mismatches == 0:
            assert (found.n_validated, proof.n_received) == (n_due, n_due)
            assert n_proved == len(self._rows)
            try:
                told = self._told(body)
            except (
                *(ValueError, TypeError, LookupError, AttributeError, AssertionError),
                *(ProtobufError, InvalidOperation, RecursionError),
            ) as error:
                raise AssertionError(f"accepted what cannot be read: {error!r}") from error
            assert told == self._due, "accepted what is not the same"
        return True


def _bound(
    found: LogAnswers | RemoteReadAnswers, expectation: Expectation
) -> Callable[[bytes], PageProof]:
    return lambda body: found.compare(body, expectation)


def _logs() -> Surface:
    history = referee.history()
    expectation = history.page().expectation
    elements = history.elements()
    added = [({**own, "service_name": "unknown_service"}, rows) for own, rows in elements]
    seeds = (
        referee.streams_response(elements),
        referee.streams_response(added),
        referee.streams_response(elements, metadata=referee.LEVEL_UNKNOWN, flags=True),
        referee.streams_response(elements, metadata={}, flags=True),
        referee.streams_response(elements[::-1]),
        referee.streams_response([(own, rows[half]) for own, rows in elements for half in HALVES]),
    )
    compare = Comparison(
        history, lambda: _bound(LogAnswers(history.content), expectation), told_by_streams
    )
    return Surface("query_range answers", seeds, compare, 4)


HALVES: Final = (slice(None, 4), slice(4, None))


def _matrix() -> Surface:
    history = referee.history(metrics=True)
    page = history.page()
    begin_ms = page.start_ns // 10**6
    elements = history.elements()
    seeds = (
        referee.matrix_response(elements),
        referee.matrix_response(elements, cortex=True),
        referee.matrix_response(elements[::-1]),
        referee.matrix_response([(own, rows[half]) for own, rows in elements for half in HALVES]),
    )
    compare = Comparison(
        history,
        lambda: lambda body: QueryAnswers().compare(body, page.expectation, begin_ms),
        lambda body: told_by_matrix(body, begin_ms),
    )
    return Surface("matrix answers", seeds, compare, 4)


def _read_seeds(history: History) -> tuple[bytes, ...]:
    elements = history.elements()
    return (
        referee.read_response(elements),
        referee.read_response(elements[::-1]),
        referee.read_response([(own, rows[half]) for own, rows in elements for half in HALVES]),
        referee.read_response(elements[:1]),
    )


def _remote_read() -> Surface:
    history = referee.history(metrics=True)
    expectation = history.page().expectation
    compare = Comparison(
        history, lambda: _bound(RemoteReadAnswers(history.content), expectation), told_by_protobuf
    )
    return Surface("remote read answers", _read_seeds(history), compare, 4)


def _remote_read_packed() -> Surface:
    history = referee.history(metrics=True)
    expectation = history.page().expectation
    api = RemoteReadApi(_target())
    headers = CIMultiDictProxy(CIMultiDict({"Content-Type": "application/x-protobuf"}))

    def unpacked(raw: bytes) -> bytes:
        try:
            return api.body(Answer(200, headers, raw, 0), 1 << 20)
        except TargetError as error:
            raise DecodeError(str(error)) from error

    def told(raw: bytes) -> Samples:
        return told_by_protobuf(bytes(cramjam.snappy.decompress_raw(raw)))

    def compare_with() -> Callable[[bytes], PageProof]:
        found = RemoteReadAnswers(history.content)
        return lambda raw: found.compare(unpacked(raw), expectation)

    seeds = tuple(bytes(compress(seed)) for seed in _read_seeds(history))
    return Surface("remote read answers, packed", seeds, Comparison(history, compare_with, told), 2)


def _target() -> Target:
    return Target(
        url="http://target.test",
        product=Product.PROMETHEUS,
        push_path="/push",
        query_path="/query",
        read_path="/read",
        read_api=ReadApi.REMOTE_READ,
        version=None,
        revision=None,
        tenant=None,
    )


def _golden() -> Surface:
    """Return what real servers sent, for each decoder, whichever it is meant for."""
    seeds = (*captures("loki-query"), *captures("prometheus-"), *captures("cortex-"))

    def check(body: bytes) -> bool:
        taken = 0
        for decode in (
            parse_streams,
            parse_matrix,
            decode_read_response,
            lambda raw: decode_read_response(decompress(raw, 1 << 20)),
        ):
            try:
                decode(body)
                taken += 1
            except DecodeError as error:
                must_be_clear(error)
        return taken > 0

    return Surface("golden captures", seeds, check, 3)


# --- pushes, in the target ---------------------------------------------------------------------


def _push_requests() -> Surface:
    def check(body: bytes) -> bool:
        told = None
        try:
            message = loki_pb2.PushRequest.FromString(body)
        except (ProtobufError, UnicodeDecodeError):
            pass
        else:
            told = [
                (
                    stream.labels.encode(),
                    [
                        (one.timestamp.seconds * NS + one.timestamp.nanos, one.line.encode())
                        for one in stream.entries
                    ],
                )
                for stream in message.streams
            ]
        try:
            columns = decode_push_request(body)
        except DecodeError as error:
            must_be_clear(error)
            assert (
                told is None
                or any(not -(2**63) <= time_ns < 2**63 for _, rows in told for time_ns, _ in rows)
                or any(
                    not 0 <= one.timestamp.nanos < NS
                    for stream in message.streams
                    for one in stream.entries
                )
            ), "refused what is a push request"
            return False
        lines = slices(columns.buffer, columns.line_offsets, columns.line_lengths)
        rows = list(zip(columns.timestamps_ns.tolist(), lines, strict=True))
        ends = np.cumsum(columns.counts).tolist()
        begins = [0, *ends][:-1]
        taken = [
            (labels, rows[begin:end])
            for labels, begin, end in zip(columns.label_strings(), begins, ends, strict=True)
        ]
        # columns hand out bytes as they are, where the library insists on UTF-8
        assert told is None or told == taken
        if told is None:
            assert not _is_utf8(taken), "took what is no push request"
        return True

    rows = [(1, [(1_700_000_000_000_000_000 + n, f"line {n}") for n in range(5)]), (2, [])]
    message = loki_pb2.PushRequest()
    for number, entries in rows:
        stream = message.streams.add(labels=f'{{a="{number}"}}')
        for ns, line in entries:
            entry = stream.entries.add(line=line)
            entry.timestamp.seconds, entry.timestamp.nanos = divmod(ns, NS)
    content = referee.make_content()
    generated = referee.push_request(content, [(0, 0, 1_700_000_000_000_000_000), (1, 0, 5)])
    return Surface("push requests", (message.SerializeToString(), generated), check, 2)


def _is_utf8(streams: list[tuple[bytes, list[tuple[int, bytes]]]]) -> bool:
    try:
        for labels, rows in streams:
            labels.decode()
            for _, line in rows:
                line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _write_requests() -> Surface:
    def check(body: bytes) -> bool:
        told = None
        try:
            message = prometheus_pb2.WriteRequest.FromString(body)
        except (ProtobufError, UnicodeDecodeError):
            pass
        else:
            told = [
                (
                    [(label.name, label.value) for label in one.labels],
                    [
                        (sample.timestamp, int(np.float64(sample.value).view(np.uint64)))
                        for sample in one.samples
                    ],
                )
                for one in message.timeseries
            ]
        try:
            columns = decode_write_request(body)
        except DecodeError as error:
            must_be_clear(error)
            assert told is None, "refused what is a write request"
            return False
        rows = list(zip(columns.timestamps_ms.tolist(), columns.value_bits.tolist(), strict=True))
        ends = np.cumsum(columns.counts).tolist()
        begins = [0, *ends][:-1]
        blobs = columns.label_blobs()
        samples = [rows[begin:end] for begin, end in zip(begins, ends, strict=True)]
        try:
            labels = [
                [(one.name, one.value) for one in prometheus_pb2.TimeSeries.FromString(blob).labels]
                for blob in blobs
            ]
        except (ProtobufError, UnicodeDecodeError):
            assert told is None
            return True
        assert told == list(zip(labels, samples, strict=True))
        return True

    history = referee.history(metrics=True)
    seeds = []
    for raw in _read_seeds(history):
        message = prometheus_pb2.WriteRequest()
        result = prometheus_pb2.ReadResponse.FromString(raw).results[0]
        message.timeseries.extend(result.timeseries)
        seeds.append(message.SerializeToString())
    odd = prometheus_pb2.WriteRequest()
    series = odd.timeseries.add()
    series.labels.add(name="a", value="")
    series.samples.add(timestamp=-5, value=math.nan)
    series.samples.add()
    return Surface("write requests", (*seeds, odd.SerializeToString()), check, 2)


def _target_pushes() -> Surface:
    """Return whole pushes to the target: a byte that chooses the headers, and the body."""
    kinds = ("application/x-protobuf", "application/json", "application/json; charset=x", "", "x/y")
    encodings = ("", "snappy", "gzip", "deflate", "br")
    budget = Budget(1024)

    def check(raw: bytes) -> bool:
        choice = raw[0] if raw else 0
        headers = {
            "content-type": kinds[choice % len(kinds)],
            "content-encoding": encodings[choice // len(kinds) % len(encodings)],
        }
        request = answers.Request("POST", "/push", headers, {}, raw[1:], "tenant")
        try:
            with budget.loan() as loan:
                loki_push.decode(request, loan)
        except answers.RefusedError as error:
            return error.answer.status // 100 != 4
        return True

    content = referee.make_content()
    packed = bytes(compress(referee.push_request(content, [(0, 0, 5), (1, 0, 5)])))
    stream = {"stream": {"a": "b"}, "values": [["5", "x"], ["6", "y", {"c": "d"}]]}
    plain = json.dumps({"streams": [stream, stream]}).encode()
    gzipped = bytes(cramjam.gzip.compress(plain))
    return Surface(
        "pushes to the target", (b"\0" + packed, b"\1" + plain, b"\x0b" + gzipped), check
    )


# --- preflight, outcomes -----------------------------------------------------------------------

_PATHS: Final = (
    "/loki/api/v1/status/buildinfo",
    "/loki/api/v1/labels",
    "/ready",
    "/config",
    "/metrics",
    "/api/v1/status/buildinfo",
    "/api/v1/status/flags",
    "/api/v1/status/config",
    "/prometheus/api/v1/query",
)


class _FuzzedProbe(Probe):
    """Answers every question from the bytes of a case."""

    def __init__(self, raw: bytes) -> None:
        self.base = "http://target.test"
        self.skew_s = None
        self._headers = {}
        self._raw = raw

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return

    def _ask(
        self, method: str, path: str, query: str, body: bytes | None, headers: dict[str, str]
    ) -> Reply:
        parts = self._raw.split(b"\x1e")
        at = _PATHS.index(path) if path in _PATHS else 0
        status, _, rest = parts[at % len(parts)].partition(b" ")
        date, _, content = rest.partition(b"\x1f")
        text = date.decode("utf-8", "surrogateescape")
        code = int(status) if status.isdigit() and len(status) == 3 else 200
        self._note_skew({"Date": text}, 1_700_000_000.0)
        headers = {"Date": text, "Content-Type": text, "Location": text}
        return Reply(code, headers, content, self.base + path)


def _preflight() -> Surface:
    config = run_config("http://target.test")
    modes = [
        replace(config, mode=mode, read_api=api, min_lag_s=1e12, max_lag_s=2e12)
        for mode, api in (
            (Mode.LOGS, ReadApi.AUTO),
            (Mode.METRICS, ReadApi.AUTO),
            (Mode.METRICS, ReadApi.QUERY),
        )
    ]
    # these only write
    modes += [replace(one, skip_read=True) for one in modes]

    def check(raw: bytes) -> bool:
        taken = False
        for one in modes:
            try:
                target = _discover(
                    one,
                    _FuzzedProbe(raw),
                    "http://target.test",
                    None,
                    use=_Use(writes=True, reads=not one.skip_read),
                    embedded=False,
                )
            except TargetError as error:
                must_be_clear(error)
                continue
            taken = True
            told = [target.version or "", target.revision or "", *target.limits.values()]
            assert all(is_one_clear_line(words) for words in told)
            assert target.max_entries is None or 0 <= target.max_entries < 10**18
            json.dumps([told, target.clock_skew_s, target.external_labels], allow_nan=False)
        return taken

    date = b"Tue, 14 Nov 2023 22:13:20 GMT\x1f"
    ok = b'{"status":"success","data":{"version":"2.42.0","revision":"abc"}}'
    yaml = json.dumps({"data": {"yaml": "global:\n  external_labels:\n    a: b\n    c: 'd'\n"}})
    flags = json.dumps(
        {"data": {"query.max-samples": "9", "web.enable-remote-write-receiver": "x"}}
    )
    bodies = (
        *(b'{"version":"3.4","revision":"abc"}', b"{}", b"ready\n"),
        b"limits_config:\n  ingestion_rate_mb: 4\n  max_entries_limit_per_query: 5000\n",
        b'loki_build_info{branch="x",revision="r1",version="3.4"} 1\n',
        *(
            ok,
            flags.encode(),
            yaml.encode(),
            b'{"status":"success","data":{"resultType":"scalar"}}',
        ),
    )
    whole = b"\x1e".join(b"200 " + date + body for body in bodies)
    cortex = whole.replace(b"200 " + date + ok, b"404 " + date + b"404 page not found")
    mimir = whole.replace(b'"version":"2.42.0"', b'"application":"Grafana Mimir","version":""')
    return Surface("preflight answers", (whole, cortex, mimir), check, 2)


def _retry_after() -> Surface:
    def check(raw: bytes) -> bool:
        text = raw.decode("utf-8", "surrogateescape")
        found = parse_retry_after(text, 1_700_000_000.0)
        assert found is None or 0 <= found < math.inf
        return found is not None

    seeds = (
        *(b"120", b"0.5", b"Tue, 14 Nov 2023 22:13:20 GMT", b"Tuesday, 14-Nov-23 22:13:20 GMT"),
        *(b"Tue Nov 14 22:13:20 2023", b"Fri, 31 Dec 9999 23:59:59 GMT", b"-1"),
    )
    return Surface("Retry-After", seeds, check)


def _outcomes() -> Surface:
    """Return answers to pushes: three digits of status, the product, and the body."""
    products = tuple(Product)
    limits = {"ingestion_burst_size_mb": "6", "ingestion_burst_size": "50000"}

    def check(raw: bytes) -> bool:
        status = int(raw[:3]) if raw[:3].isdigit() and len(raw) >= 3 else 429
        product = products[(raw[3] if len(raw) > 3 else 0) % len(products)]
        acknowledged = False
        for ambiguous in (False, True):
            for told in ({}, limits, {"ingestion_burst_size_mb": "nan"}):
                found = classify(
                    product,
                    status,
                    raw[4:],
                    retry_after_s=None,
                    ambiguous=ambiguous,
                    n_samples=100,
                    limits=told,
                )
                assert is_one_clear_line(found.reason), repr(found.reason)
                assert found.fitting is None or 0 <= found.fitting < 1
                acknowledged = found.outcome is Outcome.ACKNOWLEDGED
                # the words of a success may say the contrary
                assert not acknowledged or status in (200, 202, 204)
                assert acknowledged or raw[4:] or status not in (200, 202, 204)
        return acknowledged

    words = (
        (
            b"ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while"
            b" attempting to ingest '1000' lines totaling '9999999' bytes, reduce log volume"
        ),
        b"ingestion rate limit (25000) exceeded while adding 60000 samples and 0 metadata",
        (
            b"the request has been rejected because the tenant exceeded the ingestion rate limit,"
            b" set to 10000 items/s with a maximum allowed burst of 200000."
        ),
        (
            b"rpc error: code = ResourceExhausted desc = grpc: received message larger than max"
            b" (9 vs. 4)"
        ),
        b"Max entry size '262144' bytes exceeded for stream '{a=\"b\"}'",
        b"per-user series limit of 5000000 exceeded",
    )
    statuses = (b"200", b"400", b"413", b"429", b"500")
    told = [
        *words,
        *captures("loki-push"),
        *captures("cortex-write"),
        *captures("prometheus-write"),
    ]
    seeds = tuple(
        status + bytes([number % 4]) + body
        for number, body in enumerate(told)
        for status in statuses
    )
    return Surface("outcomes of pushes", seeds, check, 2)


def surfaces() -> tuple[Surface, ...]:
    """Return all of them, with new state."""
    return (
        *(_logs(), _matrix(), _remote_read(), _remote_read_packed(), _golden()),
        *(_push_requests(), _write_requests(), _target_pushes()),
        *(_preflight(), _retry_after(), _outcomes()),
    )
