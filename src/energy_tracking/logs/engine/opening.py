"""DuckDB, opened with what every reading of it needs: an order of rows, a zone, a folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from energy_tracking.logs.sql import quote_text

MEMORY = "512MB"
"""What DuckDB holds before it uses a temporary file."""


def engine_folder() -> tempfile.TemporaryDirectory[str]:
    """A folder for what engines put aside, removed after use."""
    return tempfile.TemporaryDirectory(prefix="energy_tracking-")


@contextmanager
def open_engine(threads: int | None = None) -> Iterator[Any]:
    """A connection to DuckDB; None where it, or pyarrow beside it, is not installed.

    Args:
        threads: How many it may run [1]; None: one for each processor.
    """
    try:
        import duckdb
        import pyarrow  # noqa: F401  what DuckDB gives columns as
    except ImportError:
        yield None
        return
    with engine_folder() as folder, duckdb.connect() as connection:
        for setting in (
            f"memory_limit = '{MEMORY}'",
            f"temp_directory = {quote_text(folder)}",
            "streaming_buffer_size = '32MB'",
            "preserve_insertion_order = true",
            # It makes a join of many words after ``IN``, which keeps rows in no order.
            "disabled_optimizers = 'in_clause'",
            "autoinstall_known_extensions = false",
            "TimeZone = 'UTC'",
            # What stands at the end of a file is wanted again for each of its parts.
            "parquet_metadata_cache = true",
            # It would draw a bar of its own, in a pipe too.
            "enable_progress_bar = false",
            *([] if threads is None else [f"threads = {threads}"]),
        ):
            try:
                connection.execute(f"SET {setting}")
            except duckdb.Error:
                # Without a time zone, times of this build cannot be trusted.
                yield None
                return
        yield connection
