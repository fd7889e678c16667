"""What a log says of one call, and what reading logs has found and left out.

A reader of a format gives a ``LoggedCall`` for each entry; what is no call, or cannot be read, it
counts in the ``ReadReport`` with the reason, so that nothing is left out silently. A new fact
about logged calls is a field of the first; a new reason to leave one out, of the second.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

from energy_tracking.bounds import is_number
from energy_tracking.calls.amounts import format_count
from energy_tracking.usage.token_usage import TokenUsage

NO_TAGS: Mapping[str, str] = MappingProxyType({})

LARGEST_INPUT = 10_000_000
"""No model reads more in one request [tokens]: Llama 4 Scout's context, the largest there is.

Source: https://ai.meta.com/blog/llama-4-multimodal-intelligence/
"""
LARGEST_USUAL_INPUT = 2_097_152
"""No other model reads more in one request [tokens]: Gemini 1.5 Pro's context.

Source: https://ai.google.dev/gemini-api/docs/long-context
"""
LARGEST_OUTPUT = 1_000_000
"""No model writes more in one request [tokens]; the largest documented limits are near 400,000."""

NAMED_ENDINGS = 8
NAMED_FILES = 10
"""Files in which nothing was found that are named one by one; of more the number is given."""

EARLIEST = 1e8
"""A smaller number of seconds since 1970 counts from the start of a trace instead [s]."""
_LAST_OF_SECONDS = 1e11
_LAST_EPOCH = 1e20


class PlainCounts(NamedTuple):
    """Token counts without anything odd; the names are those of ``TokenUsage``."""

    input_tokens: int
    cached_input_tokens: int
    cache_write_input_tokens: int
    output_tokens: int
    reasoning_tokens: int | None
    total_tokens: int | None
    dialect: str


Counts = TokenUsage | PlainCounts


@dataclass(slots=True)
class LoggedCall:
    """One call, or a sum over several, as a log has it.

    Fields are given by name. That this is not enforced halves what making one takes.

    Attributes:
        provider: ``gen_ai.provider.name``.
        operation: ``gen_ai.operation.name``.
        model: The model that answered, or was asked for.
        response_id: The server's id of the response.
        counts: Token counts; None where there are none. Of a sum, the sums.
        measured_energy_joules: The energy as the server measured it [J], if it did.
        error_type: What failed; None where nothing did.
        time: When the call ended or, where the log has only that, started.
        session: What the log calls the session, conversation or trace of the call.
        tags: What the log says of it beside, by name.
        requests: 1: a call. More: a sum over that many. None: over an unknown number.
        identity: What every other copy of this call says too; None where the log has nothing
            that would distinguish one call from the next.
        grows: Copies may be of an unfinished call: the one with most tokens stands.
        assumed: What is taken for granted about it, which is said where no copy knows better: the
            end of a sentence, the same words for each of the same kind.
        sum_of: What the calls that this one repeats or sums up have in common; where one of
            them is found, this one is left out.
        log_key: What a ledger has the call's copy in another log known by.
        replaces: The ledger has it with fewer tokens.
        cache_hit: A gateway or evaluation answered from its own cache: no model ran.
        format: Name of the row of the table of formats that read it.
        file: The file.
        line: Line, row or number of the document in it, from 1.
    """

    provider: str = "unknown"
    operation: str = "chat"
    model: str | None = None
    response_id: str | None = None
    counts: Counts | None = None
    measured_energy_joules: float | None = None
    error_type: str | None = None
    time: datetime | None = None
    session: str | None = None
    # Python 3.11 takes a mapping proxy, which has no hash there, for a mutable default.
    tags: Mapping[str, str] = field(default_factory=lambda: NO_TAGS)
    requests: int | None = 1
    identity: tuple[object, ...] | None = None
    grows: bool = False
    assumed: str | None = None
    sum_of: tuple[object, ...] | None = None
    log_key: str | None = None
    replaces: bool = False
    cache_hit: bool = False
    format: str = ""
    file: str = ""
    line: int = 0

    @property
    def is_call(self) -> bool:
        """Whether it is one call, and no sum."""
        return self.requests == 1

    @property
    def is_too_large(self) -> bool:
        """Whether it has more tokens than its model takes, or any, where a server gave it an id."""
        counts = self.counts
        if counts is None or (
            counts.input_tokens <= LARGEST_USUAL_INPUT and counts.output_tokens <= LARGEST_OUTPUT
        ):
            return False
        model = "".join(filter(str.isalnum, (self.model or "").lower()))
        may_be_long = self.response_id is not None or "llama4scout" in model
        limit = LARGEST_INPUT if may_be_long else LARGEST_USUAL_INPUT
        return counts.input_tokens > limit or counts.output_tokens > LARGEST_OUTPUT

    @property
    def usage(self) -> TokenUsage | None:
        """The token counts as records have them."""
        counts = self.counts
        return TokenUsage(**counts._asdict()) if isinstance(counts, PlainCounts) else counts

    @property
    def key(self) -> str:
        """What the call is known by in a ledger: its response's id, or a hash of its identity."""
        if self.log_key is not None:
            return self.log_key
        if self.response_id is not None and self.identity == (self.response_id,):
            return self.response_id
        return blake2b(repr(self.identity).encode("utf-8", "replace"), digest_size=12).hexdigest()

    @property
    def tokens(self) -> int:
        """Input and output [tokens]."""
        counts = self.counts
        return 0 if counts is None else counts.input_tokens + counts.output_tokens


