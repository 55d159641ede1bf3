"""Whether a target takes the names of a run's labels: found out before anything is written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from looker.backend.outcomes import Product
from looker.errors import UsageError
from looker.model.labels import LEVEL, LEVEL_BESIDE, is_classic_name

if TYPE_CHECKING:
    from looker.backend.api import Target
    from looker.model.config import RunConfig

_OPTION: Final = "--label"
_TAKES_UTF8_SINCE: Final = 3


def check_label_names(config: RunConfig, target: Target) -> None:
    """Raise UsageError where streams of these names would not come back as they were written."""
    names = [name for name, _ in config.labels]
    other = next((name for name in names if not is_classic_name(name)), None)
    if other is not None and not _takes_utf8(target):
        version = "" if target.version is None else f" {target.version}"
        raise UsageError(
            _OPTION,
            f"{other!r} is a name that only Prometheus takes, since 3.0, not {target.product}"
            f"{version}: give one of letters, digits and underscores",
        )
    adds_level = target.is_logs and target.limits.get("discover_log_levels") != "false"
    if (
        LEVEL in names
        and adds_level
        and not target.embedded
        and LEVEL_BESIDE not in config.ignore_labels
    ):
        raise UsageError(
            _OPTION,
            f"{LEVEL} is what Loki itself adds to every entry (discover_log_levels), and would"
            f" call {LEVEL_BESIDE} then: give another name, or --ignore-label {LEVEL_BESIDE}",
        )


def _takes_utf8(target: Target) -> bool:
    if target.product is not Product.PROMETHEUS:
        return False
    major = re.match(r"v?([0-9]{1,4})\.", target.version or "")
    return major is not None and int(major[1]) >= _TAKES_UTF8_SINCE
