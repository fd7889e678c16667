"""Counts calls that lie in files: the output of a batch, a transcript, a trace, an export.

The calls that ``reading`` finds go through a tracker, as if they had been tracked, each with the
time at which it ran. A ledger that has a call already is not given it again, unless it has grown
since, when it takes the place of what the ledger has: so a run that was interrupted, or is
repeated, ends with the same totals. Sums over several requests, as of a usage page, take the same
way, and are counted as such. A further format is a row in ``formats``, and nothing here.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Unpack

from energy_tracking.calls.past import PastCall
from energy_tracking.calls.record import CallRecord, is_past
from energy_tracking.calls.totals import Totals
from energy_tracking.errors import ConfigurationError, EnergyTrackingWarning, must_be
from energy_tracking.ledger.entries import join_aggregate
from energy_tracking.logs.files.decoding import decode
from energy_tracking.logs.files.opening import find_files
from energy_tracking.logs.formats.breakdowns import BREAKDOWN
from energy_tracking.logs.formats.periods import month_in, period_in
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.once import Seen
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from energy_tracking.notices import is_first
from energy_tracking.settings.effects import STREAM_SETTINGS, refuse_settings
from energy_tracking.tracker import Tracker, TrackerArguments

SUMS_KNOWN = 100_000
"""Sums of a ledger that are compared with the calls of a batch [1]."""

Path = str | os.PathLike[str]


def record_log(
    *paths: Path,
    provider: str | None = None,
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    **arguments: Unpack[TrackerArguments],
) -> Totals:
    """Count the calls that lie in files; returns their totals.

    A file is read by what is in it: batches, responses and streams of OpenAI, Anthropic,
    Gemini, Vertex AI, Bedrock, Mistral and Groq, OpenTelemetry's spans, exports of gateways and
    observability tools, transcripts of coding agents, results of evaluations, request traces,
    tables. A call that is there twice, in one file or in two, counts once. A request that
    failed is a failed call. A sum over several requests, as of a usage page, is no call: it is a
    record with their number as its ``requests``, and counts as so many, at their mean length.

    The current session, the metrics, the ledger and ``on_record`` receive the calls as by
    ``Tracker.record``, each call with the time at which it ran; the metrics no sums, as their
    histograms are of calls. No spans are made. A call that the ledger has already is left out;
    where its log had fewer tokens of it then, it is counted whole, and in the ledger it replaces
    what it was. A warning at the end says what could not be read.

    Args:
        *paths: Files, folders with all below, patterns such as ``"logs/*.jsonl"``, or ``"-"``
            for standard input.
        provider: ``gen_ai.provider.name``, in place of the format's own: batches of Azure
            and of Mistral look like OpenAI's.
        columns: Names of the columns of a table that is not recognised, such as
            ``{"input": "tok_in", "output": "tok_out"}``; and of ``cached``, ``reasoning``,
            ``model``, ``time``, ``id``, ``session``, ``requests`` and ``provider``.
        strict: Raise at the first entry that cannot be read.
        **arguments: As for ``Tracker``, but for ``spans`` and what is about streams.

    Raises:
        OSError: A file cannot be read, or a path leads to none.
        ConfigurationError: A setting or column is wrong, or a profile is unknown.
        UnreadableLogError: Reading is strict, and an entry cannot be read.
    """
    if not isinstance(provider, str | None):
        raise ConfigurationError(must_be("provider", "a string", provider))
    refuse_settings(arguments, ("spans", *STREAM_SETTINGS), "record_log")
    tracker = Tracker(**arguments | {"spans": "off"})
    totals = Totals()
    if tracker.settings.disabled:
        return totals
    ledger = tracker.settings.ledger
    backfill = Backfill(tracker.count, ledger, provider, columns, strict)
    for _, record in backfill.records(paths):
        totals.add(record)
    for remark in backfill.report.omissions():
        warnings.warn(remark, EnergyTrackingWarning, stacklevel=2)
    return totals


@dataclass(slots=True)
class Backfill:
    """Calls out of files, counted.

    Attributes:
        count: Counts a call: ``Tracker.count``, or ``Estimation.record``, which delivers nothing.
        ledger: The ledger they go to, whose calls are left out.
        provider: ``gen_ai.provider.name``, in place of the format's own.
        columns: Names of the columns of a table that is not recognised.
        strict: Whether to raise at the first entry that cannot be read.
        report: What was found and left out.
    """

    count: Callable[[PastCall], CallRecord]
    ledger: str | None = None
    provider: str | None = None
    columns: Mapping[str, str] | None = None
    strict: bool = False
    report: ReadReport = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Start with nothing found."""
        self.report = ReadReport()

    def records(self, paths: Iterable[Path]) -> Iterator[tuple[LoggedCall, CallRecord]]:
        """Count the calls in files, each when it is asked for.

        Args:
            paths: Files, folders, patterns, or ``-``.

        Raises:
            OSError: A file cannot be read, or a path leads to none.
            ConfigurationError: A column is wrong.
            UnreadableLogError: Reading is strict, and an entry cannot be read.
        """
        for call in self.calls(paths):
            yield call, self.record(call)

    def calls(self, paths: Iterable[Path]) -> Iterator[LoggedCall]:
        """Read the calls, and the sums over several, that are not in the ledger."""
        ledger = self.ledger
        known = KnownCalls(ledger)
        files = []
        for file in find_files(paths, self.report.skipped):
            if ledger is not None and os.path.exists(ledger) and _are_same(file, ledger):
                self.report.leave_out("it is the ledger that is written to", file, 1)
            else:
                files.append(file)
        yield from read_logs(
            files, columns=self.columns, strict=self.strict, report=self.report, known=known
        )

    def record(self, call: LoggedCall) -> CallRecord:
        """Count one call or sum, in the current session."""
        ended_at = call.time
        if ended_at is not None and not is_past(ended_at):
            if is_first("a logged call of a time to come"):
                message = f"a logged call ended at {ended_at}, which is not past: it is counted now"
                warnings.warn(message, EnergyTrackingWarning, stacklevel=2)
            ended_at = None
        if call.time is None and self.ledger is not None and call.counts is not None:
            self.report.undated += 1
        is_of_calls = call.sum_of is not None and call.sum_of[0] != BREAKDOWN
        self.report.sums_alone += is_of_calls and self.ledger is not None
        key = call.key
        past = PastCall(
            model=call.model,
            usage=call.usage,
            operation=call.operation,
            provider=self.provider or call.provider,
            response_id=call.response_id,
            measured_energy_joules=call.measured_energy_joules,
            error_type=call.error_type,
            ended_at=ended_at,
            log_identity=None if key == call.response_id else key,
            replaces=call.replaces,
            requests=call.requests or None,
            tags=call.tags,
        )
        return self.count(past)


