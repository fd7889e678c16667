"""Counts by what they are of, as Langfuse keeps them: parts beside each other, with any names."""

from __future__ import annotations

from collections.abc import Mapping

from energy_tracking.bounds import read_whole
from energy_tracking.usage.token_usage import MAX_TOKENS


def flatten_details(details: object) -> Mapping[str, object]:
    """Counts by the names of ``TokenUsage``, out of those that share a beginning.

    Source: https://langfuse.com/docs/observability/features/token-and-cost-tracking

    Args:
        details: Counts by name; what is no such thing is given back, as is a provider's usage.
    """
    if not isinstance(details, Mapping):
        return {}
    if "input" not in details and "output" not in details:
        return details
    counts = {
        str(name): read_whole(value, MAX_TOKENS) or 0
        for name, value in details.items()
        if value is not None
    }
    inputs = {name: count for name, count in counts.items() if "input" in name}
    outputs = {name: count for name, count in counts.items() if "output" in name}
    total, alone = counts.get("total"), counts.get("input", 0) + counts.get("output", 0)
    if total == alone and total != sum((*inputs.values(), *outputs.values())):
        whole_input, whole_output = counts.get("input", 0), counts.get("output", 0)
    else:
        whole_input, whole_output = sum(inputs.values()), sum(outputs.values())
    return {
        "input_tokens": whole_input,
        "output_tokens": whole_output,
        "cached_input_tokens": sum(
            count
            for name, count in inputs.items()
            if "cache" in name and ("read" in name or "cached" in name)
        ),
        "cache_write_input_tokens": sum(
            count for name, count in inputs.items() if "creation" in name or "write" in name
        ),
        "reasoning_tokens": (
            sum(count for name, count in outputs.items() if "reasoning" in name) or None
        ),
    }