@dataclass(slots=True)
class Unread:
    """What could not be read for one reason.

    Attributes:
        count: How many lines, rows or documents.
        file: Where the first one is.
        line: Its line.
        example: What it has, as the end of a sentence.
        others: How many other files have such, of those that are read after another.
        latest: The file that was seen last; none yet beside the first.
    """

    count: int
    file: str
    line: int
    example: str = ""
    others: int = 0
    latest: str = ""

    @property
    def where(self) -> str:
        """The files, for people."""
        if not self.others:
            return self.file
        return f"{self.file} and {format_count(self.others, 'other file')}"


@dataclass(slots=True)
class CutOff:
    """Where a file could not be read on.

    Attributes:
        reason: Why.
        line: The last line, row or document that was read; 0: none.
    """

    reason: str
    line: int


@dataclass(slots=True)
class ReadReport:
    """What reading found, and what it left out.

    Attributes:
        files: Files that were opened.
        calls: Calls, each once.
        sums: Sums over several requests.
        summed_requests: Requests in those sums whose number is known.
        sums_of_unknown: Sums over an unknown number of requests.
        cache_hits: Answers from a cache, for which no model ran.
        repeated: Copies of calls that were counted already.
        alike: Of those, calls without an id or a time, which may be others with the same counts.
        outgrown: Copies with more tokens than was counted, which came too late.
        recorded: Calls that the ledger had already.
        recorded_sums: Sums that it had already.
        outgrown_in_ledger: Those that have more tokens than the ledger has, where it was tracked
            as it ran.
        replaced: Calls that have more tokens than when the ledger took them in.
        replaced_sums: Such sums.
        undated: Calls and sums with tokens and without a time, which a ledger got as of now.
        sums_alone: Sums that went to a ledger without calls that other files may have.
        formats: Calls, sums and cache hits by format.
        unread: What could not be read, by reason.
        cut_off: Files that could not be read to their end, or not at all, with the last line
            that was.
        assumed: What was counted with something taken for granted, by what that is.
        unrecognised: Files in which nothing was recognised, each with what is missing.
        empty: Files without an entry, which may be as it should.
        may_be_sums: Files whose rows may be sums, and of what.
        skipped: What was skipped in folders: files by their ending, hidden folders.
        first: When the first call was [s since 1970]; infinite where nobody has looked, or no
            call says.
        last: When the last one was [s since 1970], likewise.
    """

    files: int = 0
    calls: int = 0
    sums: int = 0
    summed_requests: int = 0
    sums_of_unknown: int = 0
    cache_hits: int = 0
    repeated: int = 0
    alike: int = 0
    outgrown: int = 0
    recorded: int = 0
    recorded_sums: int = 0
    outgrown_in_ledger: int = 0
    replaced: int = 0
    replaced_sums: int = 0
    undated: int = 0
    sums_alone: int = 0
    # Adding to a Counter, which is done for each document, takes ten times as long.
    formats: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    unread: dict[str, Unread] = field(default_factory=dict)
    cut_off: dict[str, CutOff] = field(default_factory=dict)
    assumed: dict[str, Unread] = field(default_factory=dict)
    unrecognised: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    may_be_sums: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    first: float = field(default=math.inf, compare=False)
    last: float = field(default=-math.inf, compare=False)

    def add(self, other: ReadReport) -> None:
        """Add what the engine found in a part of a file, all of which it could read."""
        self.calls += other.calls
        self.cache_hits += other.cache_hits
        for format, count in other.formats.items():
            self.formats[format] += count
        self.add_span(other.first, other.last)

    def add_span(self, first: float, last: float) -> None:
        """Add the times of some calls.

        Args:
            first: When the first of them was [s since 1970].
            last: When the last of them was [s since 1970].
        """
        self.first, self.last = min(self.first, first), max(self.last, last)

    @property
    def found_nothing(self) -> bool:
        """Whether there was something to read and nothing was recognised."""
        return not self.formats and bool(self.unread or self.unrecognised or self.cut_off)

    def leave_out(self, reason: str, file: str, line: int, example: str = "") -> None:
        """Count something that could not be read.

        Args:
            reason: Why.
            file: Where.
            line: Its line, row or document.
            example: What it has, which is shown of the first.
        """
        _count_entry(self.unread, reason, Unread(1, file, line, example))

    def assume(self, reason: str, file: str, line: int) -> None:
        """Count something that was counted with a guess.

        Args:
            reason: What is missing, and what is taken for it.
            file: Where.
            line: Its line, row or document.
        """
        _count_entry(self.assumed, reason, Unread(1, file, line))

    def omissions(self) -> Iterator[str]:
        """What could not be read or was guessed, a sentence each, for people."""
        for reason, unread in self.unread.items():
            entries = format_count(unread.count, "entry", "entries")
            why = f"{reason}{unread.example}"
            yield f"{unread.where}: {entries} left out: {why} (first: line {unread.line})"
        for file, cut in self.cut_off.items():
            what = f"all after line {cut.line:,}" if cut.line else "all of it"
            yield f"{file}: {what} left out: {cut.reason}"
        for reason, assumed in self.assumed.items():
            entries = format_count(assumed.count, "entry", "entries")
            yield f"{assumed.where}: {entries} {reason} (first: line {assumed.line})"
        yield from _name_some(
            (
                f"{file}: each row was counted as a call; {of}, whose sum it may be"
                for file, of in self.may_be_sums.items()
            ),
            len(self.may_be_sums),
            "rows that may be sums",
        )
        if self.outgrown:
            copies = format_count(self.outgrown, "copy", "copies")
            yield (
                f"{copies} with more tokens than was counted came too many calls after the first: "
                "name the file with the latest copies first"
            )
        if self.outgrown_in_ledger:
            calls = format_count(self.outgrown_in_ledger, "call")
            yield (
                f"{calls} with more tokens than the ledger has, which were tracked as they ran: "
                "it keeps those it has"
            )
        yield from _name_some(
            (f"{file}: nothing recognised; {what}" for file, what in self.unrecognised.items()),
            len(self.unrecognised),
            "nothing recognised",
        )
        yield from _name_some(
            (f"{file}: no entry: it is empty, or a header alone" for file in self.empty),
            len(self.empty),
            "no entry",
        )
        if self.skipped:
            endings = ", ".join(
                f"{number:,} {ending}" for ending, number in self.skipped.most_common(NAMED_ENDINGS)
            )
            more = ", and others" if len(self.skipped) > NAMED_ENDINGS else ""
            yield f"skipped in folders, and read where they are named: {endings}{more}"

    def remarks(self) -> Iterator[str]:
        """What is missing, and what was counted apart, a sentence each, for people."""
        yield from self.omissions()
        yield from self.counted_apart()

    def counted_apart(self) -> Iterator[str]:
        """What was found and is no further call, a sentence each, for people."""
        if self.cache_hits:
            yield f"{format_count(self.cache_hits, 'answer')} from a cache: no model ran, 0 J"
        if self.repeated:
            copies = format_count(self.repeated, "copy", "copies")
            yield f"{copies} of calls that were counted already left out"
        if self.alike:
            yield (
                f"{self.alike:,} of them only because another file begins with the same, without "
                "an id or a time: if these are other calls, add a column that says which"
            )
        for what, replaced in (("call", self.replaced), ("sum", self.replaced_sums)):
            if replaced:
                grown = format_count(replaced, what)
                yield f"{grown} with more tokens than the ledger had, which has those of now"
        for what, recorded in (("call", self.recorded), ("sum", self.recorded_sums)):
            if recorded:
                yield f"{format_count(recorded, what)} left out that the ledger has already"
        if self.undated:
            calls = format_count(self.undated, "call")
            yield f"{calls} without a time, which the ledger has as of now"
        if self.sums_alone:
            sums = format_count(self.sums_alone, "sum")
            yield (
                f"{sums} of a batch, run or session, without its calls: filled into this ledger "
                "at another time, those would count again"
            )


