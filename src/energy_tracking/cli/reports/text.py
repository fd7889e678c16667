"""A report as a table for a terminal of 80 columns, and as Markdown."""

from __future__ import annotations

from energy_tracking.calls.report import (
    CALIBRATED,
    choose_unit,
    count_text,
    format_amount,
    kind_label,
    wrap_notes,
)
from energy_tracking.cli.columns import fit_columns, wrap_head
from energy_tracking.cli.reports.collect import Report, mark_labels, rows_of
from energy_tracking.cli.reports.words import head_of, sentences_of, span_text
from energy_tracking.logs.grouping import DIMENSIONS, GroupSums, Of
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

    def cells(labels: tuple[str, ...], sums: GroupSums) -> tuple[str, ...]:
        row = [*map(one_line, labels), count_text(sums.requests)]
        carbon = report.carbon_of(sums, calibrated=has_calibrated)
        if carbon is not None:
            row.append(format_amount(carbon.total_carbon_grams) if sums.has_energy else "-")
        else:
            row += [count_text(int(sums.input_tokens)), count_text(int(sums.output_tokens))]
        if total.has_energy:
            row.append(_energy_cell(sums, size, calibrated=False))
        if has_calibrated:
            row.append(_energy_cell(sums, size, calibrated=True))
        return tuple(row)

    rows = [cells(mark_labels(row), row[2]) for row in groups]
    if len(groups) > 1:
        for of, sums in report.sums.items():
            name = "sum" if of is Of.ESTIMATES else f"sum ({of.label})"
            rows.append(cells((name, *[""] * (len(by) - 1)), sums))
    return header, rows


def _energy_cell(sums: GroupSums, size: float, *, calibrated: bool) -> str:
    """An energy with its range, in units of ``size`` [Wh]; ``-`` where there is none."""
    name = "calibrated_energy" if calibrated else "total_energy"
    if not (sums.calibrated_calls if calibrated else sums.has_energy):
        return "-"
    ends = ("joules", "low_joules", "high_joules")
    joules = [getattr(sums, f"{name}_{end}") for end in ends]
    shown, low, high = (format_amount(wh_from_joules(one) / size) for one in joules)
    is_alone = joules[1] == joules[2] or shown.startswith("<")
    return shown if is_alone else f"{shown} ({low}-{high})"


def _markdown_row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _escape_markdown(text: str) -> str:
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for character in "\\`*_[]|~":
        text = text.replace(character, f"\\{character}")
    return text
