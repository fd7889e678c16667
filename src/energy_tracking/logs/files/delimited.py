"""Tables of text: rows of cells, their names in the first line.

Comma, semicolon, tab or bar separate them, whichever the line of names has most of. Before it may
stand what Excel writes, comments, and titles, where a line of names that count tokens follows; of
names that are a comment themselves, the last line is taken where the next one is no line of names.
"""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice
from typing import Any, BinaryIO

from energy_tracking.logs.columns import columns_of, spells_number
from energy_tracking.logs.files.decoding import NOT_JSON, decode

_NAME = re.compile(r"""[^\d{}\[\]"<>=][^{}\[\]"<>=]{0,99}(?: \[[^{}\[\]"<>=]{1,20}\])?""")
"""In brackets may follow a unit or a zone, as in ``TimeGenerated [UTC]``."""


DELIMITERS = ",;\t|\u2502"
"""What may separate cells; the last is what DuckDB and SQLite draw between them."""
PADDED = ("|", "\u2502")
"""Those around cells as clients of databases print them, and Markdown has them."""


class UnreadableFileError(Exception):
    """A file ends too early, cannot be unpacked, or needs a package that is missing."""


BEYOND = " beyond the names"
"""Where a row has its cells that no column is named for, as a text."""
TITLE_LINES = 20
"""Lines of titles before the names at most [1]."""
LOOKED_AT = 100
"""Lines that are looked at for names, comments and empty ones among them [1]."""
NAME_LINES = 10
"""Lines that the names may go on over [1], where they have line breaks."""


def delimiter_of(header: bytes) -> str | None:
    """What separates the names in the first line of a table; None where it is no such line."""
    line = header.decode("utf-8", "replace").strip()
    delimiter, names = _split_names(line)
    are_names = all(name == "" or _NAME.fullmatch(name) for name in names)
    return delimiter if len(names) > 1 and (are_names or count_tokens(line)) else None


def count_tokens(line: str) -> bool:
    """Whether a line has names of columns, of which one counts tokens."""
    lower = line.lower()
    if not any(part in lower for part in ("tok", "put", "prompt")):
        return False  # nearly always
    _, names = _split_names(line)
    return (
        len(names) > 1
        and columns_of(tuple(names)) is not None
        and not any(map(spells_number, names))
    )


def _split_names(line: str) -> tuple[str, list[str]]:
    """What separates the names in a line, and the names; none where they cannot be split."""
    delimiter = max(DELIMITERS, key=line.count)
    try:
        names = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:
        names = []
    return delimiter, [name.strip() for name in names]


_OBJECT = re.compile(rb"^[ \t\r]*\{", re.MULTILINE)
_OBJECT_IN_LINE = re.compile(rb'^(?P<before>[^\n"{]*)\{"[^\n]*\}(?P<after>[^\n}]*)$', re.MULTILINE)


def is_header(line: str, rest: bytes) -> bool:
    """Whether a line is that with the names of a table, and not of a log.

    Args:
        line: The line.
        rest: What follows, as far as it was read.
    """
    first = line.encode()
    for found in _OBJECT.finditer(rest):
        # Below titles, the line itself stands in the rest.
        in_cell = rest[: found.start()].rpartition(first)[2].count(b'"') % 2
        object, _, _ = rest[found.start() :].partition(b"\n")
        # In a cell its quotes are doubled; one that stands alone above may be of no cell.
        if not in_cell or decode(object) is not NOT_JSON:
            return False  # a line of its own
    delimiter, inside = delimiter_of(first), _OBJECT_IN_LINE.search(rest)
    if delimiter is None or inside is None or count_tokens(line):
        return delimiter is not None
    # Lines of a log have objects, too: in a row they stand in a cell of their own.
    mark = delimiter.encode()
    before, after = inside["before"].rstrip(b" "), inside["after"].strip()
    begins_alike = first.partition(mark)[0] == before.partition(mark)[0]
    return (
        (not before or before.endswith(mark))
        and (not after or after.startswith(mark))
        and before.count(mark) + after.count(mark) == first.count(mark)
        and not begins_alike
    )


def split_header(lines: Iterator[str]) -> tuple[str, list[str], int]:
    """Find the line with the names of a table.

    Args:
        lines: Its lines, which are taken as far as is needed.

    Returns:
        That line, those behind it that were taken, and the number of all before them [1].
    """
    taken = list(islice(lines, LOOKED_AT))
    titles = 0
    for number, line in enumerate(taken, start=1):
        if line.startswith(("#", "sep=")) or line.isspace() or not line:
            continue
        header, end = _join_quoted(taken, number)
        if count_tokens(header):
            return header, taken[end:], end
        titles += 1
        if titles > TITLE_LINES:
            break
    comment, number = "", 0
    for number, line in enumerate(chain(taken, lines), start=1):
        if line.startswith("#"):
            comment = line.lstrip("#").strip()
        elif line.strip() and not line.startswith("sep="):
            rest = taken[number:]
            if comment and _has_names(comment) and not _has_names(line):
                return comment, [line, *rest], number - 1
            return line, rest, number
    return comment, [], number


def _join_quoted(lines: Sequence[str], number: int) -> tuple[str, int]:
    """A line with those that a quoted name in it goes on over, and the number of the last [1].

    Args:
        lines: All lines.
        number: That of the first [1].
    """
    header, end = lines[number - 1], number
    for line in lines[number : number + NAME_LINES]:
        if header.count('"') % 2 == 0:
            break
        header, end = f"{header.rstrip()}\n{line}", end + 1
    return header, end


