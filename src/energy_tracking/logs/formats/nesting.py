"""Entries inside of others: where a call lies around another, only one of them counts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable

from energy_tracking.logs.formats.base import LogFile, remember
from energy_tracking.logs.formats.waiting import wait

REMEMBERED = 20_000
"""How many entries are remembered, from one file for the next, too; more than wait."""
NO_CALLS = "the sum of an agent or chain, without its calls"
NO_ID = ", and without an id that calls could be inside of"
DEEPEST_NESTING = 1000
"""How far up the entries around one are looked for."""

Key = Hashable


class Nesting:
    """Says of each entry of a trace, as it is read, whether it is a call that counts.

    The innermost call counts, and what is around it does not. Where one around it was read, and
    counted, before it, that one stands: it has the tokens of those inside of it.
    """

    def __init__(self) -> None:
        """Start with no entry seen."""
        # To find the oldest in a plain one, those that were taken out before are walked past.
        self._parents: OrderedDict[Key, Key | None] = OrderedDict()
        self._around: OrderedDict[Key, None] = OrderedDict()
        self._counted: OrderedDict[Key, None] = OrderedDict()

    def place(self, own: Key | None, parent: Key | None) -> None:
        """Remember where an entry lies.

        Args:
            own: The entry; None where it has no id.
            parent: The one around it.
        """
        if own is not None and own != parent:
            # As `remember` does it: this is done for each entry, without a call.
            self._parents[own] = parent
            if len(self._parents) > REMEMBERED:
                self._parents.popitem(last=False)

    def is_around(self, own: Key | None) -> bool:
        """Whether an entry lies around a call that counted."""
        return own in self._around

    def is_inside(self, own: Key | None, parent: Key | None = None) -> bool:
        """Whether an entry lies inside of a call that counted.

        Args:
            own: The entry.
            parent: The one around it; None where the entry was placed.
        """
        entry = self._parents.get(own) if parent is None else parent
        return entry is not None and any(one in self._counted for one in self._above(entry))

    def has_call_near(self, own: Key) -> bool:
        """Whether an entry lies around a call that counted, or inside of one."""
        return self.is_around(own) or self.is_inside(own)

    def admit(self, own: Key | None, parent: Key | None, is_call: bool) -> bool:
        """Take an entry in; returns whether it counts.

        Args:
            own: The entry; None where it has no id.
            parent: The one around it.
            is_call: Whether it has the tokens of a call.
        """
        if parent is not None:
            self.place(own, parent)
        if own in self._around:
            self._mark_around(parent)
            return False
        if not is_call or (parent is not None and self.is_inside(own, parent)):
            return False
        if own is not None:
            # As `remember` does it, as above.
            self._counted[own] = None
            if len(self._counted) > REMEMBERED:
                self._counted.popitem(last=False)
        if parent is not None:
            self._mark_around(parent)
        return True

    def depth(self, parent: Key | None) -> int:
        """How many entries are known to lie around one [1].

        Args:
            parent: The nearest one.
        """
        return sum(1 for _ in self._above(parent))

    def _mark_around(self, parent: Key | None) -> None:
        for entry in self._above(parent):
            if entry in self._around:
                return
            remember(self._around, entry, None, REMEMBERED)

    def _above(self, entry: Key | None) -> Iterable[Key]:
        for _ in range(DEEPEST_NESTING):
            if entry is None:
                return
            yield entry
            entry = self._parents.get(entry)


def nesting_in(file: LogFile, name: str) -> Nesting:
    """What says of the entries of one kind in all files which are calls that count.

    Args:
        file: Where one is.
        name: What the entries are called.
    """
    nesting: Nesting | None = file.shared.get(name)
    if nesting is None:
        nesting = file.shared[name] = Nesting()
    return nesting


def pass_over(
    file: LogFile, nesting: Nesting, own: Key | None, parent: Key | None, *, has_counts: bool
) -> None:
    """Take in an entry that is no call; its counts, if it has any, are those of calls inside of it.

    Args:
        file: Where it is.
        nesting: Knows the others.
        own: The entry; None where it has no id.
        parent: The one around it.
        has_counts: Whether it has tokens.
    """
    nesting.admit(own, parent, is_call=False)
    if has_counts:
        remember_sum(file, own, nesting)


def remember_sum(file: LogFile, own: Key | None, nesting: Nesting, reason: str = NO_CALLS) -> None:
    """Remember an entry with the tokens of calls that ought to lie inside of it.

    Args:
        file: Where it is.
        own: The entry; None where it has no id, and nobody can say what lies inside of it: it is
            left out at once.
        nesting: Says by the end of all files whether there were any.
        reason: Why it is left out where there were none, the same words for each.
    """
    if own is None:
        file.leave_out(reason + NO_ID)
    else:
        wait(file, own, reason, nesting.has_call_near)
