"""Rows of counts: tables and lines whose columns say what they are, or whose owner says it.

``columns`` knows columns by their names. Those of the caller come first; there, a name with dots
leads into an object.

Order of events: the columns are found by their names, once for rows of the same names; counts in
thousands are multiplied out; a row of totals is left out; the cells that count are checked; what is
a part of what is settled; a row of several requests is a sum, which waits for those that may say
the same (``breakdowns``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from itertools import takewhile
from typing import Any

from energy_tracking.logs.columns import (
    COUNTED,
    HIT_WORDS,
    OF_SUMS,
    PARTS,
    columns_of,
    mark_unit,
    period_of,
    rivals_of,
    spells_number,
    unit_of,
)
from energy_tracking.logs.files.delimited import BEYOND
from energy_tracking.logs.formats.base import (
    LONGEST_EXAMPLE,
    Document,
    LogFile,
    LogFormat,
    at,
    first_text,
    identify,
    text,
    unpacked,
)
from energy_tracking.logs.formats.breakdowns import (
    OF_CONVERSATION,
    finish_rows,
    hold_row,
    is_amount,
)
from energy_tracking.logs.formats.counts import (
    check_wholes,
    counts_in,
    scale_count,
    sum_in,
    usage_of_columns,
    whole,
)
from energy_tracking.logs.formats.inside import drop_types, is_by_columns
from energy_tracking.logs.formats.nested_rows import is_sum_of_rows
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import Counts, LoggedCall, time_of, time_of_period
from energy_tracking.logs.read_report import WRITTEN_FROM_LOGS
from energy_tracking.logs.totals import NAMED, RowSums, say_subtotals, say_totals

COLUMNS = ("input", "output", "cached", "reasoning", "requests", "model", "time", "id", "session")
"""What a caller can name columns for, beside ``provider``."""

_EMPTY = (None, "")
_HOLDERS = frozenset({list, dict})
DEEPEST_MODEL = 2
"""How far below the objects in a row a model is looked for that no column names."""
_LETTER = re.compile(r"[^\W\d_]")
_SINGLE = frozenset({"id", "session", "requests", "day"})
"""Where a table has one of these, times do not say whether a row is of a call."""
OF_DAY = "each row was counted as a call; its time is a day, whose sum it may be"
OF_SESSION = "each row was counted as a call; it names a session and no time, whose sum it may be"
"""What is said of a table whose rows may be sums."""
_WRITTEN_HERE = frozenset({"total_energy_joules", "calibrated_energy_joules", "has_failed"})
"""Columns that ``report --parquet`` writes."""
LONGEST_CALL = timedelta(minutes=10)
"""How long clients of OpenAI and Anthropic wait for a response.

Source: https://github.com/openai/openai-python (DEFAULT_TIMEOUT)
"""
RIGHT_COLUMNS = "name the right ones: --columns input=NAME,output=NAME,model=NAME,time=NAME"
"""What to do where other columns were taken."""
MORE_CELLS = (
    "with more cells than the first line has names, counted by the first ones: where a text or a "
    "number has the delimiter, put it in quotes"
)
SCALED = "with counts in thousands or millions, multiplied out as they are rounded"
ANOTHER_TABLE = (
    "of another table below the first, which may add up the same calls: put it in a file of its own"
)


def _read_given(row: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row whose columns the caller has named."""
    if not file.columns:
        return None
    read = {what: _value_of(row, name) for what, name in file.columns.items()}
    if read.get("input") is None and read.get("output") is None:
        return None
    absent: set[str] = file.memory.setdefault("absent", set(file.columns.values()))
    if absent:
        absent -= {n for n in absent if n in row or _value_of(row, n) is not None}
    columns = file.memory.setdefault("given", mark_unit(dict(file.columns)))
    return _calls_of(read, row, columns, file)


def _say_absent(file: LogFile) -> Iterator[LoggedCall]:
    """Say which of the caller's columns no entry has; a table without them was refused before."""
    for name in sorted(file.memory.get("absent", ())):
        file.assume(f"and all before it without the column {name!r}, which was named")
    return iter(())


def _value_of(row: Document, name: str) -> Any:
    return row[name] if name in row else at(row, *name.split("."))


