"""Logged calls as columns: what is estimated and added up many rows at a time.

Whatever reads calls gives ``CallBatch``es: the line reader through ``batch_calls``, an engine for
columns by itself. Texts are numbers into a list of names that one ``Names`` keeps for the whole
reading, so that each is cleaned, looked up and grouped once. A new column is a field of
``CallBatch`` and a line in ``_build_batch``.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from energy_tracking.logs.logged import Counts, LoggedCall, PlainCounts
from energy_tracking.usage.names import text_of
from energy_tracking.usage.token_usage import TokenUsage

BATCH_ROWS = 16_384
"""Rows of a batch that is made of single calls [1]."""

T = TypeVar("T")
# An array of numpy; its shape is (rows,) everywhere.
Column = Any


def repeat(value: object, rows: int, type: Any) -> Column:
    """A column that has one value in all rows, and memory for one; it cannot be written to.

    Args:
        value: The value.
        rows: How many rows there are [1].
        type: The type of numpy.
    """
    column = np.ndarray((rows,), type, np.array(value, type), strides=(0,))
    column.flags.writeable = False
    return column


def find_only(column: Column) -> Any | None:
    """The one value of a column that ``repeat`` made; None of any other."""
    return column[0].item() if len(column) and column.strides == (0,) else None


def shorten(column: Column) -> Column:
    """A column, or its first row alone where ``repeat`` made it: to look for a value is enough."""
    return column[:1] if column.strides == (0,) else column


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

    def numbers(self, names: list[Any]) -> Column:
        """The numbers of texts, int32; most were there before."""
        if names.count(names[0]) == len(names):
            # As files and tags are, and often models.
            return np.full(len(names), self.number(names[0]), np.int32)
        known = self._numbers
        listed = [known[name] if name in known else self.number(name) for name in names]
        return np.array(listed, np.int32)


@dataclass(slots=True)
class BatchNames:
    """The names that the numbers in all batches of one reading stand for."""

    model: Names = field(default_factory=Names)
    provider: Names = field(default_factory=Names)
    session: Names = field(default_factory=Names)
    tag: Names = field(default_factory=Names)
    file: Names = field(default_factory=Names)

    def take_in(self, others: BatchNames) -> dict[str, list[int]]:
        """Number the names of another reading; returns the new number of each, by what it names."""
        return {
            name: [getattr(self, name).number(text) for text in getattr(others, name).texts]
            for name in BatchNames.__dataclass_fields__
        }


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
        input_tokens: Prompt tokens, cached ones included [tokens], int64; of a table int32, as the
            cached ones and the output.
        cached_input_tokens: Part of them read from a prompt cache [tokens], int64.
        output_tokens: Generated tokens, reasoning included [tokens], int64.
        reasoning_tokens: Part of them that is reasoning [tokens], -1 where unknown, int64.
        has_usage: Whether there are token counts, bool.
        is_partial: Whether token counts were themselves estimated, bool.
        has_failed: Whether the call failed and reported no tokens, bool.
        measured_energy_joules: Energy that a server measured [J], NaN where none did, float64.
        requests: 1: a call. More: a sum over that many. 0: over an unknown number, int64.
        odd_usages: The whole usage by row, where it says more than the columns hold: audio,
            images, counts from text, and that of a sum.
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

    @property
    def is_plain(self) -> bool:
        """Whether each row is one call of which the columns say all, as rows of a table are.

        What reads a table has seen to it that its counts are right.
        """
        return (
            find_only(self.has_usage) is True
            and find_only(self.requests) == 1
            and not self.odd_usages
        )

    def select(self, rows: Column | slice) -> CallBatch:
        """Some of the rows.

        Args:
            rows: Their places, or a slice.
        """
        columns = {name: _take_rows(getattr(self, name), rows) for name in COLUMNS}
        odd = (
            {
                new: self.odd_usages[old]
                for new, old in enumerate(np.arange(len(self))[rows].tolist())
                if old in self.odd_usages
            }
            if self.odd_usages
            else {}
        )
        return CallBatch(names=self.names, odd_usages=odd, **columns)


def _take_rows(column: Column, rows: Column | slice) -> Column:
    if isinstance(rows, slice):
        return column[rows]
    # Any view of repeated values is one. To take rows is quicker where none is looked for outside.
    return column[: len(rows)] if column.strides == (0,) else column.take(rows, mode="wrap")


COLUMNS = tuple(CallBatch.__dataclass_fields__)[1:-1]
"""Names of the columns."""


def batch_calls(
    calls: Generator[LoggedCall],
    names: BatchNames,
    wanted: Sequence[str] = ("time", "session", "provider"),
    rows: int = BATCH_ROWS,
) -> Generator[CallBatch]:
    """Make columns of single calls.

    Args:
        calls: The calls, read when they are wanted.
        names: Takes the names.
        wanted: Without ``session`` or ``provider`` in it, those names are left out: there may be
            one for each call. Without ``time``, the first and the last time alone are kept.
        rows: Rows of a batch [1].

    Raises:
        Exception: Whatever reading the calls raises, after a batch of those before it.
    """
    listed: list[LoggedCall] = []
    failure: BaseException | None = None
    try:
        while True:
            # Those before an error are in the list.
            listed.extend(islice(calls, rows))
            if len(listed) < rows:
                break
            full, listed = listed, []
            yield _build_batch(full, names, wanted)
    except (Exception, KeyboardInterrupt) as error:
        # What was read until then counts.
        failure = error
        listed += finish(calls, error)
    if listed:
        yield _build_batch(listed, names, wanted)
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


def _build_batch(calls: list[LoggedCall], names: BatchNames, wanted: Sequence[str]) -> CallBatch:
    rows = len(calls)
    unnamed = repeat(-1, rows, np.int32)
    counts = [call.counts for call in calls]
    odd = {row: one for row, one in enumerate(counts) if type(one) is not PlainCounts}
    full = {row: one for row, one in odd.items() if isinstance(one, TokenUsage)}
    without = [row for row, one in odd.items() if one is None]
    for row, one in odd.items():
        counts[row] = _take_plain(one)
    inputs, cached, _, outputs, reasoning, *_ = zip(*counts, strict=True)
    failed = [row for row in without if calls[row].error_type is not None]
    return CallBatch(
        names=names,
        model=names.model.numbers([call.model for call in calls]),
        provider=(
            names.provider.numbers([call.provider for call in calls])
            if "provider" in wanted
            else unnamed
        ),
        session=(
            names.session.numbers([call.session for call in calls])
            if "session" in wanted
            else unnamed
        ),
        tag=names.tag.numbers([_join_tags(call.tags) if call.tags else None for call in calls]),
        file=names.file.numbers([call.file for call in calls]),
        time=_build_times([call.time for call in calls], wanted),
        input_tokens=_build_counts(inputs),
        cached_input_tokens=_build_counts(cached),
        output_tokens=_build_counts(outputs),
        reasoning_tokens=_build_counts([-1 if one is None else one for one in reasoning]),
        has_usage=~_mark_rows(rows, without),
        is_partial=_mark_rows(rows, [row for row, one in full.items() if one.estimated]),
        has_failed=_mark_rows(rows, failed),
        measured_energy_joules=_build_floats([call.measured_energy_joules for call in calls]),
        requests=_build_counts([call.requests or 0 for call in calls]),
        odd_usages={
            row: one
            for row, one in full.items()
            if calls[row].requests != 1 or any(getattr(one, name) for name in _BESIDE)
        },
    )


def _take_plain(counts: Counts | None) -> PlainCounts:
    """The counts that the columns have."""
    if counts is None:
        return NO_COUNTS
    return PlainCounts(*(getattr(counts, name) for name in PlainCounts._fields))


def _build_counts(counts: Sequence[int]) -> Column:
    """A column of counts, int64."""
    try:
        # Half of what an array out of a list takes.
        return np.minimum(np.fromiter(counts, np.int64, len(counts)), _MOST_TOKENS)
    except OverflowError:  # a damaged log may have counts that no column of integers holds
        return _build_counts([min(count, _MOST_TOKENS) for count in counts])


def _build_floats(numbers: Sequence[float | None]) -> Column:
    """A column of numbers, float64; NaN where one is not known."""
    if numbers.count(None) == len(numbers):
        return np.full(len(numbers), np.nan)
    return np.array([np.nan if one is None else one for one in numbers], float)


def _build_times(times: Sequence[datetime | None], wanted: Sequence[str]) -> Column:
    """A column of times; where only their span is wanted, of the first and the last alone."""
    if "time" in wanted:
        return _build_floats([None if time is None else time.timestamp() for time in times])
    column = np.full(len(times), np.nan)
    known = [time for time in times if time is not None]
    if known:
        column[0], column[-1] = min(known).timestamp(), max(known).timestamp()
    return column


def _mark_rows(rows: int, marked: Sequence[int]) -> Column:
    """A column of flags, which some rows have.

    Args:
        rows: How many rows there are [1].
        marked: Places of those.
    """
    column = np.zeros(rows, bool)
    if marked:
        column[marked] = True
    return column


_BESIDE = (
    *("input_audio_tokens", "input_image_tokens", "output_audio_tokens", "output_image_tokens"),
    *("accepted_prediction_tokens", "rejected_prediction_tokens", "estimated"),
)
"""What a usage may say that the columns do not hold, of what an estimate depends on."""
NO_COUNTS = PlainCounts(0, 0, 0, 0, 0, None, "")
_MOST_TOKENS = 1 << 62


def _join_tags(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(tags.items()))
