"""Sums over logged calls, by what they have in common: columns in, a row per group out.

A ``Grouping`` adds batches up by one or two of ``DIMENSIONS``. Calls whose energy a server measured
are kept apart from estimates, since energies of two methods are never added up in one row, and so
are sums over an unknown number of requests, whose tokens have no energy (``Of``). A new
sum is a name in ``SUMS`` and a line in ``build_sums``; a new thing to group by, a row in
``DIMENSIONS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

import numpy as np

from energy_tracking.logs.batches.batch import BatchNames, CallBatch, find_only, repeat, shorten
from energy_tracking.logs.batches.dimensions import DIMENSIONS, NOT_KNOWN, Column, find_unique
from energy_tracking.logs.batches.energy import BatchEnergy

SUMS = (
    *("calls", "aggregates", "aggregate_requests", "unknown_aggregates"),
    *("failed_calls", "unestimated_calls", "measured_calls", "partial_calls", "calibrated_calls"),
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens"),
    *("total_energy_joules", "total_energy_low_joules", "total_energy_high_joules"),
    *("calibrated_energy_joules", "calibrated_energy_low_joules", "calibrated_energy_high_joules"),
    *("cache_avoided_energy_joules", "reasoning_energy_joules"),
)
"""What is added up. ``calls`` are single calls, ``aggregate_requests`` those inside of sums;
``failed_calls`` to ``calibrated_calls`` are of both."""
_PLACES = {name: place for place, name in enumerate(SUMS)}
_OF_EVERY_ROW = SUMS[13:19]
"""The energies that a row with both estimates has."""

RUN = 8
"""Rows of a group that stand together on average, from which such runs are added up first [1]."""
MAX_GROUPS = 100_000
"""Groups that are kept apart [1]; what comes later joins one of `OTHER`."""
OTHER = -2
"""Number of such a group."""


class Of(IntEnum):
    """What the rows of a group are.

    Attributes:
        ESTIMATES: Calls, and sums over a known number of them, with an estimate or without.
        MEASURED: Calls whose energy their server measured.
        TOKENS: Sums over an unknown number of requests.
    """

    ESTIMATES = 0
    MEASURED = 1
    TOKENS = 2

    @property
    def label(self) -> str:
        """What it is called."""
        return ("estimated", "measured", "tokens only")[self]


class GroupSums:
    """The sums of one group; each is an attribute by its name in ``SUMS``."""

    __slots__ = ("values",)

    def __init__(self, values: Column | None = None) -> None:
        """Start with these sums, or at zero.

        Args:
            values: The sums in the order of ``SUMS``.
        """
        self.values = np.zeros(len(SUMS)) if values is None else values

    def __getattr__(self, name: str) -> float:
        """A sum by its name."""
        # An instance that is being unpickled has no values yet, and is asked for other names.
        if name not in _PLACES:
            raise AttributeError(name)
        return float(self.values[_PLACES[name]])

    def add(self, other: GroupSums) -> None:
        """Add another group's sums."""
        self.values = self.values + other.values

    def without(self, other: GroupSums) -> GroupSums:
        """The sums without those of a part."""
        return GroupSums(self.values - other.values)

    @property
    def requests(self) -> int:
        """Single calls, and those inside of sums [1]."""
        return int(self.calls + self.aggregate_requests)

    @property
    def has_energy(self) -> bool:
        """Whether the energy of any call is known."""
        return self.calls + self.aggregate_requests > self.failed_calls + self.unestimated_calls

    def as_dict(self) -> dict[str, int | float]:
        """Every sum under its name, whole numbers as such."""
        return {
            name: float(value) if name.endswith("_joules") else int(value)
            for name, value in zip(SUMS, self.values.tolist(), strict=True)
        }


