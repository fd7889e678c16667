"""Tables that keep to the 80 columns of a terminal, whatever names they hold."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from energy_tracking.calls.report import cut_middle
from energy_tracking.terminal import WIDTH, count_columns, fill, one_line

LONGEST_FIRST = 30
"""The first of two names is followed by the second at most so far in [characters]."""


def wrap_head(text: str) -> str:
    """A line in sum, in as many lines as it needs; names are not broken at their hyphens."""
    lines = textwrap.wrap(one_line(text), WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def fit_columns(header: Sequence[str], rows: Sequence[Sequence[str]], count: int) -> str:
    """The table in 80 columns: names that are too long for theirs have a line of their own.

    Args:
        header: Titles of the columns.
        rows: Their cells.
        count: How many columns of names there are [1].
    """
    lines = [header, *rows]
    widths = [max(count_columns(line[place]) for line in lines) for place in range(len(header))]
    room = WIDTH - sum(width + 2 for width in widths[count:])
    names, numbers = [], []
    first = 0
    if count > 1:
        first = min(max(count_columns(line[0]) for line in lines if line[1]), LONGEST_FIRST)
    for line in lines:
        label = line[0] if count == 1 else f"{fill(line[0], first)}  {line[1]}".rstrip()
        names.append(label)
        numbers.append([cell.rjust(widths[count + n] + 2) for n, cell in enumerate(line[count:])])
    column = max((taken for taken in map(count_columns, names) if taken <= room), default=0)
    shown = []
    for name, cells in zip(names, numbers, strict=True):
        behind = "".join(cells)
        if count_columns(name) <= column:
            shown.append(fill(name, column) + behind)
        else:
            shown += [cut_middle(name, WIDTH), " " * column + behind]
    return "\n".join(shown)
