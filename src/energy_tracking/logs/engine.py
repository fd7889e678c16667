"""Tables of calls, read by DuckDB: Parquet, CSV and JSON lines of any size, as batches of columns.

The same rows as the line reader gives, many at a time. Order of events:

1. ``find_table`` says whether a file is a large table of calls whose columns are known;
2. ``read_table`` asks DuckDB for whole numbers, times and names, and, for each row, whether
   anything about it is odd: a count that is none, more tokens than any model takes, a time that
   cannot be read;
3. rows that are odd, and all that follow where DuckDB cannot read on, go to the line reader, which
   knows what to do with them, and counts what it leaves out with its line.

Rows keep their order, so that a row's number is the same to both readers. Memory does not grow
with the rows: DuckDB streams, and what it cannot hold, it puts into a temporary file.

A new kind of file is a row of ``_SOURCES``; a new column, an expression in ``_build_query``.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from csv import reader as read_csv
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from energy_tracking.logs.batches import BatchNames, CallBatch, Names
from energy_tracking.logs.files import HEAD, STANDARD_INPUT, delimiter_of, kind_of, read_documents
from energy_tracking.logs.formats import LogFile, Recogniser
from energy_tracking.logs.formats.base import text
from energy_tracking.logs.formats.gateways import provider_named
from energy_tracking.logs.formats.tables import GIVEN_COLUMNS, KNOWN_COLUMNS, columns_of
from energy_tracking.logs.formats.traces import AZURE_COLUMNS, AZURE_PROVIDER, AZURE_TRACE
from energy_tracking.logs.logged import EARLIEST, LARGEST_INPUT, LARGEST_OUTPUT, ReadReport
from energy_tracking.usage.names import UNIQUE_ID_LENGTH

ENGINE_BYTES = 4 << 20
"""From this size on a table is read by DuckDB [byte]: below, the line reader is as fast."""
ROWS = 1 << 17
"""Rows of a batch [1]."""
MEMORY = "512MB"
"""What DuckDB holds before it uses a temporary file."""

# What the line reader must see, since a row with it may be no single call.
_LINE_READER_ONLY = {"requests", "day"}
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


@dataclass(slots=True)
class Reading:
    """How far a table has been read.

    Attributes:
        rows: Rows that DuckDB has given.
        odd: Numbers of those that the line reader must see, arrays of them.
        is_cut: Whether DuckDB could not read on.
    """

    rows: int = 0
    odd: list[Any] = field(default_factory=list)
    is_cut: bool = False

    @property
    def has_rest(self) -> bool:
        """Whether there is anything for the line reader."""
        return self.is_cut or bool(self.odd)

    def is_left(self) -> Callable[[int], bool]:
        """Which documents of the file, by their number, are left for the line reader."""
        odd = np.concatenate(self.odd) if self.odd else np.zeros(0, np.int64)
        remaining = set(odd.tolist()) if len(odd) < 100_000 else odd
        first_unread = self.rows if self.is_cut else None

        def is_left(number: int) -> bool:
            if first_unread is not None and number >= first_unread:
                return True
            if isinstance(remaining, set):
                return number in remaining
            place = int(np.searchsorted(remaining, number))
            return place < len(remaining) and remaining[place] == number

        return is_left


@contextmanager
def open_engine() -> Iterator[Any]:
    """A connection to DuckDB; None where it, or pyarrow beside it, is not installed."""
    try:
        import duckdb
        import pyarrow  # noqa: F401  what DuckDB gives columns as
    except ImportError:
        yield None
        return
    with (
        tempfile.TemporaryDirectory(prefix="energy_tracking-") as folder,
        duckdb.connect() as connection,
    ):
        for setting in (
            f"memory_limit = '{MEMORY}'",
            f"temp_directory = {_quote_text(folder)}",
            "streaming_buffer_size = '32MB'",
            "preserve_insertion_order = true",
            "autoinstall_known_extensions = false",
            "TimeZone = 'UTC'",
        ):
            try:
                connection.execute(f"SET {setting}")
            except duckdb.Error:
                # Without a time zone, times of this build cannot be trusted.
                yield None
                return
        yield connection


# Finding a table.


def find_table(path: str, given: Mapping[str, str], connection: Any) -> Table | None:
    """Describe a file that DuckDB can read; None where the line reader must.

    Args:
        path: The file.
        given: The names of columns that the caller gave.
        connection: The engine.
    """
    try:
        if path == STANDARD_INPUT or os.path.getsize(path) < ENGINE_BYTES:
            return None
        first = next((document for _, document in read_documents(path)), None)
        if not isinstance(first, dict):
            return None
        found = _recognise(first, path, given)
        if found is None:
            return None
        format, columns, provider = found
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
        source = _find_source(path, head, columns, connection)
    except Exception:
        # Whatever is the matter with the file, the line reader says it.
        return None
    if source is None or not _LINE_READER_ONLY.isdisjoint(columns):
        return None
    query, types, is_text = source
    if not {"input", "output"} <= columns.keys() or not columns.keys() <= _READERS.keys():
        return None
    typed = {what: (name, types[name]) for what, name in columns.items() if name in types}
    if typed.keys() != columns.keys():
        return None
    return Table(path, query, typed, format, provider, is_text)


def _recognise(
    document: Mapping[str, Any], path: str, given: Mapping[str, str]
) -> tuple[str, dict[str, str], str | None] | None:
    """Format, columns and provider of a table, by its first row; None where it is no table."""
    file = LogFile(path, ReadReport(), columns=given)
    for row in Recogniser().rows_for(dict(document)):
        if row is GIVEN_COLUMNS and not given:
            continue
        if row not in (GIVEN_COLUMNS, KNOWN_COLUMNS, AZURE_TRACE):
            return None
        if row.read(dict(document), file):
            break
    else:
        return None
    if row is GIVEN_COLUMNS:
        return row.name, dict(given), None
    if row is AZURE_TRACE:
        present = {what: name for what, name in AZURE_COLUMNS.items() if name in document}
        return row.name, present, AZURE_PROVIDER
    return row.name, columns_of(tuple(document)) or {}, None


Source = tuple[str, dict[str, str], bool]


def _find_source(
    path: str, head: bytes, columns: Mapping[str, str], connection: Any
) -> Source | None:
    """How DuckDB reads a file: in SQL, the type of each column, and whether cells are text."""
    if head.startswith(b"PAR1"):
        query = f"read_parquet({_quote_text(path)})"
        described = connection.execute(f"DESCRIBE SELECT * FROM {query}").fetchall()
        return query, {name: type for name, type, *_ in described}, False
    packing = ""
    if head.startswith(b"\x1f\x8b"):
        head, packing = zlib.decompressobj(31).decompress(head, HEAD), ", compression='gzip'"
    if head[:1] in b"\xff\xfe\x00" or head[1:2] == b"\0":
        return None  # not UTF-8
    make = _SOURCES.get(kind_of(head.removeprefix(b"\xef\xbb\xbf")))
    return None if make is None else make(path, head, packing, columns)


def _describe_csv(
    path: str, head: bytes, packing: str, columns: Mapping[str, str]
) -> Source | None:
    header, newline, _ = head.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    delimiter = delimiter_of(header)
    if not newline or not header.strip() or delimiter is None:
        return None
    names = [name.strip() for name in next(read_csv([header.decode()], delimiter=delimiter))]
    if len(set(names)) < len(names) or "" in names:
        return None
    typed = ", ".join(f"{_quote_text(name)}: 'VARCHAR'" for name in names)
    query = (
        f"read_csv({_quote_text(path)}, header=true, auto_detect=false, null_padding=true, "
        f"delim={_quote_text(delimiter)}, quote='\"', escape='\"', "
        f"columns={{{typed}}}{packing})"
    )
    return query, dict.fromkeys(names, "VARCHAR"), True


def _describe_json_lines(
    path: str, head: bytes, packing: str, columns: Mapping[str, str]
) -> Source | None:
    if head.startswith(b"\xef\xbb\xbf"):
        return None
    names = dict.fromkeys(columns.values(), "VARCHAR")
    typed = ", ".join(f"{_quote_text(name)}: 'VARCHAR'" for name in names)
    query = (
        f"read_json({_quote_text(path)}, format='newline_delimited', ignore_errors=true, "
        f"columns={{{typed}}}{packing})"
    )
    return query, names, False


# Kind of file -> its description.
_SOURCES: dict[str, Callable[[str, bytes, str, Mapping[str, str]], Source | None]] = {
    "table": _describe_csv,
    "json lines": _describe_json_lines,
}


def _quote_text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quote_name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# Reading it.

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
_READERS: Mapping[str, Callable[[str, str], Expression | None]] = {
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
        expression = _READERS[what](_quote_name(name), type)
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
        f"SELECT *, coalesce(odd_values OR input_ > {LARGEST_INPUT} OR output_ > {LARGEST_OUTPUT}"
        f" OR coalesce(cached_, 0) + written_ > input_ OR coalesce(reasoning_, 0) > output_,"
        f" true) AS odd FROM (SELECT {inner}, {written} AS written_, {odd_values} AS odd_values"
        f" FROM {table.source})"
    )


def read_table(
    table: Table,
    names: BatchNames,
    report: ReadReport,
    reading: Reading,
    connection: Any,
    wanted: Sequence[str],
) -> Iterator[CallBatch]:
    """Read a table; what is left for the line reader is in ``reading`` then.

    Args:
        table: The table.
        names: Takes the names.
        report: Counts what is found.
        reading: Says how far reading came.
        connection: The engine.
        wanted: Which of ``model``, ``time``, ``session`` and ``provider`` to read.
    """
    import duckdb

    query = build_query(table, wanted)
    if query is None:
        reading.is_cut = True
        return
    try:
        for batch in connection.sql(query).to_arrow_reader(ROWS):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            odd = columns["odd"].to_numpy(zero_copy_only=False)
            first = reading.rows
            reading.rows += len(odd)
            if odd.any():
                reading.odd.append(np.flatnonzero(odd) + first)
                even = _as_mask(~odd)
                columns = {name: column.filter(even) for name, column in columns.items()}
            yield from _finish_batch(columns, table, names, report)
    except duckdb.Error:
        reading.is_cut = True


def read_once(
    tables: Sequence[Table],
    names: BatchNames,
    report: ReadReport,
    connection: Any,
    wanted: Sequence[str],
) -> Iterator[CallBatch] | None:
    """Read tables whose calls have ids, each id once; None where a row of any of them is odd.

    Args:
        tables: The tables.
        names: Takes the names.
        report: Counts what is found.
        connection: The engine.
        wanted: Which of ``model``, ``time``, ``session`` and ``provider`` to read.
    """
    import duckdb

    needed = ("model", "time", "session", "provider", "id")
    queries = [build_query(table, needed) for table in tables]
    listed = [query for query in queries if query is not None]
    if len(listed) < len(queries):
        return None
    union = " UNION ALL BY NAME ".join(
        f"SELECT *, {number} AS table_ FROM ({query})" for number, query in enumerate(listed)
    )
    try:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW calls AS {union}")
        odd = connection.execute("SELECT count(*) FROM calls WHERE odd OR id_ IS NULL").fetchone()
    except duckdb.Error:
        return None
    if odd[0]:
        return None
    return _read_ids(tables, names, report, connection, wanted)


def _read_ids(
    tables: Sequence[Table],
    names: BatchNames,
    report: ReadReport,
    connection: Any,
    wanted: Sequence[str],
) -> Iterator[CallBatch]:
    present = {row[0] for row in connection.execute("DESCRIBE calls").fetchall()}
    # The copy with most tokens stands, of equal ones the first; and the names of another where
    # it has none.
    tokens = f"(input_ + output_) * {len(tables)} - table_"
    optional = [f"{name}_" for name in ("model", "time", "session", "provider")]
    chosen = ", ".join(
        [f"arg_max({name}, {tokens}) AS {name}" for name in ("input_", "output_")]
        + [f"arg_max(coalesce(cached_, 0), {tokens}) AS cached_"]
        + [f"arg_max(coalesce(reasoning_, -1), {tokens}) AS reasoning_"]
        + [f"coalesce(arg_max({one}, {tokens}), any_value({one})) AS {one}"
           for one in optional if one in present and one[:-1] in wanted]
        + [f"arg_max(table_, {tokens}) AS table_", "count(*) AS copies"]
    )  # fmt: skip
    when = "coalesce(time_::VARCHAR, '')" if "time_" in present else "''"
    # A short id may be given again: with its time and tokens it is one call.
    key = (
        f"CASE WHEN length(id_) >= {UNIQUE_ID_LENGTH} THEN id_"
        f" ELSE concat_ws(chr(31), id_, {when}, input_, output_) END"
    )
    hit = " WHERE NOT cache_hit_" if "cache_hit_" in present else ""
    if hit:
        count = connection.execute("SELECT count(*) FROM calls WHERE cache_hit_").fetchone()
        report.cache_hits += count[0]
        report.formats[tables[0].format] += count[0]
    query = f"SELECT {chosen} FROM (SELECT * FROM calls{hit}) GROUP BY {key}"
    for batch in connection.sql(query).to_arrow_reader(ROWS):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        report.repeated += int(columns["copies"].to_numpy().sum()) - batch.num_rows
        places = columns["table_"].to_numpy()
        for number, table in enumerate(tables):
            copies = columns["copies"].to_numpy()[places == number] - 1
            report.formats[table.format] += int(copies.sum())
        for number, table in enumerate(tables):
            chosen_rows = places == number
            if chosen_rows.all():
                yield from _finish_batch(columns, table, names, report)
            elif chosen_rows.any():
                some = batch.filter(_as_mask(chosen_rows))
                parts = dict(zip(some.schema.names, some.columns, strict=True))
                yield from _finish_batch(parts, table, names, report)


def _as_mask(rows: Any) -> Any:
    import pyarrow

    return pyarrow.array(rows)


def _finish_batch(
    columns: dict[str, Any], table: Table, names: BatchNames, report: ReadReport
) -> Iterator[CallBatch]:
    """A batch out of columns of Arrow, in which no row is odd."""
    report.formats[table.format] += len(columns["input_"])
    if "cache_hit_" in columns:
        hits = columns["cache_hit_"].to_numpy(zero_copy_only=False)
        report.cache_hits += int(hits.sum())
        if hits.any():
            mask = _as_mask(~hits)
            columns = {name: column.filter(mask) for name, column in columns.items()}
    rows = len(columns["input_"])
    report.calls += rows
    if not rows:
        return

    def whole(name: str, missing: int) -> Any:
        column = columns[name]
        filled = column.fill_null(missing) if column.null_count else column
        return filled.to_numpy()

    def numbers(name: str, read: Callable[[str], object], missing: int = -1) -> Any:
        if f"{name}_" not in columns:
            return np.full(rows, missing, np.int32)
        return _number_names(columns[f"{name}_"], getattr(names, name), read, missing)

    cell = _read_cell if table.is_text else text
    provider = names.provider.number(table.provider or provider_named(None))
    if "time_" in columns:
        time = columns["time_"].to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
    else:
        time = np.full(rows, np.nan)
    no, yes = np.zeros(rows, bool), np.ones(rows, bool)
    yield CallBatch(
        names=names,
        model=numbers("model", cell),
        provider=numbers("provider", provider_named, provider),
        session=numbers("session", str),
        tag=np.full(rows, -1, np.int32),
        file=np.full(rows, names.file.number(table.path), np.int32),
        time=time,
        input_tokens=whole("input_", 0),
        cached_input_tokens=whole("cached_", 0),
        output_tokens=whole("output_", 0),
        reasoning_tokens=whole("reasoning_", -1),
        has_usage=yes,
        is_partial=no,
        has_failed=no,
        measured_energy_joules=np.full(rows, np.nan),
        requests=np.ones(rows, np.int64),
    )


def _read_cell(cell: str) -> str | None:
    """A text of a table; None for digits alone, which a table has for a number."""
    return None if cell.isascii() and cell.isdigit() and len(cell) < 20 else text(cell)


def _number_names(column: Any, names: Names, read: Callable[[str], object], missing: int) -> Any:
    """The numbers of names in a column of Arrow, each name looked at once for a batch."""
    encoded = column.dictionary_encode()
    places = [names.number(read(name)) for name in encoded.dictionary.to_pylist()]
    known = np.array([*places, missing], np.int32)
    indices = encoded.indices
    if indices.null_count:
        indices = indices.fill_null(len(places))
    return known[indices.to_numpy()]
