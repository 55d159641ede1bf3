"""The outcome table: the servers' own messages, each with what it means."""

from __future__ import annotations

import pytest

from looker.backend.outcomes import Product, classify
from looker.model.outcome import Outcome

LOKI_RATE = (
    "ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to"
    " ingest '{lines}' lines totaling '{size}' bytes, reduce log volume or contact your Loki"
    " administrator to see if the limit can be increased"
)
LOKI_GRPC = (
    "rpc error: code = ResourceExhausted desc = grpc: received message larger than max"
    " (4502563 vs. 4194304)"
)
CORTEX_RATE = "ingestion rate limit (25000) exceeded while adding {n} samples and 0 metadata"
CORTEX_ORDER = (
    "maxFailure (quorum) on a given error family, addr=127.0.0.1:9096 state=ACTIVE zone=, rpc"
    " error: code = Code(400) desc = user=fake: err: out of order sample. timestamp=…, series={}"
)
MIMIR_RATE = (
    "the request has been rejected because the tenant exceeded the ingestion rate limit, set to"
    " 10000 items/s with a maximum allowed burst of 200000. (err-mimir-tenant-max-ingestion-rate)"
)


def outcome(product: Product, status: int, text: str = "", **more: object) -> Outcome:
    settings = {"retry_after_s": None, "ambiguous": False, **more}
    return classify(product, status, text.encode(), **settings).outcome


@pytest.mark.parametrize(
    ("product", "status", "text", "expected"),
    [
        (Product.LOKI, 204, "", Outcome.ACKNOWLEDGED),
        (Product.CORTEX, 200, "", Outcome.ACKNOWLEDGED),
        (Product.LOKI, 429, LOKI_RATE.format(lines=7, size=700), Outcome.RATE_LIMITED),
        (Product.LOKI, 429, "Per stream rate limit exceeded (limit: 3MB/sec)", Outcome.TRANSIENT),
        (Product.LOKI, 429, "Maximum active stream limit exceeded", Outcome.REFUSED_PART),
        (Product.LOKI, 500, LOKI_GRPC, Outcome.TOO_LARGE),
        (Product.LOKI, 413, "", Outcome.TOO_LARGE),
        (Product.LOKI, 400, "max entry size '262144' bytes exceeded", Outcome.REFUSED_PART),
        (Product.LOKI, 400, "entry too far behind", Outcome.REFUSED_PART),
        (Product.LOKI, 422, "", Outcome.REFUSED),
        (Product.LOKI, 401, "no org id", Outcome.REFUSED),
        (Product.LOKI, 302, "", Outcome.REFUSED),
        (Product.LOKI, 503, "Ingester not ready", Outcome.TRANSIENT),
        (Product.LOKI, 500, "context deadline exceeded", Outcome.TRANSIENT),
        (Product.LOKI, 408, "", Outcome.TRANSIENT),
        (Product.LOKI, 507, "memory limit", Outcome.REFUSED),
        (Product.LOKI, 418, "", Outcome.REFUSED_PART),
        (Product.CORTEX, 429, CORTEX_RATE.format(n=300), Outcome.RATE_LIMITED),
        (Product.CORTEX, 400, CORTEX_ORDER, Outcome.REFUSED_PART),
        (Product.CORTEX, 400, "per-metric series limit of 50000 exceeded", Outcome.REFUSED_PART),
        (Product.CORTEX, 415, "", Outcome.REFUSED),
        (Product.MIMIR, 429, MIMIR_RATE, Outcome.RATE_LIMITED),
        (Product.PROMETHEUS, 400, "out of order sample", Outcome.REFUSED),
        (Product.PROMETHEUS, 400, "duplicate sample for timestamp", Outcome.REFUSED),
        (Product.PROMETHEUS, 400, "out of bounds", Outcome.REFUSED),
    ],
)
def test_an_answer_means(product: Product, status: int, text: str, expected: Outcome) -> None:
    assert outcome(product, status, text) is expected