def _are_same(file: str, other: str) -> bool:
    try:
        return os.path.samefile(file, other)
    except OSError:
        return False


class KnownCalls:
    """The calls that a ledger has already, by the keys of logged calls."""

    def __init__(self, ledger: str | None) -> None:
        """Read a ledger, if there is one.

        Args:
            ledger: Its file.
        """
        self._seen = Seen()
        self._tracked = Seen()
        self._any = False
        self.has_calls = False
        """Whether there is any call, beside sums."""
        self.sums: set[tuple[object, ...]] = set()
        """Requests, input and output of sums, of which the calls may come from a log."""
        self.periods: dict[str, dict[str, int]] = {}
        """Periods of sums, of which a log may have more, with the keys and tokens of each."""
        self.months: set[tuple[str, bool]] = set()
        """Their months, each with whether a sum is of all of it."""
        if ledger is not None and os.path.isfile(ledger):
            with open(ledger, "rb") as lines:
                for line in lines:
                    self._add(decode(line))

    def _add(self, line: object) -> None:
        if isinstance(line, dict):
            line = join_aggregate(line)
            usage = line.get("usage")
            counts = usage if isinstance(usage, dict) else {}
            stated = [
                count
                for count in map(counts.get, ("input_tokens", "output_tokens"))
                if type(count) is int
            ]
            tokens = sum(stated)
            is_sum = "requests" in line
            self.has_calls = self.has_calls or not is_sum
            if type(line.get("requests")) is int and len(self.sums) < SUMS_KNOWN:
                self.sums.add((line["requests"], *stated))
            for name in ("response_id", "log_identity"):
                key = line.get(name)
                if not isinstance(key, str):
                    continue
                if line.get("replaces") is True:
                    self._seen.put(key, tokens)
                else:
                    self._seen.add(key, tokens)
                # Of a call out of a log nobody knows how long it took.
                if line.get("duration_seconds"):
                    self._tracked.add(key)
                self._any = True
                period = period_in(key) if name == "log_identity" else None
                if period is not None and (
                    period in self.periods or len(self.periods) < SUMS_KNOWN
                ):
                    self.periods.setdefault(period, {})[key] = tokens
                    self.months.add(month_in(key, line.get("timestamp")))

    def __bool__(self) -> bool:
        """Whether there is any."""
        return self._any

    def __contains__(self, key: object) -> bool:
        """Whether the ledger has a call."""
        return key in self._seen

    def was_tracked(self, key: str) -> bool:
        """Whether the ledger has a call from when it ran, and from no log."""
        return key in self._tracked

    def find_tokens(self, key: str) -> int:
        """Input and output of a call that the ledger has [tokens]."""
        return self._seen.find_tokens(key) or 0


def find_readable_files(paths: Iterable[Path], skipped: Counter[str]) -> list[str]:
    """List the files that paths lead to; raise before anything is counted where one is unreadable.

    Args:
        paths: Files, folders, patterns, or ``-``.
        skipped: Counts what is skipped in folders.

    Raises:
        ConfigurationError: A path leads to none, or a file cannot be opened; says which, and why.
    """
    try:
        files = list(find_files(paths, skipped))
        for file in files:
            if file != "-" and os.path.isfile(file):
                open(file, "rb").close()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    return files
