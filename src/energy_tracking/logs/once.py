"""Each call once, in memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from energy_tracking.logs.logged import LoggedCall, ReadReport

if TYPE_CHECKING:
    import sqlite3

HELD = 10_000
"""How many calls wait for a later copy with more tokens."""
IN_MEMORY = 200_000
"""How many identities are held in memory; older ones go to a temporary file."""


class Seen:
    """Identities of calls, by a hash of 63 bits each: the newest in memory, the rest on disk."""

    def __init__(self) -> None:
        """Start with none."""
        self._new: set[int] = set()
        self._stored: sqlite3.Connection | None = None

    def __contains__(self, identity: object) -> bool:
        """Whether the identity was added."""
        number = _number(identity)
        if number in self._new:
            return True
        if self._stored is None:
            return False
        found = self._stored.execute("SELECT 1 FROM seen WHERE identity = ?", (number,))
        return found.fetchone() is not None

    def add(self, identity: object) -> None:
        """Remember an identity."""
        self._new.add(_number(identity))
        if len(self._new) >= IN_MEMORY:
            self._store()

    def _store(self) -> None:
        if self._stored is None:
            import sqlite3

            # Without a name it is a file that goes with the connection.
            self._stored = sqlite3.connect("", isolation_level=None, check_same_thread=False)
            for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -32000"):
                self._stored.execute(f"PRAGMA {pragma}")
            self._stored.execute("CREATE TABLE seen (identity INTEGER PRIMARY KEY)")
        self._stored.execute("BEGIN")
        rows = ((number,) for number in sorted(self._new))
        self._stored.executemany("INSERT OR IGNORE INTO seen VALUES (?)", rows)
        self._stored.execute("COMMIT")
        self._new.clear()


def _number(identity: object) -> int:
    return hash(identity) >> 1


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
        if identity in self._seen:
            self._report.repeated += 1
            return None
        self._seen.add(identity)
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
