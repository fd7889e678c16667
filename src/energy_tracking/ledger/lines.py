"""Reads a file with an object of JSON in each line, in memory that its size does not change.

Files are written by crashed processes, other programs and other versions. A line that cannot be
read costs itself alone, and one warning at the end says how many were left out, where, and why.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeVar

from energy_tracking.errors import EnergyTrackingWarning

LINES_NAMED = 10
"""Numbers of bad lines that the warning has [1]."""

REASONS_NAMED = 5
"""Reasons that it has [1]."""

MAX_LINE_BYTES = 64 * 2**20
"""Longer lines are left out [byte]: a response with a few generated images is shorter."""

T = TypeVar("T")


class LineError(ValueError):
    """A line breaks a rule of its format.

    Attributes:
        rule: The rule, the same for every line that breaks it.
        value: What the line has in its place, in a few characters.
    """

    def __init__(self, rule: str, value: str = "") -> None:
        """Name the rule and the value."""
        super().__init__(rule, value)
        self.rule = rule
        self.value = value


def read_lines(
    path: str | os.PathLike[str],
    read: Callable[[dict[str, Any]], T | None],
    *,
    max_bytes: int = MAX_LINE_BYTES,
    start: bytes | None = None,
    keeps: Callable[[T], bool] | None = None,
) -> Iterator[T]:
    """Read a file with an object of JSON in each line, one line at a time.

    Args:
        path: The file.
        read: Turns the object into what is yielded. It returns None for an object of no known
            format, and raises ``LineError`` for one that breaks a rule of its format.
        max_bytes: Longer lines are left out [byte].
        start: What every line begins with, if there is such a thing: by it a whole line is found
            that stands behind one that was cut off.
        keeps: Says of what was read whether it is yielded; it raises ``LineError``, too.

    Raises:
        OSError: The file cannot be read.
    """
    bad = _BadLines()
    try:
        with open(path, "rb") as file:
            for number, line in number_lines(file, max_bytes):
                if line is None:
                    bad.add(number, LineError(f"is longer than {max_bytes:,} bytes"))
                    continue
                if not (line := line.strip()):
                    continue
                for piece in split_glued(line, start):
                    try:
                        found = read_object(piece, read)
                        is_kept = keeps is None or keeps(found)
                    except LineError as error:
                        bad.add(number, error)
                    else:
                        if is_kept:
                            yield found
    except GeneratorExit:
        # The caller has seen enough, perhaps long ago: the garbage collector may be closing this.
        bad.count = 0
        raise
    finally:
        if bad.count:
            message = f"{os.fspath(path)}: {bad}"
            warnings.warn(message, EnergyTrackingWarning, stacklevel=2)


def split_glued(line: bytes, start: bytes | None) -> list[bytes]:
    """A line, or the lines in it where one was cut off before its end and others stand behind.

    Args:
        line: The line, without its end.
        start: What every line begins with, if there is such a thing.
    """
    if start is None or start not in line[1:]:
        return [line]
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        before, *pieces = line.split(start)
        return [*([before] if before else []), *(start + piece for piece in pieces)]
    # It stands in the line's own text or tags.
    return [line]


def number_lines(
    file: BinaryIO, max_bytes: int = MAX_LINE_BYTES
) -> Iterator[tuple[int, bytes | None]]:
    """The lines, each with its number; None for one that is too long.

    Args:
        file: The file.
        max_bytes: How long a line may be [byte].
    """
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        if len(line) <= max_bytes:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(2**16)
        yield number, None


def read_object(line: bytes, read: Callable[[dict[str, Any]], T | None]) -> T:
    """What one line holds.

    Args:
        line: The line.
        read: As ``read_lines`` has it.

    Raises:
        LineError: It cannot be read.
    """
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        raise LineError("is cut off, or not JSON") from None
    if not isinstance(document, dict):
        raise LineError("is not an object")
    try:
        found = read(document)
    except LineError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise LineError(f"cannot be read ({type(error).__name__})") from None
    if found is None:
        raise LineError("is in no known format")
    return found


class _BadLines:
    """Lines that were left out, by the rule that they break."""

    def __init__(self) -> None:
        self.count = 0
        self._numbers: list[int] = []
        # By the rule: lines, the first one's number, and its value.
        self._rules: dict[str, tuple[int, int, str]] = {}

    def add(self, number: int, error: LineError) -> None:
        self.count += 1
        if len(self._numbers) < LINES_NAMED and number not in self._numbers:
            self._numbers.append(number)
        count, first, value = self._rules.get(error.rule, (0, number, error.value))
        self._rules[error.rule] = (count + 1, first, value)

    def __str__(self) -> str:
        """All of them in a sentence."""
        numbers = ", ".join(map(str, self._numbers)) + ", ..." * (self.count > LINES_NAMED)
        reasons = [
            f"line {first}{'' if rule.startswith('is ') else ':'} {rule}"
            + (f", got {value}" if value else "")
            + (f" ({count:,} such lines)" if count > 1 else "")
            for rule, (count, first, value) in self._rules.items()
        ]
        if len(reasons) > REASONS_NAMED:
            reasons[REASONS_NAMED:] = [f"{len(reasons) - REASONS_NAMED} more reasons"]
        lines = f"{self.count:,} unreadable line{'s' * (self.count != 1)}"
        return f"{lines} left out ({numbers}): {'; '.join(reasons)}"
