"""What DuckDB is asked for: a table of calls, as whole numbers, times and names.

Each kind of column is an expression for its value, and one for the rows of which the line reader
knows more, where the value alone does not show them (``find_odd``). They say what the line
reader's own functions say (``counts.whole``, ``time_of``), which the tests hold them to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from energy_tracking.logs.columns import COUNTED, HIT_WORDS
from energy_tracking.logs.logged import EARLIEST, LARGEST_OUTPUT, LARGEST_USUAL_INPUT
from energy_tracking.logs.sql import quote_name, quote_text
from energy_tracking.logs.totals import NAMED, TOTALS_PATTERN

_LARGEST_COUNT = 10**18
NAME_PATTERN = (
    "(?i)tok|put|prompt|completion|call|request|cost|spend|credit|count|usage|total|cache"
    "|model|provider|user|session|operation|date|time|duration|latency"
)
"""What stands in the place of a count where the names of another table do."""


@dataclass(slots=True)
class Table:
    """A file that is one table of calls.

    Attributes:
        path: The file.
        source: How DuckDB reads it, in SQL.
        columns: What a column is -> its name and type.
        format: Name of the row of the table of formats.
        provider: Provider of all calls, where no column has it.
        is_text: Whether cells are text, as in CSV.
        has_points: Whether points in them set thousands apart.
        is_parquet: Whether the file is Parquet, of which columns can be read alone.
        texts: What ``list_texts`` found in a part of its rows; None: nobody has looked.
        first: Names of the columns of text that come before all counts, where a row of totals says
            that it is one; as far as they are read anyway, or the last row is such a row.
        has_objects: Whether rows have objects that may name a model where its column does not.
    """

    path: str
    source: str
    columns: Mapping[str, tuple[str, str]]
    format: str
    provider: str | None = None
    is_text: bool = False
    is_parquet: bool = False
    texts: Mapping[str, Sequence[str]] | None = None
    first: Sequence[str] = ()
    has_points: bool = False
    has_objects: bool = False


_PLAIN_TYPES = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER"),
)
_WHOLE_TYPES = (*_PLAIN_TYPES, "UBIGINT", "HUGEINT", "UHUGEINT")
_REAL_TYPES = ("FLOAT", "DOUBLE", "DECIMAL")
TEXT_TYPES = ("VARCHAR", "ENUM")


@dataclass(frozen=True, slots=True)
class Expression:
    """A column in SQL.

    Attributes:
        value: What it holds.
        odd: Where the line reader must see the row.
        is_plain: Whether that is where the value is below 0.
    """

    value: str
    odd: str = "false"
    is_plain: bool = False


def _read_count(name: str, type: str) -> Expression | None:
    if type.startswith(_WHOLE_TYPES):
        value = f"TRY_CAST({name} AS BIGINT)"
    elif type.startswith((*_REAL_TYPES, *TEXT_TYPES)):
        number = f"TRY_CAST({name} AS DOUBLE)"
        bounded = f"{number} >= 0 AND {number} < {_LARGEST_COUNT} AND {number} = floor({number})"
        value = f"CASE WHEN {bounded} THEN CAST({number} AS BIGINT) END"
    else:
        return None
    odd = f"({name} IS NOT NULL AND coalesce(({value}) < 0, true))"
    return Expression(value, odd, is_plain=type in _PLAIN_TYPES)


def _read_part(name: str, type: str) -> Expression | None:
    """A count that may be missing, as pandas writes it, too."""
    count = _read_count(name, type)
    if count is None or type.startswith(_WHOLE_TYPES):
        return count
    odd = f"{name} IS NOT NULL AND NOT coalesce(isnan(TRY_CAST({name} AS DOUBLE)), false)"
    return Expression(count.value, f"CASE WHEN ({count.value}) >= 0 THEN false ELSE {odd} END")


def _read_total(name: str, type: str) -> Expression | None:
    """A count that says how others fit together, if it is one."""
    count = _read_count(name, type)
    return Expression("NULL::BIGINT" if count is None else count.value)


def _read_time(name: str, type: str) -> Expression | None:
    if type.startswith(("TIMESTAMP", "DATE")):
        return Expression(f"epoch({name})")
    number = f"TRY_CAST({name} AS DOUBLE)"
    # As ``time_of`` has it.
    seconds = (
        f"CASE WHEN {number} < {EARLIEST} OR {number} >= 1e20 THEN NULL"
        f" WHEN {number} < 1e11 THEN {number} WHEN {number} < 1e14 THEN {number} / 1e3"
        f" WHEN {number} < 1e17 THEN {number} / 1e6 ELSE {number} / 1e9 END"
    )
    if type.startswith((*_WHOLE_TYPES, *_REAL_TYPES)):
        return Expression(seconds)
    if not type.startswith(TEXT_TYPES):
        return None
    value = f"coalesce(epoch(TRY_CAST({name} AS TIMESTAMPTZ)), {seconds})"
    # Eight digits may be a day.
    is_offset = f"coalesce(abs({number}) < 1e7, false)"
    # Of 5/12/26 DuckDB makes a day of the year 5.
    is_odd = f"coalesce(({value}) < {EARLIEST}, NOT {is_offset})"
    return Expression(value, f"({name} <> '' AND {is_odd})")


def _read_text(name: str, type: str) -> Expression | None:
    if type == "JSON":
        is_object = f"coalesce(json_type({name}) = 'OBJECT', false)"
        return Expression(f"CASE json_type({name}) WHEN 'VARCHAR' THEN {name}->>'$' END", is_object)
    # A number is no name of a model or id.
    return Expression(f"{name}::VARCHAR" if type.startswith(TEXT_TYPES) else "NULL::VARCHAR")


def _read_any(name: str, type: str) -> Expression | None:
    return Expression(f"{name}::VARCHAR")


def _read_hit(name: str, type: str) -> Expression | None:
    words = ", ".join(map(quote_text, HIT_WORDS))
    return Expression(f"coalesce(lower(trim({name}::VARCHAR)) IN ({words}), false)")


# What a column is -> its expression; None for a type that only the line reader knows.
READERS: Mapping[str, Callable[[str, str], Expression | None]] = {
    "input": _read_count,
    "output": _read_count,
    "cached": _read_part,
    "cache_read": _read_part,
    "cache_write": _read_part,
    "reasoning": _read_part,
    "total": _read_total,
    "time": _read_time,
    "model": _read_text,
    "id": _read_text,
    "session": _read_any,
    "provider": _read_any,
    "cache_hit": _read_hit,
    "operation": _read_any,
}


def build_query(
    table: Table, wanted: Sequence[str], listed: Mapping[str, Sequence[str]] | None = None
) -> str | None:
    """The rows of a table in SQL; None where it has a column of a type that is not known.

    Args:
        table: The table.
        wanted: Which of ``model``, ``time``, ``session``, ``provider`` and ``id`` to read.
        listed: Columns of text -> texts in them: of these the place is read, 1 where there is
            none, from 2 on, and missing for a text that is not listed.
    """
    expressions: dict[str, Expression] = {}
    for what, (name, type) in table.columns.items():
        expression = READERS[what](quote_name(name), type)
        if expression is None:
            return None
        expressions[what] = expression
    values = {what: expression.value for what, expression in expressions.items()}
    _fit_parts(values)
    is_beside = not expressions.keys().isdisjoint(("cache_read", "cache_write"))
    # Sums of counts do not show which of them was odd.
    odd = [one.odd for one in expressions.values() if is_beside or not one.is_plain]
    counted = ("cached", "reasoning")
    selected: dict[str, str] = {name: values[name] for name in counted if name in values}
    if is_beside:
        selected["written"] = f"coalesce({values.get('cache_write', 'NULL')}, 0)"
    if "cache_read" in values:
        # Anthropic's names: its input count leaves the cache out.
        read = values["cache_read"]
        added = f"CASE WHEN ({read}) IS NULL THEN 0 ELSE ({read}) + {selected['written']} END"
        values["input"] = f"({values['input']}) + {added}"
        selected["cached"] = f"coalesce({read}, {values.get('cached', 'NULL')})"
    # Half the width is read in half the time; what does not fit is none, and so it is odd.
    whole = {name: values[name] for name in ("input", "output")}
    if "cached" in selected:
        whole["cached"] = f"coalesce({selected['cached']}, 0)"
    selected |= {name: f"TRY_CAST({value} AS INTEGER)" for name, value in whole.items()}
    optional = ("model", "time", "session", "provider", "id", "cache_hit")
    for name in optional:
        if name in values and (name in wanted or name == "cache_hit"):
            selected[name] = values[name]
    for name, texts in (listed or {}).items():
        places = ", ".join(["NULL", *map(quote_text, texts)])
        selected[name] = f"list_position([{places}]::VARCHAR[], {values[name]})::UTINYINT"
    # What the models say is looked at once for a batch, by ``find_totals``.
    model, _ = table.columns.get("model", ("", ""))
    if first := [name for name in table.first if name != model]:
        odd.append(_find_totals(table, first))
    if not table.is_parquet:
        selected |= find_nameless(table)
    if table.has_objects:
        odd.append(f"{values['model']} IS NULL")
    if table.has_points:
        counts = (table.columns[what][0] for what in COUNTED if what in table.columns)
        odd += [f"coalesce({quote_name(name)} LIKE '%.___', false)" for name in counts]
    if table.is_text:
        selected |= _find_names(table, values)
    conditions = [one for one in odd if one != "false"]
    if conditions:
        selected["odd"] = f"coalesce({' OR '.join(conditions)}, true)"
    columns = ", ".join(f"{value} AS {name}_" for name, value in selected.items())
    return f"SELECT {columns} FROM {table.source}"


def _fit_parts(values: dict[str, str]) -> None:
    """Add parts that lie beside input and output to these, where the total says that they do.

    Args:
        values: What a column is -> its value in SQL.
    """
    if "total" not in values:
        return
    inputs, outputs = (f"({values[name]})" for name in ("input", "output"))
    parts = [f"coalesce({values[name]}, 0)" for name in ("cached", "cache_write") if name in values]
    inside = " + ".join(parts) or "0"
    rest = f"({values['total']}) - {inputs} - {outputs}"
    if parts:
        values["input"] = f"CASE WHEN {rest} = {inside} THEN {inputs} + {inside} ELSE {inputs} END"
    if "reasoning" in values:
        part = f"({values['reasoning']})"
        is_part = f"{rest} = {part} AND {rest} <> {inside}"
        values["output"] = f"CASE WHEN {is_part} THEN {outputs} + {part} ELSE {outputs} END"


def _find_totals(table: Table, cells: Sequence[str]) -> str:
    """Where a row says that it adds up others, by its first cell, in SQL.

    Rows with a model and a time, which are nearly all, do not.

    Args:
        table: The table.
        cells: The columns of which one has that cell, the first that has any.
    """
    names = [
        quote_name(table.columns[what][0]) for what in ("model", "time") if what in table.columns
    ]
    first = f"coalesce({', '.join(map(quote_name, cells))})"
    says = f"coalesce(regexp_full_match({first}, {quote_text(TOTALS_PATTERN)}), false)"
    if len(names) < 2:
        return says
    return (
        f"CASE WHEN {' OR '.join(f'{name} IS NULL' for name in names)} THEN {says} ELSE false END"
    )


def find_nameless(table: Table) -> dict[str, str]:
    """Where a row has no name, under the name that ``read_table`` has for it; none: nobody asks.

    Args:
        table: The table.
    """
    whats = ("model",) if "model" in table.columns else NAMED
    named = [table.columns[what][0] for what in whats if what in table.columns]
    if named:
        return {"nameless": " AND ".join(f"{quote_name(name)} IS NULL" for name in named)}
    if not table.first:
        return {}
    cells = ", ".join(map(quote_name, table.first))
    nameless = f"NOT regexp_matches(concat_ws(' ', {cells}), '\\p{{L}}')"
    first = quote_name(table.first[0])
    return {"nameless": f"CASE WHEN {first} IS NULL THEN {nameless} ELSE false END"}


def _find_names(table: Table, values: Mapping[str, str]) -> dict[str, str]:
    """Where another table may begin, under the name that ``read_table`` has for it.

    Args:
        table: The table.
        values: What its columns are -> their values in SQL.
    """
    counts = ("input", "output")
    cells = ", ".join(quote_name(table.columns[what][0]) for what in counts)
    own = " AND ".join(
        f"{quote_name(name)} = {quote_text(name)}" for name, _ in table.columns.values()
    )
    is_name = f"regexp_matches(concat_ws(' ', {cells}), {quote_text(NAME_PATTERN)})"
    is_odd = " OR ".join(f"({values[what]}) IS NULL" for what in counts)
    is_other = f"{is_name} AND NOT coalesce({own}, false)"
    return {"names": f"CASE WHEN {is_odd} THEN {is_other} ELSE false END"}


def find_odd(columns: Mapping[str, Any]) -> Any | None:
    """Which rows the line reader must see, an array of booleans; None where it need not see any.

    Args:
        columns: Columns of Arrow, as ``build_query`` asks for them.
    """
    inputs, outputs = (fill_missing(columns[name], -1) for name in ("input_", "output_"))
    found = [_find_outside(inputs, LARGEST_USUAL_INPUT), _find_outside(outputs, LARGEST_OUTPUT)]
    missing = {"cached_": -1, "written_": 0}
    parts = [
        fill_missing(columns[name], value) for name, value in missing.items() if name in columns
    ]
    if parts:
        found += [_find_outside(part) for part in parts]
        found.append(sum(parts[1:], parts[0]) > inputs)
    if "reasoning_" in columns:
        reasoning = fill_missing(columns["reasoning_"], 0)
        found += [_find_outside(reasoning), reasoning > outputs]
    if "odd_" in columns:
        found.append(as_array(columns["odd_"]))
    odd = [one for one in found if one is not None and one.any()]
    return np.logical_or.reduce(odd) if odd else None


def _find_outside(counts: Any, most: int = _LARGEST_COUNT) -> Any | None:
    """Which counts are below 0 or above a limit; None where none is, which is quick to see.

    Args:
        counts: Whole numbers, an array.
        most: The limit.
    """
    if counts.min(initial=0) >= 0 and counts.max(initial=0) <= most:
        return None
    return (counts < 0) | (counts > most)


def fill_missing(column: Any, value: float) -> Any:
    """A column of Arrow as an array of numpy.

    Args:
        column: Numbers.
        value: What stands where there is none.
    """
    return as_array(column.fill_null(value) if column.null_count else column)


def as_array(column: Any) -> Any:
    """A column of Arrow, of numbers or booleans and without missing ones, as an array of numpy.

    Its own ``to_numpy`` would import pandas wherever that is installed, which takes longer than
    to read ten million rows.
    """
    import pyarrow

    if not len(column):
        return np.zeros(0, column.type.to_pandas_dtype())
    _, values = column.buffers()
    first, end = column.offset, column.offset + len(column)
    if pyarrow.types.is_boolean(column.type):
        bits = np.unpackbits(np.frombuffer(values, np.uint8), bitorder="little")
        return bits[first:end].astype(np.bool_)
    return np.frombuffer(values, column.type.to_pandas_dtype())[first:end]