def _has_names(line: str) -> bool:
    return delimiter_of(line.encode("utf-8", "replace")) is not None


def read_table(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Cut a table into rows, each with its line.

    Raises:
        UnreadableFileError: Its last row is cut off.
    """
    text = io.TextIOWrapper(stream, "utf-8", errors="replace", newline="")
    # A cell may hold a whole conversation. The limit is one of the process.
    limit = csv.field_size_limit(sys.maxsize)
    try:
        header, taken, number = split_header(iter(text.readline, ""))
        delimiter = delimiter_of(header.encode("utf-8", "replace")) or ","
        is_padded = delimiter in PADDED
        split = partial(csv.reader, delimiter=delimiter, skipinitialspace=True)
        names = _tell_apart([name.strip() for name in next(split([header]), [])])
        parse = partial(_parse_cell, grouped=_GROUPED.get(delimiter, _GROUPED_BY_COMMAS))
        line = ""

        def remember_line() -> Iterator[str]:
            nonlocal line
            for line in chain(taken, text):  # noqa: UP028 the last one is looked at
                yield line

        rows = split(remember_line())
        for cells in rows:
            row = [cell.strip() for cell in cells] if is_padded else cells
            if is_padded and (len(row) == 1 or _RULE.issuperset("".join(row))):
                continue  # how many rows there are, or a line that is drawn
            if len(row) < len(names) and row and not line.endswith(("\n", "\r")):
                raise UnreadableFileError("its last row is cut off")
            if row:
                document = dict(zip(names, map(parse, row), strict=False))
                if len(row) < len(names):
                    document |= dict.fromkeys(names[len(row) :])
                elif len(row) > len(names) and any(beyond := row[len(names) :]):
                    document[BEYOND] = delimiter.join(beyond)
                yield rows.line_num + number, document
    finally:
        csv.field_size_limit(limit)
        # Or it would close the stream, which is not its own.
        text.detach()


_COPY = re.compile(rb"^COPY \S+ \((?P<names>.*)\) FROM stdin;\s*$")
_ESCAPED = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}
DUMP = re.compile(rb"^(?:--\s+-- PostgreSQL database |COPY \S+ \(.*\) FROM stdin;$)", re.MULTILINE)
"""How a dump begins that ``pg_dump`` writes."""


def read_dump(stream: BinaryIO) -> Iterator[tuple[int, Any]]:
    """Read the rows of all tables in a dump of PostgreSQL, each with its line.

    Source: https://www.postgresql.org/docs/current/sql-copy.html (text format)
    """
    names: list[str] = []
    for number, line in enumerate(stream, start=1):
        begun = _COPY.match(line)
        if begun is not None:
            listed = begun["names"].decode("utf-8", "replace").split(", ")
            names = [name.strip('"') for name in listed]
        elif line.startswith(b"\\."):
            names = []
        elif names:
            cells = line.rstrip(b"\r\n").decode("utf-8", "replace").split("\t")
            row = zip(names, map(_unescape, cells), strict=False)
            yield number, {name: _parse_cell(cell, _GROUPED_BY_COMMAS) for name, cell in row}
        elif line.startswith(b"INSERT INTO "):
            yield number, NOT_JSON


def _unescape(cell: str) -> str:
    if "\\" not in cell or cell == "\\N":
        return cell
    return _ESCAPED.sub(lambda found: _ESCAPES.get(found[1], found[1]), cell)


def _tell_apart(names: list[str]) -> list[str]:
    """Names of columns, of which a later one of the same name has its place behind it."""
    first = {name: place for place, name in reversed(list(enumerate(names)))}
    return [
        name if first[name] == place else f"{name}.{place + 1}" for place, name in enumerate(names)
    ]


EMPTY_WORDS = (
    *("", "NULL", "null", "None", "\\N", "N/A", "n/a", "#N/A", "NA", "<NA>"),
    *("-", "--", "\u2013", "\u2014"),
)
"""What programs write into a cell that has nothing."""
_RULE = frozenset("-=:+ \u2500\u253c\u251c\u2524")
"""What the line below the names of a printed table has."""
_GROUPED_BY_COMMAS = re.compile(
    r"(?P<whole>\d{1,3}(?:([,'\u2019\xa0\u202f ])\d{3}(?:\2\d{3})*|(?:\.\d{3}){2,})"
    r"|\d{1,2}(?:,\d\d)+,\d{3})(?:\.0+)?"
)
"""A whole number whose thousands are set apart; ``12.000`` may be twelve."""
_GROUPED = {
    ";": re.compile(r"(?P<whole>\d{1,3}(?:([.'\u2019\xa0\u202f ])\d{3}(?:\2\d{3})*)?|\d+)(?:,0+)?")
}
"""The same where a semicolon separates the cells, as where a comma sets decimals apart."""


def _parse_cell(text: str, grouped: re.Pattern[str]) -> str | int | None:
    """A cell, as JSON would have it: a whole number, nothing, or text.

    Args:
        text: The cell.
        grouped: What a number looks like whose thousands are set apart.
    """
    if text.isascii() and text.isdigit() and len(text) < 20:
        return int(text)
    if text[:1].isdigit() and len(text) < 26 and (found := grouped.fullmatch(text)):
        return int("".join(filter(str.isdigit, found["whole"])))
    return None if text in EMPTY_WORDS else text
