"""Refusals for size: whose words mean that, and which share fits."""

from __future__ import annotations

import pytest

from looker.backend.outcomes import Product, classify
from looker.backend.sizes import fitting_share, is_too_large
from looker.model.outcome import Outcome

MIMIR = (
    "the incoming push request has been rejected because its message size{actual} is larger than"
    " the allowed limit of 500 bytes (err-mimir-distributor-max-write-message-size). To adjust the"
    " related limit, configure -distributor.max-recv-msg-size"
)
ITEM = (
    "the write request contains a timeseries or metadata item which is larger that the maximum"
    " allowed size of 500 bytes (err-mimir-distributor-max-write-request-data-item-size)"
)
UNPACKED = "too big unpacked request; mustn't exceed `-maxInsertRequestSize=500` bytes"


@pytest.mark.parametrize(
    ("text", "share"),
    [
        # Loki and Cortex by gRPC, and by themselves
        ("rpc error: desc = grpc: received message larger than max (2000 vs. 500)", 0.25),
        ("received message larger than max (2000 vs 500)", 0.25),
        # Mimir, with the number and without
        (MIMIR.format(actual=" of 2000 bytes"), 0.25),
        (MIMIR.format(actual=""), 0.5),
        (ITEM, 0.5),
        # Prometheus from 3.8.1 on
        ("decoded size exceeds the 500 bytes limit", 0.5),
        ("request body exceeds the 900 bytes limit", 0.9),
        ("request body exceeds the 200 bytes limit", 0.25),
        # VictoriaMetrics
        (UNPACKED, 0.5),
        (f"{UNPACKED}; got 2000 bytes", 0.25),
        ("too big packed request; mustn't exceed `-maxInsertRequestSize=200` bytes", 0.25),
        # gateways
        ("http: request body too large", None),
        ("<html><head><title>413 Request Entity Too Large</title></head></html>", None),
        ("Payload Too Large", None),
        ('{"message":"Request size limit exceeded"}', None),
        ("Content-Length exceeds the maximum", None),
    ],
)
def test_too_large_is_known_by_its_words_under_any_status(text: str, share: float | None) -> None:
    """Field case 35. The message has 1,000 bytes, 800 compressed."""
    for status in (400, 413, 422, 500):
        found = classify(
            Product.PROMETHEUS, status, text.encode(), retry_after_s=None, ambiguous=False
        )
        assert found.outcome is Outcome.TOO_LARGE
    assert fitting_share(text, n_bytes=1000, n_wire_bytes=800) == share


@pytest.mark.parametrize(
    "text",
    [
        "max entry size '262144' bytes exceeded for stream",
        "label value too long for metric (actual: 3000, limit: 2048)",
        "out of order sample",
        "Request Header Or Cookie Too Large",
        "",
    ],
)
def test_other_refusals_are_none_for_size(text: str) -> None:
    assert not is_too_large(text)
    assert fitting_share(text, n_bytes=1000, n_wire_bytes=800) is None


@pytest.mark.parametrize(
    "text",
    [
        "decoded size exceeds the 1000 bytes limit",
        "decoded size exceeds the 99999999999999999999 bytes limit",
        "received message larger than max (500 vs. 500)",
        f"received message larger than max ({10**19} vs. 1)",
    ],
)
def test_a_limit_that_is_no_less_than_the_message_tells_no_share(text: str) -> None:
    assert fitting_share(text, n_bytes=1000, n_wire_bytes=800) is None
