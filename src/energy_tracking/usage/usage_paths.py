"""Where a usage lies in a decoded body or stream event. A new place is a row in ``USAGE_PATHS``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from energy_tracking.usage.dialects import reports_tokens

EVERY = "*"
"""In a path: every item of a list, the first with tokens first."""

# Where a usage may lie in a body or a stream event, most common first.
USAGE_PATHS: tuple[tuple[str, ...], ...] = (
    ("usage",),
    ("response", "usage"),  # Responses API stream events
    ("x_groq", "usage"),
    ("choices", EVERY, "usage"),  # Moonshot
    ("data", "usage"),  # of gateways that wrap a response
)

USAGE_HOLDERS = frozenset({"timings", "__verbose", *(path[0] for path in USAGE_PATHS)})
"""Without one of these at its top, a body or an event has no usage."""


def usage_in(data: Mapping[str, Any]) -> object | None:
    """The raw usage object in a body or event, or None; one with tokens before one of none."""
    usage = data.get("usage")
    if usage is not None and reports_tokens(usage):
        return cast(object, usage)  # most of them
    without_tokens = None
    for usage in usages_in(data):
        if reports_tokens(usage):
            return usage if "choices" not in data else _add_choices(data, usage)
        if without_tokens is None:
            without_tokens = usage
    return without_tokens


def _add_choices(data: Mapping[str, Any], usage: object) -> object:
    from energy_tracking.usage.choices import add_choices, usages_of_choices  # rarely needed

    choices = usages_of_choices(data)
    return add_choices(choices.values()) if len(choices) > 1 else usage


def usages_in(data: Mapping[str, Any]) -> Iterator[object]:
    """Every raw usage object in a body or event, the most usual place first."""
    # Most bodies and chunks have nothing at most places.
    for path in USAGE_PATHS:
        if data.get(path[0]) is not None:
            yield from _values_at(data, path)
    if "timings" in data or "__verbose" in data:
        # Of llama.cpp's server, which counts in it whether a usage was asked for or not.
        for holder in (data, data.get("__verbose")):
            timings = holder.get("timings") if isinstance(holder, Mapping) else None
            if isinstance(timings, Mapping) and type(timings.get("predicted_n")) in (int, float):
                yield timings


def _values_at(data: object, path: tuple[str, ...]) -> list[object]:
    """What lies at the end of a path, unless it is null."""
    places = [data]
    for key in path:
        if key == EVERY:
            places = [item for place in places if isinstance(place, list) for item in place]
        else:
            places = [
                value
                for place in places
                if isinstance(place, Mapping) and (value := place.get(key)) is not None
            ]
    return places


def unwrap_event(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a server sent: the SDK hands some events on inside of another, with their name."""
    inner = data.get("data")
    if inner is None:
        return data
    return inner if isinstance(inner, Mapping) and isinstance(data.get("event"), str) else data
