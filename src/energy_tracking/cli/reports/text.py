"""A report as a table for a terminal of 80 columns, and as Markdown."""

from __future__ import annotations

from collections.abc import Callable

from energy_tracking.calls.amounts import (
    Range,
    choose_unit,
    count_text,
    format_column,
    format_with_range,
)
from energy_tracking.calls.report import CALIBRATED, kind_label, wrap_notes
from energy_tracking.cli.columns import fit_columns, wrap_head
from energy_tracking.cli.reports.collect import Report, mark_labels, rows_of
from energy_tracking.cli.reports.words import head_of, sentences_of, span_text
from energy_tracking.logs.batches.dimensions import DIMENSIONS
from energy_tracking.logs.batches.grouping import GroupSums, Of
from energy_tracking.terminal import one_line
from energy_tracking.units import wh_from_joules

TOP = 20
"""Groups that a table shows where nobody says how many; those in time are all shown."""


def report_text(report: Report, top: int | None) -> str:
    """The table, a line in sum before it and sentences below.

    Args:
        report: The report.
        top: Groups to be shown.
    """
    header, rows = build_cells(report, top)
    shown = fit_columns(header, rows, len(report.selection.by))
    lines = [wrap_head(head_of(report))]
    span = span_text(report)
    if span:
        lines.append(f"{span} ({report.selection.zone})")
    notes = wrap_notes(one_line(sentence) for sentence in sentences_of(report))
    return "\n".join([*lines, shown, *notes] if rows else [*lines, *notes])


def report_markdown(report: Report, top: int | None) -> str:
    """The same for a pull request or a wiki; names are shown as they are, never as markup.

    Args:
        report: The report.
        top: Groups to be shown.
    """
    header, rows = build_cells(report, top)
    count = len(report.selection.by)
    rule = ["---"] * count + ["---:"] * (len(header) - count)
    lines = [f"**{_escape_markdown(head_of(report))}**", ""]
    span = span_text(report)
    if span:
        lines += [f"{span} ({report.selection.zone})", ""]
    if rows:
        lines += [_markdown_row(header), _markdown_row(rule)]
        lines += [_markdown_row([_escape_markdown(cell) for cell in row]) for row in rows]
        lines.append("")
    lines += [f"- {_escape_markdown(sentence)}" for sentence in sentences_of(report)]
    return "\n".join(lines)


def build_cells(report: Report, top: int | None) -> tuple[list[str], list[tuple[str, ...]]]:
    """The header and the rows of the table, its sums last.

    Args:
        report: The report.
        top: Groups to be shown; None: ``TOP``, and all of a time.
    """
    by = report.selection.by
    if top is None:
        top = None if any(DIMENSIONS[name].is_time for name in by) else TOP
    groups = rows_of(report.table, report.names, top)
    total = report.total
    unit, size = choose_unit(wh_from_joules(total.total_energy_joules or 0.0))
    has_carbon, has_calibrated = report.selection.has_carbon, report.has_calibrated
    energies = [f"{kind_label(report.kind)} {unit}"] if total.has_energy else []
    energies += [f"{kind_label(CALIBRATED)} {unit}"] * has_calibrated
    # Emissions take the place of tokens, or there would be none for names.
    about = ["g CO2e"] if has_carbon else ["in", "out"]
    header = [*by, "calls", *about, *energies]

    sums = report.sums if len(groups) > 1 else {}
    labels = [mark_labels(row) for row in groups]
    for of in sums:
        name = "sum" if of is Of.ESTIMATES else f"sum ({of.label})"
        labels.append((name, *[""] * (len(by) - 1)))

    def column(read: Callable[[GroupSums], Range | None], size: float) -> list[str]:
        """A cell for each group, and for each sum over those of a kind."""
        if not sums:
            return [format_with_range(read(one), size) for _, _, one in groups]
        cells = {}
        for of, total_of in sums.items():
            parts = [read(one) for _, each, one in groups if each is of]
            cells[of] = format_column(parts, read(total_of), size)
        return [cells[of].pop(0) for _, of, _ in groups] + [cells[of].pop() for of in sums]

    def read_grams(one: GroupSums) -> Range | None:
        emitted = report.carbon_of(one, calibrated=has_calibrated)
        if emitted is None or not one.has_energy:
            return None
        grams = emitted.total_carbon_grams
        return grams, grams, grams  # there is no room for the range, which stands below

    every = [*(one for _, _, one in groups), *sums.values()]
    columns = [[count_text(one.requests) for one in every]]
    if has_carbon:
        columns.append(column(read_grams, 1.0))
    else:
        columns.append([count_text(int(one.input_tokens)) for one in every])
        columns.append([count_text(int(one.output_tokens)) for one in every])
    if total.has_energy:
        columns.append(column(lambda one: _read_energy(one, calibrated=False), size))
    if has_calibrated:
        columns.append(column(lambda one: _read_energy(one, calibrated=True), size))
    names = [map(one_line, each) for each in labels]
    return header, [(*name, *cells) for name, *cells in zip(names, *columns, strict=True)]


def _read_energy(sums: GroupSums, *, calibrated: bool) -> Range | None:
    """An energy and both ends of its range [Wh]; None where no call has one."""
    if not (sums.calibrated_calls if calibrated else sums.has_energy):
        return None
    name = "calibrated_energy" if calibrated else "total_energy"
    return (
        wh_from_joules(getattr(sums, f"{name}_joules")),
        wh_from_joules(getattr(sums, f"{name}_low_joules")),
        wh_from_joules(getattr(sums, f"{name}_high_joules")),
    )


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|~":
        text = text.replace(character, f"\\{character}")
    return text
