"""Whether a body or event states more than its text and tokens: an energy, times, its tools' usage.

Most state nothing else, and are asked for all of it at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_tracking.usage.measured_energy import ENERGY_NAMES
from energy_tracking.usage.payloads import TOOL_PLACES
from energy_tracking.usage.server_timing import TIMING_NAMES, TIMING_NAMES_IN_USAGE

_AT_THE_TOP = ENERGY_NAMES | TIMING_NAMES | TOOL_PLACES | {"response"}
_IN_THE_USAGE = ENERGY_NAMES | TIMING_NAMES_IN_USAGE


def has_extras(data: Mapping[str, Any], usage: object) -> bool:
    """Whether there may be more in a body or event, by the names in it.

    Args:
        data: The body or event.
        usage: The usage in it, if it has one.
    """
    if not _AT_THE_TOP.isdisjoint(data):
        return True
    if usage is None:
        return False
    # Elsewhere another usage may stand beside it.
    is_usual = usage is data.get("usage") and isinstance(usage, dict)
    return not (is_usual and _IN_THE_USAGE.isdisjoint(usage))  # type: ignore[arg-type]
