"""Questions past the caches of results, for each product."""

from __future__ import annotations

import pytest

from looker.backend.api import Target, api_for
from looker.backend.outcomes import Product
from looker.model.config import ReadApi
from looker.model.query import RangeQuery

CASES = [
    (Product.LOKI, ReadApi.AUTO, "no-cache"),
    (Product.PROMETHEUS, ReadApi.QUERY, "no-store"),
    (Product.CORTEX, ReadApi.QUERY, "no-store"),
    (Product.MIMIR, ReadApi.QUERY, "no-store"),
    (Product.CORTEX, ReadApi.REMOTE_READ, "no-store"),
    (Product.MIMIR, ReadApi.REMOTE_READ, "no-store"),
]


@pytest.mark.parametrize(("product", "read_api", "directive"), CASES)
@pytest.mark.parametrize("n_names", [1, 200])
def test_a_fresh_question_goes_past_caches(
    product: Product, read_api: ReadApi, directive: str, n_names: int
) -> None:
    # many names make a body of what else is a query string
    matcher = (
        "looker_uniquename",
        "=~",
        "|".join(f"id-0-{number:03d}" for number in range(n_names)),
    )
    api = api_for(Target("http://h", product, "/w", "/q", "/r", read_api, None, None, None))
    usual = api.query(RangeQuery(matcher, 0, 10**9, 10))
    fresh = api.query(RangeQuery(matcher, 0, 10**9, 10, fresh=True))
    assert "Cache-Control" not in usual.headers
    assert fresh.headers == {**usual.headers, "Cache-Control": directive}
    assert (fresh.method, fresh.url, fresh.body) == (usual.method, usual.url, usual.body)
