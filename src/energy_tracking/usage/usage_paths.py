"""Where a usage lies in a decoded body or stream event. A new place is a row in ``USAGE_PATHS``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Where a usage may lie in a body or a stream event, most common first.
USAGE_PATHS: tuple[tuple[str | int, ...], ...] = (
    ("usage",),
    ("response", "usage"),  # Responses API stream events
    ("x_groq", "usage"),
    ("choices", 0, "usage"),  # Moonshot
    ("data", "usage"),  # of gateways that wrap a response
)


def usage_in(data: Mapping[str, Any]) -> object | None:
    """The raw usage object in a body or event, or None."""
    for path in USAGE_PATHS:
        found: Any = data
        for key in path:
            try:
                found = found[key]
            except (KeyError, IndexError, TypeError):
                found = None
                break
        if found is not None:
            return found  # type: ignore[no-any-return]
    # Of llama.cpp's server, which counts in it whether a usage was asked for or not.
    timings = data.get("timings")
    has_counts = isinstance(timings, Mapping) and type(timings.get("predicted_n")) is int
    return timings if has_counts else None


def unwrap_event(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a server sent: the SDK hands some events on inside of another, with their name."""
    inner = data.get("data")
    return inner if isinstance(inner, Mapping) and isinstance(data.get("event"), str) else data
