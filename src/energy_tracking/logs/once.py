"""Each call once, in memory that does not grow with their number.

Order of events: a call is looked up by the number of its identity (``Once.admit``) and
remembered (``Seen``), the newest in memory and the rest in a file; one that may still grow is held
until so many others have come, every other is let through at once. A call without an identity of
its own has its place in its file as one (``Numbering``).
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cached_property
from hashlib import blake2b
from struct import Struct
from typing import TYPE_CHECKING, Any

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport

if TYPE_CHECKING:
    import sqlite3

HELD = 10_000
"""How many calls wait for a later copy with more tokens."""
IN_MEMORY = 1_000_000
"""How many identities are held in memory, in 100 MB; older ones go to a temporary file, which takes
a quarter of what reading a short line takes."""
MOST_TOKENS = 1 << 62
"""The largest number that is kept on disk [tokens]."""
FILTER_BITS = 27
"""The size of the filter in front of the file, as a power of two [bit]: 16 MiB."""
_MASK = (1 << FILTER_BITS) - 1


def _digest(identity: object) -> int:
    """A hash of 64 bits."""
    text = repr(identity).encode("utf-8", "replace")
    return int.from_bytes(blake2b(text, digest_size=8).digest(), signed=True)


# On a machine of 32 bits Python's own are shorter, and many calls would share one.
_hash: Callable[[object], int] = hash if sys.hash_info.width >= 64 else _digest


class Seen:
    """Identities of calls, by a hash of 63 bits each, and their tokens: the newest in memory.

    The rest is on disk.

    A Bloom filter says of most new ones that they are not on disk, without a look at it.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._new: dict[int, int] = {}
        self._stored: sqlite3.Connection | None = None
        self._filter = bytearray()

    def __contains__(self, identity: object) -> bool:
        """Whether the identity was added."""
        return self.find_tokens(identity) is not None

    def add(self, identity: object, tokens: int = 0) -> bool:
        """Remember an identity; returns whether it is new.

        Args:
            identity: What a call is known by.
            tokens: What was counted for it [tokens].
        """
        return self.add_number(_hash(identity) >> 1, tokens)

    def put(self, identity: object, tokens: int) -> None:
        """Remember an identity, with these tokens from now on.

        Args:
            identity: What a call is known by.
            tokens: What was counted for it [tokens].
        """
        self.put_number(_hash(identity) >> 1, tokens)

    def find_tokens(self, identity: object) -> int | None:
        """What was counted for an identity [tokens]; None where it was not added."""
        return self.find_tokens_of_number(_hash(identity) >> 1)

    # The same by the hash: to compute it takes a while, and a call is looked up several times.

    def add_number(self, number: int, tokens: int) -> bool:
        """Remember the number of an identity; returns whether it is new.

        Args:
            number: That.
            tokens: What was counted for it [tokens].
        """
        new = self._new
        if number in new:
            return False
        if self._stored is not None and self._find_stored(number) is not None:
            return False
        new[number] = tokens if tokens < MOST_TOKENS else MOST_TOKENS
        if len(new) >= IN_MEMORY:
            self._store()
        return True

    def put_number(self, number: int, tokens: int) -> None:
        """Remember the number of an identity, with these tokens from now on.

        Args:
            number: That.
            tokens: What was counted for it [tokens].
        """
        self._new[number] = tokens if tokens < MOST_TOKENS else MOST_TOKENS
        if len(self._new) >= IN_MEMORY:
            self._store()

    def find_tokens_of_number(self, number: int) -> int | None:
        """What was counted for the number of an identity [tokens]; None where it was not added."""
        tokens = self._new.get(number)
        if tokens is None and self._stored is not None:
            return self._find_stored(number)
        return tokens

    def _find_stored(self, number: int) -> int | None:
        if self._stored is None or not self._may_be_stored(number):
            return None
        query = "SELECT tokens FROM seen WHERE identity = ?"
        found = self._stored.execute(query, (number,)).fetchone()
        return None if found is None else int(found[0])

    def _may_be_stored(self, number: int) -> bool:
        bits = self._filter
        first, second = number & _MASK, number >> 31 & _MASK
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)

    def _store(self) -> None:
        if self._stored is None:
            import sqlite3

            # Without a name it is a file that goes with the connection.
            self._stored = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            weakref.finalize(self, self._stored.close)
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
                self._stored.execute(f"PRAGMA {pragma}")
            self._stored.execute("CREATE TABLE seen (identity INTEGER PRIMARY KEY, tokens INTEGER)")
            self._filter = bytearray(1 << FILTER_BITS - 3)
        bits = self._filter
        for number in self._new:
            for place in (number & _MASK, number >> 31 & _MASK):
                bits[place >> 3] |= 1 << (place & 7)
        self._stored.execute("BEGIN")
        # In order, they go into each page of the file once.
        numbers = sorted(self._new)
        rows = zip(numbers, map(self._new.__getitem__, numbers), strict=True)
        self._stored.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", rows)
        self._stored.execute("COMMIT")
        self._new.clear()


