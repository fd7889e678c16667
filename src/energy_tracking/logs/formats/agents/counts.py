"""By what names coding agents count tokens, and calls and sums out of what they count."""

from __future__ import annotations

from typing import NamedTuple

from energy_tracking.logs.formats.counts import sum_of_tokens, usage_of, whole
from energy_tracking.logs.logged import LoggedCall


class CountNames(NamedTuple):
    """By what names an agent counts tokens.

    Attributes:
        input: Input, caches left out.
        output: Output.
        cached: What was read from a prompt cache.
        written: What was written to one.
        reasoning: Part of the output.
    """

    input: str
    output: str
    cached: str
    written: str
    reasoning: str = ""


class Parts(NamedTuple):
    """Tokens of a call or a sum: the input has both caches, the output its reasoning."""

    input: int
    output: int
    cached: int
    written: int
    reasoning: int | None


def read_parts(
    counted: object,
    names: CountNames,
    *,
    is_beside: bool = True,
    is_reasoning_beside: bool = False,
) -> Parts | None:
    """The tokens of an object; None where it counts none.

    Args:
        counted: The object.
        names: By what names it counts.
        is_beside: Whether the caches are counted beside the input.
        is_reasoning_beside: Whether the reasoning is counted beside the output.
    """
    if not isinstance(counted, dict):
        return None
    inputs, outputs, cached, written = (whole(counted.get(name)) or 0 for name in names[:4])
    # No part is larger than the whole.
    if is_beside or cached + written > inputs:
        inputs += cached + written
    reasoning = whole(counted.get(names.reasoning))
    if is_reasoning_beside:
        outputs += reasoning or 0
    if not inputs + outputs:
        return None
    return Parts(inputs, outputs, cached, written, reasoning)


def count_on(total: tuple[int, ...], before: tuple[int, ...] | None) -> tuple[int, ...]:
    """What a running total has more than before; all of it where it has shrunk, and so began anew.

    Args:
        total: Its counts.
        before: What they were; None: there was none.
    """
    if before is None or any(map(int.__lt__, total, before)):
        return total
    return tuple(map(int.__sub__, total, before))


def build_agent_call(parts: Parts, **facts: object) -> LoggedCall:
    """A call out of what an agent says of it.

    Args:
        parts: Its tokens.
        **facts: The other fields of ``LoggedCall``.
    """
    counts = usage_of(
        parts.input,
        parts.output,
        cached=parts.cached,
        written=parts.written,
        reasoning=parts.reasoning,
    )
    return LoggedCall(counts=counts, **facts)  # type: ignore[arg-type]


def build_agent_sum(parts: Parts, requests: int | None = None, **facts: object) -> LoggedCall:
    """A sum out of what an agent says of it.

    Args:
        parts: Its tokens.
        requests: How many requests it is over; None: nobody counted them.
        **facts: The other fields of ``LoggedCall``.
    """
    counts = sum_of_tokens(parts.input, parts.output, parts.cached, parts.reasoning)
    return LoggedCall(counts=counts, requests=requests, **facts)  # type: ignore[arg-type]
