"""What reading logs has found and left out, so that nothing is left out silently.

Entries that cannot be read, or are counted with a guess, are counted by the reason, with the first
of each. ``omissions`` and ``counted_apart`` say it in sentences, for people. A new reason to leave
something out that is no text of a format's is a field of ``ReadReport``, and a sentence there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from energy_tracking.calls.amounts import format_count

NAMED_ENDINGS = 8
WRITTEN_FROM_LOGS = (
    "each row was counted as a call; report --parquet wrote the file from logs: where these are "
    "read here too, leave it out"
)
"""What is said of a table of our own beside other files."""
NAMED_FILES = 10
"""Files in which nothing was found that are named one by one; of more the number is given."""


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
        sums_beside_calls: Whether sums of a time or of a firm were counted, and calls of another
            file, or of the ledger, that may be among them.
        formats: Calls, sums and cache hits by format.
        unread: What could not be read, by reason.
        cut_off: Files that could not be read to their end, or not at all, with the last line
            that was.
        assumed: What was counted with something taken for granted, by what that is.
        unrecognised: Files in which nothing was recognised, each with what is missing.
        empty: Files without an entry, which may be as it should.
        doubted: Files of which all rows are counted with a guess, each with what that is.
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
    sums_beside_calls: bool = False
    # Adding to a Counter, which is done for each document, takes ten times as long.
    formats: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    unread: dict[str, Unread] = field(default_factory=dict)
    cut_off: dict[str, CutOff] = field(default_factory=dict)
    assumed: dict[str, Unread] = field(default_factory=dict)
    unrecognised: dict[str, str] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)
    doubted: dict[str, tuple[str, ...]] = field(default_factory=dict)
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

    def doubt(self, file: str, guess: str) -> None:
        """Note, once, with what guess all rows of a file are counted.

        Args:
            file: The file.
            guess: What is said of its rows.
        """
        self.doubted[file] = tuple(dict.fromkeys((*self.doubted.get(file, ()), guess)))

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
        doubted = [
            f"{file}: {why}"
            for file, guesses in self.doubted.items()
            for why in guesses
            # Alone it has each call once.
            if self.files > 1 or why != WRITTEN_FROM_LOGS
        ]
        yield from _name_some(doubted, len(doubted), "rows that are counted with such a guess")
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
        if self.sums_beside_calls:
            yield (
                "sums over several requests and single calls were counted, each from files of its "
                "own: where both are of the same usage, leave one of the two out"
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