def _read_row(row: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row whose columns are known by their names."""
    names = tuple(row)
    shapes: dict[tuple[str, ...], dict[str, str] | None] = file.memory.setdefault("columns", {})
    if names not in shapes:
        if len(shapes) > 100:
            shapes.clear()
        shapes[names] = _find_columns(names, row, file)
    columns = shapes[names]
    if columns is None or is_by_columns(row):
        return None
    if not _HOLDERS.isdisjoint(map(type, row.values())) and is_sum_of_rows(row, columns):
        return None
    read = {what: row[columns[what]] for what in columns}
    if type(read.get("input", read.get("output"))) is dict:
        read = drop_types(read)
    return _calls_of(read, row, columns, file)


def _find_columns(names: tuple[str, ...], row: Document, file: LogFile) -> dict[str, str] | None:
    """What the columns of a table are, of which each row may be the sum of a period.

    Args:
        names: The columns' names.
        row: Its first row, unless another reader has seen that.
        file: Where it is.
    """
    columns = columns_of(names)
    if columns is None:
        return None
    counted = columns.get("of_session", "")
    amount = row.get(counted)
    if "id" in columns or not is_amount(amount):
        columns.pop("of_session", None)
    if "is_rest" in file.memory:
        return columns
    if columns.get("id", "").lower() == "id" and (whole(amount) or 0) > 1:
        file.report.doubt(file.path, OF_CONVERSATION)
    if set(names) >= _WRITTEN_HERE:
        file.report.doubt(file.path, WRITTEN_FROM_LOGS)
    _doubt_counts(names, columns, row, file)
    period = period_of(names)
    start, end = (time_of(row.get(name)) for name in period or ("", ""))
    if columns.keys() & _SINGLE == {"session"} and "of_session" not in columns:
        if _is_long(start, end):
            columns |= {"of_session": columns["session"]}
        elif "time" not in columns and "model" in columns:
            file.report.doubt(file.path, OF_SESSION)
    if not _SINGLE.isdisjoint(columns):
        return columns
    if period is not None and _is_period(start, end):
        columns |= {"day": period[0], "time": period[0]}
    elif _is_day(row.get(columns.get("time", ""))):
        file.report.doubt(file.path, OF_DAY)
    return columns


def _doubt_counts(
    names: tuple[str, ...], columns: Mapping[str, str], row: Document, file: LogFile
) -> None:
    """Say where a row has two numbers for its input or output, by names that mean the same.

    Args:
        names: The columns' names.
        columns: What they are -> the names that were taken.
        row: The first row.
        file: Where it is.
    """
    parts = [whole(row.get(columns.get(what, ""))) or 0 for what in PARTS]
    for what, other in rivals_of(names, columns):
        taken = columns.get(what, "")
        count, rival = whole(row.get(taken)), whole(row.get(other))
        # With what came from a cache, or without, it may be the same.
        if count is None or rival is None or abs(count - rival) in (0, *parts, sum(parts)):
            continue
        file.report.doubt(
            file.path,
            f"each row's {what} was taken from the column {taken[:LONGEST_EXAMPLE]!r}, and not "
            f"from {other[:LONGEST_EXAMPLE]!r}, which has another number; {RIGHT_COLUMNS}",
        )


def _is_long(start: datetime | None, end: datetime | None) -> bool:
    """Whether there is more time between two than any client waits for a response by itself."""
    return start is not None and end is not None and end - start > LONGEST_CALL


def _is_period(start: datetime | None, end: datetime | None) -> bool:
    """Whether times are those of a minute, hour or day as a clock has it, or of several."""
    if start is None or end is None:
        return False
    seconds = (end - start).total_seconds()
    return seconds >= 60 and seconds % 60 == start.timestamp() % min(seconds, 900) == 0


def _is_day(value: object) -> bool:
    """Whether a time is a day alone."""
    if isinstance(value, str):
        time = None if ":" in value or spells_number(value) else time_of(value)
        return time is not None and not (time.hour or time.minute)
    return isinstance(value, date) and not isinstance(value, datetime)


def _say_added_up(read: Mapping[str, Any], row: Document) -> str | None:
    """What is said of a row with a name that says that it adds others up; None where none does.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
    """
    model, time, id = read.get("model"), read.get("time"), read.get("id")
    said = say_totals(model) or say_totals(time) or say_totals(id)
    if said is not None or (model is not None and time is not None):
        return said  # nearly always
    first = next((cell for cell in row.values() if cell is not None), None)
    has_others = time not in (None, first) or id is not None or model not in (None, first)
    return say_totals(first) or (None if has_others else say_subtotals(first))


def _is_nameless(
    read: Mapping[str, Any], row: Document, columns: Mapping[str, str], sums: RowSums
) -> bool:
    """Whether a row has no model where others have one, or none of the names that its table has.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
        columns: What they are -> their names.
        sums: Those of the rows above, of which lines of JSON may have other columns.
    """
    if read.get("model") is not None:
        sums.has_models = True
        return False  # nearly always
    if sums.has_models or "model" in columns:
        return True
    if any(what in columns for what in NAMED):
        return all(read.get(what) is None for what in NAMED)
    counts = {columns[what] for what in COUNTED if what in columns}
    before = [cell for _, cell in takewhile(lambda one: one[0] not in counts, row.items())]
    if not before or before[0] is not None:
        return False
    return not any(isinstance(cell, str) and _LETTER.search(cell) for cell in before)


def _begins_table(read: Mapping[str, Any], row: Document) -> bool:
    """Whether a row whose counts are none has the names of another table, or its own again.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
    """
    if not any(isinstance(read.get(what), str) for what in ("input", "output")):
        return False
    cells = tuple(cell for cell in row.values() if cell is not None)
    if not all(isinstance(cell, str) and not spells_number(cell) for cell in cells):
        return False
    return columns_of(cells) is not None


def _calls_of(
    read: Mapping[str, Any], row: Document, columns: Mapping[str, str], file: LogFile
) -> list[LoggedCall] | None:
    """The call or the sum that a row is; none where it adds up others.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
        columns: What they are -> their names.
        file: Where it is.
    """
    if "unit" in columns or type(read.get("input")) is str or type(read.get("output")) is str:
        read = _scale_counts(read, columns, file)
    inputs, outputs = whole(read.get("input")), whole(read.get("output"))
    if inputs is None and outputs is None:
        if read.get("input") in _EMPTY and read.get("output") in _EMPTY:
            return [] if _is_empty_period(read, row, file) else None
        if _begins_table(read, row):
            if all(read[what] == name for what, name in columns.items() if what in read):
                return []  # a file with the same names was added to this one
            file.memory["ended"] = True
    if "ended" in file.memory:
        file.leave_out(ANOTHER_TABLE)
        return []
    said = _say_added_up(read, row)
    if said is not None:
        file.note_assumption(said)
        return []
    counted = {
        what: cell if type(cell := read[what]) is int else _drop_nan(what, cell)
        for what in COUNTED
        if what in read
    }
    check_wholes(counted)
    counted["total"] = read.get("total")
    is_sum = not OF_SUMS.isdisjoint(read)
    requests = whole(counted.get("requests")) if "requests" in read else None if is_sum else 1
    if requests == 0:
        if not inputs and not outputs:
            return []
        requests = None
    counts = usage_of_columns(counted, inputs or 0, outputs or 0, is_sum=requests != 1)
    if "details" in read:
        # As a usage has them; a server's whole answer may be that alone.
        usage = {name: unpacked(cell) for name, cell in row.items()}
        counts = (counts_in(usage) if requests == 1 else sum_in(usage)) or counts
    if counts is not None and _states_sums(counts, read, row, columns, file):
        file.note_assumption(say_totals("total") or "")
        return []
    if BEYOND in row:
        file.assume(MORE_CELLS)
    call = _build_call(read, row, counts, requests, file)
    identify(call, read.get("request"), created=read.get("time"))
    if is_sum:
        hold_row(call, row, columns, file)
    return [call]


def _states_sums(
    counts: Counts,
    read: Mapping[str, Any],
    row: Document,
    columns: Mapping[str, str],
    file: LogFile,
) -> bool:
    """Whether a row without a name has the counts of all above it together.

    Args:
        counts: Its counts.
        read: What its columns are -> what they hold.
        row: The row.
        columns: What they are -> their names.
        file: Remembers the sums of those above.
    """
    sums: RowSums | None = file.memory.get("sums")
    if sums is None:
        sums = file.memory["sums"] = RowSums()
    stated = (counts.input_tokens, counts.output_tokens)
    if _is_nameless(read, row, columns, sums) and sums.are_stated(*stated):
        return True
    sums.add(*stated)
    return False


def _build_call(
    read: Mapping[str, Any],
    row: Document,
    counts: Counts | None,
    requests: int | None,
    file: LogFile,
) -> LoggedCall:
    """The call or the sum of a row, with what about it is taken for granted.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
        counts: Its counts.
        requests: How many requests it is of [1]; None: nobody says.
        file: Where it is.
    """
    time, model = read.get("time"), read.get("model")
    is_embedding = read.get("operation") in ("embeddings", "embedding")
    call = LoggedCall(
        operation="embeddings" if is_embedding else "chat",
        provider=provider_named(read.get("provider")),
        model=text(model.strip()) if isinstance(model, str) else _find_model(row, DEEPEST_MODEL),
        # Of a request to an application, several calls may be.
        response_id=None if "request" in read else text(read.get("id")),
        counts=counts,
        time=time_of(time) if OF_SUMS.isdisjoint(read) else time_of_period(time),
        session=None if read.get("session") is None else str(read["session"]),
        requests=requests,
        cache_hit=str(read.get("cache_hit")).strip(" ").lower() in HIT_WORDS,
    )
    if not is_embedding:
        for what in ("input", "output"):
            if whole(read.get(what)) is None:
                # A table of embeddings has no such column, and is read under ``strict`` too.
                assume = file.assume if what in read else file.note_assumption
                assume(f"without a count of {what}, taken as 0 tokens")
    if call.time is None and isinstance(time, str) and time.strip() and not spells_number(time):
        file.assume("whose time cannot be read, counted without one")
    return call


def _scale_counts(
    read: Mapping[str, Any], columns: Mapping[str, str], file: LogFile
) -> Mapping[str, Any]:
    """A row with counts in thousands or millions multiplied out.

    Args:
        read: What its columns are -> what they hold.
        columns: What they are -> their names.
        file: Where it is.
    """
    counted = {what: read[what] for what in (*COUNTED, "total") if what in read}
    scaled = {what: scale_count(cell, unit_of(columns[what])) for what, cell in counted.items()}
    if scaled == counted:
        return read  # nearly always
    file.note_assumption(SCALED)
    return {**read, **scaled}


def _find_model(holder: Mapping[str, Any], depth: int) -> str | None:
    """The model that an object in a row names, as of a prompt or what it was configured with."""
    for name, cell in holder.items():
        if type(cell) is not dict:
            continue
        model = first_text(
            map(cell.get, ("model", "name", "id") if name == "model" else ("model",))
        )
        model = model or (_find_model(cell, depth - 1) if depth else None)
        if model is not None:
            return model
    return None


def _drop_nan(what: str, cell: object) -> object:
    """A cell, or None where it has no number that it may be without, as pandas writes it."""
    if cell is None or what in ("input", "output"):
        return cell
    is_nan = cell != cell or (isinstance(cell, str) and cell.lower() == "nan")
    return None if is_nan else cell


def _is_empty_period(read: Mapping[str, Any], row: Document, file: LogFile) -> bool:
    """Whether a row without counts is of a day or minute in which there was no request, or a title.

    Args:
        read: What its columns are -> what they hold.
        row: The row.
        file: Remembers the title.
    """
    if OF_SUMS.isdisjoint(read) or read.get("requests"):
        return False
    (title, *others) = [cell for cell in row.values() if cell not in _EMPTY] or (None,)
    if isinstance(title, str) and not others:
        file.memory["title"] = title
    return read.get("model") is None


def _finish_table(file: LogFile) -> Iterator[LoggedCall]:
    finish_rows(file)
    return iter(())


GIVEN_COLUMNS = LogFormat(
    name="columns", read=_read_given, finish=_say_absent, is_said=False, is_table=True
)
KNOWN_COLUMNS = LogFormat(
    name="table", read=_read_row, finish=_finish_table, is_said=False, is_table=True
)
