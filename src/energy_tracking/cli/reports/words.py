"""What a report says in sentences, the same in a table, in Markdown and on a page."""

from __future__ import annotations

from collections.abc import Iterator

from energy_tracking.calls.aggregates import UNKNOWN_REQUESTS
from energy_tracking.calls.amounts import energy_text, format_count
from energy_tracking.calls.report import (
    CALIBRATED,
    KINDS,
    describe_sums,
    kind_label,
    kind_sentences,
)
from energy_tracking.cli.options import find_remedy
from energy_tracking.cli.reports.collect import Report
from energy_tracking.logs.batches.dimensions import local_time
from energy_tracking.logs.batches.grouping import GroupSums, Of
from energy_tracking.units import wh_from_joules

MOST_REASONS = 20
"""Reasons that are listed one by one [1]."""


def head_of(report: Report) -> str:
    """The line in sum: calls, and an energy of each kind."""
    total = report.total
    parts = [
        (int(total.measured_calls), "measured"),
        (int(total.partial_calls), "partial"),
        (int(total.unestimated_calls), "unestimated"),
        (int(total.failed_calls), "failed"),
    ]
    named = ", ".join(f"{calls:,} {what}" for calls, what in parts if calls)
    calls = format_count(total.requests, "call") + (f" ({named})" if named else "")
    title = report.title if report.is_whole else f"{report.title}, not to the end"
    energies = [
        f"{energy_text(wh_from_joules(sums.total_energy_joules))} {label}"
        for label, sums in sums_by_label(report)
    ]
    if report.has_calibrated:
        wh = wh_from_joules(total.calibrated_energy_joules)
        energies.append(f"{energy_text(wh)} {kind_label(CALIBRATED)}")
    nothing = "energy not known" if total.requests else "0 Wh"
    return f"{title}: {calls}, {', '.join(energies) or nothing}"


def sums_by_label(report: Report) -> list[tuple[str, GroupSums]]:
    """The sum of the estimates, and that of what servers measured, each where there is any."""
    labels = {Of.ESTIMATES: kind_label(report.kind), Of.MEASURED: Of.MEASURED.label}
    return [(labels[of], sums) for of, sums in report.sums.items() if sums.has_energy]


def sentences_of(report: Report) -> Iterator[str]:
    """What the numbers are, what is within them, and what is not known."""
    total = report.total
    kinds = [report.kind] if total.has_energy else []
    kinds += [CALIBRATED] * report.has_calibrated
    kinds += [kind for kind in KINDS if kind.method == "measured"] * (total.measured_calls > 0)
    yield from kind_sentences(kinds)
    if kinds:
        yield (
            f"on {report.settings.gpu}; in brackets: 90 % range; beyond the scope, and so in no "
            "number: training, networks, devices, and making the hardware"
        )
    yield from _sentences_on_carbon(report)
    yield from _sentences_on_tokens(report)
    yield from _sentences_on_calls(report)


def _sentences_on_carbon(report: Report) -> Iterator[str]:
    total = report.total
    own = report.carbon_of(total)
    if own is not None and total.has_energy:
        yield f"CO2e, {kind_label(report.kind)}: {own}"
        beside = report.carbon_of(total, calibrated=True)
        if report.has_calibrated and beside is not None:
            yield f"CO2e, {kind_label(CALIBRATED)}, as in the column: {beside}"


def _sentences_on_tokens(report: Report) -> Iterator[str]:
    total = report.total
    counted = (
        (total.cached_input_tokens, "cached input tokens"),
        (total.reasoning_tokens, "reasoning tokens"),
    )
    among = ", ".join(f"{int(count):,} {what}" for count, what in counted if count)
    if among:
        yield f"among them {among}"
    parts = (
        (total.reasoning_energy_joules, "of it spent on reasoning"),
        (total.cache_avoided_energy_joules, "avoided by prompt caching"),
    )
    said = ", ".join(
        f"{energy_text(wh_from_joules(joules))} {what}" for joules, what in parts if joules
    )
    if said:
        yield f"{kind_label(report.kind)}: {said}"


def _sentences_on_calls(report: Report) -> Iterator[str]:
    total, default = report.total, report.settings.default_model
    if default is not None:
        yield f"models without a profile of their own are taken for {default}, as you said"
    unknown = int(total.unknown_aggregates)
    only = report.sums.get(Of.TOKENS, GroupSums())
    yield from describe_sums(
        int(total.aggregates) - unknown,
        int(total.aggregate_requests),
        unknown,
        int(only.input_tokens + only.output_tokens),
        has_energy=total.has_energy,
    )
    yield from report.read.counted_apart()
    if report.outside or report.without_time:
        yield (
            f"left out by --since and --until: {format_count(report.outside, 'call')} outside, "
            f"{report.without_time:,} without a time"
        )
    ranked = report.ranked_reasons
    for (model, reason), calls in ranked[:MOST_REASONS]:
        if reason != UNKNOWN_REQUESTS:
            yield f"{format_count(calls, 'call')} to {model}: {reason}"
    remedy = find_remedy(reason for _, reason in report.reasons)
    if remedy is not None:
        yield remedy
    if len(ranked) > MOST_REASONS:
        yield f"and {format_count(len(ranked) - MOST_REASONS, 'more model')} without energy"


def span_text(report: Report) -> str:
    """From when to when the calls were; empty where no call says."""
    if report.first > report.last:
        return ""
    ends = [
        local_time(moment, report.selection.zone).date().isoformat()
        for moment in (report.first, report.last)
    ]
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