class Grouping:
    """Sums by one or two things that calls have in common.

    Attributes:
        by: What they are grouped by, names of ``DIMENSIONS``; none: one sum.
        groups: Sums by the numbers of the group, and which ``Of`` they are.
    """

    def __init__(self, by: Sequence[str] = ()) -> None:
        """Start without a group.

        Args:
            by: Names of ``DIMENSIONS``.
        """
        self.by = tuple(by)
        self.groups: dict[tuple[int, ...], GroupSums] = {}

    def add_up(
        self, batch: CallBatch, hours: Column, sums: Mapping[str, Column | float]
    ) -> dict[tuple[int, ...], Column]:
        """The sums over the calls of each group in a batch of one call or more.

        Args:
            batch: The calls.
            hours: Their local hours, shape (rows,); looked at only where ``needs_hours``.
            sums: What ``build_sums`` makes of them.
        """
        columns = [DIMENSIONS[name].numbers(batch, hours) for name in self.by]
        columns.append(_say_what_of(len(batch), sums))
        code, spans = _join_columns(columns)
        codes, added = _add_up(code, sums)
        keys = (_split_code(number, spans) for number in codes.tolist())
        return dict(zip(keys, added, strict=True))

    def add(self, groups: Mapping[tuple[int, ...], Column]) -> None:
        """Add what ``add_up`` makes of a batch."""
        for key, values in groups.items():
            is_full = key not in self.groups and len(self.groups) >= MAX_GROUPS
            bounded = (*[OTHER] * len(self.by), key[-1]) if is_full else key
            self.groups.setdefault(bounded, GroupSums()).values += values

    def take_in(self, other: Grouping, numbers: Mapping[str, Sequence[int]]) -> None:
        """Add the groups of another reading.

        Args:
            other: They.
            numbers: The new number of each of its names, as ``BatchNames.take_in`` gives them.
        """
        for (*key, of), sums in other.groups.items():
            # Hours stand for themselves, as do numbers below 0, which name nothing.
            new = (
                numbers[what][number] if what in numbers and number >= 0 else number
                for what, number in zip(self.by, key, strict=True)
            )
            self.add({(*new, of): sums.values})

    @property
    def needs_hours(self) -> bool:
        """Whether calls are grouped by their time."""
        return any(DIMENSIONS[name].is_time for name in self.by)

    def labels(self, key: tuple[int, ...], names: BatchNames) -> tuple[str, ...]:
        """The names of a group.

        Args:
            key: Its key.
            names: The names in the batches.
        """
        labels = []
        for name, number in zip(self.by, key, strict=False):
            dimension = DIMENSIONS[name]
            if number == OTHER:
                labels.append("others")
            else:
                missing = number == NOT_KNOWN
                labels.append(dimension.missing if missing else dimension.label(number, names))
        return tuple(labels)

    def total(self) -> GroupSums:
        """The sum over all groups."""
        return sum_groups(self.groups.values())


def sum_groups(groups: Any) -> GroupSums:
    """One group's sums out of several."""
    total = GroupSums()
    for group in groups:
        total.add(group)
    return total


def _add_up(code: Column, sums: Mapping[str, Column | float]) -> tuple[Column, Column]:
    """The different numbers in a column, and the sums over the rows of each, by ``SUMS``.

    Args:
        code: The numbers, shape (rows,).
        sums: What the rows add.
    """
    if find_only(code) is not None:
        return code[:1], _add_all(len(code), sums)
    starts = np.concatenate([[0], np.flatnonzero(code[1:] != code[:-1]) + 1])
    has_runs = len(starts) * RUN <= len(code)
    rows: Column = 1
    if has_runs:
        rows, code = np.diff(starts, append=len(code)), code[starts]
    codes, place = find_unique(code)
    added = np.zeros((len(codes), len(SUMS)))
    for name, column in sums.items():
        if isinstance(column, float):
            adds = np.broadcast_to(column * rows, len(code))
        else:
            adds = np.add.reduceat(column, starts, dtype=np.float64) if has_runs else column
        added[:, _PLACES[name]] = np.bincount(place, adds)
    return codes, added


def _add_all(rows: int, sums: Mapping[str, Column | float]) -> Column:
    """The sums over all rows, shape (1, sums).

    Args:
        rows: How many rows there are [1].
        sums: What they add.
    """
    added = np.zeros((1, len(SUMS)))
    for name, column in sums.items():
        if isinstance(column, float):
            added[0, _PLACES[name]] = column * rows
        else:
            added[0, _PLACES[name]] = column.sum(dtype=np.float64)
    return added


