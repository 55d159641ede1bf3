"""How certain a difference between runs must be to count as shown."""

from __future__ import annotations

from typing import Final

DEFAULT_CONFIDENCE: Final = 0.95
"""Unless somebody says otherwise."""
MIN_CONFIDENCE: Final = 0.5
MAX_CONFIDENCE: Final = 0.999
