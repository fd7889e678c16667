"""Of a call that has several lines in a ledger, the last one counts.

A log may be read while its calls still grow. Read again, it adds a line with the tokens of by
then, which says that it replaces the earlier ones: nothing in a ledger is ever overwritten. So
that no reader has to remember every call, the lines that replace others are looked up first
(``find_replacing_lines``), and the lines they replace are then left out as they come by.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from energy_tracking.ledger.lines import number_lines

MARK = b'"replaces"'
"""What a line has that replaces others."""


class Replaced:
    """Calls with several lines, and how many of those that replace others are still to come."""

    def __init__(self) -> None:
        """Start with none."""
        self._left: Counter[str] = Counter()

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._left)

    def expect(self, response_id: str | None, log_identity: str | None) -> None:
        """Note a line that replaces others.

        Args:
            response_id: The server's id of its response.
            log_identity: What its call is known by, if not by that.
        """
        self._left[log_identity or response_id or ""] += 1

    def expects(self, response_id: str | None, log_identity: str | None) -> bool:
        """Whether such a line was noted and has not come by yet.

        Args:
            response_id: The server's id of its response.
            log_identity: What its call is known by, if not by that.
        """
        return self._left[log_identity or response_id or ""] > 0

    def admits(self, response_id: str | None, log_identity: str | None, replaces: bool) -> bool:
        """Take in the next line; returns whether it is the one that counts.

        A line that replaces others and was not noted has been written since: it does not.

        Args:
            response_id: The server's id of its response.
            log_identity: What its call is known by, if not by that.
            replaces: Whether it replaces others.
        """
        left = self._left
        if not replaces:
            return not left or not (log_identity in left or response_id in left)
        key = log_identity or response_id or ""
        left[key] -= 1
        return left[key] == 0


def find_replacing_lines(stream: BinaryIO, max_bytes: int) -> Iterator[bytes]:
    """The lines that may replace others: a text in them may look alike.

    Args:
        stream: A ledger.
        max_bytes: How long a line may be [byte].
    """
    for _, line in number_lines(stream, max_bytes):
        if line is not None and MARK in line:
            yield line
