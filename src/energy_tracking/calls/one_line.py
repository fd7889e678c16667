"""Sums and calls in a line, as ``print`` shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from energy_tracking.calls.amounts import choose_unit, format_count, format_range, two_digits
from energy_tracking.calls.report import CALIBRATED, energies_of, kind_label
from energy_tracking.calls.totals import EnergyKind, Totals, group_of

if TYPE_CHECKING:
    from energy_tracking.calls.record import CallRecord


def describe_totals(totals: Totals) -> str:
    """Sums over calls in a line: calls, tokens, energy with its range."""
    is_any = totals.calls or totals.aggregates
    energy = _describe_energy(totals) if is_any else "0 Wh"
    calls = format_count(totals.requests, "call")
    if totals.aggregates:
        inside = f"{totals.aggregate_requests:,} in {format_count(totals.aggregates, 'sum')}"
        calls += f" ({inside})"
    return f"{calls}, {_describe_tokens(totals)}, {energy}"


def describe_record(record: CallRecord) -> str:
    """A call in a line: its model, each energy with its range, its tokens, how it is known.

    Of a sum its number of requests is said, too.
    """
    totals = sums_of_record(record)
    energies = [
        f"{_describe_energy(totals, calibrated=kind == CALIBRATED)} {kind_label(kind)}"
        for kind in kinds_of_record(record)
    ]
    tokens = "tokens not known" if record.usage is None else _describe_tokens(totals)
    known = ", ".join(energies) or "energy not known"
    if record.requests is None:
        tokens += ", a sum over an unknown number of requests"
    elif record.requests > 1:
        tokens += f", a sum over {record.requests:,} requests"
    return f"{record.model}: {known}, {tokens} ({record.status})"


def sums_of_record(record: CallRecord) -> Totals:
    """The sums over this call alone."""
    totals = Totals()
    totals.add(record)
    return totals


def kinds_of_record(record: CallRecord) -> list[EnergyKind]:
    """The kinds of energy that a call has, its own first."""
    totals = sums_of_record(record)
    own = [group_of(record).kind] if energies_of(totals) else []
    return own + [CALIBRATED] * bool(totals.calibrated_calls and CALIBRATED not in own)


def _describe_tokens(totals: Totals) -> str:
    return f"{totals.input_tokens:,} input and {totals.output_tokens:,} output tokens"


def _describe_energy(totals: Totals, *, calibrated: bool = False) -> str:
    """An energy with its unit and range, e.g. ``140 mWh (52-1,100)``."""
    energies = energies_of(totals, calibrated=calibrated)
    if energies is None:
        return "energy not known"
    energy, low, high = energies
    unit, size = choose_unit(energy)
    ends = f" ({format_range(low / size, high / size)})" if low != high else ""
    return f"{two_digits(energy / size)} {unit}{ends}"
