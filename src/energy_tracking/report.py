"""Totals as text for people: pure strings.

People see two significant digits. An estimate from public knowledge of a closed model is
good to a factor, not to a percent, and digits we do not have would claim otherwise.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from html import escape
from io import StringIO

from energy_tracking.totals import Totals, sum_of

# Watt-hours per unit, largest first.
_UNITS = (("kWh", 1e3), ("Wh", 1.0), ("mWh", 1e-3), ("µWh", 1e-6))


def two_digits(value: float) -> str:
    """A number with two significant digits and no exponent, e.g. ``0.20``, ``1,200``."""
    return f"{Decimal(f'{value:#.2g}' if value else '0'):,f}"


def energy_text(energy_wh: float) -> str:
    """Energy [Wh] with the unit that suits it, e.g. ``12 mWh``."""
    unit, size = _unit_for(energy_wh)
    return f"{two_digits(energy_wh / size)} {unit}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns of text, the first to the left and numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def session_table(
    name: str,
    groups: Mapping[tuple[str, str], Totals],
    reasons: Mapping[tuple[str, str], int],
) -> str:
    """A session: one line in sum, a row per model and GPU, and what is not known.

    Args:
        name: Name of the session.
        groups: Totals by (model, GPU profile).
        reasons: Calls by (model, why they are less than fully estimated).
    """
    head, header, rows, notes = _parts(name, groups, reasons)
    noted = [f"  {note}" for note in notes]
    return "\n".join((head, table(header, rows), *noted)) if rows else head


def session_html(
    name: str,
    groups: Mapping[tuple[str, str], Totals],
    reasons: Mapping[tuple[str, str], int],
) -> str:
    """The same as a table of HTML; names are shown as they are, never as markup."""
    head, header, rows, notes = _parts(name, groups, reasons)

    def line(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>"

    lines = [line(header, "th"), *(line(row, "td") for row in rows)] if rows else []
    noted = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f"<table><caption>{escape(head)}</caption>{''.join(lines)}</table>"
        f"{f'<ul>{noted}</ul>' if noted else ''}"
    )


def session_json(
    name: str,
    tags: Mapping[str, str],
    groups: Mapping[tuple[str, str], Totals],
    reasons: Mapping[tuple[str, str], int],
) -> str:
    """The same as a JSON object, with all the digits there are."""
    told = {
        "name": name,
        "tags": dict(tags),
        "totals": sum_of(groups.values()).as_dict(),
        "groups": [
            {"model": model, "gpu": gpu} | totals.as_dict()
            for (model, gpu), totals in sorted(groups.items())
        ],
        "reasons": [
            {"model": model, "reason": reason, "calls": calls}
            for (model, reason), calls in sorted(reasons.items())
        ],
    }
    return json.dumps(told, indent=2, ensure_ascii=False)


def session_csv(groups: Mapping[tuple[str, str], Totals]) -> str:
    """A header, and a row per model and GPU; no sum, which whoever reads it makes."""
    written = StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(("model", "gpu", *Totals().as_dict()))
    for key, totals in sorted(groups.items()):
        writer.writerow((*key, *totals.as_dict().values()))
    return written.getvalue()


def _parts(
    name: str,
    groups: Mapping[tuple[str, str], Totals],
    reasons: Mapping[tuple[str, str], int],
) -> tuple[str, tuple[str, ...], list[tuple[str, ...]], list[str]]:
    """Of a session's table: the line in sum, the header, the rows and the notes."""
    total = sum_of(groups.values())
    kinds = (
        (total.measured_calls, "measured"),
        (total.partial_calls, "partial"),
        (total.unestimated_calls, "unestimated"),
        (total.failed_calls, "failed"),
    )
    named = ", ".join(f"{calls:,} {kind}" for calls, kind in kinds if calls)
    calls = _count(total.calls, "call") + (f" ({named})" if named else "")
    head = f"{name}: {calls}, {energy_text(total.total_energy_wh)}"
    unit, size = _unit_for(total.total_energy_wh)
    energies = (f"prefill {unit}", f"decode {unit}", f"total {unit}", "90 % range")
    header = ("model", "gpu", "calls", "input", "cached", "output", "reasoning", *energies)
    rows = [(*key, *_cells(totals, size)) for key, totals in sorted(groups.items())]
    if len(rows) > 1:
        rows.append(("sum", "", *_cells(total, size)))
    parts = (
        (total.reasoning_energy_wh, "of it spent on reasoning"),
        (total.cache_avoided_energy_wh, "avoided by prompt caching"),
    )
    notes = [f"{energy_text(energy_wh)} {what}" for energy_wh, what in parts if energy_wh]
    notes += [
        f"{_count(calls, 'call')} to {model}: {reason}"
        for (model, reason), calls in sorted(reasons.items())
    ]
    return head, header, rows, notes


def _cells(totals: Totals, size: float) -> list[str]:
    counts = (
        totals.calls,
        totals.input_tokens,
        totals.cached_input_tokens,
        totals.output_tokens,
        totals.reasoning_tokens,
    )
    energies = (totals.prefill_energy_wh, totals.decode_energy_wh, totals.total_energy_wh)
    shown = [f"{count:,}" for count in counts]
    if totals.calls == totals.unestimated_calls + totals.failed_calls:
        return [*shown, "-", "-", "-", "-"]
    low, high = totals.total_energy_low_wh, totals.total_energy_high_wh
    return [
        *shown,
        *(two_digits(energy_wh / size) for energy_wh in energies),
        f"{two_digits(low / size)} to {two_digits(high / size)}",
    ]


def _unit_for(energy_wh: float) -> tuple[str, float]:
    if energy_wh <= 0:
        return "Wh", 1.0
    shown = float(f"{energy_wh:.2g}")
    return next((unit for unit in _UNITS if shown >= unit[1]), _UNITS[-1])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
