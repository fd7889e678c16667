"""Usage that a table breaks down more than once: by model, then by user; by day, with totals.

The rows that fill the same columns, and say the same where a column or a title says what they are
grouped by, are one breakdown. Breakdowns with the same totals are of the same usage: that with
most models counts, of equal ones that with most rows, and the others are left out, which is said.
So the sums of days above those of their models, ``ROLLUP``, ``CUBE`` and totals of any name count
once. What a row is of is known at the end, too, where it is of a session: one that comes twice has
a row for each call.

Order of events: each row of a table of sums is held (``hold_row``), and the breakdowns are compared
at the end of the file (``count_once``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from energy_tracking.logs.columns import COUNTED, is_number
from energy_tracking.logs.formats.base import Document, LogFile
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.profiles.files import get_catalogue

BREAKDOWN = "breakdown"
"""What the ``sum_of`` of a row begins with that is held."""
HELD = 5000
"""Rows of a table of sums that are compared [1]: fewer than sums that wait. Of more, none is."""
LOOKED_UP = 100
"""Names of rows that are looked up among models [1]."""
_ALL = re.compile(r"\W*(?:all|total|overall|any)\b.*|\*", re.IGNORECASE)
"""What stands in the place of a name in a row over all names, which its counts must bear out."""
LEFT_OUT = "of another breakdown of the same usage, as the totals are the same: left out"
COUNTED_TOO = (
    "of another breakdown, whose totals differ, counted too: if it is of the same usage, put it in "
    "a file of its own"
)
OF_SESSIONS = "of a session each, taken for sums over an unknown number of requests"

Key = tuple[object, ...]


@dataclass(slots=True)
class _Breakdown:
    """Rows that are grouped by the same.

    Attributes:
        key: What they have in common.
        by: What they say that they are grouped by.
        calls: They.
        labels: The first name of each.
        totals: What they add up to: requests [1], input and output [tokens].
    """

    key: Key
    by: Key
    calls: list[LoggedCall] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    totals: tuple[int, int, int] = (0, 0, 0)

    def add(self, call: LoggedCall, label: str) -> None:
        """Take in a row.

        Args:
            call: What was read of it.
            label: Its first name.
        """
        self.calls.append(call)
        self.labels.append(label)
        if (counts := call.counts) is not None:
            requests, inputs, outputs = self.totals
            self.totals = (
                requests + (call.requests or 0),
                inputs + counts.input_tokens,
                outputs + counts.output_tokens,
            )

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
        """Whether another one has the same totals, and not by chance."""
        (requests, *tokens), (others, *other_tokens) = self.totals, other.totals
        if tokens != other_tokens or not any(tokens) or 0 != requests != others != 0:
            return False
        return len(self.calls) + len(other.calls) > 2 or requests > 1 or self.by != other.by


@dataclass(slots=True)
class _Held:
    """The rows of one table.

    Attributes:
        breakdowns: They, by what those of each have in common.
        rows: How many there are [1].
        of_sessions: Those that may be of a session each.
        sessions: These sessions.
        are_calls: Whether one came twice.
        is_marked: Whether a column says what rows are grouped by, and can say nothing else.
    """

    breakdowns: dict[Key, _Breakdown] = field(default_factory=dict)
    rows: int = 0
    of_sessions: list[LoggedCall] = field(default_factory=list)
    sessions: set[str | None] = field(default_factory=set)
    are_calls: bool = False
    is_marked: bool = False

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

    def find_repeated(self) -> Iterator[tuple[_Breakdown, str]]:
        """The breakdowns of which something is to be said, and what."""
        for breakdown in self.breakdowns.values():
            breakdown.name_models()
        kept: list[_Breakdown] = []
        for breakdown in sorted(self.breakdowns.values(), key=lambda one: one.worth, reverse=True):
            if any(breakdown.repeats(one) for one in kept):
                yield breakdown, LEFT_OUT
                continue
            if self.is_marked and kept and breakdown.by != kept[0].by:
                yield breakdown, COUNTED_TOO
            kept.append(breakdown)


def hold_row(call: LoggedCall, row: Document, columns: Mapping[str, str], file: LogFile) -> None:
    """Hold a row of a table of sums until the end of its file.

    Args:
        call: What was read of it.
        row: The row.
        columns: What its columns are -> their names.
        file: Where it is.
    """
    held: _Held = file.memory.setdefault("breakdowns", _Held())
    held.rows += 1
    call.line = file.line
    if "of_session" in columns:
        held.add_session(call)
    if held.rows > HELD:
        held.breakdowns.clear()
        held.settle_sessions(file)
        return
    marks = [columns[what] for what in ("breakdown", "section") if what in columns]
    held.is_marked = held.is_marked or "breakdown" in columns
    by = (*(str(row.get(name)) for name in marks), file.memory.get("title"))
    others = {*marks, *(columns[what] for what in (*COUNTED, "total") if what in columns)}
    names = {name: cell for name, cell in row.items() if name not in others and _is_name(cell)}
    label = next(iter(names.values()), "")
    key = call.sum_of = (BREAKDOWN, file.path, by, *names, _is_time(label))
    held.breakdowns.setdefault(key, _Breakdown(key, by)).add(call, str(label))


def count_once(file: LogFile) -> None:
    """Leave out the rows of a table that repeat others, at the end of its file."""
    held: _Held = file.memory.pop("breakdowns", _Held())
    held.settle_sessions(file)
    for breakdown, said in held.find_repeated():
        if said is LEFT_OUT:
            file.note_call_of(*breakdown.key)
        for call in breakdown.calls:
            file.report.assume(said, file.path, call.line)


def is_model(name: str) -> bool:
    """Whether a name is one of a model that is known."""
    catalogue = get_catalogue()
    return catalogue.match(name) is not None or catalogue.explain_no_profile(name) is not None


def _is_name(cell: Any) -> bool:
    """Whether a cell has a name or a time, and not that of all."""
    if isinstance(cell, str):
        return bool(cell.strip()) and not is_number(cell) and _ALL.fullmatch(cell) is None
    return isinstance(cell, date)


def _is_time(label: object) -> bool:
    return (time_of(label) or time_of(f"{label}-01")) is not None
