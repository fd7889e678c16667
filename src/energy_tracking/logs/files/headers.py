"""The heads of files: columns that a caller names, and names that come twice in one object."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from json import JSONDecoder
from typing import Any

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.logs.files.delimited import delimiter_of, split_header
from energy_tracking.logs.files.opening import BOMS, STANDARD_INPUT, kind_of
from energy_tracking.logs.files.packed import unpack_head
from energy_tracking.logs.files.pieces import HEAD

FIRST_ENTRY = 1 << 14
"""How much of a file is looked at for its first entry [byte]."""
REPEATED = (
    "its first entry has two values for the name {!r} in one object; of such the last is counted: "
    "where it is the wrong one, rename the other"
)


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


def find_repeated_names(files: Iterable[str]) -> dict[str, str]:
    """Find in which files the first entry has two values of one name that counts.

    Of all entries to know it would take as long as reading them; a program that writes one such
    entry writes all so.

    Args:
        files: The files.

    Returns:
        What is said of each file that has such, by its path.
    """
    found = ((path, _repeated_name(path)) for path in dict.fromkeys(files))
    return {path: REPEATED.format(name) for path, name in found if name is not None}


def _repeated_name(path: str) -> str | None:
    if path == STANDARD_INPUT or not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        head = unpack_head(stream.read(FIRST_ENTRY), FIRST_ENTRY)
    repeated: list[str] = []

    def build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        built = dict(pairs)
        if len(built) < len(pairs):
            counting = [(name, value) for name, value in pairs if _counts(name)]
            repeated.extend(name for name, value in counting if built[name] != value)
        return built

    with suppress(ValueError, RecursionError):
        # Of an entry that goes on behind, the objects in it that have ended are seen.
        text = head.decode("utf-8", "replace")
        JSONDecoder(object_pairs_hook=build_object).raw_decode(text, text.index("{"))
    return repeated[0] if repeated else None


def _counts(name: str) -> bool:
    """Whether what has this name may say how many tokens there were, or of which model."""
    return name in ("usage", "model") or "tok" in name.lower()


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