def _count_entry(entries: dict[str, Unread], reason: str, first: Unread) -> None:
    seen = entries.setdefault(reason, first)
    if seen is not first:
        seen.count += 1
        if first.file != (seen.latest or seen.file):
            seen.latest = first.file
            seen.others += 1


def _name_some(sentences: Iterable[str], files: int, what: str) -> Iterator[str]:
    """Sentences about the first few files, and of how many more the same is to be said.

    Args:
        sentences: One for each file.
        files: How many there are [1].
        what: What is to be said of the others.
    """
    yield from islice(sentences, NAMED_FILES)
    if files > NAMED_FILES:
        yield f"{what} in {format_count(files - NAMED_FILES, 'more file')}"


def time_of(value: object) -> datetime | None:
    """A point in time as logs write it; None where it is none.

    ISO 8601 with a blank or a ``T``, and what is near it, in UTC where no zone is named; seconds,
    milliseconds, microseconds or nanoseconds since 1970. A number too small for either counts
    from the start of a trace, which nobody can place.
    """
    if value is None:
        return None
    if type(value) is int and EARLIEST <= value < _LAST_EPOCH:
        # Nearly always, of servers.
        seconds = value if value < _LAST_OF_SECONDS else value / _epoch_unit(value)
        return datetime.fromtimestamp(seconds, UTC)
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value.removesuffix(" UTC").strip())
        except ValueError:
            try:
                number = float(value)
            except ValueError:
                from energy_tracking.logs.odd_times import parse_odd_time  # rare, and not light

                return parse_odd_time(value.strip())
            value = number
        else:
            # Putting a zone into a time by `replace` takes four times as long.
            return time if time.tzinfo else datetime.combine(time, time.time(), UTC)
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, dict) and "$date" in value:
        return time_of(value["$date"])  # MongoDB's
    if not is_number(value):
        return value if isinstance(value, datetime) and value.tzinfo else _in_utc(value)
    if not EARLIEST <= value < _LAST_EPOCH:
        return None
    try:
        return datetime.fromtimestamp(value / _epoch_unit(value), UTC)
    except (OverflowError, OSError, ValueError):
        return None


def time_of_period(value: object) -> datetime | None:
    """The same, or the start of a month that is written without a day."""
    time = time_of(value)
    if time is not None or not isinstance(value, str | int):
        return time
    from energy_tracking.logs.odd_times import parse_month  # as above

    return parse_month(str(value))


def first_time(values: Iterable[object]) -> datetime | None:
    """The first of several values that is a point in time, as ``time_of`` reads it; else None."""
    return next(filter(None, map(time_of, values)), None)


def _epoch_unit(value: float) -> float:
    """How many units of a time since 1970 a second has, by its size [1]."""
    if value < _LAST_OF_SECONDS:
        return 1.0
    if value < 1e14:
        return 1e3
    return 1e6 if value < 1e17 else 1e9


def _in_utc(value: object) -> datetime | None:
    """A time without a zone, or a day, as Parquet has them."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=UTC)
    return (
        datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, date)
        else None
    )
