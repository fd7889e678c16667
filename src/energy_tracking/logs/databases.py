"""Databases of SQLite, as coding agents and command-line clients keep their calls.

opencode keeps messages and their parts as JSON; each message becomes a document like the one that
``opencode export`` writes. Of any other database the rows of those tables are documents that have
a column about tokens.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.parse import quote

from energy_tracking.logs.engine.queries import quote_name

_MESSAGES = "SELECT id, session_id, data FROM message ORDER BY id"
_STEPS = "SELECT message_id, id, data FROM part WHERE data LIKE '%\"step-finish\"%' ORDER BY id"
_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"


def read_database(path: str) -> Iterator[tuple[int, Any]]:
    """The documents in a database, numbered from 1.

    Raises:
        ValueError: It is damaged, or has no table of calls.
    """
    try:
        with closing(_open(path)) as connection:
            tables = [name for (name,) in connection.execute(_TABLES)]
            columns = {table: _columns_of(connection, table) for table in tables}
            if {"id", "session_id", "data"} <= columns.get("message", set()):
                documents = _opencode_documents(connection, has_parts="part" in tables)
            else:
                documents = _rows(connection, columns)
            yield from enumerate(documents, start=1)
    except sqlite3.Error as error:
        raise ValueError(f"the database cannot be read: {error}") from error


def _open(path: str) -> sqlite3.Connection:
    """Open without writing; of one that is in use, what is in its journal is read too."""
    address = f"file:{quote(path)}?mode=ro"
    connection = sqlite3.connect(address, uri=True)
    try:
        connection.execute(_TABLES).fetchone()
    except sqlite3.OperationalError:
        # The folder lets nothing be written, which a journal needs.
        connection.close()
        connection = sqlite3.connect(f"{address}&immutable=1", uri=True)
    return connection


def _columns_of(connection: sqlite3.Connection, table: str) -> set[str]:
    return {row[1] for row in connection.execute(f"PRAGMA table_info({quote_name(table)})")}


def _opencode_documents(connection: sqlite3.Connection, *, has_parts: bool) -> Iterator[Any]:
    # Source: https://github.com/sst/opencode/blob/dev/packages/opencode/src/session
    steps: dict[object, list[Any]] = {}
    for message_id, part_id, data in connection.execute(_STEPS) if has_parts else ():
        part = _decode(data)
        if isinstance(part, dict):
            steps.setdefault(message_id, []).append(part | {"id": part_id})
    for message_id, session_id, data in connection.execute(_MESSAGES):
        message = _decode(data)
        if not isinstance(message, dict):
            yield message
            continue
        info = message | {"id": message_id, "sessionID": session_id}
        parts = steps.get(message_id, [])
        yield {"info": {}, "messages": [{"info": info, "parts": parts}]}


def _decode(data: object) -> Any:
    try:
        return json.loads(data)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return None


def _rows(connection: sqlite3.Connection, columns: dict[str, set[str]]) -> Iterator[Any]:
    tables = [
        table for table, names in columns.items() if any("token" in name.lower() for name in names)
    ]
    if not tables:
        raise ValueError("a database without a table whose columns count tokens")
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {quote_name(table)}")
        names = [column[0] for column in rows.description]
        for row in rows:
            yield dict(zip(names, row, strict=True))
