"""Names and texts in SQL, as DuckDB and SQLite take them."""

from __future__ import annotations

import glob


def quote_text(text: str) -> str:
    """A text as a value."""
    return "'" + text.replace("'", "''") + "'"


def quote_path(path: str) -> str:
    """The name of one file as a value, of which no sign stands for others."""
    return quote_text(glob.escape(path))


def quote_name(name: str) -> str:
    """The name of a table or of a column."""
    return '"' + name.replace('"', '""') + '"'
