"""Batches of calls out of tables, and what of them is left for the line reader.

Order of events: DuckDB's columns come in batches of Arrow; the numbers of odd rows are noted in a
``Reading`` and the rows taken out; answers from a cache are counted; names become numbers, each
looked at once for a batch (``_finish_batch``). Tables whose calls have ids go through DuckDB's
grouping first, which leaves one row for each id (``read_once``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from energy_tracking.logs.batches.batch import BatchNames, CallBatch, Names, repeat
from energy_tracking.logs.engine.queries import Table, as_array, build_query, fill_missing, find_odd
from energy_tracking.logs.formats.base import text
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.sql import quote_name, quote_text
from energy_tracking.logs.totals import NAMELESS, TOTALS_PATTERN, RowSums, may_say_totals
from energy_tracking.usage.names import UNIQUE_ID_LENGTH

ROWS = 1 << 18
"""Rows of a batch [1]."""
LISTED = 254
"""Texts of a column of Parquet that are listed before it is read, so that of each row the place
alone is read [1]: a file has each of few texts once, and says of each row which it is."""


class UnlistedTextError(Exception):
    """A table has a text that those that were found in a part of its rows are without."""


@dataclass(slots=True)
class Reading:
    """How far a table has been read.

    Attributes:
        rows: Rows that DuckDB has given.
        odd: Numbers of those that the line reader must see, arrays of them.
        is_cut: Whether DuckDB could not read on.
        sums: What the rows of a table that is no Parquet add up to, but for those that the line
            reader must see.
    """

    rows: int = 0
    odd: list[Any] = field(default_factory=list)
    is_cut: bool = False
    sums: RowSums = field(default_factory=RowSums)

    @property
    def has_rest(self) -> bool:
        """Whether there is anything for the line reader."""
        return self.is_cut or bool(self.odd)

    def find_end(self, line: int) -> int:
        """The first row that nobody has read, where the line reader could not read on [1].

        Args:
            line: How many rows that one has read [1].
        """
        left = min((row for rows in self.odd for row in rows.tolist() if row >= line), default=None)
        return max(line, self.rows) if left is None else left

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
        wanted: Which of ``model``, ``time``, ``session`` and ``provider`` to read; ``span``: the
            time, unless ``read_span`` finds the first and the last.

    Raises:
        UnlistedTextError: The texts that the table states are not all. What was given until then
            does not count.
    """
    import duckdb

    if "span" in wanted and not states_span(table):
        wanted = (*wanted, "time")
    try:
        listed = list_texts(table, wanted, connection) if table.texts is None else table.texts
        query = build_query(table, wanted, listed)
        if query is None:
            reading.is_cut = True
            return
        for batch in connection.sql(query).to_arrow_reader(ROWS):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            if table.is_text and (begins := as_array(columns["names_"])).any():
                # Another table begins, of which the line reader knows what to say.
                reading.is_cut = True
                columns = {name: column[: begins.argmax()] for name, column in columns.items()}
            odd = _join(find_odd(columns), find_totals(columns, listed.get("model")))
            if not table.is_parquet:
                odd = _join(odd, _find_nameless(columns, reading.sums))
            first = reading.rows
            reading.rows += len(columns["input_"])
            if odd is not None:
                reading.odd.append(np.flatnonzero(odd) + first)
                even = _as_mask(~odd)
                columns = {name: column.filter(even) for name, column in columns.items()}
            if not table.is_parquet:
                reading.sums.has_models = "model" in table.columns
                inputs, outputs = as_array(columns["input_"]), as_array(columns["output_"])
                reading.sums.add(
                    int(inputs.sum(dtype=np.int64)), int(outputs.sum(dtype=np.int64)), len(inputs)
                )
            yield from _finish_batch(columns, table, names, report, listed)
            if reading.is_cut:
                return
        # A row of it was read already, by which it was recognised.
        reading.is_cut = not reading.rows
    except (duckdb.Error, OSError):  # the latter is how Arrow says the same
        reading.is_cut = True


def _join(odd: Any | None, others: Any | None) -> Any | None:
    """Which rows the line reader must see for the one reason or the other."""
    if odd is None or others is None:
        return others if odd is None else odd
    return odd | others


def find_totals(columns: dict[str, Any], listed: Sequence[str] | None) -> Any | None:
    """Which rows have a model that may say that they add up others; None where none has.

    Args:
        columns: Columns of Arrow, as ``build_query`` asks for them; texts become places of texts.
        listed: The texts of models where their column has places of these.
    """
    if "model_" not in columns:
        return None
    if listed is None:
        encoded = columns["model_"] = columns["model_"].dictionary_encode()
        texts, places, start = encoded.dictionary.to_pylist(), encoded.indices, 0
    else:
        texts, places, start = listed, columns["model_"], 2
    found = [place for place, text in enumerate(texts, start) if may_say_totals(text)]
    return np.isin(fill_missing(places, 1 if start else -1), found) if found else None


