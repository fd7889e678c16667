"""Which parts of a call are counted by themselves, where other models worked for it.

A response may hold any number of them. Beyond ``MAX_PARTS`` those of one model are one part, and
where there are too many models still, the rest is one part of an unnamed model: no token is lost.
"""

from __future__ import annotations

from collections.abc import Iterable

from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.payloads import ToolUsage

MAX_PARTS = 32
"""Parts of one call at most [1]: each is a call of its own, with a span."""


def bounded_parts(tools: tuple[ToolUsage, ...]) -> tuple[ToolUsage, ...]:
    """The parts, at most ``MAX_PARTS``."""
    if len(tools) <= MAX_PARTS:
        return tools
    groups: dict[tuple[str, str | None], list[ToolUsage]] = {}
    for tool in tools:
        groups.setdefault((tool.operation, tool.model), []).append(tool)
    merged = [_merge(parts, model) for (_, model), parts in groups.items()]
    if len(merged) > MAX_PARTS:
        merged[MAX_PARTS - 1 :] = [_merge(merged[MAX_PARTS - 1 :], None)]
    return tuple(merged)


def _merge(parts: Iterable[ToolUsage], model: str | None) -> ToolUsage:
    """One part with the tokens of several.

    Args:
        parts: The parts, at least one.
        model: The model of them all, if they have one.
    """
    operation, inputs, outputs = "", 0, 0
    for part in parts:
        operation = operation or part.operation
        usage = read_usage(part.usage)
        if usage is not None:
            inputs += usage.input_tokens
            outputs += usage.output_tokens
    counts = {"input_tokens": inputs, "output_tokens": outputs, "total_tokens": inputs + outputs}
    return ToolUsage(operation, model, counts)
