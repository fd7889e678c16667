"""Usage that a table breaks down more than once: by model, then by user; by day, with totals.

The rows that fill the same columns, and say the same where a column or a title says what they are
grouped by, are one breakdown. Breakdowns with the same totals are of the same usage: that with
most models counts, of equal ones that with most rows, and the others are left out, which is said.
So the sums of days above those of their models, ``ROLLUP``, ``CUBE`` and totals of any name count
once. What a row is of is known at the end, too, where it is of a session: one that comes twice has
a row for each call.

Order of events: each row of sums is held (``hold_row``); at the end of its file sums above the rows
that they add up are told apart (``finish_rows``); at the end of all, breakdowns are compared, those
of several files too (``count_once``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Any, NamedTuple

from energy_tracking.logs.columns import COUNTED, spells_number
from energy_tracking.logs.formats.base import Document, LogFile
from energy_tracking.logs.formats.periods import (
    Span,
    counts_of,
    end_of,
    identify_sum,
    settle_grown,
    settle_parts,
)
from energy_tracking.logs.logged import LoggedCall, time_of, time_of_period
from energy_tracking.profiles.files import get_catalogue

BREAKDOWN = "breakdown"
"""What the ``sum_of`` of a row begins with that is held."""
HELD = 4000
"""Rows of a file, and of those before it, that are compared [1]; of a longer file, none is. Twice
as many wait at most, which are fewer than the sums that may."""
LOOKED_UP = 100
"""Names of rows that are looked up among models [1]."""
_ALL = re.compile(r"\W*(?:all|total|overall|any)\b.*|\*", re.IGNORECASE)
"""What stands in the place of a name in a row over all names, which its counts must bear out."""
_MONEY = re.compile(r"[-\d.,\s]*[$€£¥₹][-\d.,\s]*")
"""An amount of money, as programs write it."""
LEFT_OUT = "of another breakdown of the same usage, as the totals are the same: left out"
OF_CALLS = "of sums over calls that were read one by one, too: left out"
FILES_REMEMBERED = 10_000
"""Files and folders of which the totals of their calls are remembered."""
ALL_FILES = ""
"""What stands for all files among these."""
COUNTED_TOO = (
    "of another breakdown, whose totals differ, counted too: if it is of the same usage, put it in "
    "a file of its own"
)
OF_SESSIONS = "of a session each, taken for sums over an unknown number of requests"
OF_CONVERSATION = (
    "each row was counted as a call; with its id and a number of messages or minutes it may be a "
    "conversation: if it is, name the column with its number of requests: "
    "--columns requests=NAME,input=NAME,output=NAME,model=NAME,time=NAME"
)

Names = tuple[object, ...]


class Group(NamedTuple):
    """What the rows of a breakdown have in common.

    Attributes:
        file: The file.
        period: What they say of the time that they are of, where rows of others are of another.
        by: What they say that they are grouped by.
        filled: The columns that they fill, what kind of time the first is, and whether each is
            the sum of rows below it.
    """

    file: str
    period: Names
    by: Names
    filled: Names


@dataclass(slots=True)
class _Breakdown:
    """Rows that are grouped by the same.

    Attributes:
        group: What they have in common.
        is_marked: Whether a column says what rows are grouped by, and can say nothing else.
        calls: They.
        labels: The first name of each.
        totals: What they add up to: requests [1], input and output [tokens].
    """

    group: Group
    is_marked: bool
    calls: list[LoggedCall] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    totals: tuple[int, int, int] = (0, 0, 0)

    def add(self, call: LoggedCall, label: str) -> None:
        """Take in a row.

        Args:
            call: What was read of it.
            label: Its first name.
        """
        call.sum_of = (BREAKDOWN, *self.group)
        self.calls.append(call)
        self.labels.append(label)
        requests, inputs, outputs = self.totals
        more, more_inputs, more_outputs = counts_of(call)
        self.totals = (requests + more, inputs + more_inputs, outputs + more_outputs)

    def split_levels(self) -> list[_Breakdown]:
        """Its rows; apart from others those of which each is the sum of the rows below it."""
        sums, rest = set(), [0, 0, 0]
        for place, row in enumerate(map(counts_of, self.calls)):
            if any(rest):
                rest = [left - count for left, count in zip(rest, row, strict=True)]
            else:
                sums.add(place)
                rest = list(row)
            if min(rest) < 0:
                return [self]
        if any(rest) or 2 * len(sums) >= len(self.calls):
            return [self]
        levels = [
            _Breakdown(self.group._replace(filled=(*self.group.filled, is_sum)), self.is_marked)
            for is_sum in (False, True)
        ]
        for place, (call, label) in enumerate(zip(self.calls, self.labels, strict=True)):
            levels[place in sums].add(call, label)
        return levels

    def name_models(self) -> None:
        """Take the first names for models where no column has any and most of them are known."""
        if any(call.model is not None for call in self.calls):
            return
        some = self.labels[:LOOKED_UP]
        if 2 * sum(map(is_model, some)) > len(some):
            for call, label in zip(self.calls, self.labels, strict=True):
                call.model = label

    @property
    def worth(self) -> tuple[int, int]:
        """How much it says: its rows with a model, and all its rows [1]."""
        models = (call.model for call in self.calls)
        named = sum(model is not None and _ALL.fullmatch(model) is None for model in models)
        return named, len(self.calls)

    def repeats(self, other: _Breakdown) -> bool:
        """Whether another one of the same tokens is of the same usage, and not by chance."""
        requests, others = self.totals[0], other.totals[0]
        group, of_other = self.group, other.group
        if 0 != requests != others != 0:
            return False
        if group.filled == of_other.filled and set(self.labels) == set(other.labels):
            # Two of several runs or firms, unless another file has the same rows in another order:
            # copies in the same are known by what they begin with.
            rows, its_rows = self.list_rows(), other.list_rows()
            is_copy = group.file != of_other.file and rows != its_rows
            return is_copy and sorted(rows) == sorted(its_rows)
        return len(self.calls) + len(other.calls) > 2 or requests > 1 or group.by != of_other.by

    def list_rows(self) -> list[tuple[str, tuple[int, int, int]]]:
        """The first name and the counts of each row."""
        return list(zip(self.labels, map(counts_of, self.calls), strict=True))

    def say(self, what: str, file: LogFile) -> None:
        """Say something of each row.

        Args:
            what: That.
            file: Any.
        """
        for call in self.calls:
            file.report.assume(what, self.group.file, call.line)


@dataclass(slots=True)
class _Held:
    """The rows of sums in one file.

    Attributes:
        breakdowns: They, by what those of each have in common.
        rows: How many there are [1].
        of_sessions: Those that may be of a session each.
        sessions: These sessions.
        are_calls: Whether one came twice.
    """

    breakdowns: dict[Group, _Breakdown] = field(default_factory=dict)
    rows: int = 0
    of_sessions: list[LoggedCall] = field(default_factory=list)
    sessions: set[str | None] = field(default_factory=set)
    are_calls: bool = False

    def add_session(self, call: LoggedCall) -> None:
        """Take in a row that may be of a session."""
        self.are_calls = self.are_calls or call.session in self.sessions
        if self.rows <= HELD:
            self.sessions.add(call.session)
        self.of_sessions.append(call)

    def settle_sessions(self, file: LogFile) -> None:
        """Say of the rows that may be of a session each what they are."""
        for call in self.of_sessions:
            if not self.are_calls:
                file.report.assume(OF_SESSIONS, file.path, call.line)
            elif not replace(call, requests=1).is_too_large:
                call.requests = 1
        self.of_sessions.clear()


def hold_row(
    call: LoggedCall,
    row: Document,
    columns: Mapping[str, str],
    file: LogFile,
    period: Names = (),
) -> None:
    """Hold a row of sums until the end of all files.

    Args:
        call: What was read of it.
        row: The row.
        columns: What its columns are -> their names.
        file: Where it is.
        period: What it says of the time that it is of, where others are of another.
    """
    held: _Held = file.memory.setdefault("breakdowns", _Held())
    held.rows += 1
    call.line = file.line
    if "of_session" in columns:
        held.add_session(call)
    marks = [columns[what] for what in ("breakdown", "section") if what in columns]
    by = (*filter(_is_name, map(row.get, marks)), file.memory.get("title"))
    others = {*marks, *(columns[what] for what in (*COUNTED, "total") if what in columns)}
    names = {name: cell for name, cell in row.items() if name not in others and _is_name(cell)}
    when = columns.get("time", "")
    said = {n: cell for n, cell in names.items() if n != when and not _is_money(cell)}
    # A page has each sum once, and may be in a file with others.
    end, place = (period[-1], file.line) if period else (end_of(row.get(when)), None)
    identify_sum(call, said | {"by": by}, file, end, place)
    if held.rows > HELD:
        held.breakdowns.clear()
        held.settle_sessions(file)
        return
    label = next(iter(names.values()), "")
    group = Group(file.path, period, by, (*names, _kind_of(label)))
    if group not in held.breakdowns:
        held.breakdowns[group] = _Breakdown(group, "breakdown" in columns)
    held.breakdowns[group].add(call, str(label))


def is_amount(cell: object) -> bool:
    """Whether a cell says how many messages or minutes a session has.

    Args:
        cell: It; a text or a list has the messages themselves.
    """
    return str(cell)[:1].isdigit()


def finish_rows(file: LogFile) -> None:
    """Have the rows of a file wait for those of others, at its end."""
    held: _Held | None = file.memory.pop("breakdowns", None)
    if held is None:
        return  # nearly always
    held.settle_sessions(file)
    waiting: list[_Breakdown] = file.shared.setdefault("breakdowns", [])
    for breakdown in held.breakdowns.values():
        waiting += breakdown.split_levels()
    file.shared["rows of breakdowns"] = file.shared.get("rows of breakdowns", 0) + held.rows
    if file.shared["rows of breakdowns"] > HELD:
        count_once(file)


@dataclass(slots=True)
class CallTotals:
    """What single calls in files come to, of which other files may have the sums.

    Attributes:
        of: Of a file, a folder or all files: how many there are [1], and their tokens.
        span: When they were; those of a file that is in order.
    """

    of: dict[str, tuple[int, int]] = field(default_factory=dict)
    span: Span = field(default_factory=Span)

    def add(self, path: str, calls: int, tokens: int, *times: datetime | None) -> None:
        """Take in calls of a file.

        Args:
            path: It.
            calls: How many single calls it has, beside those that were taken in before [1].
            tokens: Their input and output [tokens].
            *times: When the first and the last of them were.
        """
        if not calls:
            return
        for time in times:
            self.span.add(time)
        for place in (ALL_FILES, os.path.dirname(path) + os.sep, path):
            if place in self.of or len(self.of) < FILES_REMEMBERED:
                of_calls, of_tokens = self.of.get(place, (0, 0))
                self.of[place] = (of_calls + calls, of_tokens + tokens)

    def has_others(self, path: str) -> bool:
        """Whether there are any in other files than one."""
        (calls, _), (own, _) = (self.of.get(place, (0, 0)) for place in (ALL_FILES, path))
        return calls > own


def count_once(file: LogFile) -> None:
    """Leave out the rows that repeat others, or add up calls.

    Args:
        file: The last one.
    """
    waiting: list[_Breakdown] = file.shared.pop("breakdowns", [])
    file.shared["rows of breakdowns"] = 0
    settle_grown((call for breakdown in waiting for call in breakdown.calls), file)
    for breakdown in waiting:
        breakdown.name_models()
    totals: CallTotals = file.shared.get("calls", CallTotals())
    calls_of_files = {tokens: calls for calls, tokens in totals.of.values() if calls > 1}
    kept: dict[tuple[object, ...], list[_Breakdown]] = {}
    first: dict[str, Names] = {}
    for one in sorted(waiting, key=lambda breakdown: breakdown.worth, reverse=True):
        requests, *tokens = one.totals
        if requests in (0, calls_of_files.get(sum(tokens))) and sum(tokens) in calls_of_files:
            file.note_call_of(BREAKDOWN, *one.group)
            one.say(OF_CALLS, file)
            continue
        alike = kept.setdefault((one.group.period, *tokens), [])
        if any(tokens) and any(map(one.repeats, alike)):
            file.note_call_of(BREAKDOWN, *one.group)
            one.say(LEFT_OUT, file)
            continue
        alike.append(one)
        if one.is_marked and one.group.by != first.setdefault(one.group.file, one.group.by):
            one.say(COUNTED_TOO, file)
    settle_parts([one.calls for listed in kept.values() for one in listed], file)


def is_model(name: str) -> bool:
    """Whether a name is one of a model that is known."""
    catalogue = get_catalogue()
    return catalogue.match(name) is not None or catalogue.explain_no_profile(name) is not None


def _kind_of(label: object) -> str:
    """Whether a name is a time, and of what: a month, a day or a time of day."""
    if time_of(label) is None:
        return "" if time_of_period(label) is None else "month"
    return "time" if ":" in str(label) else "day"


def _is_money(cell: Any) -> bool:
    """Whether a cell has an amount of money, which a sum may have beside its counts."""
    return isinstance(cell, str) and _MONEY.fullmatch(cell) is not None


def _is_name(cell: Any) -> bool:
    """Whether a cell has a name or a time, and not that of all."""
    if isinstance(cell, str):
        return bool(cell.strip()) and not spells_number(cell) and _ALL.fullmatch(cell) is None
    return isinstance(cell, date)
