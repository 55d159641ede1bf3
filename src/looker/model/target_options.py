"""The rules of the options that say what the target is asked of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from looker.errors import UsageError
from looker.model.metric_selector import selector_of
from looker.model.target_usage import OFF
from looker.model.url_rules import check_url

if TYPE_CHECKING:
    from collections.abc import Sequence

_PAGE_OPTION: Final = "--target-metrics-url"


def check_target_metrics(url: str | None, metrics: Sequence[str], every_s: float) -> None:
    """Raise UsageError, naming the option, for the first value or combination that is wrong."""
    if url is not None and url != OFF:
        _check_page(url)
    if url == OFF and metrics:
        raise UsageError("--target-metric", f"contradicts --target-metrics-url {OFF}")
    for text in metrics:
        try:
            selector_of(text)
        except ValueError as error:
            raise UsageError("--target-metric", str(error)) from None
    if not 0.1 <= every_s < 10**6:
        raise UsageError("--target-metrics-every-seconds", f"must be at least 0.1, not {every_s:g}")


def _check_page(url: str) -> None:
    try:
        check_url(url)
    except ValueError as error:
        raise UsageError(_PAGE_OPTION, f"{error} (or: {OFF})") from None
    if "#" in url:
        raise UsageError(_PAGE_OPTION, "must have no '#': what is behind it is not sent")