@pytest.mark.parametrize(
    ("product", "text"),
    [
        (Product.LOKI, "entry with timestamp … ignored, reason: 'entry too far behind, …"),
        (Product.CORTEX, CORTEX_ORDER),
        (
            Product.CORTEX,
            "err: duplicate sample for timestamp 1795476169000; overrides not allowed",
        ),
        (Product.MIMIR, "… (err-mimir-sample-out-of-order)"),
        (Product.PROMETHEUS, "out of order sample"),
        (Product.PROMETHEUS, "duplicate sample for timestamp"),
    ],
)
def test_after_an_ambiguous_attempt_the_same_answer_means_it_was_stored_before(
    product: Product, text: str
) -> None:
    assert outcome(product, 400, text, ambiguous=True) is Outcome.REPEATED
    assert outcome(product, 400, text) is not Outcome.REPEATED


def test_another_bad_request_is_no_repeat() -> None:
    assert outcome(Product.PROMETHEUS, 400, "out of bounds", ambiguous=True) is Outcome.REFUSED


def test_the_share_that_fits_is_named_where_the_message_tells() -> None:
    grpc = classify(Product.LOKI, 500, LOKI_GRPC.encode(), retry_after_s=None, ambiguous=False)
    assert grpc.fitting == pytest.approx(4194304 / 4502563)


def test_more_than_a_known_burst_never_fits() -> None:
    text = LOKI_RATE.format(lines=70, size=7_000_000).encode()
    known = classify(
        Product.LOKI,
        429,
        text,
        retry_after_s=None,
        ambiguous=False,
        limits={"ingestion_burst_size_mb": "6"},
    )
    assert known.outcome is Outcome.TOO_LARGE
    assert known.fitting == pytest.approx(6 * 2**20 / 7_000_000)
    larger = classify(
        Product.LOKI,
        429,
        text,
        retry_after_s=None,
        ambiguous=False,
        limits={"ingestion_burst_size_mb": "10"},
    )
    assert larger.outcome is Outcome.RATE_LIMITED
    assert not larger.suspect


def test_more_than_a_likely_burst_is_suspect_only() -> None:
    for n, suspect in ((75_000, True), (50_000, False)):
        text = CORTEX_RATE.format(n=n).encode()
        found = classify(Product.CORTEX, 429, text, retry_after_s=2.0, ambiguous=False)
        assert found.outcome is Outcome.RATE_LIMITED
        assert found.suspect is suspect
        assert found.retry_after_s == 2.0
    assert found.fitting is None


def test_mimir_names_its_burst() -> None:
    found = classify(
        Product.MIMIR,
        429,
        MIMIR_RATE.encode(),
        retry_after_s=None,
        ambiguous=False,
        n_samples=400_000,
    )
    assert found.outcome is Outcome.TOO_LARGE
    assert found.fitting == 0.5


def test_the_reason_is_one_line_of_bounded_length() -> None:
    found = classify(Product.LOKI, 400, b"a\n b\t" * 1000, retry_after_s=None, ambiguous=False)
    assert found.reason.startswith("400 a b a b")
    assert len(found.reason) <= 500
    assert "\n" not in found.reason


def test_a_limit_comes_with_advice() -> None:
    long = classify(
        Product.LOKI,
        400,
        b"max entry size '262144' bytes exceeded for stream '{}' while adding an entry",
        retry_after_s=None,
        ambiguous=False,
    )
    assert long.reason.endswith("; the largest --n-chars-per-msg that fits is 262144")
    for product, status, text in (
        (Product.LOKI, 429, b"maximum active stream limit exceeded when trying to create stream"),
        (Product.CORTEX, 400, b"per-metric series limit of 50000 exceeded for metric m"),
    ):
        many = classify(product, status, text, retry_after_s=None, ambiguous=False)
        assert "; lower --n-concurrent-streams" in many.reason
