"""Where a usage lies in a decoded body or stream event. A new place is a row in ``USAGE_PATHS``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

from energy_tracking.usage.dialects import read_usage, reports_tokens

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
            choices = usages_of_choices(data) if "choices" in data else {}
            return add_choices(choices.values()) if len(choices) > 1 else usage
        if without_tokens is None:
            without_tokens = usage
    return without_tokens


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


def usages_of_choices(data: Mapping[str, Any]) -> dict[str, object]:
    """The usages with tokens that choices have of their own, by the choice's index.

    Moonshot's streams end each choice with one.
    Source: https://platform.kimi.ai/docs/guide/utilize-the-streaming-output-feature-of-kimi-api
    """
    choices = data.get("choices")
    return {
        str(choice.get("index", place)): choice["usage"]
        for place, choice in enumerate(choices if isinstance(choices, list) else ())
        if isinstance(choice, Mapping) and reports_tokens(choice.get("usage"))
    }


def add_choices(usages: Iterable[object]) -> object:
    """One usage for several choices, whose prompt is the same; that of one choice as it came.

    Args:
        usages: Theirs, each with tokens.
    """
    first, *others = usages
    read = [usage for raw in (first, *others) if (usage := read_usage(raw)) is not None]
    if len(read) < 2:
        return first
    thought = [usage.reasoning_tokens for usage in read if usage.reasoning_tokens is not None]
    said = f"{len(read)} choices have a usage each; their outputs are added, their prompt is one."
    return replace(
        max(read, key=lambda usage: usage.input_tokens),
        output_tokens=sum(usage.output_tokens for usage in read),
        reasoning_tokens=sum(thought) if thought else None,
        total_tokens=None,
        repairs=(*dict.fromkeys(repair for usage in read for repair in usage.repairs), said),
    )


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
