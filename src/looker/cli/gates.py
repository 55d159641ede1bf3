"""Before a run: conditions on what the target itself uses, where nothing is to be known of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from looker.backend.target_metrics import MetricsPage
from looker.errors import TargetError, UsageError
from looker.model.figures import metric_of
from looker.model.metric_selector import selector_of
from looker.model.target_usage import CPU, RSS
from looker.model.threshold import OPTION, parsed
from looker.wire.metrics_text import summed

if TYPE_CHECKING:
    from looker.backend.api import Target
    from looker.model.config import RunConfig

_TRIES: Final = 2
_PART: Final = "target."


def refuse_without_figures(config: RunConfig, target: Target) -> None:
    """Raise UsageError for a condition on a figure that the target's page has nothing for.

    Asks for the page only where there is such a condition.
    """
    thresholds = [one for one in map(parsed, config.fail_if) if one.path.startswith(_PART)]
    page = MetricsPage.of(config, target) if thresholds else None
    if page is None:
        return
    try:
        text = asyncio.run(_read(page))
    except TargetError as error:
        raise UsageError(
            OPTION, f"{thresholds[0].expr!r}: what the target uses is not known: {error}"
        ) from error
    there = summed(text, [selector_of(CPU), selector_of(RSS)])
    for threshold in thresholds:
        # a metric of the target's own may be there only once it is written to
        if metric_of(threshold.path) is not None:
            continue
        name = CPU if "cpu_s" in threshold.path else RSS
        if name not in there:
            raise UsageError(
                OPTION, f"{threshold.expr!r}: {page.shown_url} has no {name} to know it from"
            )


async def _read(page: MetricsPage) -> bytes:
    try:
        for _ in range(_TRIES - 1):
            try:
                return await page.read()
            except TargetError:
                continue
        return await page.read()
    finally:
        await page.aclose()
