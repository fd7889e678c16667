"""Counts by what they are of, as Langfuse keeps them: parts beside each other, with any names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_tracking.bounds import read_whole
from energy_tracking.usage.token_usage import MAX_TOKENS

PARTS = ("prompt_details.", "completion_details.")
"""How the names of parts begin that the input and output have in them: OpenInference's."""


def flatten_details(details: object) -> Mapping[str, object]:
    """Counts by the names of ``TokenUsage``, out of those that share a beginning.

    Source: https://langfuse.com/docs/observability/features/token-and-cost-tracking

    Args:
        details: Counts by name; what is no such thing is given back, as is a provider's usage.
    """
    if type(details) is not dict and not isinstance(details, Mapping):
        return {}
    if "input" not in details and "output" not in details:
        return details
    inputs, outputs, cached, written, reasoning = add_details(details)
    return {
        "input_tokens": inputs,
        "output_tokens": outputs,
        "cached_input_tokens": cached,
        "cache_write_input_tokens": written,
        "reasoning_tokens": reasoning,
    }


def add_details(details: Mapping[str, Any]) -> tuple[int, int, int, int, int | None]:
    """Counts that share a beginning, added up.

    Args:
        details: Counts by name, those of ``input`` and ``output`` among them.

    Returns:
        Input, output, cached and written input, and reasoning, None where none is stated [tokens].
    """
    input_alone = output_alone = 0
    more_input = more_output = cached = written = reasoning = 0
    total = None
    for given, value in details.items():
        if type(value) is int and 0 <= value <= MAX_TOKENS:  # nearly always
            count = value
        elif value is None:
            continue
        else:
            count = read_whole(value, MAX_TOKENS) or 0
        name = given if type(given) is str else str(given)
        if name == "input":
            input_alone = count
        elif name == "output":
            output_alone = count
        elif name == "total":
            total = count
        elif count:
            is_part = name.startswith(PARTS)
            if is_part or "input" in name:
                more_input += 0 if is_part else count
                if "cache" in name and ("read" in name or "cached" in name):
                    cached += count
                if "creation" in name or "write" in name:
                    written += count
            if is_part or "output" in name:
                more_output += 0 if is_part else count
                if "reasoning" in name:
                    reasoning += count
    if total != input_alone + output_alone:
        # Else the others are parts of these.
        input_alone += more_input
        output_alone += more_output
    return input_alone, output_alone, cached, written, reasoning or None
