"""Sums of a period are known by what they say: exports of a dashboard overlap.

A sum with a time is the same as one of another file whose period, names and counts are the same.
Equal ones in one file are told apart by how many came before, so that they count as often as in the
file that has most of them. One of the same period and names with other counts may have grown, or be
another's: where the other sums of the two files that are of the same periods are mostly equal, it
has grown, and the larger stands; else both count. Either is said. What a ledger has of earlier
files is compared likewise, and takes the larger in place of what it has.

A month beside its days, or a day beside its hours, is left out where these have the same names and
add up to it; where they do not, both count, which is said.

Order of events: each sum is identified where it is read (``identify_sum``); at the end of all files
those that have grown are settled (``settle_grown``), then those that have parts (``settle_parts``).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from itertools import pairwise
from operator import add
from typing import NamedTuple

from energy_tracking.logs.columns import spells_number
from energy_tracking.logs.formats.base import LogFile, remember
from energy_tracking.logs.logged import LoggedCall, PlainCounts, time_of, time_of_period
from energy_tracking.logs.once import Seen

PERIODS_REMEMBERED = 10_000
"""How many periods of sums are remembered, from one file for the next."""
READ_TWICE = (
    "of a period that was read with other counts too, counted beside those: if they are of one "
    "organisation, leave the earlier page out, or group pages by project; of two tables of the "
    "same, leave the earlier one out"
)
IN_LEDGER = (
    "of a period of which the ledger has other counts, counted beside those: if they are of the "
    "same, write to a new ledger"
)
OUTGROWN = "of a period that another file has with more, which counts in its place: left out"
LONGEST_PERIOD = 31 * 86_400
"""How long the time may be that a sum is of [s]."""
OF_PARTS = "of a month or a day whose days or hours were read one by one, too: left out"
PARTS_TOO = (
    "of a month or a day of which days or hours were counted too, whose totals differ: if they are "
    "of the same usage, leave the one or the others out"
)
PARTS_IN_LEDGER = (
    "of a month of which the ledger has days, or of a day of which it has the month, counted too: "
    "if they are of the same usage, write to a new ledger"
)
MONTH, DAY = "month", "day"
"""What stands for the end of a period that is one of these."""
_MONTHS = "-month"
"""What the key of a sum of a month ends with."""
_SUM = "sum"
"""What the identity of a sum of a period begins with."""
_LEFT_OUT = ("other sums",)
"""What the ``sum_of`` of one is that is left out for others."""
_LEDGER = ""
"""What stands for the ledger among the files."""

_Counts = tuple[int, int, int]
Periods = Mapping[str, Mapping[str, int]]
"""The periods that a ledger has -> its keys of sums of that -> what these have [tokens]."""


@dataclass(slots=True)
class Span:
    """From the first to the last of some times; all of time where one of them is not known.

    Attributes:
        first: The first [s since 1970].
        last: The last [s since 1970].
    """

    first: float = math.inf
    last: float = -math.inf

    def add(self, time: datetime | None) -> None:
        """Take in a time, or that one is not known."""
        first, last = (-math.inf, math.inf) if time is None else (time.timestamp(),) * 2
        self.first, self.last = min(self.first, first), max(self.last, last)

    def may_hold(self, calls: Span) -> bool:
        """Whether calls may be among the sums that begin at these times.

        Args:
            calls: When those were.
        """
        return self.first <= calls.last and calls.first <= self.last + LONGEST_PERIOD


def counts_of(call: LoggedCall) -> _Counts:
    """Requests [1], input and output [tokens] of a sum."""
    counts = call.counts
    if counts is None:
        return (0, 0, 0)
    return (call.requests or 0, counts.input_tokens, counts.output_tokens)


def identify_sum(
    call: LoggedCall,
    names: Mapping[str, object],
    file: LogFile,
    end: object = None,
    place: object = None,
) -> None:
    """Say what a sum is known by, if it has a time and nothing else to be known by.

    Args:
        call: The sum.
        names: What it says beside its counts: a model, a user.
        file: Where it is.
        end: When its period ends, where it says so; or ``MONTH`` or ``DAY``.
        place: The part of the file in which equal ones are apart; None: the whole file is one.
    """
    counts = call.counts
    if call.identity is not None or call.time is None or counts is None:
        return
    named = sorted((name, str(value)) for name, value in names.items())
    period = (_SUM, call.time.isoformat(), end if end is None else str(end), repr(named))
    counted = (
        *(call.requests, counts.input_tokens, counts.cached_input_tokens, counts.output_tokens),
    )
    equal: Seen = file.memory.setdefault("equal sums", Seen())
    before = equal.find_tokens((period, counted, place)) or 0
    equal.put((period, counted, place), before + 1)
    call.identity = (*period, counted, before)
    mark = _MONTHS if end == MONTH else ""
    call.log_key = f"{_hash(period)}-{_hash((counted, before))}{mark}"
    periods: dict[object, tuple[object, object]] = file.shared.setdefault("periods", {})
    source = (file.path, place)
    if period not in periods:
        remember(periods, period, (source, counted), PERIODS_REMEMBERED)
    elif periods[period][0] != source and periods[period][1] != counted:
        call.assumed = READ_TWICE
    in_ledger = _find_in_ledger(call, file)
    months: Collection[tuple[str, bool]] = file.shared.get("known months", ())
    if months and call.log_key not in in_ledger:
        month = call.time.astimezone(UTC).strftime("%Y-%m")
        if (month, end != MONTH) in months:
            call.assumed = PARTS_IN_LEDGER
    if in_ledger and call.log_key not in in_ledger:
        if list(in_ledger.values()) == [call.tokens] and not before:
            (call.log_key,) = in_ledger  # it has grown there
        else:
            call.assumed = IN_LEDGER


def period_in(key: str) -> str | None:
    """What the key of a sum in a ledger says of its period; None of a key of anything else."""
    period, _, rest = key.partition("-")
    return period if rest else None


def month_in(key: str, timestamp: object) -> tuple[str, bool]:
    """The month of a sum in a ledger, and whether it is of all of it.

    Args:
        key: What the ledger has it known by.
        timestamp: When its period began, as the ledger writes it.
    """
    return str(timestamp)[:7], key.endswith(_MONTHS)


def _hash(value: object) -> str:
    return blake2b(repr(value).encode("utf-8", "replace"), digest_size=12).hexdigest()


def _find_in_ledger(call: LoggedCall, file: LogFile) -> Mapping[str, int]:
    """What a ledger has of the period of a sum: its keys, and what these have [tokens]."""
    periods: Periods = file.shared.get("known periods", {})
    return periods.get(period_in(call.log_key or "") or "", {}) if periods else {}


def settle_grown(calls: Iterable[LoggedCall], file: LogFile) -> None:
    """Leave out sums of periods that another file, or the ledger, has with more.

    Args:
        calls: Sums of several files.
        file: The last one.
    """
    outgrown: set[object] = set()
    calls = [call for call in calls if call.identity is not None and call.identity[0] == _SUM]
    for older, pairs in _pair_files(calls, file).items():
        grown = [(one, other) for one, other in pairs if one.tokens != other.tokens]
        if 2 * len(grown) > len(pairs) or len({one.tokens < two.tokens for one, two in grown}) > 1:
            continue  # they are of two
        for one, other in grown:
            other.assumed = None
            if older[0] == _LEDGER:
                other.log_key, other.grows = one.log_key, True
            else:
                one.assumed = None
                outgrown.add(min(one, other, key=lambda call: call.tokens).identity)
    for call in calls:
        if call.identity in outgrown:
            _leave_out(call, OUTGROWN, file)


def _leave_out(call: LoggedCall, why: str, file: LogFile) -> None:
    call.sum_of = _LEFT_OUT
    file.note_call_of(*_LEFT_OUT)
    file.report.assume(why, call.file, call.line)


def _pair_files(
    calls: Iterable[LoggedCall], file: LogFile
) -> dict[tuple[str, str], list[tuple[LoggedCall, LoggedCall]]]:
    """The sums of the same period in files that are read after one another, or in the ledger.

    Args:
        calls: Sums of several files.
        file: Any.
    """
    periods: dict[object, dict[str, list[LoggedCall]]] = {}
    for call in calls:
        of_files = periods.setdefault((call.identity or ())[:4], {})
        of_files.setdefault(call.file, []).append(call)
    found: dict[tuple[str, str], list[tuple[LoggedCall, LoggedCall]]] = {}
    for of_files in periods.values():
        # Of several in one file nobody knows which is which.
        only = [(path, listed[0]) for path, listed in of_files.items() if len(listed) == 1]
        for (path, one), (other_path, other) in pairwise(only):
            found.setdefault((path, other_path), []).append((one, other))
        for path, one in only:
            for recorded in _find_recorded(one, file):
                found.setdefault((_LEDGER, path), []).append((recorded, one))
    return found


def _find_recorded(call: LoggedCall, file: LogFile) -> Iterator[LoggedCall]:
    """The only sum of the same period that the ledger has, if it has one."""
    in_ledger = _find_in_ledger(call, file)
    if len(in_ledger) == 1:
        for key, tokens in in_ledger.items():
            counts = PlainCounts(tokens, 0, 0, 0, None, None, "")
            yield LoggedCall(counts=counts, log_key=key)


class _Row(NamedTuple):
    """A sum with its period [s since 1970]; of a moment where it does not say."""

    start: float
    end: float
    call: LoggedCall


def settle_parts(groups: Iterable[Iterable[LoggedCall]], file: LogFile) -> None:
    """Leave out sums of months and days that other sums of the same names add up to.

    Args:
        groups: Sums of several files, each beside those that are alike.
        file: The last one.
    """
    rows: dict[object, dict[object, _Row]] = {}
    for group in groups:
        for row in _find_periods(group):
            identity = row.call.identity or ()
            rows.setdefault(identity[3], {}).setdefault(identity, row)
    left_out = set()
    for of_names in rows.values():
        in_order = sorted(of_names.values(), key=lambda row: row.start)
        starts = [row.start for row in in_order]
        for row in in_order:
            if row.end > row.start:
                among = in_order[bisect_left(starts, row.start) : bisect_left(starts, row.end)]
                sums = _add_up_parts(row, among)
                if counts_of(row.call) in sums:
                    left_out.add(row.call.identity)
                elif sums:
                    row.call.assumed = row.call.assumed or PARTS_TOO
    for group in groups:
        for call in group:
            if call.identity in left_out:
                _leave_out(call, OF_PARTS, file)


def end_of(cell: object) -> str | None:
    """What stands for the end of a period, by how its start is written; None where it is open.

    Args:
        cell: The start.
    """
    if time_of(cell) is None:
        return None if time_of_period(cell) is None else MONTH
    if isinstance(cell, datetime):
        return None if cell.hour or cell.minute or cell.second else DAY
    is_day = isinstance(cell, date) or (
        isinstance(cell, str) and ":" not in cell and not spells_number(cell)
    )
    return DAY if is_day else None


def _find_periods(calls: Iterable[LoggedCall]) -> Iterator[_Row]:
    """Sums with their periods: those that begin as days do are of days, if all of several do."""
    sums = [
        (call, call.identity[2], call.time)
        for call in calls
        if call.identity is not None
        and call.identity[0] == _SUM
        and call.sum_of != _LEFT_OUT
        and call.time is not None
    ]
    are_days = not any(time.hour or time.minute or time.second for _, _, time in sums)
    # Of one that is alone, it may be an hour.
    are_days &= len({time for _, _, time in sums}) > 1 or all(end == DAY for _, end, _ in sums)
    for call, end, time in sums:
        start = time.timestamp()
        if end == MONTH:
            following = (time.replace(day=1) + timedelta(days=31)).replace(day=1)
            yield _Row(start, following.timestamp(), call)
        elif end not in (None, DAY) and (ends := time_of(end)) is not None:
            yield _Row(start, ends.timestamp(), call)
        else:
            yield _Row(start, start + are_days * 86_400, call)


def _add_up_parts(whole: _Row, rows: Iterable[_Row]) -> list[_Counts]:
    """What the parts of a sum add up to, of days, of hours and of moments.

    Args:
        whole: The sum.
        rows: Those of the same names that begin in its period.
    """
    sums: dict[float, _Counts] = {}
    for start, end, call in rows:
        if end <= whole.end and end - start < whole.end - whole.start:
            before = sums.get(end - start, (0, 0, 0))
            requests, inputs, outputs = map(add, before, counts_of(call))
            sums[end - start] = (requests, inputs, outputs)
    return list(sums.values())
