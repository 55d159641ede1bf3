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
        (Product.LOKI, 302, "", Outcome.REFUSED_PART),
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


CONFLICTS = (
    "store locally for endpoint 127.0.0.1:10901: conflict",
    "rpc error: code = AlreadyExists desc = store locally: add 5 samples: out of order sample",
    "<html><head><title>409 Conflict</title></head></html>",
    "",
)


@pytest.mark.parametrize("text", CONFLICTS)
def test_a_conflict_means_stored_before_where_it_answers_a_repeat(text: str) -> None:
    """Field case 1: Thanos stores, answers 503 for want of a quorum, then 409."""
    assert outcome(Product.CORTEX, 409, text, ambiguous=True) is Outcome.REPEATED
    assert outcome(Product.CORTEX, 409, text) is Outcome.REFUSED_PART


@pytest.mark.parametrize("status", [400, 403, 409, 412, 422])
def test_words_count_more_than_the_status_that_a_gateway_has_put_before_them(status: int) -> None:
    for text in ("out of order sample", "too old sample", "err-mimir-sample-duplicate-timestamp"):
        assert outcome(Product.MIMIR, status, text, ambiguous=True) is Outcome.REPEATED
    assert outcome(Product.MIMIR, status, "go away", ambiguous=True) is not Outcome.REPEATED


def test_a_conflict_of_another_kind_is_no_repeat() -> None:
    text = "the tenant is locked for maintenance"
    assert outcome(Product.CORTEX, 409, text, ambiguous=True) is Outcome.REFUSED_PART


def test_labels_are_no_words_of_the_target() -> None:
    text = 'invalid label in series {a="out of order", b="rate limit", c="body too large"}'
    assert outcome(Product.CORTEX, 400, text, ambiguous=True) is Outcome.REFUSED_PART


@pytest.mark.parametrize("status", [201, 203, 205, 206, 207, 226, 260, 299, 300, 303, 304])
@pytest.mark.parametrize("text", ["", "ok", "stored"])
def test_another_success_or_a_redirect_neither_acknowledges_nor_refuses(
    status: int, text: str
) -> None:
    """Field cases 2 and 45."""
    found = classify(Product.PROMETHEUS, status, text.encode(), retry_after_s=None, ambiguous=False)
    assert found.outcome is Outcome.REFUSED_PART
    assert "no acknowledgement: 200, 202 and 204 are" in found.reason
    assert found.words == text


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize(
    "text",
    [
        "replicas did not match, rejecting sample: replica=r2, elected=r1",
        "<!DOCTYPE html><html><head><title>Sign in</title></head></html>",
        " \n<html><body>welcome</body></html>",
        '{"error": "no quorum"}',
        '{"status": "error", "errorType": "bad_data"}',
        '{"status":"fail"}',
        '{"code": 503}',
        '{"partialSuccess": {"rejectedDataPoints": "7"}}',
        '[{"items": [{"errors": ["x"]}]}]',
        '{"success": false}',
        "sample out of order, ignored",
        "quota exceeded",
        "deduplicated",
        "Access denied",
        "please log in",
        "no healthy upstream",
        "no org id",
        "upstream connect error or disconnect/reset before headers",
        '{"error": "' + 3000 * "x" + '"}',
        "storage is read-only",
    ],
)
def test_a_success_whose_words_say_the_contrary_is_no_acknowledgement(
    status: int, text: str
) -> None:
    """Field case 3: Cortex' HA tracker drops samples with 202."""
    found = classify(Product.CORTEX, status, text.encode(), retry_after_s=None, ambiguous=False)
    assert found.outcome is Outcome.REFUSED_PART
    assert " ".join(text.split())[:400] in found.reason
    assert "these words is no acknowledgement" in found.reason


@pytest.mark.parametrize("status", [200, 202, 204])
@pytest.mark.parametrize(
    "text",
    [
        "",
        "ok",
        "OK\n",
        "{}",
        "null",
        "accepted",
        "Success",
        '{"status":"success"}',
        '{"status": 200, "errors": [], "failed": 0, "error": null}',
        '{"code":0,"result":"ok","rejected":"0"}',
        '{"accepted": 100, "dropped": 0}',
        '{"written": [' + 2000 * "0, " + '0], "errors": []}',
        "204 No Content",
        "written 100 samples, no errors",
        "samples=100 rejected=0",
    ],
)
def test_a_success_is_an_acknowledgement_whatever_kind_words_come_with_it(
    status: int, text: str
) -> None:
    assert outcome(Product.CORTEX, status, text) is Outcome.ACKNOWLEDGED


@pytest.mark.parametrize("status", [400, 403, 429, 503, 529])
def test_a_rate_limit_is_known_by_its_words_under_any_status(status: int) -> None:
    """Field case 11: Mimir answers 529 if it is told to."""
    found = classify(
        Product.MIMIR, status, MIMIR_RATE.encode(), retry_after_s=3.0, ambiguous=False, n_samples=9
    )
    assert (found.outcome, found.limited, found.retry_after_s) == (Outcome.RATE_LIMITED, True, 3.0)


@pytest.mark.parametrize(
    ("status", "text", "limited"),
    [
        (429, "", True),
        (429, "Per stream rate limit exceeded (limit: 3MB/sec)", True),
        (403, '{"message":"API rate limit exceeded"}', True),
        (503, "Please reduce your request rate.", True),
        (503, "the ingester exceeded the samples ingestion rate limit", True),
        (200, '{"error":"rate limit exceeded"}', True),
        (529, "", False),
        (503, "Ingester not ready", False),
    ],
)
def test_a_gateways_rate_limit_may_have_let_a_part_pass(
    status: int, text: str, limited: bool
) -> None:
    found = classify(Product.LOKI, status, text.encode(), retry_after_s=None, ambiguous=False)
    assert (found.outcome, found.limited) == (Outcome.TRANSIENT, limited)


def test_no_number_of_series_becomes_less_by_waiting() -> None:
    for status in (400, 429):
        text = "per-user series limit of 5 exceeded (err-mimir-max-series-per-user)"
        assert outcome(Product.MIMIR, status, text) is Outcome.REFUSED_PART


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
