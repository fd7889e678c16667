"""Sums of a period are known by what they say: exports of a dashboard overlap.

A sum with a time is the same as one of another file whose period, names and counts are the same.
Equal ones in one file are told apart by how many came before, so that they count as often as in the
file that has most of them. One of the same period and names with other counts may have grown, or be
another's: where the other sums of the two files that are of the same periods are mostly equal, it
has grown, and the larger stands; else both count. Either is said. What a ledger has of earlier
files is compared likewise, and takes the larger in place of what it has.

Order of events: each sum is identified where it is read (``identify_sum``); at the end of all files
those that have grown are settled (``settle_grown``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from itertools import pairwise

from energy_tracking.logs.formats.base import LogFile, remember
from energy_tracking.logs.logged import LoggedCall, PlainCounts
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
_SUM = "sum"
"""What the identity of a sum of a period begins with."""
_LEFT_OUT = ("outgrown",)
"""What the ``sum_of`` of one is that is left out."""
_LEDGER = ""
"""What stands for the ledger among the files."""

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


def identify_sum(
    call: LoggedCall, names: Mapping[str, object], file: LogFile, place: object = None
) -> None:
    """Say what a sum is known by, if it has a time and nothing else to be known by.

    Args:
        call: The sum.
        names: What it says beside its counts: the end of its period, a model, a user.
        file: Where it is.
        place: The part of the file in which equal ones are apart; None: the whole file is one.
    """
    counts = call.counts
    if call.identity is not None or call.time is None or counts is None:
        return
    named = sorted((name, str(value)) for name, value in names.items())
    period = (_SUM, call.time.isoformat(), repr(named))
    counted = (
        *(call.requests, counts.input_tokens, counts.cached_input_tokens, counts.output_tokens),
    )
    equal: Seen = file.memory.setdefault("equal sums", Seen())
    before = equal.find_tokens((period, counted, place)) or 0
    equal.put((period, counted, place), before + 1)
    call.identity = (*period, counted, before)
    call.log_key = f"{_hash(period)}-{_hash((counted, before))}"
    periods: dict[object, tuple[object, object]] = file.shared.setdefault("periods", {})
    source = (file.path, place)
    if period not in periods:
        remember(periods, period, (source, counted), PERIODS_REMEMBERED)
    elif periods[period][0] != source and periods[period][1] != counted:
        call.assumed = READ_TWICE
    in_ledger = _find_in_ledger(call, file)
    if in_ledger and call.log_key not in in_ledger:
        if list(in_ledger.values()) == [call.tokens] and not before:
            (call.log_key,) = in_ledger  # it has grown there
        else:
            call.assumed = IN_LEDGER


def period_in(key: str) -> str | None:
    """What the key of a sum in a ledger says of its period; None of a key of anything else."""
    period, _, rest = key.partition("-")
    return period if rest else None


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
            call.sum_of = _LEFT_OUT
            file.note_call_of(*_LEFT_OUT)
            file.report.assume(OUTGROWN, call.file, call.line)


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
        of_files = periods.setdefault((call.identity or ())[:3], {})
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
