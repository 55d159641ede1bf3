"""Labels that servers add (field case 8), drop or rewrite (4), and metadata of nobody's (48)."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import referee
from looker.model.labels import LOKI_ADDS
from looker.verify.log_answer import LogAnswers
from looker.verify.metric_answer import QueryAnswers, RemoteReadAnswers
from referee import MS, summary

if TYPE_CHECKING:
    from looker.verify.proof import PageProof
    from referee import Elements, History

N = 24
EXTRA = (("cluster", "c"), ("replica", "r1"))


def compare(kind: str, history: History, elements: Elements) -> PageProof:
    expectation = history.page().expectation
    if kind == "logs":
        body = referee.streams_response(elements)
        return LogAnswers(history.content).compare(body, expectation)
    if kind == "remote read":
        body = referee.read_response(elements)
        return RemoteReadAnswers(history.content).compare(body, expectation)
    body = referee.matrix_response(elements)
    return QueryAnswers().compare(body, expectation, history.page().start_ns // MS)


def history_of(kind: str, **settings: Any) -> History:
    return referee.history(metrics=kind != "logs", **settings)


def changed(history: History, change: dict[str, str | None], n: int = 3) -> Elements:
    """Return faithful elements, of which the first ``n`` have labels set, or dropped (None)."""
    elements = copy.deepcopy(history.elements())
    for labels, _ in elements[:n]:
        for name, value in change.items():
            labels.pop(name, None)
            if value is not None:
                labels[name] = value
    return elements


@pytest.mark.parametrize("name", sorted(LOKI_ADDS))
@pytest.mark.parametrize("n", [1, 3])
def test_labels_that_loki_adds_are_named_and_tolerated(name: str, n: int) -> None:
    history = history_of("logs")
    found = compare("logs", history, changed(history, {name: "7"}, n)).findings
    assert summary(found) == {"n_expected": N, "n_validated": N}
    assert found.added_labels == {name}


@pytest.mark.parametrize("kind", ["remote read", "query"])
@pytest.mark.parametrize("n", [1, 3])
def test_several_tenants_read_at_once_are_tolerated(kind: str, n: int) -> None:
    history = history_of(kind)
    found = compare(kind, history, changed(history, {"__tenant_id__": "a"}, n)).findings
    assert summary(found) == {"n_expected": N, "n_validated": N}
    assert found.added_labels == {"__tenant_id__"}
    found = compare(kind, history, changed(history, {"service_name": "a"}, n)).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": n}


@pytest.mark.parametrize("kind", ["logs", "remote read", "query"])
@pytest.mark.parametrize("value", [None, "r2"])
@pytest.mark.parametrize("n", [1, 3])
def test_a_label_that_the_target_drops_or_rewrites(kind: str, value: str | None, n: int) -> None:
    strict = history_of(kind, extra=EXTRA)
    elements = changed(strict, {"replica": value}, n)
    found = compare(kind, strict, elements).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": n}

    scheme = replace(strict.content.scheme, unchecked=frozenset({"replica"}))
    lax = replace(strict, content=replace(strict.content, scheme=scheme))
    found = compare(kind, lax, elements).findings
    assert summary(found) == {"n_expected": N, "n_validated": N}
    assert summary(compare(kind, lax, strict.elements()).findings) == summary(found)
    # others are looked at as ever
    elements = changed(strict, {"replica": value, "cluster": "d"}, n)
    found = compare(kind, lax, elements).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "wrong_labels": n}


def test_metadata_that_nobody_wrote_has_an_example() -> None:
    history = history_of("logs")
    metadata = {"structuredMetadata": {"detected_level_extracted": "unknown", "trace": 'a"b'}}
    body = referee.streams_response(history.elements(), metadata=metadata, flags=True)
    found = LogAnswers(history.content).compare(body, history.page().expectation).findings
    assert summary(found) == {"n_expected": N, "n_validated": N, "unexpected": N}
    example = found.examples[0]
    assert (example.kind, example.stream) == ("unexpected", history.content.scheme.uniquename(0))
    assert example.timestamp_ns == history.elements()[0][1][0][0]
    assert example.labels == history.content.scheme.labels(0)
    assert example.expected == "metadata {}"
    assert example.received == (
        'metadata {"structuredMetadata": {"detected_level_extracted": "unknown", "trace": "a\\"b"}}'
    )