def _find_nameless(columns: Mapping[str, Any], sums: RowSums) -> Any | None:
    """Which rows have no name, as that of totals may have none; None where many have none.

    Args:
        columns: Columns of Arrow, as ``build_query`` asks for them.
        sums: Counts them.
    """
    nameless = as_array(columns["nameless_"]) if "nameless_" in columns else None
    if nameless is None or not nameless.any():
        return None
    sums.nameless += int(nameless.sum())
    return nameless if sums.nameless <= NAMELESS else None


def states_span(table: Table) -> bool:
    """Whether a file states its first and last time beside its rows, as Parquet does."""
    _, type = table.columns.get("time", ("", ""))
    is_time = type.startswith(("TIMESTAMP", "DATE"))
    # Calls that a cache answered have times that do not count.
    return table.is_parquet and is_time and "cache_hit" not in table.columns


def read_span(table: Table, report: ReadReport, reading: Reading, connection: Any) -> None:
    """Read the first and the last time of a table's rows, but for the odd ones.

    Args:
        table: The table, which states them.
        report: Gets them.
        reading: Says which rows are odd.
        connection: The engine.
    """
    import duckdb

    name = quote_name(table.columns["time"][0])
    query = f"SELECT epoch(min({name})), epoch(max({name})) FROM "
    if reading.has_rest:
        odd = np.concatenate([np.zeros(0, np.int64), *reading.odd])
        connection.register("odd", {"row": odd})
        source = table.source.removesuffix(")") + ", file_row_number = true)"
        query += f"{source} WHERE file_row_number < {reading.rows}"
        query += " AND file_row_number NOT IN (SELECT row FROM odd)"
    else:
        query += table.source
    try:
        ((first, last),) = connection.execute(query).fetchall()
    except duckdb.Error:
        reading.is_cut = True
        return
    if first is not None:
        report.add_span(first, last)


def list_texts(table: Table, wanted: Sequence[str], connection: Any) -> dict[str, list[str]]:
    """The texts of columns that have few, where to list them is quick.

    Args:
        table: The table.
        wanted: Which columns are read.
        connection: The engine.
    """
    listed = {}
    for what in ("model", "provider", "session"):
        name, type = table.columns.get(what, ("", ""))
        if what in wanted and table.is_parquet and type == "VARCHAR":
            name = quote_name(name)
            found = connection.execute(
                f"SELECT DISTINCT {name} FROM {table.source} WHERE {name} IS NOT NULL "
                f"LIMIT {LISTED + 1}"
            ).fetchall()
            if 0 < len(found) <= LISTED and not any("\0" in text for (text,) in found):
                # In the same order each time: in that of their numbers groups are added up.
                listed[what] = sorted(text for (text,) in found)
    return listed


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

    if "span" in wanted:
        wanted = (*wanted, "time")
    needed = ("model", "time", "session", "provider", "id")
    queries = [build_query(table, needed) for table in tables]
    listed = [query for query in queries if query is not None]
    if len(listed) < len(queries):
        return None
    # A table without cached tokens has none of them, where another has some.
    is_cached = [bool({"cached", "cache_read"} & table.columns.keys()) for table in tables]
    nothing = ["" if one else ", 0 AS cached_" for one in is_cached]
    union = " UNION ALL BY NAME ".join(
        f"SELECT *, {number} AS table_{nothing[number]} FROM ({query})"
        for number, query in enumerate(listed)
    )
    try:
        connection.execute(f"CREATE OR REPLACE TEMP VIEW calls AS {union}")
        present = {row[0] for row in connection.execute("DESCRIBE calls").fetchall()}
        checked = ["input_", "output_"]
        checked += [one for one in ("cached_", "written_", "reasoning_") if one in present]
        named = [one for one in ("id_", "model_") if one in present]
        is_totals = " OR ".join(
            f"coalesce(regexp_full_match({one}, {quote_text(TOTALS_PATTERN)}), false)"
            for one in named
        )
        without = f"CASE WHEN id_ IS NULL THEN true WHEN length(id_) < {UNIQUE_ID_LENGTH}"
        without += f" THEN {is_totals} ELSE false END"
        if "odd_" in present:
            without += " OR coalesce(odd_, false)"
        query = f"SELECT {', '.join(checked)}, {without} AS odd_ FROM calls"
        for batch in connection.sql(query).to_arrow_reader(ROWS):
            if find_odd(dict(zip(batch.schema.names, batch.columns, strict=True))) is not None:
                return None
    except (duckdb.Error, OSError):
        return None
    return _read_ids(tables, names, report, connection, wanted, present)


