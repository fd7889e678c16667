"""Large tables read in parts, by several processes, each of which adds its parts up.

Order of events: tables are cut into parts (``logs.engine.parts``); other processes read some of
them and this one reads others meanwhile; the report takes their sums in, in the order of the rows,
so that the number of processes changes no digit. A part that another process could not read is read
here, which is said. Where other processes are not worth their start, the tables are left to the
caller.

They are processes, not threads: numpy lets other threads run between any two of its steps, and to
hand over so often takes longer than several threads would save.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing import get_context, parent_process
from multiprocessing.util import Finalize
from typing import Any, TypeVar

from energy_tracking.cli.interruption import signals_waiting
from energy_tracking.cli.reports.collect import Collector, Report, Selection
from energy_tracking.estimation import Estimation
from energy_tracking.logs.batches.grouping import Grouping
from energy_tracking.logs.engine.opening import engine_folder, open_engine
from energy_tracking.logs.engine.parts import Part, cut_table
from energy_tracking.logs.engine.queries import Table
from energy_tracking.logs.engine.reading import (
    Reading,
    UnlistedTextError,
    list_texts,
    read_table,
)
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.notices import without_log_lines
from energy_tracking.settings import Settings

PARTS_EACH = 3
"""Parts for each process at least [1]: to start one takes as long as to read one or two."""
MOST_PROCESSES = 4
"""Processes at most, this one included [1]: each takes about 190 MiB."""
AHEAD = 2
"""Parts that another process has before it [1], so that it need not wait for the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a report asks for, as another process needs it.

    Attributes:
        settings: How calls are estimated.
        selection: Which calls are in it, and how they are grouped.
        is_full: Whether hours and sessions are added up too.
        wanted: Which columns are read, as for ``read_batches``.
    """

    settings: Settings
    selection: Selection
    is_full: bool
    wanted: tuple[str, ...]


T = TypeVar("T")

Added = tuple[Report, Reading]
"""The sums of a part, and how it was read."""


class Worker:
    """Reads parts, in whichever process."""

    def __init__(self, job: Job, connection: Any) -> None:
        """Take what is asked for.

        Args:
            job: That.
            connection: The engine.
        """
        self._job = job
        self._engine = connection
        self._estimation = Estimation(job.settings)

    def read(self, part: Part) -> Added:
        """Read the calls of a part and add them up."""
        try:
            return self._read(part.table)
        except UnlistedTextError:
            return self._read(replace(part.table, texts=None))

    def _read(self, table: Table) -> Added:
        job, reading = self._job, Reading()
        report = Report(
            title="",
            settings=job.settings,
            selection=job.selection,
            read=ReadReport(),
            table=Grouping(job.selection.by),
        )
        collector = Collector(report, self._estimation, is_full=job.is_full)
        for batch in read_table(
            table, report.names, report.read, reading, self._engine, job.wanted
        ):
            collector.add(batch)
        return report, reading


class PartReader:
    """Reads tables into a report.

    Attributes:
        failure: What befell another process; None: nothing.
    """

    def __init__(self, report: Report, job: Job) -> None:
        """Take where the sums go.

        Args:
            report: Gets them.
            job: What it asks for.
        """
        self.failure: Exception | None = None
        self._report = report
        self._job = job
        self._stop_if_asked: Callable[[], None] = lambda: None

    def read(self, tables: Sequence[Table], connection: Any) -> dict[str, Reading]:
        """Read those tables that can be cut, if all together are large enough.

        Args:
            tables: The tables.
            connection: The engine.

        Returns:
            How each that was read was, by its path.
        """
        parts = [part for table in tables for part in cut_table(table, connection)]
        processes = min(_count_processors(), MOST_PROCESSES, len(parts) // PARTS_EACH)
        if processes < 2:
            return {}
        with engine_folder() as folder:
            try:
                others = ProcessPoolExecutor(
                    processes - 1, get_context("spawn"), _begin_worker, (self._job, folder)
                )
            except (ImportError, NotImplementedError, OSError):
                return {}  # the system lacks what processes share
            with signals_waiting() as self._stop_if_asked:
                try:
                    for _ in range(processes - 1):
                        _submit(others, int)  # it starts meanwhile
                    self._list_texts(parts, connection)
                    return self._add_parts(parts, others, processes - 1)
                finally:
                    others.shutdown(cancel_futures=True)

    def _add_parts(self, parts: Sequence[Part], others: Executor, count: int) -> dict[str, Reading]:
        """Have parts read, and take their sums in.

        Args:
            parts: The parts.
            others: Other processes.
            count: How many they are [1].

        Returns:
            How each table was read, by its path.
        """
        readings = {part.table.path: Reading() for part in parts}
        for part, (report, reading) in self._read_parts(parts, others, count):
            whole = readings[part.table.path]
            if whole.is_cut:
                continue  # the line reader reads on from there
            whole.odd += [rows + part.rows.start for rows in reading.odd]
            whole.rows += reading.rows
            whole.is_cut = reading.is_cut
            self._report.take_in(report)
        return readings

    def _list_texts(self, parts: Sequence[Part], connection: Any) -> None:
        """List the texts of tables as the first part has them, so that others need not look.

        Args:
            parts: Parts of tables, which get the texts.
            connection: The engine.
        """
        import duckdb

        texts: dict[str, dict[str, list[str]] | None] = {}
        for part in parts:
            table = part.table
            if table.path not in texts:
                texts[table.path] = None
                # Of a damaged table, each part shows what can be read.
                with suppress(duckdb.Error, OSError):
                    texts[table.path] = list_texts(table, self._job.wanted, connection)
            table.texts = texts[table.path]

    def _read_parts(
        self, parts: Sequence[Part], others: Executor, count: int
    ) -> Iterator[tuple[Part, Added]]:
        """Parts and what each comes to, in their order.

        Args:
            parts: The parts.
            others: Other processes.
            count: How many they are [1].
        """
        with open_engine(threads=1) as connection:
            own = Worker(self._job, connection)
            begun: deque[tuple[Part, Future[Added]]] = deque()
            for part in parts:
                self._stop_if_asked()
                given = sum(not future.done() for _, future in begun)
                # The last one, too: others are about to be done with theirs.
                is_own = self.failure is not None or given >= AHEAD * count or part is parts[-1]
                begun.append(
                    (part, _read(part, own) if is_own else _submit(others, _read_in_worker, part))
                )
                while begun and begun[0][1].done():
                    yield begun[0][0], self._finish(*begun.popleft(), own)
            for part, future in begun:
                self._stop_if_asked()
                yield part, self._finish(part, future, own)

    def _finish(self, part: Part, future: Future[Added], own: Worker) -> Added:
        """What a part comes to; read here where whoever was to read it has failed."""
        try:
            return future.result()
        except Exception as error:
            self.failure = self.failure or error
            return own.read(part)


def _count_processors() -> int:
    """Processors that this process may use [1]."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _submit(others: Executor, function: Callable[..., T], *arguments: Any) -> Future[T]:
    """Have another process do something.

    Args:
        others: Other processes.
        function: What.
        arguments: With what.
    """
    try:
        with _interrupts_waiting():
            return others.submit(function, *arguments)
    except Exception as error:  # they have come to an end, or none could be started
        future: Future[T] = Future()
        future.set_exception(error)
        return future


def _read(part: Part, own: Worker) -> Future[Added]:
    """Read a part here."""
    future: Future[Added] = Future()
    future.set_result(own.read(part))
    return future


@contextmanager
def _interrupts_waiting() -> Iterator[None]:
    """Let Ctrl-C wait during the block, and for good in processes that start in it.

    It reaches all processes of a terminal, and this one ends the others.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# In another process.

_worker: Worker | None = None


def _begin_worker(job: Job, folder: str) -> None:
    """Prepare for parts.

    Args:
        job: What is asked for.
        folder: Where files of this process go, which the parent removes: a signal that reaches all
            processes ends this one before it can.
    """
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tempfile.tempdir = folder
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    held = ExitStack()
    held.enter_context(without_log_lines())
    _worker = Worker(job, held.enter_context(open_engine(threads=1)))
    # The parent waits for the end, and whatever Python would do before it is in vain.
    Finalize(None, lambda held: os._exit(0), (held,), exitpriority=0)


def _end_with_parent(folder: str) -> None:
    """End where the process that gives out parts was killed, which leaves nobody to end this."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(1)


def _read_in_worker(part: Part) -> Added:
    """Read a part."""
    assert _worker is not None
    return _worker.read(part)
