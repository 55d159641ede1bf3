"""The library: what was sent and not acknowledged may come back, and must be exact."""

from __future__ import annotations

import urllib.request
from typing import TYPE_CHECKING

from looker import Connection, LogStream, MetricSeries
from looker.model.mismatch import MismatchKind
from looker.model.verdict import Verdict
from looker.target.server import serving
from servers import PATIENCE_S, Answer, Proxy

if TYPE_CHECKING:
    from servers import Forward


def test_a_refused_push_that_was_stored_is_found() -> None:
    async def script(number: int, forward: Forward) -> Answer:
        stored = await forward()
        return stored if number == 0 else Answer(403, b"no")

    with serving() as target, Proxy(target.url, push=script) as proxy:
        for stream in (
            LogStream(n_samples_per_series_fragment=5),
            MetricSeries(n_samples_per_series_fragment=5),
        ):
            proxy.n_pushes = 0
            pushed = stream.push(proxy.url, 3)
            assert (pushed.n_acknowledged, pushed.n_rejected, pushed.n_in_doubt) == (1, 1, 5)
            assert pushed.refusal == "403 no; no credentials were sent"
            found = stream.validate(Connection(proxy.url, read_grace_s=0))
            assert found.verdict is Verdict.PASSED
            assert (found.n_expected, found.n_validated, found.n_found_in_doubt) == (5, 5, 5)
            assert sum(found.mismatches.values()) == 0


def test_what_was_sent_by_other_means_may_be_in_doubt() -> None:
    stream = LogStream(n_samples_per_series_fragment=5)
    kept, doubtful, unsent = (stream.generate_fragment() for _ in range(3))
    kept.acknowledged()
    doubtful.in_doubt()
    with serving() as target:
        for fragment in (kept, doubtful, unsent):
            request = urllib.request.Request(
                f"{target.url}/loki/api/v1/push",
                fragment.serialize(),
                {"Content-Type": "application/x-protobuf"},
            )
            urllib.request.urlopen(request, timeout=PATIENCE_S).close()
        found = stream.validate(Connection(target.url, read_grace_s=0))
        assert (found.n_validated, found.n_found_in_doubt) == (5, 5)
        # the range ends with the last fragment that is known to be sent
        assert found.verdict is Verdict.PASSED
        last = stream.generate_fragment()
        last.acknowledged()
        found = stream.validate(Connection(target.url, read_grace_s=0))
    # what nobody said to be sent is unexpected, and what was said to be is missing
    assert found.mismatches[MismatchKind.UNEXPECTED] == 5
    assert found.mismatches[MismatchKind.MISSING] == 5
