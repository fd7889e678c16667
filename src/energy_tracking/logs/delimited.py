"""Tables of text: rows of cells, their names in the first line.

Comma, semicolon, tab or bar separate them, whichever the first line has most of.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

DELIMITER_LINE = re.compile(rb"\Asep=.\r?\n")
"""What Excel begins a table with."""
_NAME = re.compile(r"""[^\d{}\[\]"<>=][^{}\[\]"<>=]{0,99}""")


class UnreadableFileError(Exception):
    """A file ends too early, cannot be unpacked, or needs a package that is missing."""


def delimiter_of(header: bytes) -> str | None:
    """What separates the names in the first line of a table; None where it is no such line."""
    line = header.decode("utf-8", "replace").strip()
    delimiter = max(",;\t|", key=line.count)
    try:
        names = next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        return None
    are_names = all(name.strip() == "" or _NAME.fullmatch(name.strip()) for name in names)
    return delimiter if len(names) > 1 and are_names else None


def read_table(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Cut a table into rows, each with its line.

    Raises:
        UnreadableFileError: Its last row is cut off.
    """
    text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
    # A cell may hold a whole conversation. The limit is one of the process.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        header = text.readline()
        while header and (not header.strip() or header.startswith("sep=")):
            header = text.readline()
        delimiter = delimiter_of(header.encode("utf-8", "replace")) or ","
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
        line = ""

        def remember_line() -> Iterator[str]:
            nonlocal line
            for line in text:  # noqa: UP028 the last one is looked at
                yield line

        rows = csv.reader(remember_line(), delimiter=delimiter)
        for row in rows:
            if len(row) < len(names) and row and not line.endswith(("\n", "\r")):
                raise UnreadableFileError("its last row is cut off")
            if row:
                yield rows.line_num + 1, dict(zip(names, map(_parse_cell, row), strict=False))
    finally:
        csv.field_size_limit(limit)
        # Or it would close the stream, which is not its own.
        text.detach()


def _parse_cell(text: str) -> str | int | None:
    """A cell, as JSON would have it: a whole number, nothing, or text."""
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    return text or None
