"""Sessions, sums, comparisons, emissions and records as short tables of HTML, for notebooks.

Each is one table: a caption that says it in a line, a row for each part with a small bar below its
energy, and the sum in bold below a rule. Names and reasons are shown as they are, never as markup.
The bars are backgrounds of the cells: where a page drops styles, the numbers are all there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from energy_tracking.calls.amounts import choose_unit, format_column, format_with_range, two_digits
from energy_tracking.calls.comparison import describe_comparison, list_kinds
from energy_tracking.calls.one_line import (
    describe_record,
    describe_totals,
    kinds_of_record,
    sums_of_record,
)
from energy_tracking.calls.report import (
    CALIBRATED,
    IN_BRACKETS,
    Block,
    build_blocks,
    build_rows,
    collect_notes,
    energies_of,
    format_energy,
    format_head,
    kind_label,
    kind_sentences,
)
from energy_tracking.calls.totals import GroupKey, Totals, sum_of

if TYPE_CHECKING:
    from energy_tracking.calls.carbon import Carbon
    from energy_tracking.calls.comparison import Comparison
    from energy_tracking.calls.record import CallRecord

# Half transparent: on a dark page they are as visible as on a bright one.
_BAR = "background:linear-gradient({colour},{colour}) no-repeat left bottom/{percent:.0f}% 4px"
_COLOURS = ("rgba(44,123,182,.75)", "rgba(217,95,2,.75)")
_CAPTION = "text-align:left;font-weight:bold;caption-side:top;white-space:nowrap"
_SIDES = ("text-align:left;padding:2px 8px 6px", "text-align:right;padding:2px 8px 6px")
_SUM = ";font-weight:bold;border-top:2px solid"


class _Cell(NamedTuple):
    """A cell of a row.

    Attributes:
        text: What it says.
        share: Length of its bar, of the longest [1]; None: it has none.
        colour: Which colour the bar has.
    """

    text: str
    share: float | None = None
    colour: int = 0


def session_html(
    name: str,
    groups: Mapping[GroupKey, Totals],
    reasons: Mapping[tuple[str, str], int],
    lost_ledger_lines: int = 0,
    more_notes: Iterable[str] = (),
) -> str:
    """A session: a row for each model, the sum, and what is not known.

    Args:
        name: Name of the session.
        groups: Totals by what calls have in common.
        reasons: Calls by (model, why they are less than fully estimated).
        lost_ledger_lines: Calls that are missing from a ledger [1].
        more_notes: Further sentences on the whole.
    """
    blocks = build_blocks(groups)
    lines = []
    for block in blocks:
        header, *rows = build_rows(block)
        bars = _bars_of(block)
        lines.append(_line(header, "th"))
        for place, row in enumerate(rows):
            is_sum = place == len(block.groups)
            parts = [None] * len(bars[0]) if is_sum else bars[place]
            counts = len(row) - len(parts)
            energies = enumerate(zip(row[counts:], parts, strict=True))
            cells = [*map(_Cell, row[:counts]), *(_Cell(*pair, at) for at, pair in energies)]
            lines.append(_line(cells, "td", is_sum=is_sum))
    head = format_head(name, sum_of(groups.values()), blocks)
    notes = (*collect_notes(blocks, reasons, lost_ledger_lines), *more_notes)
    return _table(head, lines, notes)


def _bars_of(block: Block) -> list[list[float | None]]:
    """For each group of a block the length of the bar of each column."""
    energies = [
        [energies_of(totals, calibrated=kind == CALIBRATED) for kind in block.columns]
        for _, totals in block.groups
    ]
    most = max((one[0] for row in energies for one in row if one), default=0.0)
    return [[one[0] / most if one and most else None for one in row] for row in energies]


def _energy_cell(
    totals: Totals, size: float, most: float, *, calibrated: bool = False, colour: int = 0
) -> _Cell:
    """The cell of an energy.

    Args:
        totals: The sums.
        size: The unit it is shown in [Wh].
        most: The energy of the longest bar [Wh].
        calibrated: Whether the calibrated number is wanted.
        colour: Which colour the bar has.
    """
    energies = energies_of(totals, calibrated=calibrated)
    share = energies[0] / most if energies and most else None
    return _Cell(format_energy(totals, size, calibrated=calibrated), share, colour)


def totals_html(totals: Totals) -> str:
    """Sums over calls: their tokens, their energy and its parts."""
    unit, size = choose_unit(totals.total_energy_wh or totals.calibrated_energy_wh)
    most = max(totals.total_energy_wh, totals.calibrated_energy_wh)
    parts = [(wh, wh, wh) for wh in (totals.prefill_energy_wh, totals.decode_energy_wh)]
    if totals.measured_calls:
        # The total is no sum of these, which are estimates.
        shown = [format_with_range(part, size) for part in parts]
        shown.append(format_energy(totals, size))
    else:
        shown = format_column(parts, energies_of(totals), size)
    inside = (
        ("of it reasoning", totals.reasoning_energy_wh),
        ("avoided by prompt caching", totals.cache_avoided_energy_wh),
    )
    rows = [
        ("reading the prompt", shown[0], totals.prefill_energy_wh),
        ("generating", shown[1], totals.decode_energy_wh),
        *((label, two_digits(wh / size), wh) for label, wh in inside),
    ]
    lines = [_line(["", unit], "th")]
    for label, text, wh in rows:
        if wh:
            lines.append(_line([_Cell(label), _Cell(text, wh / most if most else None)], "td"))
    for label, is_calibrated in (("total", False), ("calibrated", True)):
        if energies_of(totals, calibrated=is_calibrated) is not None:
            colour = int(is_calibrated)
            cell = _energy_cell(totals, size, most, calibrated=is_calibrated, colour=colour)
            if not is_calibrated:
                cell = cell._replace(text=shown[2])
            lines.append(_line([_Cell(label), cell], "td", is_sum=not is_calibrated))
    return _table(describe_totals(totals), lines if len(lines) > 1 else [], [IN_BRACKETS])


def comparison_html(comparison: Comparison) -> str:
    """The same tokens in two ways."""
    sides = (("as it was", comparison.actual_by_kind), ("compared", comparison.other_by_kind))
    sums = [sum_of(side.values()) for _, side in sides]
    unit, size = choose_unit(max(one.total_energy_wh for one in sums))
    kinds = list_kinds(comparison.actual_by_kind, comparison.other_by_kind)
    most = max(max(one.total_energy_wh, one.calibrated_energy_wh) for one in sums)
    lines = [_line(["", *(f"{kind_label(kind)} {unit}" for kind in kinds)], "th")]
    for (label, side), total in zip(sides, sums, strict=True):
        cells = [_Cell(label)]
        for place, kind in enumerate(kinds):
            is_calibrated = kind == CALIBRATED
            part = total if is_calibrated else side.get(kind, Totals())
            cell = _energy_cell(part, size, most, calibrated=is_calibrated, colour=place)
            cells.append(cell)
        lines.append(_line(cells, "td"))
    head = describe_comparison(comparison.calls, comparison.changes)
    if kinds:
        head += f": a factor of {two_digits(comparison.factor)}"
    notes = [*kind_sentences(kinds), IN_BRACKETS]
    return _table(head, lines if kinds else [], notes if kinds else ["no call has an estimate"])


def carbon_html(carbon: Carbon) -> str:
    """Emissions with their range."""
    ends = (
        ("low end", carbon.total_carbon_low_grams),
        ("emissions", carbon.total_carbon_grams),
        ("high end", carbon.total_carbon_high_grams),
    )
    most = max(grams for _, grams in ends)
    lines = [_line(["", "g CO2e"], "th")]
    for label, grams in ends:
        cells = [_Cell(label), _Cell(two_digits(grams), grams / most if most else None)]
        lines.append(_line(cells, "td", is_sum=label == "emissions"))
    return _table(str(carbon), lines, ["the ends are those of the energy's 90 % range"])


def record_html(record: CallRecord) -> str:
    """A call: its tokens, both energies with their ranges, and how they were made."""
    totals = sums_of_record(record)
    estimate, kinds = record.estimate, kinds_of_record(record)
    unit, size = choose_unit(totals.total_energy_wh or totals.calibrated_energy_wh)
    most = max(totals.total_energy_wh, totals.calibrated_energy_wh)
    lines = [_line(["", unit], "th")] if kinds else []
    for place, kind in enumerate(kinds):
        is_calibrated = kind == CALIBRATED
        cell = _energy_cell(totals, size, most, calibrated=is_calibrated, colour=place)
        lines.append(_line([_Cell(kind_label(kind)), cell], "td"))
    notes = kind_sentences(kinds)
    if estimate is not None:
        made = f"model profile {estimate.model_profile}, grade {estimate.grade}, on {estimate.gpu}"
        notes.append(f"{made}; {IN_BRACKETS}")
    if record.reason is not None:
        notes.append(record.reason)
    return _table(describe_record(record), lines, notes)


def _table(caption: str, lines: Sequence[str], notes: Sequence[str]) -> str:
    """A table with what is to be known below it."""
    if not lines:
        table = f"<table><caption>{escape(caption)}</caption></table>"
    else:
        table = (
            f'<table style="border-collapse:collapse"><caption style="{_CAPTION}">'
            f"{escape(caption)}</caption>{''.join(lines)}</table>"
        )
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return table + (f"<ul>{noted}</ul>" if noted else "")


def _line(cells: Sequence[_Cell | str], tag: str, *, is_sum: bool = False) -> str:
    """A row: the first cell to the left, the others to the right."""
    written = []
    for place, cell in enumerate(cells):
        text, share, colour = cell if isinstance(cell, _Cell) else _Cell(cell)
        style = _SIDES[bool(place)] + _SUM * is_sum
        if share is not None:
            style += ";" + _BAR.format(colour=_COLOURS[colour % 2], percent=100 * float(share))
        written.append(f'<{tag} style="{style}">{escape(text)}</{tag}>')
    return f"<tr>{''.join(written)}</tr>"
