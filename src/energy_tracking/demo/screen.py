"""What the demo prints: twenty lines of 80 columns, and the spans where they are asked for.

The order: calls that have an energy, the dearest first, and their sum; what the numbers are; a
public figure beside them; emissions; calls without an energy, and why; what to do next.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from energy_tracking.calls.amounts import choose_unit, format_column, two_digits
from energy_tracking.calls.carbon import Carbon
from energy_tracking.calls.one_line import kinds_of_record, sums_of_record
from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.report import CALIBRATED, energies_of, kind_label, sort_kinds, table
from energy_tracking.calls.session import Session
from energy_tracking.calls.totals import EnergyKind, sum_of
from energy_tracking.demo.server import Exchange
from energy_tracking.terminal import WIDTH

PUBLIC_FIGURE = "Google's median Gemini prompt: 140 mWh on its chips, 240 in all ({source})"
"""What one prompt takes by the one provider that disclosed it for both scopes."""

PUBLIC_SOURCE = "google-2025"
"""Key of its source, as ``energy-tracking sources`` lists it."""

REGION = "DE"

NOW_YOURS = """
Now yours:
  energy-tracking run your.py
  client = energy_tracking.wrap_openai(OpenAI())"""

_METHODS = {
    EnergyKind("reference", "gpu"): "reference by the project's formula",
    CALIBRATED: "calibrated on measured servers",
}
_LEFT_OUT = {
    "gpu": "without host, cooling, network, training",
    "facility": "with host and cooling, without network, training",
}


def format_demo(
    exchanges: Sequence[Exchange], records: Sequence[CallRecord], session: Session
) -> str:
    """The demo's lines.

    Args:
        exchanges: What was asked.
        records: What was tracked of each.
        session: The sum over them.
    """
    calls = [
        (exchange.name, record)
        for exchange, record in zip(exchanges, records, strict=True)
        if record.estimate is not None
    ]
    calls.sort(key=lambda call: -sums_of_record(call[1]).total_energy_joules)
    kinds = _kinds_of([record for _, record in calls])
    notes = [
        _describe_numbers([record for _, record in calls], kinds),
        PUBLIC_FIGURE.format(source=PUBLIC_SOURCE),
        _describe_emissions(session.carbon(region=REGION)),
        _explain_missing(records),
    ]
    lines = [line for note in notes for line in textwrap.wrap(note, WIDTH, break_on_hyphens=False)]
    return "\n".join((_format_calls(calls, len(records), kinds), "", *lines, NOW_YOURS))


def format_spans(spans: Sequence[ReadableSpan]) -> str:
    """One span of a call, and that of the function around all.

    Args:
        spans: All spans of the demo.
    """
    shown = [next(span for span in spans if span.name == name) for name in ("chat o3-mini", "demo")]
    return "\n\n".join(f"span {span.name!r}\n{_format_attributes(span)}" for span in shown)


def _kinds_of(records: Sequence[CallRecord]) -> list[EnergyKind]:
    """The kinds of energy there are: the calls' own, and the calibrated one beside it."""
    return sort_kinds({kind for record in records for kind in kinds_of_record(record)})


def _format_calls(
    calls: Sequence[tuple[str, CallRecord]], made: int, kinds: Sequence[EnergyKind]
) -> str:
    """The table: every column of energies adds up as it is shown."""
    rows = [(name, sums_of_record(record)) for name, record in calls]
    total = sum_of(totals for _, totals in rows)
    rows.append(("sum", total))
    unit, size = choose_unit(total.total_energy_wh)
    columns = []
    for kind in kinds:
        calibrated = kind == CALIBRATED
        *parts, whole = (energies_of(totals, calibrated=calibrated) for _, totals in rows)
        columns.append(format_column(parts, whole, size))
    header = (f"{made} recorded calls", "input", "output")
    return table(
        (*header, *(f"{kind_label(kind)} {unit}" for kind in kinds)),
        [
            (name, f"{totals.input_tokens:,}", f"{totals.output_tokens:,}", *cells)
            for (name, totals), *cells in zip(rows, *columns, strict=True)
        ],
    )


def _describe_numbers(records: Sequence[CallRecord], kinds: Sequence[EnergyKind]) -> str:
    gpus = sorted({record.estimate.gpu for record in records if record.estimate is not None})
    methods = ", ".join(_METHODS[kind] for kind in kinds if kind in _METHODS)
    left_out = _LEFT_OUT[max(kind.scope for kind in kinds if kind.scope in _LEFT_OUT)]
    return (
        f"Estimates (90 % range) on an assumed {', '.join(gpus)}: "
        f"{methods or 'calibrated for the whole facility'}; {left_out}."
    )


def _describe_emissions(carbon: Carbon) -> str:
    grams = two_digits(carbon.total_carbon_grams)
    low, high = map(two_digits, (carbon.total_carbon_low_grams, carbon.total_carbon_high_grams))
    source = f"{carbon.grams_per_kwh:g} g/kWh ({carbon.source})"
    return f"CO2e for region={REGION!r}: {grams} g ({low}-{high}) at {source}"


def _explain_missing(records: Sequence[CallRecord]) -> str:
    """Which calls have no energy, and why."""
    missing = (record for record in records if record.estimate is None)
    reasons = [
        f"{one.model} ({one.error_type or (one.reason or '').removesuffix(' for this model')})"
        for one in missing
    ]
    return f"No energy: {', '.join(reasons)}."


def _format_attributes(span: ReadableSpan) -> str:
    shown = {name: _format_value(value) for name, value in (span.attributes or {}).items()}
    width = max(map(len, shown))
    # A long value moves to the left, where it still ends within the terminal.
    return "\n".join(_align(name, value, width) for name, value in shown.items())


def _align(name: str, value: str, width: int) -> str:
    return f"  {name.ljust(min(width, WIDTH - 4 - len(value)))}  {value}"


def _format_value(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return two_digits(value) if value < 1e6 else f"{value:.2g}"
