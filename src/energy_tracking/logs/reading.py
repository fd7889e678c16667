"""From files to calls: recognised by content, each once, and nothing left out in silence.

Order of events for each file: it is cut into documents (``files``), whose calls are read by the
table of formats (``entries``). Then each call is let through once (``once``), and what is no call,
an answer from a cache or a sum, is counted apart.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from energy_tracking.errors import ConfigurationError, UnreadableLogError, must_be, not_one_of
from energy_tracking.logs.entries import Entries
from energy_tracking.logs.files.delimited import UnreadableFileError
from energy_tracking.logs.files.headers import check_headers, find_ledgers, find_repeated_names
from energy_tracking.logs.files.opening import find_files, read_documents
from energy_tracking.logs.formats import FORMATS, LogFile, Recogniser, describe_missing
from energy_tracking.logs.formats.breakdowns import BREAKDOWN, CallTotals, count_once
from energy_tracking.logs.formats.collected import leave_out_parts
from energy_tracking.logs.formats.ledgers import LEDGER, find_replaced_in
from energy_tracking.logs.formats.periods import Span
from energy_tracking.logs.formats.tables import COLUMNS, RIGHT_COLUMNS
from energy_tracking.logs.formats.waiting import leave_out_waiting
from energy_tracking.logs.logged import LARGEST_OUTPUT, LoggedCall
from energy_tracking.logs.once import Numbering, Once, Seen
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.totals import RowSums
from energy_tracking.usage.token_usage import COUNTED_TWICE, TokenUsage

FIRST_YEAR = 1970
"""No call is of an earlier year, unless its time has none."""
YEAR_TAKEN = "whose time has no year: the last such day before the file was changed was taken"
TWO_COUNTS = (
    f"with two counts of the same tokens that differ, of which one was taken; {RIGHT_COLUMNS}"
)

SUMS_HELD = 10_000
"""How many sums wait for their calls."""


def read_logs(
    paths: Iterable[str | os.PathLike[str]],
    *,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    report: ReadReport | None = None,
    known: Container[str] = (),
) -> Generator[LoggedCall]:
    """Read the calls in files, each once, and the sums over several.

    Args:
        paths: Files, folders, patterns, or ``-`` for standard input.
        columns: The names of the columns of a table whose own names are not known: of
            ``input`` and ``output``, and of whatever else there is of ``cached``,
            ``reasoning``, ``requests``, ``model``, ``time``, ``id``, ``session`` and
            ``provider``. A name with dots leads into an object.
        strict: Raise at the first entry that cannot be read.
        report: Filled with what is found and left out.
        known: Keys of calls that are recorded already, which are left out.

    Raises:
        OSError: A file cannot be read, or a path leads to none.
        ConfigurationError: A path is none, or a column is named that there is none of.
        UnreadableLogError: Reading is strict, and an entry cannot be read.
    """
    if isinstance(paths, str | bytes | os.PathLike):
        paths = (paths,)
    try:
        paths = tuple(paths)
    except Exception:  # it is no list
        raise ConfigurationError(must_be("paths", "a list of paths", paths)) from None
    if not isinstance(report, ReadReport | None):
        raise ConfigurationError(must_be("report", "a ReadReport", report))
    try:
        bool(known) and "" in known
    except Exception:  # it is no container, or not one of texts
        raise ConfigurationError(must_be("known", "a container of keys", known)) from None
    if columns is not None and not isinstance(columns, Mapping):
        raise ConfigurationError(must_be("columns", "a mapping of names to names", columns))
    report = ReadReport() if report is None else report
    reading = LogReading(columns or {}, strict, report, known)
    files = list(find_files(paths, report.skipped))
    reading.know_ledgers(find_ledgers(files), is_alone=len(files) == 1)
    check_headers(files, columns or {})
    reading.report_repeated_names(files)
    yield from reading.calls_of_files(files)


class LogReading:
    """What one reading of several files has seen so far."""

    def __init__(
        self,
        columns: Mapping[str, str],
        strict: bool,
        report: ReadReport,
        known: Container[str],
    ) -> None:
        """Start with nothing seen; the arguments are those of ``read_logs``.

        Args:
            columns: The names of the columns of a table.
            strict: Raise at the first entry that cannot be read.
            report: Filled with what is found and left out.
            known: Keys of calls that are recorded already.

        Raises:
            ConfigurationError: A column is named that there is none of.
        """
        for name in columns:
            if name not in (*COLUMNS, "provider"):
                raise ConfigurationError(not_one_of("columns", name, (*COLUMNS, "provider")))
        self._columns = columns
        self._strict = strict
        self._report = report
        self._known = known
        self._once = Once(report)
        self._recogniser = Recogniser(has_columns=bool(columns))
        self._shared: dict[str, Any] = {
            "known sums": getattr(known, "sums", ()),
            "known periods": getattr(known, "periods", {}),
            "known months": getattr(known, "months", ()),
        }
        self._sums: deque[LoggedCall] = deque()
        self._hits = Seen()
        self._totals = self._shared["calls"] = CallTotals()
        # Sums of a time or of a firm: when that began, and their files.
        self._sums_of = Span()
        self._files: set[str] = set()

    def know_ledgers(self, ledgers: Sequence[str], *, is_alone: bool) -> None:
        """Take in which of the files are ledgers.

        Args:
            ledgers: Those.
            is_alone: Whether there is no other file: else calls are known by what a ledger knows
                them by, as their logs may be read with it.
        """
        self._once.by_key = bool(ledgers) and not is_alone
        self._shared["replaced"] = find_replaced_in(ledgers)

    def report_repeated_names(self, files: Iterable[str]) -> Container[str]:
        """Say, and return, which files have two values of one name in one object."""
        repeated = find_repeated_names(files)
        for path, said in repeated.items():
            self._report.doubt(path, said)
        return repeated

    def calls_of_files(self, paths: Iterable[str], *, is_all: bool = True) -> Generator[LoggedCall]:
        """Read files, and let the calls through that waited for a later copy.

        Args:
            paths: The files.
            is_all: Whether no other reader reads files after these: else sums wait for ``settle``.

        Raises:
            OSError: A file cannot be read.
            UnreadableLogError: Reading is strict, and an entry cannot be read.
        """
        try:
            for path in paths:
                yield from self.calls_of_file(path)
        except (OSError, UnreadableLogError, KeyboardInterrupt):
            # What was read until then counts, calls that might still have grown among it.
            yield from self.finish()
            raise
        yield from self.settle() if is_all else self._finish_calls()

    def settle(self) -> Generator[LoggedCall]:
        """Let through what waited, now that all files are read: sums last of all but held calls."""
        last = LogFile("", self._report, self._strict, shared=self._shared)
        count_once(last)
        yield from self.finish()
        leave_out_waiting(last)
        calls = self._totals
        beside = self._sums_of.may_hold(calls.span) and any(map(calls.has_others, self._files))
        in_ledger = getattr(self._known, "has_calls", False) and bool(self._files)
        sums_in_ledger = self._report.calls > 0 and bool(self._shared["known sums"])
        self._report.sums_beside_calls = beside or in_ledger or sums_in_ledger

    def remember_table(self, path: str, sums: RowSums) -> None:
        """Remember what the rows of a table add up to that another reader has read.

        Args:
            path: The file.
            sums: Those.
        """
        self._totals.add(path, sums.rows, sums.inputs + sums.outputs, None)

    def calls_of_file(
        self,
        path: str,
        is_left: Callable[[int], bool] | None = None,
        sums: RowSums | None = None,
    ) -> Generator[LoggedCall]:
        """Read one file; calls that may still grow come later.

        Args:
            path: The file.
            is_left: Whether a document is to be read, by its number in the file; None: every
                one is. The others were read, and recognised, by another reader.
            sums: What those others add up to.
        """
        report = self._report
        report.files += is_left is None
        file = LogFile(path, report, self._strict, self._columns, shared=self._shared)
        if is_left is not None:
            # The other reader saw the columns.
            file.memory |= {"absent": set(), "is_rest": True}
            file.memory["sums"] = RowSums() if sums is None else replace(sums, nameless=0)
        entries = Entries(file, self._recogniser)
        # What is left of a file says too little to know a copy of it by.
        numbering = Numbering("" if is_left is None else path)
        try:
            documents = read_documents(path)
            if is_left is not None:
                documents = (one for number, one in enumerate(documents) if is_left(number))
            for file.line, document in documents:
                numbering.document = document
                for call in entries.calls_in(document):
                    admitted = self._admit_call(call, file, numbering)
                    if admitted is not None:
                        yield admitted
            if not file.line:
                report.empty.append(path)
        except UnreadableFileError as error:
            file.leave_out_rest(str(error))
        numbering.document = None
        leave_out_parts(file)
        for row in FORMATS:
            if row.finish is not None:
                for call in row.finish(file):
                    call.format = row.name
                    call.time = call.time or entries.last_time
                    report.formats[row.name] += 1
                    admitted = self._admit_call(call, file, numbering)
                    if admitted is not None:
                        yield admitted
        times = (numbering.first, numbering.last)
        self._totals.add(path, numbering.calls, numbering.tokens, *times)
        if not entries.recognised and file.line and is_left is None:
            report.unrecognised[path] = describe_missing(entries.first_unknown)
            if self._strict:
                file.leave_out(report.unrecognised[path])

    def _admit_call(
        self, call: LoggedCall, file: LogFile, numbering: Numbering
    ) -> LoggedCall | None:
        """Take in a call that was read; returns one that is settled, or None."""
        call.file, call.line = file.path, file.line
        time, identity, sum_of = call.time, call.identity, call.sum_of
        if time is not None and time.year < FIRST_YEAR:
            _find_year(call, file)
        try:
            # A damaged log may have lists in the place of ids.
            hash(identity)
            hash(sum_of)
        except TypeError:
            identity = sum_of = call.identity = call.sum_of = None
        if call.cache_hit:
            is_new = self._is_new_hit(call, numbering)
            self._report.cache_hits += is_new
            self._report.repeated += not is_new
            return None
        counts, tokens = call.counts, 0
        if counts is not None:
            tokens = counts.input_tokens + counts.output_tokens
            if tokens > LARGEST_OUTPUT and call.requests == 1 and call.is_too_large:
                call.requests = None
            if sum_of is None and call.requests == 1:
                if not numbering.calls:
                    numbering.first = time
                numbering.last = time
                numbering.calls += 1
                numbering.tokens += tokens
            if type(counts) is TokenUsage and counts.repairs:
                # Plain counts have none.
                if counts.fault is not None:
                    file.assume("with a count that is missing or none, taken as 0 tokens")
                if any(COUNTED_TWICE in repair for repair in counts.repairs):
                    file.assume(TWO_COUNTS)
        if identity is None:
            call.identity = (numbering.number(call),)
        if sum_of is not None:
            # Its calls may come later.
            self._sums.append(call)
            return self._settle_sum() if len(self._sums) > SUMS_HELD else None
        admitted = self._once.admit(call, tokens)
        if admitted is None:
            self._report.alike += identity is None and call.time is None
            return None
        return self._count_reason(admitted)

    def _is_new_hit(self, call: LoggedCall, numbering: Numbering) -> bool:
        """Whether an answer from a cache is no copy; the same answer may come at two times."""
        identity = call.identity
        if identity is None:
            identity = (numbering.hits.number(call),)
        return self._hits.add((identity, call.time))

    def _settle_sum(self) -> LoggedCall | None:
        """Take in the sum that has waited longest; None where its calls were found."""
        call = self._sums.popleft()
        if call.sum_of in self._shared.get("summed", ()):
            return None
        admitted = self._once.admit(call, call.tokens)
        return None if admitted is None else self._count_reason(admitted)

    def _count_reason(self, call: LoggedCall) -> LoggedCall | None:
        """Count a settled call; None where the ledger has it already."""
        report = self._report
        if call.assumed is not None:
            report.assume(call.assumed, call.file, call.line)
        if self._known and call.key in self._known:
            find_tokens = getattr(self._known, "find_tokens", None)
            has_grown = (
                call.grows and find_tokens is not None and call.tokens > find_tokens(call.key)
            )
            if not has_grown or self._known.was_tracked(call.key):  # type: ignore[attr-defined]
                report.recorded += call.is_call
                report.recorded_sums += not call.is_call
                report.outgrown_in_ledger += has_grown
                return None
            call.replaces = True
            report.replaced += call.is_call
            report.replaced_sums += not call.is_call
        if call.requests == 1:
            report.calls += 1
        else:
            if call.format != LEDGER[0].name and (call.sum_of or (BREAKDOWN,))[0] == BREAKDOWN:
                # Those of a session or a batch were looked for.
                self._files.add(call.file)
                self._sums_of.add(call.time)
            report.sums += 1
            report.summed_requests += call.requests or 0
            report.sums_of_unknown += call.requests is None
        return call

    def finish(self) -> Generator[LoggedCall]:
        """Let the calls through that waited for a later copy, and the sums without calls."""
        while self._sums:
            admitted = self._settle_sum()
            if admitted is not None:
                yield admitted
        yield from self._finish_calls()

    def _finish_calls(self) -> Generator[LoggedCall]:
        for call in self._once.finish():
            settled = self._count_reason(call)
            if settled is not None:
                yield settled


def _find_year(call: LoggedCall, file: LogFile) -> None:
    """Give a call whose time has no year that of the last such day before its file was changed."""
    from energy_tracking.logs.odd_times import NO_YEAR, place_in_year  # rare, and not light

    if call.time is None or call.time.year != NO_YEAR:
        return
    try:
        changed = datetime.fromtimestamp(os.stat(file.path).st_mtime, UTC)
    except OSError:  # standard input, as of a log that is read now
        changed = datetime.now(UTC)
    call.time = place_in_year(call.time, changed)
    file.assume(YEAR_TAKEN)
