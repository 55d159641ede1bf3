"""Refusals of queries for their size, by the words of servers (field case 6)."""

from __future__ import annotations

import pytest

from looker.backend.read_refusals import Divide, size_refusal

BY_TIME = [
    (400, "exceeded sample limit (50000000)"),
    (422, "query processing would load too many samples into memory in query execution"),
    (422, "the query hit the max number of chunks limit (limit: 2000000 chunks)"),
    (422, "the query hit the aggregated chunks size limit (limit: 100 bytes)"),
    (422, "the query exceeded the maximum number of chunks (err-mimir-max-chunks-per-query)"),
    (422, "exceeded the aggregated chunks size limit (err-mimir-max-chunks-bytes-per-query)"),
    (422, "(err-mimir-max-estimated-memory-consumption-per-query)"),
    (422, "cannot select more than -search.maxSamplesPerQuery=1000000 samples"),
    (500, "rpc error: desc = grpc: received message larger than max (5 vs. 4)"),
    (400, "the query time range exceeds the limit (query length: 744h0m0s, limit: 721h0m0s)"),
    (422, "the total query time range exceeds the limit (err-mimir-max-total-query-length)"),
    (400, "the query would read too many bytes (query: 1.0 GB, limit: 100 MB)"),
    (422, "exceeded chunks limit: limit 5 violated (got 7)"),
]
BY_STREAMS = [
    (422, "the query hit the max number of series limit (limit: 100000 series)"),
    (422, "the query exceeded the maximum number of series (err-mimir-max-series-per-query)"),
    (422, "the number of matching timeseries exceeds 300000; either narrow down the search"),
    (400, "maximum number of series (500) reached for a single query"),
    (500, "exceeded series limit: limit 10 violated (got 11)"),
    (413, "<html>413 Request Entity Too Large</html>"),
    (414, "URI Too Long"),
]
OTHERS = [
    (200, "exceeded sample limit (5)"),
    (400, "parse error: unexpected end of input"),
    (401, "no org id"),
    (404, "404 page not found"),
    (429, "too many outstanding requests"),
    (429, "Too Many Requests"),
    (500, "Internal Server Error"),
    (503, "query timed out in expression evaluation"),
    (400, "max entries limit per query exceeded, limit > max_entries_limit_per_query (9 > 5)"),
]


@pytest.mark.parametrize(
    ("status", "words", "divide"),
    [
        *((*case, Divide.BY_TIME) for case in BY_TIME),
        *((*case, Divide.BY_STREAMS) for case in BY_STREAMS),
        *((*case, None) for case in OTHERS),
    ],
)
def test_refusals_for_size_are_told_from_others(
    status: int, words: str, divide: Divide | None
) -> None:
    assert size_refusal(status, words.encode()) is divide
