"""Sessions as tables of HTML, for notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from energy_tracking.calls.report import build_blocks, build_rows, collect_notes, format_head
from energy_tracking.calls.totals import GroupKey, Totals, sum_of


def session_html(
    name: str,
    groups: Mapping[GroupKey, Totals],
    reasons: Mapping[tuple[str, str], int],
    lost_ledger_lines: int = 0,
    more_notes: Iterable[str] = (),
) -> str:
    """The same as a table of HTML; names are shown as they are, never as markup.

    Args:
        name: Name of the session.
        groups: Totals by what calls have in common.
        reasons: Calls by (model, why they are less than fully estimated).
        lost_ledger_lines: Calls that are missing from a ledger [1].
        more_notes: Further sentences on the whole.
    """

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    blocks = build_blocks(groups)
    head = format_head(name, sum_of(groups.values()), blocks)
    lines = []
    for block in blocks:
        header, *rows = build_rows(block)
        lines += [line(header, "th"), *(line(row, "td") for row in rows)]
    notes = (*collect_notes(blocks, reasons, lost_ledger_lines), *more_notes)
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<table><caption>{escape(head)}</caption>{''.join(lines)}</table>"
        f"{f'<ul>{noted}</ul>' if noted else ''}"
    )
