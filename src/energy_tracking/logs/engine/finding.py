"""Which files DuckDB reads, and how: large tables of calls whose columns are known.

Order of events: a file is recognised by its first row, as the line reader would
(``recognise_table``), which needs no engine; the engine is asked for the types of its columns
(``find_table``). A further kind of file is a row in ``SOURCES``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from csv import reader as read_csv
from dataclasses import replace
from itertools import starmap, takewhile
from typing import Any, NamedTuple

from energy_tracking.logs.columns import mark_unit
from energy_tracking.logs.engine.queries import (
    READERS,
    TEXT_TYPES,
    Table,
    build_query,
    find_nameless,
)
from energy_tracking.logs.files.decoding import decode
from energy_tracking.logs.files.delimited import EMPTY_WORDS, PADDED, delimiter_of, split_header
from energy_tracking.logs.files.opening import STANDARD_INPUT, kind_of, read_documents
from energy_tracking.logs.files.packed import is_gzip, unpack_head
from energy_tracking.logs.files.pieces import HEAD
from energy_tracking.logs.formats import LogFile, Recogniser
from energy_tracking.logs.formats.base import UnreadableEntryError
from energy_tracking.logs.formats.tables import GIVEN_COLUMNS, KNOWN_COLUMNS
from energy_tracking.logs.formats.traces import AZURE_COLUMNS, AZURE_PROVIDER, AZURE_TRACE
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.sql import quote_name, quote_path, quote_text
from energy_tracking.logs.totals import NAMELESS, may_say_totals

ENGINE_BYTES = 4 << 20
"""From this size on a table is read by DuckDB [byte]: below, lines take at most some seconds."""
SHAPES = 100
"""How many sets of names the lines of a table of JSON may have [1]."""
_PACKED = ", compression='gzip'"
"""How DuckDB is told that a file is packed."""
LONGEST_LABEL = 100
"""How long the name of a row may be [character]: to read longer texts would take longer."""
LABELS = 2000
"""How many texts of a column of names are looked at for one of totals [1]."""
_TEXTS = ("model", "id")
"""Columns in which a number of JSON is none."""
PARQUET = b"PAR1"
"""How a file of Parquet begins."""


class Recognised(NamedTuple):
    """A table as its first row has it.

    Attributes:
        format: Name of the row of the table of formats.
        columns: The names of its columns by what they are.
        provider: Provider of all calls.
        doubted: With what guesses its rows are counted, as the report has it.
        names: The names of all columns, in their order.
        has_objects: Whether rows have objects that may name a model where its column does not.
        labels: The names of those with short texts, or nothing, in the first row.
    """

    format: str
    columns: dict[str, str]
    provider: str | None = None
    doubted: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    has_objects: bool = False
    labels: tuple[str, ...] = ()


def recognise_table(path: str, given: Mapping[str, str]) -> Recognised | None:
    """Recognise a large table of calls by its first row; None where the line reader must read.

    It needs no engine, which takes long to load.

    Args:
        path: The file.
        given: The names of columns that the caller gave.
    """
    try:
        if path == STANDARD_INPUT or os.path.getsize(path) < ENGINE_BYTES:
            return None
        first = next((document for _, document in read_documents(path)), None)
        found = _recognise(first, path, given) if isinstance(first, dict) else None
    except Exception:
        # Whatever is the matter with the file, the line reader says it.
        return None
    # The line reader must see what is left out here: a row with it may be no single call.
    if found is None or not {"input", "output"} <= found.columns.keys() <= READERS.keys():
        return None
    cells = (first or {}).items()
    labels = (name for name, cell in cells if cell is None or _is_short(cell))
    return found._replace(names=tuple(first or ()), labels=tuple(labels))


def _is_short(cell: object) -> bool:
    return type(cell) is str and len(cell) <= LONGEST_LABEL


def find_table(path: str, found: Recognised, connection: Any) -> Table | None:
    """Describe a table as DuckDB can read it; None where the line reader must.

    Args:
        path: The file.
        found: What ``recognise_table`` made of it.
        connection: The engine.
    """
    import duckdb

    try:
        with open(path, "rb") as stream:
            head = stream.read(HEAD)
        if _kind_of(head) == "json lines":
            packing = _PACKED if is_gzip(head) else ""
            fitted = _fit_shapes(found, path, packing, connection)
            if fitted is None:
                return None
            found = fitted
        format, columns, provider = found[:3]
        source = _find_source(path, head, found, connection)
    except Exception:
        # Whatever is the matter with the file, the line reader says it.
        return None
    if source is None:
        return None
    query, types, is_text = source
    typed = {what: (name, types[name]) for what, name in columns.items() if name in types}
    if typed.keys() != columns.keys():
        return None
    is_parquet = head.startswith(PARQUET)
    has_objects = found.has_objects or any(starmap(_may_hold_model, types.items()))
    if has_objects and not typed.get("model", ("", ""))[1].startswith((*TEXT_TYPES, "JSON")):
        return None  # each row has its model there
    first = _list_first(found.names, types, columns)
    # As ``delimited`` has it.
    has_points = is_text and f"delim={quote_text(';')}" in query
    table = Table(
        *(path, query, typed, format, provider, is_text, is_parquet),
        first=first,
        has_points=has_points,
        has_objects=has_objects,
    )
    if not is_parquet:
        return table
    try:
        return _look_at_end(table, connection)
    except duckdb.Error:
        return table  # damaged, as it turns out where it is read


def _may_hold_model(name: str, type: str) -> bool:
    """Whether the cells of a column are objects that may name a model.

    Args:
        name: Its name.
        type: Its type.
    """
    return type.startswith("MAP") or (
        type.startswith("STRUCT") and type.endswith(")") and (name == "model" or "model" in type)
    )


def _list_first(
    names: Sequence[str], types: Mapping[str, str], columns: Mapping[str, str]
) -> list[str]:
    """The columns of text before input and output.

    Args:
        names: All columns, in their order.
        types: The types of those that can be read.
        columns: What a column is -> its name.
    """
    # Where one of these has none, the line reader sees the row.
    counts = (columns["input"], columns["output"])
    before = takewhile(lambda name: name not in counts, names)
    return [name for name in before if types.get(name) == "VARCHAR"]


def _look_at_end(table: Table, connection: Any) -> Table | None:
    """A table of Parquet, by whether a row adds up others; None where the counts of the last do.

    Args:
        table: The table.
        connection: The engine.
    """
    known = {name for name, _ in table.columns.values()}
    more = [name for name in table.first if name not in known]
    nameless = find_nameless(table).get("nameless", "false")
    file = quote_path(table.path)
    ((count,),) = connection.execute(
        f"SELECT num_rows FROM parquet_file_metadata({file})"
    ).fetchall()
    rows = f"read_parquet({file}, file_row_number = true) WHERE file_row_number = {count - 1}"
    cells = ", ".join([nameless, *map(quote_name, more)])
    last = connection.execute(f"SELECT {cells} FROM {rows}").fetchall()
    if any(is_nameless for is_nameless, *_ in last) and _ends_in_sums(table, nameless, connection):
        return None
    if any(may_say_totals(cell) for _, *row in last for cell in row):
        return table
    if any(_names_totals(table, name, connection) for name in more):
        return table
    # To read more columns would take longer.
    return replace(table, first=[name for name in table.first if name in known])


def _names_totals(table: Table, column: str, connection: Any) -> bool:
    """Whether a column has a text that may say that its row adds up others.

    Where it has many texts, those of the largest input are looked at: the row that adds up most
    has it, and where there is one, all are looked through.

    Args:
        table: The table.
        column: Its name.
        connection: The engine.
    """
    named = [quote_name(table.columns[what][0]) for what in ("model", "time")
             if what in table.columns]  # fmt: skip
    nameless = f"({' IS NULL OR '.join(named)} IS NULL)" if len(named) > 1 else "true"
    name, inputs = quote_name(column), quote_name(table.columns["input"][0])
    rows = f"FROM {table.source} WHERE {nameless}"
    for some in (
        # Of more, DuckDB stops at once; the largest it finds by what Parquet says of its parts.
        f"SELECT DISTINCT {name} AS text {rows} LIMIT {LABELS}",
        f"SELECT {name} AS text {rows} AND {inputs} = (SELECT max({inputs}) {rows}) LIMIT {LABELS}",
    ):
        texts = connection.execute(f"SELECT left(text, {LONGEST_LABEL}) FROM ({some})").fetchall()
        if any(may_say_totals(text) for (text,) in texts):
            return True
        if len(texts) < LABELS:
            return False
    return False


def _ends_in_sums(table: Table, nameless: str, connection: Any) -> bool:
    """Whether the last row of a table, which has no name, has the sums of all others.

    Args:
        table: The table.
        nameless: Where a row has no name, in SQL.
        connection: The engine.
    """
    ((many,),) = connection.execute(
        f"SELECT count(*) FROM {table.source} WHERE {nameless}"
    ).fetchall()
    query = build_query(table, ())
    if many > NAMELESS or query is None:
        return False
    sums = ", ".join(f"sum({name}), arg_max({name}, row_)" for name in ("input_", "output_"))
    query = f"SELECT *, row_number() OVER () AS row_ FROM ({query})"
    ((*found,),) = connection.execute(f"SELECT {sums} FROM ({query})").fetchall()
    inputs, last_input, outputs, last_output = (number or 0 for number in found)
    return inputs == 2 * last_input and outputs == 2 * last_output and inputs + outputs > 0


def _recognise(
    document: Mapping[str, Any], path: str, given: Mapping[str, str]
) -> Recognised | None:
    """Format, columns and provider of a table, by its first row; None where it is no table."""
    file = LogFile(path, ReadReport(), columns=given)
    for row in Recogniser(has_columns=bool(given)).rows_for(dict(document)):
        try:
            found = row.read(dict(document), file)
        except UnreadableEntryError:
            found = []
        # Of other formats a table may have the marks, such as a column "session", and no more.
        if found is not None:
            break
    else:
        return None
    if row not in (GIVEN_COLUMNS, KNOWN_COLUMNS, AZURE_TRACE):
        return None
    if row is GIVEN_COLUMNS:
        if not set(given.values()) <= document.keys():
            return None  # perhaps mistyped, which the line reader says
        return Recognised(row.name, mark_unit(dict(given)))
    if row is AZURE_TRACE:
        present = {what: name for what, name in AZURE_COLUMNS.items() if name in document}
        return Recognised(row.name, present, AZURE_PROVIDER)
    columns = file.memory["columns"][tuple(document)] or {}
    return Recognised(row.name, columns, doubted=file.report.doubted.get(path, ()))


def _fit_shapes(found: Recognised, path: str, packing: str, connection: Any) -> Recognised | None:
    """A table of lines of JSON with the columns of all; None where they differ in what they are.

    Args:
        found: What its first line has.
        path: The file.
        packing: How it is packed, in SQL.
        connection: The engine.
    """
    source = f"read_ndjson_objects({quote_path(path)}, ignore_errors=true{packing})"
    lines = connection.execute(
        f"SELECT any_value(json)::VARCHAR FROM {source} GROUP BY json_keys(json) LIMIT {SHAPES + 1}"
    ).fetchall()
    rows = [row for (line,) in lines if line is not None and type(row := decode(line)) is dict]
    counts = {found.columns["input"], found.columns["output"]}
    # The line reader sees the others.
    rows = [row for row in rows if counts <= row.keys()]
    if len(lines) > SHAPES:
        return None
    columns = dict(found.columns)
    if found.format == KNOWN_COLUMNS.name:
        shapes = [_recognise(row, path, {}) for row in rows]
        for shape in shapes:
            if shape is None or shape.format != found.format:
                return None
            columns |= shape.columns
        for row, shape in zip(rows, shapes, strict=True):
            present = {what: name for what, name in columns.items() if name in row}
            if shape is None or shape.columns != present:
                return None
    has_objects = any(type(cell) is dict for row in rows for cell in row.values())
    if not columns.keys() <= READERS.keys() or (has_objects and "model" not in columns):
        return None
    return found._replace(columns=columns, has_objects=has_objects)


Source = tuple[str, dict[str, str], bool]


def _find_source(path: str, head: bytes, found: Recognised, connection: Any) -> Source | None:
    """How DuckDB reads a file: in SQL, the type of each column, and whether cells are text."""
    if head.startswith(PARQUET):
        query = f"read_parquet({quote_path(path)})"
        described = connection.execute(f"DESCRIBE SELECT * FROM {query}").fetchall()
        return query, {name: type for name, type, *_ in described}, False
    packing = ""
    kind = _kind_of(head)
    if is_gzip(head):
        head, packing = unpack_head(head, HEAD), _PACKED
    if head[:1] in b"\xff\xfe\x00" or head[1:2] == b"\0":
        return None  # not UTF-8
    make = SOURCES.get(kind)
    return None if make is None else make(path, head, packing, found)


def _kind_of(head: bytes) -> str:
    """The kind of a file by its beginning, packed or not."""
    head = unpack_head(head, HEAD) if is_gzip(head) else head
    return "" if head.startswith(PARQUET) else kind_of(head.removeprefix(b"\xef\xbb\xbf"))


def _describe_csv(path: str, head: bytes, packing: str, found: Recognised) -> Source | None:
    lines = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace").split("\n")
    header, _, number = split_header(iter(lines[:-1]))
    delimiter = delimiter_of(header.encode())
    # What is printed has lines that are no rows, and a comment no names that DuckDB would find.
    if delimiter is None or delimiter in PADDED or lines[number - 1] != header:
        return None
    if number > 1 and len({line.endswith("\r") for line in lines[:number]}) > 1:
        return None  # in which DuckDB would find no row
    names = [name.strip() for name in next(read_csv([header], delimiter=delimiter))]
    if len(set(names)) < len(names) or "" in names:
        return None
    typed = ", ".join(f"{quote_text(name)}: 'VARCHAR'" for name in names)
    empty = ", ".join(map(quote_text, EMPTY_WORDS))
    query = (
        f"read_csv({quote_path(path)}, header=true, auto_detect=false, null_padding=true, "
        f"skip={number - 1}, "
        f"delim={quote_text(delimiter)}, quote='\"', escape='\"', nullstr=[{empty}], "
        f"columns={{{typed}}}{packing})"
    )
    return query, dict.fromkeys(names, "VARCHAR"), True


def _describe_json_lines(path: str, head: bytes, packing: str, found: Recognised) -> Source | None:
    if head.startswith(b"\xef\xbb\xbf"):
        return None
    # Of these the line reader takes texts alone.
    known = {name: "JSON" if what in _TEXTS else "VARCHAR" for what, name in found.columns.items()}
    counts = (found.columns["input"], found.columns["output"])
    before = takewhile(lambda name: name not in counts, found.names)
    # One of these may say that its row is one of totals.
    names = dict.fromkeys((name for name in before if name in found.labels), "VARCHAR") | known
    typed = ", ".join(f"{quote_text(name)}: '{type}'" for name, type in names.items())
    query = (
        f"read_json({quote_path(path)}, format='newline_delimited', ignore_errors=true, "
        f"columns={{{typed}}}{packing})"
    )
    return query, names, False


# Kind of file -> its description.
SOURCES: dict[str, Callable[[str, bytes, str, Recognised], Source | None]] = {
    "table": _describe_csv,
    "json lines": _describe_json_lines,
}
