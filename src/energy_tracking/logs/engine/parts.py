"""Parts of a table, each a table of its own: what several processes can read at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from energy_tracking.logs.engine.queries import Table
from energy_tracking.logs.sql import quote_path

PART_ROWS = 3_000_000
"""Rows of a part at least [1], which take a processor about a fifth of a second."""
MOST_PARTS = 16
"""Parts of a table at most [1]: before each, the engine looks at all groups of rows in the file.
Two, three or four processes have as many each, or nearly."""


@dataclass(frozen=True, slots=True)
class Part:
    """Some rows of a file.

    Attributes:
        table: A table of these rows alone.
        rows: Their numbers in the file.
    """

    table: Table
    rows: range


def cut_table(table: Table, connection: Any) -> Iterator[Part]:
    """The parts of a table; none where its format has no rows that can be read alone.

    Args:
        table: The table.
        connection: The engine.
    """
    import duckdb

    if not table.is_parquet:
        return
    path = quote_path(table.path)
    try:
        query = f"SELECT num_rows FROM parquet_file_metadata({path})"
        ((count,),) = connection.execute(query).fetchall()
    except duckdb.Error:
        return
    each = max(PART_ROWS, -(-count // MOST_PARTS))
    for start in range(0, count, each):
        rows = range(start, min(start + each, count))
        # Groups of rows that have none of these are not read.
        source = (
            f"(FROM read_parquet({path}, file_row_number = true)"
            f" WHERE file_row_number >= {rows.start} LIMIT {len(rows)})"
        )
        yield Part(replace(table, source=source), rows)
