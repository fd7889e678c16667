"""A bar on a terminal while files are read, once that takes long; nothing anywhere else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from energy_tracking.logs.read_report import ReadReport

PATIENCE_SECONDS = 2.0
"""How long reading takes before a bar shows how far it is [s]."""
REFRESH_SECONDS = 0.2
"""How often the bar is drawn anew [s]."""


@contextmanager
def shown_progress(read: ReadReport, files: int) -> Iterator[None]:
    """Show what has been read so far, in a thread: reading may wait long for its next call.

    Args:
        read: Counts what is read.
        files: How many files there are [1].
    """
    if sys.stderr is None or not sys.stderr.isatty():
        yield
        return
    is_over = threading.Event()
    thread = threading.Thread(target=_draw, args=(read, files, is_over), daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def _draw(read: ReadReport, files: int, is_over: threading.Event) -> None:
    if is_over.wait(PATIENCE_SECONDS):
        return
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
    except ModuleNotFoundError:  # nothing that is asked for is missing
        return

    columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = Console(file=sys.stderr)
    total = files if files > 1 else None
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        while not is_over.wait(REFRESH_SECONDS):
            # The file that is open is not done yet.
            done = max(read.files - 1, 0)
            of_files = "" if total is None else f"{done:,} of {files:,} files, "
            calls = f"{of_files}{read.calls:,} calls"
            bar.update(task, completed=None if total is None else done, description=calls)