def _read_ids(
    tables: Sequence[Table],
    names: BatchNames,
    report: ReadReport,
    connection: Any,
    wanted: Sequence[str],
    present: Collection[str],
) -> Iterator[CallBatch]:
    # The copy with most tokens stands, of equal ones the first; and the names of another where
    # it has none.
    tokens = f"(input_ + output_)::BIGINT * {len(tables)} - table_"
    optional = [f"{name}_" for name in ("model", "time", "session", "provider")]
    counts = {"input_": 0, "output_": 0, "cached_": 0, "reasoning_": -1}
    chosen = ", ".join(
        [f"arg_max(coalesce({name}, {missing}), {tokens}) AS {name}"
           for name, missing in counts.items() if name in present]
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
        hits = "SELECT count(*) FROM calls WHERE cache_hit_"
        ((count,),) = connection.execute(hits).fetchall()
        report.cache_hits += count
        report.formats[tables[0].format] += count
    query = f"SELECT {chosen} FROM (SELECT * FROM calls{hit}) GROUP BY {key}"
    for batch in connection.sql(query).to_arrow_reader(ROWS):
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        report.repeated += int(as_array(columns["copies"]).sum()) - batch.num_rows
        places = as_array(columns["table_"])
        for number, table in enumerate(tables):
            copies = as_array(columns["copies"])[places == number] - 1
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
    columns: dict[str, Any],
    table: Table,
    names: BatchNames,
    report: ReadReport,
    listed: Mapping[str, Sequence[str]] | None = None,
) -> Iterator[CallBatch]:
    """A batch out of columns of Arrow, in which no row is odd.

    Args:
        columns: The columns.
        table: Their table.
        names: Takes the names.
        report: Counts what is found.
        listed: The texts of those columns that are places of texts.
    """
    if len(columns["input_"]):
        report.formats[table.format] += len(columns["input_"])
    if "cache_hit_" in columns:
        hits = as_array(columns["cache_hit_"])
        report.cache_hits += int(hits.sum())
        if hits.any():
            mask = _as_mask(~hits)
            columns = {name: column.filter(mask) for name, column in columns.items()}
    rows = len(columns["input_"])
    report.calls += rows
    if not rows:
        return

    def count(name: str, missing: int) -> Any:
        if name not in columns:
            return repeat(missing, rows, np.int64)
        return fill_missing(columns[name], missing)

    def number(name: str, read: Callable[[str], object], missing: int = -1) -> Any:
        column = columns.get(f"{name}_")
        if column is None:
            return repeat(missing, rows, np.int32)
        texts = (listed or {}).get(name)
        return _number_names(column, texts, getattr(names, name), read, missing)

    cell: Callable[[str], object] = _read_cell if table.is_text else text
    provider = names.provider.number(table.provider or provider_named(None))
    if "time_" in columns:
        time = fill_missing(columns["time_"], np.nan).astype(np.float64, copy=False)
    else:
        time = repeat(np.nan, rows, np.float64)
    yield CallBatch(
        names=names,
        model=number("model", cell),
        provider=number("provider", lambda name: provider_named(cell(name)), provider),
        session=number("session", str),
        tag=repeat(-1, rows, np.int32),
        file=repeat(names.file.number(table.path), rows, np.int32),
        time=time,
        input_tokens=count("input_", 0),
        cached_input_tokens=count("cached_", 0),
        output_tokens=count("output_", 0),
        reasoning_tokens=count("reasoning_", -1),
        has_usage=repeat(True, rows, np.bool_),
        is_partial=repeat(False, rows, np.bool_),
        has_failed=repeat(False, rows, np.bool_),
        measured_energy_joules=repeat(np.nan, rows, np.float64),
        requests=repeat(1, rows, np.int64),
    )


def _read_cell(cell: str) -> str | None:
    """A text of a table; None for digits alone, which a table has for a number."""
    return None if cell.isascii() and cell.isdigit() and len(cell) < 20 else text(cell)


def _number_names(
    column: Any,
    texts: Sequence[str] | None,
    names: Names,
    read: Callable[[str], object],
    missing: int,
) -> Any:
    """The numbers of names in a column of Arrow, each name looked at once for a batch.

    Args:
        column: The names; with texts, their places as ``build_query`` asks for them.
        texts: The texts.
        names: Takes the names.
        read: What a text says.
        missing: The number where there is none.

    Raises:
        UnlistedTextError: A name is not among the texts.
    """
    if texts is None:
        encoded = column.dictionary_encode()
        texts, places = encoded.dictionary.to_pylist(), fill_missing(encoded.indices, -1)
        known = [*(names.number(read(text)) for text in texts), missing]
    else:
        if column.null_count:
            raise UnlistedTextError
        places = as_array(column)
        known = [missing, missing, *(names.number(read(text)) for text in texts)]
    return np.array(known, np.int32).take(places, mode="wrap")
