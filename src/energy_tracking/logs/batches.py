"""Logged calls as columns: what is estimated and added up many rows at a time.

Whatever reads calls gives ``CallBatch``es: the line reader through ``batch_calls``, an engine for
columns by itself. Texts are numbers into a list of names that one ``Names`` keeps for the whole
reading, so that each is cleaned, looked up and grouped once. A new column is a field of
``CallBatch`` and a line in ``_build_batch``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.usage.names import text_of
from energy_tracking.usage.token_usage import TokenUsage

BATCH_ROWS = 16_384
"""Rows of a batch that is made of single calls [1]."""

T = TypeVar("T")
# An array of numpy; its shape is (rows,) everywhere.
Column = Any


class Names:
    """Texts and their numbers, in the order in which they came.

    Attributes:
        texts: The texts, safe to print.
    """

    def __init__(self) -> None:
        """Start with none."""
        self.texts: list[str] = []
        self._numbers: dict[object, int] = {}

    def number(self, name: object) -> int:
        """The number of a text; -1 where there is none."""
        number = self._numbers.get(name)
        if number is None:
            text = text_of(name)
            number = -1 if text is None else self._numbers.setdefault(("text", text), -2)
            if number == -2:
                number = len(self.texts)
                self.texts.append(str(text))
                self._numbers[("text", text)] = number
            self._numbers[name] = number
        return number


@dataclass(slots=True)
class BatchNames:
    """The names that the numbers in all batches of one reading stand for."""

    model: Names = field(default_factory=Names)
    provider: Names = field(default_factory=Names)
    session: Names = field(default_factory=Names)
    tag: Names = field(default_factory=Names)
    file: Names = field(default_factory=Names)


@dataclass(slots=True, kw_only=True)
class CallBatch:
    """Calls and sums over several, a row each.

    Attributes:
        names: What the numbers of the next five columns stand for.
        model: Model that answered; -1: not named, here as in the next four, int32.
        provider: ``gen_ai.provider.name``, int32.
        session: Session, conversation or trace, int32.
        tag: All tags of the call in one text, int32.
        file: The file, int32.
        time: When it ended [s since 1970], NaN where nobody says, float64.
        input_tokens: Prompt tokens, cached ones included [tokens], int64.
        cached_input_tokens: Part of them read from a prompt cache [tokens], int64.
        output_tokens: Generated tokens, reasoning included [tokens], int64.
        reasoning_tokens: Part of them that is reasoning [tokens], -1 where unknown, int64.
        has_usage: Whether there are token counts, bool.
        is_partial: Whether token counts were themselves estimated, bool.
        has_failed: Whether the call failed and reported no tokens, bool.
        measured_energy_joules: Energy that a server measured [J], NaN where none did, float64.
        requests: 1: a call. More: a sum over that many. 0: over an unknown number, int64.
        odd_usages: The whole usage by row, where it says more than the columns hold: audio,
            images, repairs, counts from text.
    """

    names: BatchNames
    model: Column
    provider: Column
    session: Column
    tag: Column
    file: Column
    time: Column
    input_tokens: Column
    cached_input_tokens: Column
    output_tokens: Column
    reasoning_tokens: Column
    has_usage: Column
    is_partial: Column
    has_failed: Column
    measured_energy_joules: Column
    requests: Column
    odd_usages: dict[int, TokenUsage] = field(default_factory=dict)

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.model)

    def select(self, rows: Column) -> CallBatch:
        """Some of the rows.

        Args:
            rows: Their places, in rising order.
        """
        columns = {name: getattr(self, name)[rows] for name in COLUMNS}
        odd = (
            {
                new: self.odd_usages[old]
                for new, old in enumerate(rows.tolist())
                if old in self.odd_usages
            }
            if self.odd_usages
            else {}
        )
        return CallBatch(names=self.names, odd_usages=odd, **columns)


COLUMNS = tuple(CallBatch.__dataclass_fields__)[1:-1]
"""Names of the columns."""


def batch_calls(
    calls: Generator[LoggedCall], names: BatchNames, rows: int = BATCH_ROWS
) -> Generator[CallBatch]:
    """Make columns of single calls.

    Args:
        calls: The calls, read when they are wanted.
        names: Takes the names.
        rows: Rows of a batch [1].

    Raises:
        Exception: Whatever reading the calls raises, after a batch of those before it.
    """
    listed: list[LoggedCall] = []
    failure: BaseException | None = None
    try:
        for call in calls:
            listed.append(call)
            if len(listed) >= rows:
                yield _build_batch(listed, names)
                listed = []
    except (Exception, KeyboardInterrupt) as error:
        # What was read until then counts.
        failure = error
        listed += finish(calls, error)
    if listed:
        yield _build_batch(listed, names)
    if failure is not None:
        raise failure


def finish(reading: Generator[T], error: BaseException) -> Iterator[T]:
    """What a generator still gives where its reading is broken off: calls that were held back.

    Args:
        reading: The generator; one that has raised gives nothing more.
        error: Why reading is broken off.
    """
    with suppress(type(error), StopIteration):
        found = reading.throw(error)
        while True:
            yield found
            found = next(reading)


def _build_batch(calls: list[LoggedCall], names: BatchNames) -> CallBatch:
    counts = [call.counts for call in calls]

    def numbers(values: Iterable[object], type: str) -> Column:
        return np.fromiter(values, type, len(calls))

    def tokens(name: str) -> Column:
        # A damaged log may have counts that no column of integers holds.
        given = (getattr(count, name) if count is not None else 0 for count in counts)
        return numbers((-1 if one is None else min(one, _MOST_TOKENS) for one in given), "i8")

    return CallBatch(
        names=names,
        model=numbers((names.model.number(call.model) for call in calls), "i4"),
        provider=numbers((names.provider.number(call.provider) for call in calls), "i4"),
        session=numbers((names.session.number(call.session) for call in calls), "i4"),
        tag=numbers((names.tag.number(_join_tags(call)) for call in calls), "i4"),
        file=numbers((names.file.number(call.file) for call in calls), "i4"),
        time=numbers(
            (np.nan if call.time is None else call.time.timestamp() for call in calls), "f8"
        ),
        input_tokens=tokens("input_tokens"),
        cached_input_tokens=tokens("cached_input_tokens"),
        output_tokens=tokens("output_tokens"),
        reasoning_tokens=tokens("reasoning_tokens"),
        has_usage=numbers((count is not None for count in counts), "?"),
        is_partial=numbers((getattr(count, "estimated", False) for count in counts), "?"),
        has_failed=numbers(
            (call.error_type is not None and call.counts is None for call in calls), "?"
        ),
        measured_energy_joules=numbers(
            (
                np.nan if call.measured_energy_joules is None else call.measured_energy_joules
                for call in calls
            ),
            "f8",
        ),
        requests=numbers((min(call.requests or 0, _MOST_TOKENS) for call in calls), "i8"),
        odd_usages={
            row: count for row, count in enumerate(counts) if isinstance(count, TokenUsage)
        },
    )


_MOST_TOKENS = 1 << 62


def _join_tags(call: LoggedCall) -> str | None:
    if not call.tags:
        return None
    return ", ".join(f"{name}={value}" for name, value in sorted(call.tags.items()))
