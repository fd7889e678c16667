"""Databases of SQLite, as coding agents and command-line clients keep their calls.

opencode keeps messages and their parts as JSON; each message becomes a document like the one that
``opencode export`` writes. Its second version has a message for each request, in a table of its
own, where messages of the first may be, too. Zed keeps threads, packed. Of any other database the
rows of those tables are documents that have a column about tokens, or a cell with the JSON of a
usage; those of sessions are sums.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import chain
from typing import Any
from urllib.parse import quote

from energy_tracking.logs.files.packed import ZSTD
from energy_tracking.logs.sql import quote_name

SUMMED = frozenset({"session", "conversation", "thread"})
"""Tables of what takes several requests, without the ``s`` or the version at their end."""
_VERSION = re.compile(r"_v\d+$|s$")

_USAGES = (
    *('usage"', 'Usage"', 'prompt_tokens"', 'output_tokens"', 'prompt_token_count"'),
    "usage_metadata",
)
"""What is in a cell with a usage; one of MessagePack has no quotation marks."""

_MESSAGES = "SELECT id, session_id, data FROM message ORDER BY id"
_STEPS = "SELECT message_id, id, data FROM part WHERE data LIKE '%\"step-finish\"%' ORDER BY id"
_SECOND = "SELECT id, session_id, type, data FROM session_message ORDER BY id"
_THREADS = "SELECT id, data_type, data FROM threads ORDER BY id"
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
            has_first = {"id", "session_id", "data"} <= columns.get("message", set())
            has_second = {"id", "session_id", "type", "data"} <= columns.get(
                "session_message", set()
            )
            if has_first or has_second:
                first = _opencode_documents(connection, has_parts="part" in tables)
                second = _second_opencode_documents(connection, has_first=has_first)
                documents: Iterator[Any] = chain(
                    first if has_first else (), second if has_second else ()
                )
            elif {"id", "data_type", "data"} <= columns.get("threads", set()):
                documents = _zed_documents(connection)
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
    except sqlite3.Error as error:
        connection.close()
        if not isinstance(error, sqlite3.OperationalError):
            raise
        # The folder lets nothing be written, which a journal needs.
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


def _second_opencode_documents(connection: sqlite3.Connection, *, has_first: bool) -> Iterator[Any]:
    """The messages of sessions that have none of the first version."""
    known: set[object] = set()
    if has_first:
        known = {one for (one,) in connection.execute("SELECT DISTINCT session_id FROM message")}
    models: dict[object, dict[str, Any]] = {}
    for message_id, session_id, kind, data in connection.execute(_SECOND):
        if session_id in known:
            continue
        message = _decode(data)
        if not isinstance(message, dict):
            yield message
            continue
        model = message.get("model")
        if isinstance(model, dict):
            models[session_id] = {
                "modelID": model.get("id") or model.get("modelID"),
                "providerID": model.get("providerID"),
            }
        # A compaction is a request, too, of the model before it.
        role = "assistant" if "tokens" in message else kind
        own = {"role": role, "id": message_id, "sessionID": session_id}
        info = models.get(session_id, {}) | message | own
        yield {"info": {}, "messages": [{"info": info, "parts": []}]}


def _decode(data: object) -> Any:
    try:
        return json.loads(data)  # type: ignore[arg-type]
    except (TypeError, ValueError, RecursionError):
        return None


def _zed_documents(connection: sqlite3.Connection) -> Iterator[Any]:
    # Source: https://github.com/junhoyeo/tokscale/blob/main/crates/tokscale-core/src/sessions/zed.rs
    for thread, kind, data in connection.execute(_THREADS):
        try:
            is_packed = kind == "zstd"
            document = _decode(ZSTD.find_decompressor()().decompress(data) if is_packed else data)
        except Exception as error:  # the package is missing, or the data damaged
            raise ValueError(f"a thread cannot be unpacked: {error}") from None
        yield document | {"id": thread} if isinstance(document, dict) else document


def _rows(connection: sqlite3.Connection, columns: dict[str, set[str]]) -> Iterator[Any]:
    tables = [
        table
        for table, names in columns.items()
        if any("token" in name.lower() for name in names) or _has_usage(connection, table, names)
    ]
    if not tables:
        raise ValueError("a database without a table whose columns count tokens")
    for table in tables:
        rows = connection.execute(f"SELECT * FROM {quote_name(table)}")
        names = [column[0] for column in rows.description]
        summed = {"requests": None} if _VERSION.sub("", table.lower()) in SUMMED else {}
        for row in rows:
            yield summed | dict(zip(names, row, strict=True))


def _has_usage(connection: sqlite3.Connection, table: str, columns: set[str]) -> bool:
    """Whether a cell of a table has the JSON of a usage, whatever its name ends in."""
    cells = " OR ".join(
        f"instr({quote_name(name)}, '{usage}')" for name in sorted(columns) for usage in _USAGES
    )
    query = f"SELECT 1 FROM {quote_name(table)} WHERE {cells} LIMIT 1"
    return connection.execute(query).fetchone() is not None
