"""The readers on what real servers answered; the written data lie beside the answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from multidict import CIMultiDict, CIMultiDictProxy

import referee
from looker.backend.api import LokiApi, Pushed, QueryApi, RemoteReadApi, Target
from looker.backend.outcomes import Product, classify
from looker.backend.transport import Answer
from looker.errors import DecodeError, TargetError
from looker.model.config import ReadApi
from looker.model.labels import LOKI_ADDS, LabelScheme
from looker.model.mismatch import Findings
from looker.model.outcome import Outcome
from looker.verify.log_answer import Entries
from looker.wire.decode import decode_read_response
from looker.wire.loki_answer import (
    learn_form,
    metadata_tolerated,
    parse_streams,
    result_begin,
    statements_around,
)
from looker.wire.prometheus_json import parse_matrix
from looker.wire.proto import prometheus_pb2
from looker.wire.snappy import compress, decompress, uncompressed_length

CAPTURES = Path(__file__).parent / "captures"
INDEX = {entry["name"]: entry for entry in json.loads((CAPTURES / "index.json").read_text())}
SERVERS = ("prometheus", "cortex")
MINUS_ZERO = 1 << 63
Series = dict[str, list[tuple[int, int]]]
EMPTY_EXPECTATION = referee.history(n_chars=60).page().expectation


def body_of(name: str) -> bytes:
    return (CAPTURES / INDEX[name]["body"]).read_bytes()


def answer_of(name: str) -> Answer:
    entry = INDEX[name]
    headers = CIMultiDictProxy(CIMultiDict(entry["headers"]))
    return Answer(entry["status"], headers, body_of(name), 0)


def written_entries(number: int) -> list[tuple[int, str]]:
    written = json.loads((CAPTURES / f"loki-stream-{number}.json").read_text())
    return [(time_ns, text) for time_ns, text in written["entries"]]


def written_series(server: str) -> Series:
    """Return (ms, bit pattern) by unique name, as written."""
    written = json.loads((CAPTURES / f"{server}-series.json").read_text())
    return {
        series["labels"]["uniquename"]: [
            (ms, referee.bits_of(float(value))) for ms, value in series["samples"]
        ]
        for series in written["series"]
    }


def without_sign_of_zero(series: Series) -> Series:
    return {
        name: [(ms, 0 if bits == MINUS_ZERO else bits) for ms, bits in samples]
        for name, samples in series.items()
    }


def stored_series(server: str) -> Series:
    """Return what the server is known to keep: Cortex loses the sign of -0.0."""
    series = written_series(server)
    return without_sign_of_zero(series) if server == "cortex" else series


def api_target(product: Product, read_api: ReadApi = ReadApi.AUTO) -> Target:
    return Target(
        url="http://x",
        product=product,
        push_path="/push",
        query_path="/query",
        read_path="/read",
        read_api=read_api,
        version=None,
        revision=None,
        tenant=None,
    )


# -- Loki

STREAMS = {
    "loki-query-forward": [1],
    "loki-query-forward-categorized": [1],
    "loki-query-levels-categorized": [2],
    "loki-query-two-streams-categorized": [1, 2],
    "loki-query-escapes-categorized": [3],
    "loki-query-empty": [],
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_are_read_as_written(name: str) -> None:
    elements, _ = parse_streams(LokiApi(api_target(Product.LOKI)).body(answer_of(name)))
    found = {
        element["stream"]["looker_uniquename"]: [
            (int(value[0]), value[1]) for value in element["values"]
        ]
        for element in elements
    }
    assert found == {f"golden-{number}": written_entries(number) for number in STREAMS[name]}
    for element in elements:
        assert element["stream"]["service_name"] == "g"
        assert all(metadata_tolerated(v[2], LOKI_ADDS) for v in element["values"] if len(v) > 2)


def test_a_stream_that_was_split_by_level_comes_back_whole() -> None:
    elements, _ = parse_streams(body_of("loki-query-levels-split"))
    levels = [element["stream"]["detected_level"] for element in elements]
    assert levels == ["debug", "error", "info", "warn"]
    values = [(int(time), text) for element in elements for time, text in element["values"]]
    assert sorted(values) == written_entries(2)


def test_a_page_and_the_backward_direction() -> None:
    ((page,), _) = parse_streams(body_of("loki-query-page-of-7"))
    assert [(int(v[0]), v[1]) for v in page["values"]] == written_entries(1)[:7]
    ((backward,), _) = parse_streams(body_of("loki-query-backward"))
    assert [(int(v[0]), v[1]) for v in backward["values"]] == written_entries(1)[::-1]


@pytest.mark.parametrize("name", STREAMS)
def test_entries_of_real_answers_as_columns(name: str) -> None:
    findings = Findings()
    entries = Entries.parse(body_of(name), EMPTY_EXPECTATION, LOKI_ADDS, findings)
    written = [entry for number in STREAMS[name] for entry in written_entries(number)]
    assert entries.received.timestamps_ns.tolist() == [time_ns for time_ns, _ in written]
    assert entries.text == [text for _, text in written]
    assert entries.fits.tolist() == [len(text.encode()) == 60 for _, text in written]
    fitting = [line.tobytes() for line, fit in zip(entries.lines, entries.fits, strict=True) if fit]
    assert fitting == [text.encode() for _, text in written if len(text) == 60]
    assert entries.received.streams.tolist() == [-1] * len(written)  # of no run of Looker's
    counts = [len(written_entries(number)) for number in STREAMS[name]]
    assert np.bincount(entries.received.elements, minlength=len(counts)).tolist() == counts
    categorized = "categorized" in name
    assert findings.added_labels == ({"detected_level"} if categorized else set())
    assert findings.n_mismatches == 0


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        ("loki-query-forward", b""),
        (
            "loki-query-forward-categorized",
            b',{"structuredMetadata":{"detected_level":"unknown"}}',
        ),
        (
            "loki-query-page-of-7",
            b',{"structuredMetadata":{"detected_level":"unknown"}}',
        ),
    ],
)
def test_the_form_of_real_answers_is_learnt(
    name: str, extra: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = body_of(name)
    # give the captured stream the labels of a stream of Looker's
    scheme = LabelScheme("golden", 0, 10, 5, metrics=False)
    own = b'"looker_group":"golden-0-g1","looker_uniquename":"golden-0-7"'
    body = body.replace(b'"job":"g","looker_uniquename":"golden-1"', own)
    begin = result_begin(body)
    assert body[begin : begin + 11] == b'{"stream":{'
    n_chars = len(written_entries(1)[0][1])
    form = learn_form(body, begin, scheme, n_chars, LOKI_ADDS)
    assert form is not None
    assert form.added_labels == {"service_name", "detected_level"}
    assert form.row.extra == extra
    head = form.head.render(np.array([7, 2], np.uint32))
    assert body.startswith(head[0].tobytes(), begin)
    assert head[1].tobytes() == head[0].tobytes().replace(b"-g1", b"-g0").replace(b"-0-7", b"-0-2")
    end = body.index(b'],"stats"')
    assert statements_around(body, begin, end) == ()
    rows = parse_streams(body)[0][0]["values"]
    assert end - begin == len(head[0]) + len(rows) * form.row.width + 1
    assert learn_form(body, begin, scheme, n_chars + 1, LOKI_ADDS) is None
    assert learn_form(body, begin, scheme, n_chars, frozenset()) is None
    other = LabelScheme("golden", 1, 10, 5, metrics=False)
    assert learn_form(body, begin, other, n_chars, LOKI_ADDS) is None


@pytest.mark.parametrize(
    "name",
    [
        "loki-query-limit-too-high",
        "loki-query-range-too-long",
        "loki-query-parse-error",
        "prometheus-query-parse-error",
        "cortex-buildinfo",
    ],
)
def test_errors_are_the_targets(name: str) -> None:
    status = INDEX[name]["status"]
    text = body_of(name).decode().split()[0]
    target = api_target(Product.LOKI)
    for api in (LokiApi(target), QueryApi(target), RemoteReadApi(target)):
        with pytest.raises(TargetError, match=f"answered with {status}: ") as caught:
            api.body(answer_of(name))
        assert text in str(caught.value)
    with pytest.raises(DecodeError):
        parse_streams(body_of(name))
    with pytest.raises(DecodeError):
        parse_matrix(body_of(name))


# -- query API


@pytest.mark.parametrize("server", SERVERS)
def test_a_matrix_has_the_bits_that_were_written(server: str) -> None:
    api = QueryApi(api_target(Product(server), ReadApi.QUERY))
    matrix = parse_matrix(api.body(answer_of(f"{server}-query-range-vector")))
    samples = list(zip(matrix.timestamps_ms.tolist(), matrix.bits.tolist(), strict=True))
    found, at = {}, 0
    for metric, count in zip(matrix.metrics, matrix.counts.tolist(), strict=True):
        assert metric["__name__"] == "golden_a"
        found[metric["uniquename"]] = samples[at : at + count]
        at += count
    assert found == stored_series(server)
    special = [bits for _, bits in found["golden-1"]]
    assert (MINUS_ZERO in special) == (server == "prometheus")
    assert {referee.bits_of(float(text)) for text in ("nan", "inf", "-inf", "5e-324")} < set(
        special
    )


@pytest.mark.parametrize(("server", "first"), [("prometheus", 0), ("cortex", 1)])
def test_the_sample_at_the_open_end(server: str, first: int) -> None:
    matrix = parse_matrix(body_of(f"{server}-query-range-vector-boundary"))
    written = stored_series(server)["golden-2"]
    assert (
        list(zip(matrix.timestamps_ms.tolist(), matrix.bits.tolist(), strict=True))
        == written[first:]
    )


@pytest.mark.parametrize("server", SERVERS)
def test_a_range_query_and_an_empty_answer(server: str) -> None:
    matrix = parse_matrix(body_of(f"{server}-query-range"))
    written = stored_series(server)["golden-2"]
    assert list(zip(matrix.timestamps_ms.tolist(), matrix.bits.tolist(), strict=True)) == written
    empty = parse_matrix(body_of(f"{server}-query-empty"))
    assert (empty.metrics, len(empty.counts), len(empty.bits)) == ([], 0, 0)


def test_a_push_that_was_refused_in_part_stored_the_rest() -> None:
    matrix = parse_matrix(body_of("cortex-query-after-partial"))
    at, n_more = 0, 0
    for metric, count in zip(matrix.metrics, matrix.counts.tolist(), strict=True):
        written = stored_series("cortex").get(metric["uniquename"], [])
        samples = list(
            zip(
                matrix.timestamps_ms[at : at + count].tolist(),
                matrix.bits[at : at + count].tolist(),
                strict=True,
            )
        )
        assert samples[: len(written)] == written
        n_more += count - len(written)
        at += count
    assert n_more == 2


# -- remote read


def samples_of(body: bytes) -> Series:
    (columns,) = decode_read_response(body)
    found, at = {}, 0
    for blob, count in zip(columns.label_blobs(), columns.counts.tolist(), strict=True):
        labels = {x.name: x.value for x in prometheus_pb2.TimeSeries.FromString(blob).labels}
        part = slice(at, at + count)
        found[labels["uniquename"]] = list(
            zip(
                columns.timestamps_ms[part].tolist(), columns.value_bits[part].tolist(), strict=True
            )
        )
        at += count
    return found


def test_prometheus_remote_read() -> None:
    api = RemoteReadApi(api_target(Product.PROMETHEUS, ReadApi.REMOTE_READ))
    body = api.body(answer_of("prometheus-read-samples"))
    assert body == decompress(body_of("prometheus-read-samples"), 10_000)
    # Go's protobuf leaves zeros out, and -0.0 equals zero there: only the query API keeps the sign
    assert samples_of(body) == without_sign_of_zero(written_series("prometheus"))
    library = prometheus_pb2.ReadResponse.FromString(body).results[0].timeseries
    assert samples_of(body) == {
        series.labels[1].value: [(x.timestamp, referee.bits_of(x.value)) for x in series.samples]
        for series in library
    }


@pytest.mark.parametrize("name", ["cortex-read-samples", "cortex-read-chunks-asked"])
def test_cortex_remote_read_does_not_say_that_it_is_compressed(name: str) -> None:
    assert "Content-Encoding" not in INDEX[name]["headers"]
    api = RemoteReadApi(api_target(Product.CORTEX, ReadApi.REMOTE_READ))
    request = INDEX[name]["request"]
    asked = {
        series: [
            (ms, bits) for ms, bits in samples if request["start_ms"] <= ms <= request["end_ms"]
        ]
        for series, samples in stored_series("cortex").items()
    }
    assert samples_of(api.body(answer_of(name))) == asked


def test_streamed_chunks_are_refused() -> None:
    api = RemoteReadApi(api_target(Product.PROMETHEUS, ReadApi.REMOTE_READ))
    with pytest.raises(DecodeError, match="x-streamed-protobuf"):
        api.body(answer_of("prometheus-read-chunks"))


def test_an_answer_larger_than_allowed_and_damaged_ones_are_refused() -> None:
    compressed = body_of("prometheus-read-samples")
    length = uncompressed_length(compressed)
    assert len(decompress(compressed, length)) == length
    with pytest.raises(DecodeError, match=f"claims {length} bytes, more than {length - 1}"):
        decompress(compressed, length - 1)
    for damaged in (b"", b"\xff" * 9, compressed[:-1], b"<html></html>"):
        with pytest.raises(DecodeError):
            decompress(damaged, 1 << 20)
    assert decompress(compress(b"abc" * 1000), 3000) == b"abc" * 1000


# -- answers to pushes

PUSHES = {
    # name: (outcome of a first attempt, outcome where an earlier attempt may have stored it)
    "loki-push-ok": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "loki-push-levels": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "loki-push-escapes": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "loki-push-no-entries": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "loki-push-duplicate": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "loki-push-too-far-behind": (Outcome.REFUSED_PART, Outcome.REPEATED),
    "loki-push-too-new": (Outcome.REFUSED_PART, Outcome.REFUSED_PART),
    "loki-push-too-old": (Outcome.REFUSED_PART, Outcome.REFUSED_PART),
    "loki-push-line-too-long": (Outcome.REFUSED_PART, Outcome.REFUSED_PART),
    "loki-push-rate-limited": (Outcome.RATE_LIMITED, Outcome.RATE_LIMITED),
    "prometheus-write-ok": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "prometheus-write-identical-again": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "prometheus-write-out-of-order": (Outcome.REFUSED, Outcome.REPEATED),
    "prometheus-write-duplicate-timestamp": (Outcome.REFUSED, Outcome.REPEATED),
    "prometheus-write-out-of-bounds": (Outcome.REFUSED, Outcome.REFUSED),
    "cortex-write-ok": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "cortex-write-identical-again": (Outcome.ACKNOWLEDGED, Outcome.ACKNOWLEDGED),
    "cortex-write-out-of-order": (Outcome.REFUSED_PART, Outcome.REPEATED),
    "cortex-write-duplicate-timestamp": (Outcome.REFUSED_PART, Outcome.REPEATED),
    "cortex-write-out-of-bounds": (Outcome.REFUSED_PART, Outcome.REFUSED_PART),
    "cortex-write-partial": (Outcome.REFUSED_PART, Outcome.REPEATED),
}


def test_every_captured_push_is_judged() -> None:
    assert PUSHES.keys() == {name for name in INDEX if "-push-" in name or "-write-" in name}


@pytest.mark.parametrize("ambiguous", [False, True])
@pytest.mark.parametrize("name", PUSHES)
def test_what_the_answer_to_a_push_means(name: str, ambiguous: bool) -> None:
    entry = INDEX[name]
    product = Product(name.split("-", maxsplit=1)[0])
    found = classify(
        product, entry["status"], body_of(name), retry_after_s=2.5, ambiguous=ambiguous
    )
    assert found.outcome is PUSHES[name][ambiguous]
    if found.outcome is Outcome.ACKNOWLEDGED:
        assert found.reason == ""
    else:
        assert found.reason.startswith(f"{entry['status']} {body_of(name).decode().split()[0]}")
        assert "\n" not in found.reason
    if found.outcome is Outcome.RATE_LIMITED:
        assert found.retry_after_s == 2.5
    for api in (LokiApi(api_target(product)), QueryApi(api_target(product))):
        pushed = Pushed(bytes(compress(b"x")), 1, again=ambiguous, retry_after_s=2.5)
        same = api.classify(answer_of(name), pushed)
        assert same.outcome is found.outcome
        # what to do about it may be added
        assert same.reason.startswith(found.reason)
