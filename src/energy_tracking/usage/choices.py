"""Usages that choices of one response have of their own each, as in Moonshot's streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from energy_tracking.usage.dialects import read_usage, reports_tokens


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
