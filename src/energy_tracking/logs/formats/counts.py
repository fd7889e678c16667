"""Token counts of a log, read fast where they are plain and by the dialects where they are not.

Most logs hold whole numbers that agree with each other. Those become ``PlainCounts`` at a third
of the cost of a ``TokenUsage``; whatever is odd about the others, ``read_usage`` knows what to do.
Both say the same for the same counts, which a test holds. A further shape that is
read fast is a branch of ``plain_counts``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from energy_tracking.bounds import read_whole
from energy_tracking.logs.columns import NAMES, PARTS
from energy_tracking.logs.formats.base import LogFile, UnreadableEntryError
from energy_tracking.logs.logged import LARGEST_INPUT, LARGEST_OUTPUT, Counts, PlainCounts
from energy_tracking.usage.details import add_details, flatten_details
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.token_usage import MAX_TOKENS, TokenUsage

LARGEST_COUNT = 10**18 - 1
"""Above this a number is no count of tokens, of however many calls [tokens]."""

# To call the class takes three times as long.
_new: Callable[..., Any] = tuple.__new__

# With one of these beside the plain names, the counts have more to say.
_ODD_CHAT = frozenset(
    {name for part in PARTS for name in NAMES[part]}
    | {"prompt_token_details", "input_tokens_details", "output_tokens_details"}
    | {"input_tokens", "output_tokens"}
)
_FLAT = frozenset(
    {"input_tokens", "output_tokens", "total_tokens", "cached_input_tokens"}
    | {"cache_write_input_tokens", "reasoning_tokens"}
)
_ODD_ANTHROPIC = frozenset(
    {"output_tokens_details", "input_tokens_details", "completion_tokens", "prompt_tokens"}
    | {"total_tokens", "input_token_details", "output_token_details"}
)


def counts_in(raw: object) -> Counts | None:
    """Read a usage object; None where it has no counts.

    Args:
        raw: The object, of any provider.
    """
    if type(raw) is dict:
        plain = plain_counts(raw)
        if plain is not None:
            return plain
    return read_usage(raw)


def counts_in_details(details: object) -> Counts | None:
    """Read counts that share a beginning, or a usage object; None where it has no counts.

    Args:
        details: What Langfuse has, as ``flatten_details`` takes it.
    """
    if type(details) is dict and ("input" in details or "output" in details):
        inputs, outputs, cached, written, reasoning = add_details(details)
        if not cached == written != 0:
            plain = _check_counts(inputs, outputs, cached, written, reasoning, None, "flat")
            if plain is not None:
                return plain
    return counts_in(flatten_details(details))


def plain_counts(raw: dict[str, Any]) -> PlainCounts | None:
    """Read a usage object whose counts are plain; None where something about them is odd.

    Args:
        raw: The object.
    """
    outputs = raw.get("completion_tokens")
    if outputs is not None:
        inputs, total = raw.get("prompt_tokens"), raw.get("total_tokens")
        if not _ODD_CHAT.isdisjoint(raw):
            return None
        cached = _only_count(raw.get("prompt_tokens_details"), "cached_tokens")
        reasoning = _only_count(raw.get("completion_tokens_details"), "reasoning_tokens")
        return _check_counts(inputs, outputs, cached, 0, reasoning, total, "openai-chat")
    if "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw:
        inputs, outputs = raw.get("input_tokens"), raw.get("output_tokens")
        cached, written = raw.get("cache_read_input_tokens"), raw.get("cache_creation_input_tokens")
        cached = 0 if cached is None else cached
        written = 0 if written is None else written
        if not _ODD_ANTHROPIC.isdisjoint(raw) or not (
            type(inputs) is type(cached) is type(written) is int
        ):
            return None
        if inputs < 0 or cached < 0 or written < 0 or cached == written != 0:
            # Equal counts may be of the same tokens.
            return None
        return _check_counts(
            inputs + cached + written, outputs, cached, written, None, None, "anthropic"
        )
    if _FLAT.issuperset(raw):
        get = raw.get
        cached, written = get("cached_input_tokens"), get("cache_write_input_tokens")
        if written is None:
            written = 0
        elif type(written) is not int or cached == written != 0:
            # Equal counts may be of the same tokens.
            return None
        return _check_counts(
            get("input_tokens"),
            get("output_tokens"),
            cached,
            written,
            get("reasoning_tokens"),
            get("total_tokens"),
            "flat",
        )
    return None


def _only_count(details: object, name: str) -> int | None:
    """A count among details, where no other is above 0; -1 where one is."""
    if details is None:
        return None
    if type(details) is not dict:
        return -1
    for other, count in details.items():
        if count and other != name:
            return -1
    return details.get(name)


def _check_counts(
    inputs: Any, outputs: Any, cached: Any, written: int, reasoning: Any, total: Any, dialect: str
) -> PlainCounts | None:
    if cached is None:
        cached = 0
    if not (type(inputs) is type(outputs) is type(cached) is int):
        return None
    if reasoning is not None and (type(reasoning) is not int or not 0 <= reasoning <= outputs):
        return None
    if total is not None and (type(total) is not int or total != inputs + outputs):
        return None
    if not (0 <= cached <= inputs <= MAX_TOKENS and 0 <= outputs <= MAX_TOKENS):
        return None
    if cached + written > inputs:
        return None
    counts = (inputs, cached, written, outputs, reasoning, total, dialect)
    return _new(PlainCounts, counts)  # type: ignore[no-any-return]


def whole(value: object) -> int | None:
    """A count; None where it is none."""
    if type(value) is int:  # nearly always
        return value if 0 <= value <= LARGEST_COUNT else None
    return None if value is None else read_whole(value, LARGEST_COUNT)


_ROUNDED = re.compile(
    r"(\d{1,3}(?:,\d{3})+|\d+(?:[.,]\d{1,3})?) ?(k|m|mio|b|bn)?\.?", re.IGNORECASE
)
_SCALES = {"": 1, "k": 1000, "m": 10**6, "mio": 10**6, "b": 10**9, "bn": 10**9}


def scale_count(cell: object, unit: int) -> object:
    """A count that is given in thousands, millions or billions; the cell itself where it is none.

    Args:
        cell: A number, or a text such as ``12.3k``.
        unit: What the column's name says that it is to be multiplied by [1].
    """
    found = _ROUNDED.fullmatch(str(cell).strip()) if isinstance(cell, int | float | str) else None
    if found is None:
        return cell
    number, scale = found[1], _SCALES[(found[2] or "").lower()] * unit
    if scale == 1:
        return cell
    if number.count(",") == 1 and len(number.partition(",")[2]) == 3:
        return cell  # thousands or decimals
    return round(float(number.replace(",", "" if number.count(",") > 1 else ".")) * scale)


def check_wholes(named: Mapping[str, object]) -> None:
    """Check the cells of a row that count: each is empty or a whole number.

    Args:
        named: What a cell counts -> what it holds.

    Raises:
        UnreadableEntryError: A cell holds something that is no count.
    """
    for what, value in named.items():
        if value is not None and value != "" and whole(value) is None:
            raise UnreadableEntryError(f"{what} must be a whole number", value)


def usage_in_cells(file: LogFile, **cells: object) -> Counts | None:
    """Token counts in cells of a row, which may be text or empty; None where neither is there.

    Args:
        file: Says what an empty cell is taken for.
        **cells: Those of ``input`` and ``output``, and of the parts that ``usage_of`` takes.

    Raises:
        UnreadableEntryError: A cell holds something that is no count.
    """
    check_wholes(cells)
    counts = {what: whole(cell) for what, cell in cells.items()}
    inputs, outputs = counts.pop("input"), counts.pop("output")
    if inputs is None and outputs is None:
        return None
    if inputs is None:
        file.assume("without a count of input, taken as 0 tokens")
    if outputs is None:
        # As of an embedding.
        file.note_assumption("without a count of output, taken as 0 tokens")
    if inputs is None or outputs is None:
        counts.pop("total", None)  # which would say that the other is missing, too
    return usage_of(inputs or 0, outputs or 0, **counts)


def usage_of(
    input_tokens: object,
    output_tokens: object,
    *,
    cached: object = None,
    written: object = None,
    reasoning: object = None,
    total: object = None,
) -> Counts | None:
    """Token counts that lie anywhere; None where neither input nor output is one.

    Args:
        input_tokens: The prompt, cached tokens included.
        output_tokens: The output, reasoning included.
        cached: Part of the input read from a prompt cache.
        written: Part of the input written to one.
        reasoning: Part of the output.
        total: Input and output, where the log has it.
    """
    if input_tokens is None and output_tokens is None:
        return None
    if type(input_tokens) is type(output_tokens) is int and total is None:
        plain = (
            _check_counts(
                input_tokens, output_tokens, cached, written or 0, reasoning, None, "flat"
            )
            if written is None or type(written) is int
            else None
        )
        if plain is not None:
            return plain
    return read_usage(
        {
            name: value
            for name, value in (
                ("input_tokens", input_tokens),
                ("output_tokens", 0 if output_tokens is None else output_tokens),
                ("cached_input_tokens", cached),
                ("cache_write_input_tokens", written),
                ("reasoning_tokens", reasoning),
                ("total_tokens", total),
            )
            if value is not None
        }
    )


def usage_of_columns(
    read: Mapping[str, Any], inputs: int, outputs: int, *, is_sum: bool = False
) -> Counts | None:
    """Token counts by what their columns are, which settles what is a part of what.

    Args:
        read: What a column is, as in ``columns`` -> what it holds.
        inputs: The input, with or without what came from a cache.
        outputs: The output, with or without reasoning.
        is_sum: Whether they are those of several requests.
    """
    cached, written = whole(read.get("cached")), whole(read.get("cache_write"))
    longer = whole(read.get("cache_write_1h"))
    if longer is not None:
        written = (written or 0) + longer
    reasoning, total = whole(read.get("reasoning")), whole(read.get("total"))
    inside = (cached or 0) + (written or 0)
    if total is not None and total == inputs + outputs + inside:
        inputs += inside
    elif total is not None and reasoning is not None and total == inputs + outputs + reasoning:
        outputs += reasoning
    elif total is not None and total == inputs + inside + outputs + (reasoning or 0):
        inputs, outputs = inputs + inside, outputs + (reasoning or 0)
    beside = whole(read.get("reasoning_beside"))
    if beside is not None:
        reasoning = beside
        outputs += beside
    beside = whole(read.get("cache_read"))
    if beside is not None:
        # Anthropic's names: its input count leaves the cache out.
        cached = beside
        inputs += beside + (written or 0)
    elif is_sum and inside > inputs:
        inputs += inside
    if is_sum and (reasoning or 0) > outputs:
        outputs += reasoning or 0
    if is_sum or inputs > LARGEST_INPUT or outputs > LARGEST_OUTPUT:
        return sum_of_tokens(inputs, outputs, cached, reasoning)
    return usage_of(inputs, outputs, cached=cached, written=written, reasoning=reasoning)


def sum_of_tokens(
    input_tokens: object, output_tokens: object, cached: object = 0, reasoning: object = None
) -> TokenUsage:
    """The tokens of a sum, which may be more than any one call has [tokens].

    Args:
        input_tokens: The prompts, cached tokens included.
        output_tokens: The outputs, reasoning included.
        cached: Part of the input read from a prompt cache.
        reasoning: Part of the output.
    """
    inputs, outputs = whole(input_tokens) or 0, whole(output_tokens) or 0
    part = whole(reasoning)
    return TokenUsage(
        input_tokens=inputs,
        cached_input_tokens=min(whole(cached) or 0, inputs),
        output_tokens=outputs,
        reasoning_tokens=None if part is None else min(part, outputs),
        dialect="sum",
    )


def sum_in(raw: object) -> TokenUsage | None:
    """The tokens of a usage object that may be more than one call has; None where it has none."""
    if not isinstance(raw, dict):
        return None
    usage = read_usage(raw)
    if usage is not None and not usage.repairs:
        return usage
    inputs = raw.get("input_tokens", raw.get("prompt_tokens"))
    outputs = raw.get("output_tokens", raw.get("completion_tokens"))
    if any(whole(count) is None for count in (inputs, outputs) if count is not None):
        return usage
    if inputs is None and outputs is None:
        return usage
    details = raw.get("input_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    return sum_of_tokens(inputs, outputs, cached)