def _join_columns(columns: Sequence[Column]) -> tuple[Column, list[tuple[int, int]]]:
    """One number for the numbers of a row, and the least and the count of each of these.

    Args:
        columns: The numbers, each of shape (rows,).
    """
    code, spans = None, []
    for column in columns:
        numbers = shorten(column)
        least, most = int(numbers.min()), int(numbers.max())
        spans.append((least, most - least + 1))
        if most > least:
            if code is None:
                code = column - least
            else:
                code = code.astype(np.int64) * (most - least + 1) + (column - least)
    return repeat(0, len(columns[0]), np.int64) if code is None else code, spans


def _say_what_of(rows: int, sums: Mapping[str, Column | float]) -> Column:
    """Which ``Of`` each row is."""
    if sums.keys().isdisjoint(("measured_calls", "unknown_aggregates")):
        return repeat(int(Of.ESTIMATES), rows, np.int8)
    kinds = np.zeros(rows, "i8")
    if "measured_calls" in sums:
        kinds[sums["measured_calls"] > 0] = int(Of.MEASURED)
    if "unknown_aggregates" in sums:
        kinds[sums["unknown_aggregates"] > 0] = int(Of.TOKENS)
    return kinds


def _split_code(code: int, spans: Sequence[tuple[int, int]]) -> tuple[int, ...]:
    """The numbers that a code was made of.

    Args:
        code: The code.
        spans: The least and the count of each of the numbers.
    """
    numbers = []
    for least, count in reversed(spans):
        code, number = divmod(code, count)
        numbers.append(number + least)
    return tuple(reversed(numbers))


def build_sums(batch: CallBatch, energy: BatchEnergy) -> dict[str, Column | float]:
    """What each row adds to the sums of its group, by the names in ``SUMS``.

    Each is a column of shape (rows,), or a float that all rows add. A sum to which no row adds
    anything is left out.

    Args:
        batch: The calls.
        energy: Their energy.
    """
    added: dict[str, Column] = {
        "input_tokens": batch.input_tokens,
        "cached_input_tokens": batch.cached_input_tokens,
        "output_tokens": batch.output_tokens,
        "reasoning_tokens": batch.reasoning_tokens,
    }
    if find_only(batch.reasoning_tokens) is None:
        added["reasoning_tokens"] = np.maximum(batch.reasoning_tokens, 0)
    if not batch.is_plain or find_only(energy.reason) != -1:
        return _leave_out_nothing(_count_kinds(batch, energy) | added | energy.columns)
    # Each row has its energy: only parts of it may be unknown.
    known = energy.columns
    added |= {name: known.pop(name) for name in list(known) if name not in _OF_EVERY_ROW}
    sums: dict[str, Column | float] = {"calls": 1.0}
    if find_only(energy.calibrated) is None:
        sums["calibrated_calls"] = 1.0
        return sums | known | _leave_out_nothing(added)
    return sums | _leave_out_nothing(added | known)


def _count_kinds(batch: CallBatch, energy: BatchEnergy) -> dict[str, Column]:
    """What each row is counted as."""
    is_call = batch.requests == 1
    has_energy = ~np.isnan(energy.total)
    is_unknown_sum = ~is_call & (batch.requests == 0)
    return {
        "calls": is_call,
        "aggregates": ~is_call,
        "aggregate_requests": np.where(is_call, 0, batch.requests),
        "unknown_aggregates": is_unknown_sum,
        "failed_calls": batch.has_failed & ~has_energy,
        "unestimated_calls": batch.requests * (~has_energy & ~batch.has_failed),
        "measured_calls": ~np.isnan(batch.measured_energy_joules),
        "partial_calls": batch.is_partial & has_energy,
        "calibrated_calls": batch.requests * ~np.isnan(energy.calibrated),
    }


def _leave_out_nothing(columns: Mapping[str, Column]) -> dict[str, Column | float]:
    """Columns with 0 for what is not known, without those of nothing else."""
    kept: dict[str, Column | float] = {}
    for name, column in columns.items():
        if (only := find_only(column)) is not None:
            if only > 0:
                kept[name] = float(only)
        elif name.endswith("_joules"):
            # Energies are 0 or more, so that their sum says whether there is any.
            if not np.isfinite(total := column.sum()):
                kept[name] = np.where(np.isnan(column), 0.0, column)
            elif total:
                kept[name] = column
        elif column.any():
            kept[name] = column
    return kept
