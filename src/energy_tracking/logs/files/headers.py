"""The headers of tables, against the columns that a caller names."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Mapping, Sequence

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.logs.files.delimited import delimiter_of, split_header
from energy_tracking.logs.files.opening import BOMS, STANDARD_INPUT, kind_of
from energy_tracking.logs.files.packed import unpack_head
from energy_tracking.logs.files.pieces import HEAD


def check_headers(files: Sequence[str], columns: Mapping[str, str]) -> None:
    """Check that tables have the columns that are named, before anything is counted.

    A table with none of them is left to its own names, as long as another file has them.

    Args:
        files: The files.
        columns: The names of the columns.

    Raises:
        ConfigurationError: A table has no such column; says which is nearest.
    """
    if not columns:
        return
    for path in files:
        header = read_header(path)
        if header is None:
            continue
        missing = [
            name for name in columns.values() if not {name, name.split(".")[0]} & set(header)
        ]
        if missing and (len(missing) < len(columns) or len(files) == 1):
            raise ConfigurationError(f"{path}: {not_one_of('column', missing[0], header)}")


def find_ledgers(files: Sequence[str]) -> list[str]:
    """List the files that start as our ledger does, packed or not."""
    return [path for path in files if _is_ledger(path)]


def _is_ledger(path: str) -> bool:
    """Whether a file starts as our ledger does, packed or not."""
    if path == STANDARD_INPUT or not os.path.isfile(path):
        return False
    with open(path, "rb") as stream:
        head = stream.read(1 << 12)
    return b'"ledger"' in unpack_head(head, HEAD)


def read_header(path: str) -> tuple[str, ...] | None:
    """The names of a table's columns; None where a file is none, or has to be read to know.

    Raises:
        OSError: The file cannot be read.
    """
    if path == STANDARD_INPUT or not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        head = stream.read(HEAD)
    try:
        if head.startswith(b"PAR1"):
            return _read_parquet_header(path)
        head = unpack_head(head, HEAD)
        encoding = next((name for bom, name in BOMS if head.startswith(bom)), "utf-8")
        text = head.decode(encoding, "replace").removeprefix("\ufeff").lstrip()
    except UnicodeError:
        return None
    header, _, _ = split_header(iter(text.splitlines()))
    delimiter = delimiter_of(header.encode()) if kind_of(text.encode()) == "table" else None
    if delimiter is None:
        return None
    names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True))
    return tuple(name.strip() for name in names)


def _read_parquet_header(path: str) -> tuple[str, ...] | None:
    try:
        import duckdb
    except ImportError:
        return None
    query = "DESCRIBE SELECT * FROM read_parquet(?)"
    with duckdb.connect() as connection:
        try:
            described = connection.execute(query, [glob.escape(path)]).fetchall()
        except duckdb.Error:  # which reading it will say
            return None
    return tuple(name for name, *_ in described)
