"""Names that spans and metrics of ours share, and which attributes come first where few fit."""

from __future__ import annotations

from collections.abc import Iterable

SCOPE = "energy_tracking"
"""The name of our instrumentation scope."""
SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.0"

TAG_PREFIX = "energy_tracking.tag."
ASSUMED_PREFIX = "energy_tracking.assumed."
SERVER_PREFIX = "energy_tracking.server."

MOST_IMPORTANT = (
    "energy_tracking.total_energy_joules",
    "energy_tracking.status",
    "energy_tracking.rollup.total_energy_joules",
    "energy_tracking.rollup.calls",
    "gen_ai.usage.input_tokens",
    "gen_ai.usage.output_tokens",
    "gen_ai.response.model",
    "error.type",
    "energy_tracking.reason",
    "energy_tracking.total_energy_low_joules",
    "energy_tracking.total_energy_high_joules",
    "energy_tracking.calibrated_energy_joules",
    "energy_tracking.method",
    "energy_tracking.gpu",
    "energy_tracking.total_energy_wh",
)
"""What a span that does not hold all keeps first; then come tags, then the order of the tables."""

_RANKS = {name: rank for rank, name in enumerate(MOST_IMPORTANT)}


def most_important_first(names: Iterable[str]) -> list[str]:
    """Sort names of attributes: the most important, tags, and the others as they come."""
    beside = len(MOST_IMPORTANT)
    return sorted(
        names, key=lambda name: _RANKS.get(name, beside + (not name.startswith(TAG_PREFIX)))
    )