class Once:
    """Lets each call through once, of several copies the one with most tokens.

    A copy about which something is taken for granted gives way to any that knows.
    """

    def __init__(self, report: ReadReport) -> None:
        """Start with no call seen.

        Args:
            report: Counts the copies.
        """
        self._report = report
        self._seen = Seen()
        # By the number of the identity, as in ``Seen``.
        self._held: dict[int, LoggedCall] = {}
        # The oldest first: to find it in the dictionary, those taken out before are walked past.
        self._order: deque[int] = deque()
        self.by_key = False
        """Whether calls are known by their keys, as a ledger has them."""

    def admit(self, call: LoggedCall, tokens: int) -> LoggedCall | None:
        """Take a call in; returns one that is settled, this or another, or None.

        Args:
            call: The call.
            tokens: Its input and output [tokens].
        """
        number = _hash(call.key if self.by_key else call.identity) >> 1
        if self._seen.add_number(number, tokens):
            if not call.grows:
                return call
            self._held[number] = call
            self._order.append(number)
            return None if len(self._held) <= HELD else self._held.pop(self._order.popleft())
        self._report.repeated += 1
        held = self._held.get(number)
        if held is not None:
            if (call.assumed is None, tokens) > (held.assumed is None, held.tokens):
                # In its place: the order is that of the first copies.
                self._held[number] = _keeping_what_is_known(call, held)
                self._seen.put_number(number, tokens)
            elif held.model is None or (held.time is None and call.time is not None):
                _keeping_what_is_known(held, call)
        elif call.grows:
            self._report.outgrown += tokens > (self._seen.find_tokens_of_number(number) or 0)
        return None

    def finish(self) -> Iterator[LoggedCall]:
        """Let the calls through that waited for a later copy."""
        while self._held:
            yield self._held.pop(self._order.popleft())


def _keeping_what_is_known(call: LoggedCall, earlier: LoggedCall) -> LoggedCall:
    """The copy that stands, with what another one knows where it does not.

    Args:
        call: That copy.
        earlier: The other one.
    """
    call.model = call.model or earlier.model
    call.session = call.session or earlier.session
    call.time = call.time or earlier.time
    return call


class Numbering:
    """Identities of calls that have none: everything before them in their file.

    A longer copy of the file has the same before them, packed or in another layout, too. Where a
    call has no time either, all that its document says is looked at.

    Attributes:
        document: What the calls lie in.
        calls: How many single calls there were [1].
        tokens: Their input and output [tokens].
        first: When the first of these was; None where it does not say.
        last: When the last one was, likewise.
    """

    def __init__(self, start: str = "") -> None:
        """Start before the first call.

        Args:
            start: What tells the file from others, where what lies in it does not.
        """
        self.document: Any = None
        self.calls = self.tokens = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._seen: Any = None
        self._start = start
        self._hash = blake2b(start.encode("utf-8", "replace"), digest_size=8)
        self._model: str | None = None

    @cached_property
    def hits(self) -> Numbering:
        """The identities of answers from a cache, beside those of the calls."""
        return Numbering(self._start)

    def number(self, call: LoggedCall) -> bytes:
        """The identity of the next call."""
        time, counts = call.time, call.counts
        inputs, outputs = (counts.input_tokens, counts.output_tokens) if counts else (-1, -1)
        if time is None and self.document is not self._seen:
            self._seen = self.document
            self._hash.update(repr(self.document).encode("utf-8", "replace"))
        if call.model != self._model:
            self._model = call.model
            self._hash.update(repr(call.model).encode())
        self._hash.update(_ROW.pack(0.0 if time is None else time.timestamp(), inputs, outputs))
        return self._hash.digest()


_ROW = Struct("<dqq")
