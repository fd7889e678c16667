"""Batches of calls out of any files, each file by the reader that suits it.

Large tables go to the engine (``engine``), all else, and what the engine leaves, to the line
reader (``reading``). Both give the same rows and fill the same report.

Each call counts once. Calls with an id are known by it: the engine sees to that where it reads all
files, else the line reader reads them. Calls without one are known by what stands before them in
their file: where two files begin alike, one may be a copy of the other, and the line reader, which
looks at every row, reads both.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import pairwise
from typing import Any

from energy_tracking.errors import UnreadableLogError
from energy_tracking.logs.batches.batch import BatchNames, CallBatch, batch_calls
from energy_tracking.logs.engine.finding import Recognised, find_table, recognise_table
from energy_tracking.logs.engine.opening import open_engine
from energy_tracking.logs.engine.queries import Table
from energy_tracking.logs.engine.reading import (
    Reading,
    read_once,
    read_span,
    read_table,
    states_span,
)
from energy_tracking.logs.files.headers import check_headers, find_ledgers
from energy_tracking.logs.files.opening import find_files
from energy_tracking.logs.files.pieces import HEAD
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import LogReading
from energy_tracking.logs.totals import RowSums

ReadTables = Callable[[Sequence[Table], Any], Mapping[str, Reading]]
"""Tables and the engine -> how each of those was read that were, by its path."""


def read_batches(
    paths: Iterable[str | os.PathLike[str]],
    names: BatchNames,
    *,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    report: ReadReport | None = None,
    known: Container[str] = (),
    wanted: Sequence[str] = ("model", "time", "session", "provider"),
    read_tables: ReadTables | None = None,
) -> Generator[CallBatch]:
    """Read the calls in files as batches of columns, each once, and the sums over several.

    Args:
        paths: Files, folders, patterns, or ``-`` for standard input.
        names: Takes the names in the batches.
        columns: The names of the columns of a table, as for ``read_logs``.
        strict: Raise at the first entry that cannot be read; the line reader reads all then.
        report: Filled with what is found and left out.
        known: Keys of calls that are recorded already, which are left out; likewise.
        wanted: Which of ``model``, ``time``, ``session`` and ``provider`` the caller looks at:
            of large tables the others are not read, of lines no names of the last two are kept.
            In place of ``time``, ``span`` is the first and the last time alone: those of the
            batches, or in the report.
        read_tables: Reads large tables in the caller's own way, as many of them as it likes.

    Raises:
        OSError: A file cannot be read, or a path leads to none.
        ConfigurationError: A column is named that there is none of.
        UnreadableLogError: Reading is strict, and an entry cannot be read.
    """
    report = ReadReport() if report is None else report
    files = list(find_files(paths, report.skipped))
    lines = LogReading(columns or {}, strict, report, known)
    check_headers(files, columns or {})
    # Its lines are known by the hash of their rows, which the line reader has.
    ledgers = find_ledgers(files)
    lines.know_ledgers(ledgers, is_alone=len(files) == 1)
    repeated = lines.report_repeated_names(files)
    recognised: dict[str, Recognised] = {}
    if not strict and not known and not ledgers:
        # Of two values of one name the engine would take the first.
        single = (path for path in dict.fromkeys(files) if path not in repeated)
        found_in = ((path, recognise_table(path, columns or {})) for path in single)
        recognised = {path: table for path, table in found_in if table is not None}
    with open_engine() if recognised else nullcontext() as connection:
        tables: dict[str, Table] = {}
        if connection is not None:
            tables = _choose_tables(files, recognised, connection)
        with_ids = [table for table in tables.values() if "id" in table.columns]
        if with_ids:
            found = None
            if len(with_ids) == len(files):
                found = read_once(with_ids, names, report, connection, wanted)
            if found is not None:
                report.files += len(files)
                for path in files:
                    _doubt(path, recognised, report)
                yield from found
                return
            for table in with_ids:
                del tables[table.path]

        others = [path for path in files if path not in tables]
        yield from batch_calls(lines.calls_of_files(others, is_all=not tables), names, wanted)
        try:
            readings = read_tables(list(tables.values()), connection) if read_tables else {}
            for path, table in tables.items():
                report.files += 1
                _doubt(path, recognised, report)
                reading = readings.get(path)
                if reading is None:
                    reading = Reading()
                    yield from read_table(table, names, report, reading, connection, wanted)
                if "span" in wanted and states_span(table):
                    read_span(table, report, reading, connection)
                # Nobody has added up those of Parquet.
                sums = reading.sums if reading.sums.rows else RowSums(rows=reading.rows)
                lines.remember_table(path, sums)
                if reading.has_rest:
                    rest = lines.calls_of_file(path, reading.is_left(), reading.sums)
                    yield from batch_calls(rest, names, wanted)
                    if (cut := report.cut_off.get(path)) is not None:
                        cut.line = reading.find_end(cut.line)
        except (OSError, UnreadableLogError, KeyboardInterrupt):
            # What was read until then counts, sums among it.
            yield from batch_calls(lines.finish(), names, wanted)
            raise
        if tables:
            yield from batch_calls(lines.settle(), names, wanted)


def _doubt(path: str, recognised: Mapping[str, Recognised], report: ReadReport) -> None:
    """Say with what guesses the rows of a table are counted."""
    for guess in recognised[path].doubted:
        report.doubt(path, guess)


def _choose_tables(
    files: Sequence[str], recognised: Mapping[str, Recognised], connection: object
) -> dict[str, Table]:
    """The files that the engine reads, without those of which one may be a copy of another."""
    found = {path: find_table(path, table, connection) for path, table in recognised.items()}
    if not any(found.values()):
        return {}
    named = Counter(files)
    alike = _find_alike([path for path in named if os.path.isfile(path)])
    return {
        path: table
        for path, table in found.items()
        if table is not None and path not in alike and named[path] == 1
    }


def _find_alike(files: Sequence[str]) -> set[str]:
    """The files that begin as another does."""
    heads = sorted((_read_head(path), path) for path in files)
    alike = set()
    for (head, path), (next_head, next_path) in pairwise(heads):
        # Of all that begin as this one does, the next in order is the first.
        if next_head.startswith(head):
            alike |= {path, next_path}
    return alike


def _read_head(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(HEAD)
