"""What DuckDB is asked for: a table of calls, as whole numbers, times and names.

Each kind of column is an expression for its value, and one for the rows of which the line reader
knows more. They say what the line reader's own functions say (``counts.whole``, ``time_of``),
which the tests hold them to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from energy_tracking.logs.logged import EARLIEST, LARGEST_OUTPUT, LARGEST_USUAL_INPUT

_LARGEST_COUNT = 10**18


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
    """

    path: str
    source: str
    columns: Mapping[str, tuple[str, str]]
    format: str
    provider: str | None = None
    is_text: bool = False


def quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


_WHOLE_TYPES = (
    *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"),
    *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
)
_REAL_TYPES = ("FLOAT", "DOUBLE", "DECIMAL")
_TEXT_TYPES = ("VARCHAR", "ENUM")


@dataclass(frozen=True, slots=True)
class Expression:
    """A column in SQL.

    Attributes:
        value: What it holds.
        odd: Where the line reader must see the row.
    """

    value: str
    odd: str = "false"


def _read_count(name: str, type: str) -> Expression | None:
    if type.startswith(_WHOLE_TYPES):
        value = f"TRY_CAST({name} AS BIGINT)"
    elif type.startswith((*_REAL_TYPES, *_TEXT_TYPES)):
        number = f"TRY_CAST({name} AS DOUBLE)"
        bounded = f"{number} >= 0 AND {number} < {_LARGEST_COUNT} AND {number} = floor({number})"
        value = f"CASE WHEN {bounded} THEN CAST({number} AS BIGINT) END"
    else:
        return None
    return Expression(value, f"({name} IS NOT NULL AND coalesce(({value}) < 0, true))")


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
    if not type.startswith(_TEXT_TYPES):
        return None
    value = f"coalesce(epoch(TRY_CAST({name} AS TIMESTAMPTZ)), {seconds})"
    # Eight digits may be a day.
    is_offset = f"coalesce(abs({number}) < 1e7, false)"
    return Expression(value, f"({name} <> '' AND ({value}) IS NULL AND NOT {is_offset})")


def _read_text(name: str, type: str) -> Expression | None:
    # A number is no name of a model or id.
    return Expression(f"{name}::VARCHAR" if type.startswith(_TEXT_TYPES) else "NULL::VARCHAR")


def _read_any(name: str, type: str) -> Expression | None:
    return Expression(f"{name}::VARCHAR")


def _read_hit(name: str, type: str) -> Expression | None:
    return Expression(f"coalesce(lower({name}::VARCHAR) IN ('true', '1'), false)")


# What a column is -> its expression; None for a type that only the line reader knows.
READERS: Mapping[str, Callable[[str, str], Expression | None]] = {
    "input": _read_count,
    "output": _read_count,
    "cached": _read_count,
    "cache_read": _read_count,
    "cache_write": _read_count,
    "reasoning": _read_count,
    "time": _read_time,
    "model": _read_text,
    "id": _read_text,
    "session": _read_any,
    "provider": _read_any,
    "cache_hit": _read_hit,
    "operation": _read_any,
}

_MISSING = {
    "cached": "NULL::BIGINT",
    "cache_read": "NULL::BIGINT",
    "cache_write": "NULL::BIGINT",
    "reasoning": "NULL::BIGINT",
    "time": "NULL::DOUBLE",
    "model": "NULL::VARCHAR",
    "id": "NULL::VARCHAR",
    "session": "NULL::VARCHAR",
    "provider": "NULL::VARCHAR",
    "cache_hit": "false",
}


def build_query(table: Table, wanted: Sequence[str]) -> str | None:
    """The rows of a table in SQL; None where it has a column of a type that is not known.

    Args:
        table: The table.
        wanted: Which of ``model``, ``time``, ``session``, ``provider`` and ``id`` to read.
    """
    values = dict(_MISSING)
    odd = []
    for what, (name, type) in table.columns.items():
        expression = READERS[what](quote_name(name), type)
        if expression is None:
            return None
        values[what] = expression.value
        if expression.odd != "false":
            odd.append(expression.odd)
    optional = ("model", "time", "session", "provider", "id", "cache_hit")
    selected = {
        "input": values["input"],
        "output": values["output"],
        "cached": values["cached"],
        "reasoning": values["reasoning"],
    }
    written = f"coalesce({values['cache_write']}, 0)"
    beside = values["cache_read"]
    if "cache_read" in table.columns:
        # Anthropic's names: its input count leaves the cache out.
        added = f"CASE WHEN ({beside}) IS NULL THEN 0 ELSE ({beside}) + {written} END"
        selected["input"] = f"({values['input']}) + {added}"
        selected["cached"] = f"coalesce({beside}, {values['cached']})"
    selected |= {
        name: values[name]
        for name in optional
        if name in table.columns and (name in wanted or name == "cache_hit")
    }
    inner = ", ".join(f"{value} AS {name}_" for name, value in selected.items())
    odd_values = " OR ".join(odd) or "false"
    return (
        f"SELECT *, coalesce(odd_values OR input_ > {LARGEST_USUAL_INPUT}"
        f" OR output_ > {LARGEST_OUTPUT} OR coalesce(cached_, 0) + written_ > input_"
        f" OR coalesce(reasoning_, 0) > output_,"
        f" true) AS odd FROM (SELECT {inner}, {written} AS written_, {odd_values} AS odd_values"
        f" FROM {table.source})"
    )
