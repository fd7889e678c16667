"""Each call once, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from energy_tracking.logs.logged import LoggedCall, ReadReport

if TYPE_CHECKING:
    import sqlite3

HELD = 10_000
"""How many calls wait for a later copy with more tokens."""
IN_MEMORY = 50_000
"""How many identities are held in memory; older ones go to a temporary file."""
FILTER_BITS = 27
"""The size of the filter in front of the file, as a power of two [bit]: 16 MiB."""
_MASK = (1 << FILTER_BITS) - 1


class Seen:
    """Identities of calls, by a hash of 63 bits each: the newest in memory, the rest on disk.

    A Bloom filter says of most new ones that they are not on disk, without a look at it.
    """

    def __init__(self) -> None:
        """Start with none."""
        self._new: set[int] = set()
        self._stored: sqlite3.Connection | None = None
        self._filter = bytearray()

    def __contains__(self, identity: object) -> bool:
        """Whether the identity was added."""
        return self._has(hash(identity) >> 1)

    def add(self, identity: object) -> bool:
        """Remember an identity; returns whether it is new."""
        number = hash(identity) >> 1
        if self._has(number):
            return False
        self._new.add(number)
        if len(self._new) >= IN_MEMORY:
            self._store()
        return True

    def _has(self, number: int) -> bool:
        if number in self._new:
            return True
        if self._stored is None or not self._may_be_stored(number):
            return False
        found = self._stored.execute("SELECT 1 FROM seen WHERE identity = ?", (number,))
        return found.fetchone() is not None

    def _may_be_stored(self, number: int) -> bool:
        bits = self._filter
        first, second = number & _MASK, number >> 31 & _MASK
        return bool(bits[first >> 3] >> (first & 7) & bits[second >> 3] >> (second & 7) & 1)

    def _store(self) -> None:
        if self._stored is None:
            import sqlite3

            # Without a name it is a file that goes with the connection.
            self._stored = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -16000"):
                self._stored.execute(f"PRAGMA {pragma}")
            self._stored.execute("CREATE TABLE seen (identity INTEGER PRIMARY KEY)")
            self._filter = bytearray(1 << FILTER_BITS - 3)
        bits = self._filter
        for number in self._new:
            for place in (number & _MASK, number >> 31 & _MASK):
                bits[place >> 3] |= 1 << (place & 7)
        self._stored.execute("BEGIN")
        rows = ((number,) for number in sorted(self._new))
        self._stored.executemany("INSERT OR IGNORE INTO seen VALUES (?)", rows)
        self._stored.execute("COMMIT")
        self._new.clear()


class Once:
    """Lets each call through once, of several copies the one with most tokens."""

    def __init__(self, report: ReadReport) -> None:
        """Start with no call seen.

        Args:
            report: Counts the copies.
        """
        self._report = report
        self._seen = Seen()
        self._held: dict[object, LoggedCall] = {}

    def admit(self, call: LoggedCall) -> LoggedCall | None:
        """Take a call in; returns one that is settled, this or another, or None."""
        identity = call.identity
        if identity is None:
            return call
        held = self._held.get(identity)
        if held is not None:
            self._report.repeated += 1
            if call.tokens > held.tokens:
                # In its place: the order is that of the first copies.
                self._held[identity] = _keeping_what_is_known(call, held)
            return None
        if not self._seen.add(identity):
            self._report.repeated += 1
            return None
        if not call.grows:
            return call
        self._held[identity] = call
        if len(self._held) <= HELD:
            return None
        return self._held.pop(next(iter(self._held)))

    def finish(self) -> Iterator[LoggedCall]:
        """Let the calls through that waited for a later copy."""
        while self._held:
            yield self._held.pop(next(iter(self._held)))


def _keeping_what_is_known(call: LoggedCall, earlier: LoggedCall) -> LoggedCall:
    """A later copy, with the model and session of an earlier one where it has none."""
    call.model = call.model or earlier.model
    call.session = call.session or earlier.session
    call.time = call.time or earlier.time
    return call
