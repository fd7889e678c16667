"""Batches of calls out of tables, and what of them is left for the line reader.

Order of events: DuckDB's columns come in batches of Arrow; the numbers of odd rows are noted in a
``Reading`` and the rows taken out; answers from a cache are counted; names become numbers, each
looked at once for a batch (``_finish_batch``). Tables whose calls have ids go through DuckDB's
grouping first, which leaves one row for each id (``read_once``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from energy_tracking.logs.batches import BatchNames, CallBatch, Names
from energy_tracking.logs.engine.queries import Table, build_query
from energy_tracking.logs.formats.base import text
from energy_tracking.logs.formats.gateways import provider_named
from energy_tracking.logs.logged import ReadReport
from energy_tracking.usage.names import UNIQUE_ID_LENGTH

ROWS = 1 << 17
"""Rows of a batch [1]."""


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
