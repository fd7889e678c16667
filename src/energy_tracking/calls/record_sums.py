"""What calls add to the sums of ``Totals``, in whole nanojoules each.

Accounts add up every call: they do so many at a time, each sum in a local variable.
"""

from __future__ import annotations

from collections.abc import Collection

from energy_tracking.calls.record import CallRecord
from energy_tracking.estimator import CALIBRATED_METHOD, EnergyEstimate
from energy_tracking.units import NANOJOULES_PER_JOULE, nanojoules_from_joules

# As ``nanojoules_from_joules``, which looks the method up anew for each number.
_round = float.__round__
_NANO = float(NANOJOULES_PER_JOULE)


def sum_calls(records: Collection[CallRecord]) -> tuple[int, ...]:
    """What calls add to each of the sums, in the order of the fields of ``Totals``."""
    return (*_sum_counts(records), *_sum_energies(records), *_sum_calibrated(records))


def _sum_counts(records: Collection[CallRecord]) -> tuple[int, ...]:
    """The sums of calls and tokens, up to ``reasoning_tokens``."""
    sums = unknown = inside = 0
    measured = partial = unestimated = failed = 0
    inputs = cached = outputs = reasoning = 0
    for record in records:
        usage, requests = record.usage, record.requests
        if requests != 1:
            sums += 1
            unknown += requests is None
            requests = requests or 0
            inside += requests
        if usage is not None:
            inputs += usage.input_tokens
            cached += usage.cached_input_tokens
            outputs += usage.output_tokens
            reasoning += usage.reasoning_tokens or 0
        if record.estimate is not None or record.measured_energy_joules is not None:
            if record.status == "measured":
                measured += requests
            elif record.status == "partial":
                partial += requests
        elif usage is None and record.error_type is not None:
            failed += requests
        else:
            unestimated += requests
    return (
        *(len(records) - sums, sums, inside, unknown),
        *(measured, partial, unestimated, failed),
        *(inputs, cached, outputs, reasoning),
    )


def _sum_energies(records: Collection[CallRecord]) -> tuple[int, ...]:
    """The sums from ``prefill_energy_nanojoules`` to ``total_energy_high_nanojoules``."""
    prefill = decode = reasoned = avoided = total = low = high = 0
    for record in records:
        measured, estimate = record.measured_energy_joules, record.estimate
        if measured is not None:
            energy = nanojoules_from_joules(measured)
            total, low, high = total + energy, low + energy, high + energy
        if estimate is None:
            continue
        read = _round(estimate.prefill_energy_joules * _NANO)
        generated = _round(estimate.decode_energy_joules * _NANO)
        prefill += read
        decode += generated
        reasoning = estimate.reasoning_energy_joules
        if reasoning:
            reasoned += _round(reasoning * _NANO)
        if record.cache_avoided_energy_joules is not None:
            avoided += _round(record.cache_avoided_energy_joules * _NANO)
        if measured is None:
            total += read + generated
            low += _round(estimate.total_energy_low_joules * _NANO)
            high += _round(estimate.total_energy_high_joules * _NANO)
    return prefill, decode, reasoned, avoided, total, low, high


def _sum_calibrated(records: Collection[CallRecord]) -> tuple[int, ...]:
    """The sums over the calls with a calibrated estimate."""
    calls = energy = low = high = 0
    for record in records:
        estimate = record.calibrated or calibrated_estimate(record)
        if estimate is not None:
            calls += record.requests or 0
            energy += _round(estimate.prefill_energy_joules * _NANO)
            energy += _round(estimate.decode_energy_joules * _NANO)
            low += _round(estimate.total_energy_low_joules * _NANO)
            high += _round(estimate.total_energy_high_joules * _NANO)
    return calls, energy, low, high


def energy_nanojoules_of(record: CallRecord) -> int:
    """What a call adds to ``total_energy_nanojoules``."""
    if record.measured_energy_joules is not None:
        return nanojoules_from_joules(record.measured_energy_joules)
    estimate = record.estimate
    if estimate is None:
        return 0
    prefill = _round(estimate.prefill_energy_joules * _NANO)
    return prefill + _round(estimate.decode_energy_joules * _NANO)


def calibrated_estimate(record: CallRecord) -> EnergyEstimate | None:
    """The calibrated estimate of a call for the GPU boards: beside its own, or its own."""
    own = record.estimate
    if record.calibrated is None and own is not None:
        is_calibrated = own.method == CALIBRATED_METHOD and own.scope == "gpu"
        return own if is_calibrated else None
    return record.calibrated
