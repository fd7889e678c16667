"""Reads the attributes of requests, calls and functions: what a span says of them.

One line for each, in the order of the tables in ``attributes``, which say what it means and what
its unit is: nothing that goes through a table row by row is as quick, and each traced call pays
for it. What few calls have is read by a function of its own.

How many of them a span gets is the setting ``detail``: each of its choices is a row of ``DETAILS``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import TYPE_CHECKING, Any

from energy_tracking.calls.record import CallRecord, CallRequest, Intensity
from energy_tracking.calls.totals import Totals
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.estimate import complete_values, widest_first
from energy_tracking.estimator.evidence import ServerLoad
from energy_tracking.frozen import frozen
from energy_tracking.telemetry.names import ASSUMED_PREFIX, SERVER_PREFIX, TAG_PREFIX
from energy_tracking.units import wh_from_joules
from energy_tracking.usage.server_timing import ServerTiming

if TYPE_CHECKING:
    from energy_tracking.calls.carbon import Emissions
    from energy_tracking.calls.receivers import CreditedSession

Attributes = dict[str, Any]
"""Name -> value; what has no value is left out."""


def read_request(request: CallRequest) -> Attributes:
    """What a span of ours says from its start."""
    found: Attributes = {}
    if request.server_port is not None:
        found["server.port"] = request.server_port
    if request.server_address is not None:
        found["server.address"] = request.server_address
    if request.stream:
        found["gen_ai.request.stream"] = True
    found["gen_ai.provider.name"] = request.provider
    found["gen_ai.operation.name"] = request.operation
    if request.model is not None:
        found["gen_ai.request.model"] = request.model
    return found


def read_own(record: CallRecord) -> Attributes:
    """What a span of ours says at its end."""
    found = _read_response(record)
    usage = record.usage
    if usage is not None:
        if "input_tokens" not in usage.estimated:
            found["gen_ai.usage.input_tokens"] = usage.input_tokens
        if "output_tokens" not in usage.estimated:
            found["gen_ai.usage.output_tokens"] = usage.output_tokens
        if usage.cached_input_tokens:
            found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_input_tokens
        if usage.reasoning_tokens is not None:
            found["gen_ai.usage.reasoning.output_tokens"] = usage.reasoning_tokens
    return _add_energy(record, found)


def read_beside(record: CallRecord) -> Attributes:
    """What a span of ours says at its end where another instrumentation reports the tokens."""
    return _add_energy(record, _read_response(record))


def read_others(record: CallRecord) -> Attributes:
    """What is put on a span of another instrumentation."""
    return _add_energy(record, {})


def _read_response(record: CallRecord) -> Attributes:
    found: Attributes = {}
    if record.response_model is not None:
        found["gen_ai.response.model"] = record.response_model
    if record.response_id is not None:
        found["gen_ai.response.id"] = record.response_id
    if record.first_chunk_seconds is not None:
        found["gen_ai.response.time_to_first_chunk"] = record.first_chunk_seconds
    if record.error_type is not None:
        found["error.type"] = record.error_type
    return found


def _add_energy(record: CallRecord, found: Attributes) -> Attributes:
    """Add to what was found what a span says of the energy, how it was estimated, and of what."""
    estimate, calibrated, usage = record.estimate, record.calibrated, record.usage
    joules = _add_total(record, found)
    if joules is not None:
        found["energy_tracking.total_energy_wh"] = wh_from_joules(joules)
    if record.response_status is not None:
        found["energy_tracking.response_status"] = record.response_status
    if record.measured_energy_joules is not None:
        _add_measurement(record, found)
    if estimate is not None:
        _add_estimate(estimate, found)
    if record.model_match is not None:
        found["energy_tracking.model_match"] = record.model_match
    if record.cache_avoided_energy_joules is not None:
        found["energy_tracking.cache_avoided_energy_joules"] = record.cache_avoided_energy_joules
    if calibrated is not None:
        joules = calibrated.total_energy_joules
        found["energy_tracking.calibrated_energy_joules"] = joules
        found["energy_tracking.calibrated_energy_low_joules"] = calibrated.total_energy_low_joules
        found["energy_tracking.calibrated_energy_high_joules"] = calibrated.total_energy_high_joules
    assuming = calibrated or estimate
    if assuming is not None:
        for name, value in assuming.assumed.items():
            found[_ASSUMED.get(name) or _name_assumed(name)] = value
    if record.intensity is not None:
        _add_grams(record.intensity, found)
    if usage is not None:
        if usage.estimated:
            found["energy_tracking.tokens_estimated"] = ",".join(usage.estimated)
        if usage.repairs:
            found["energy_tracking.tokens_repaired"] = "; ".join(usage.repairs)
    if record.server_load is not None:
        _add_load(record.server_load, found)
    if record.server_timing is not None:
        _add_timing(record.server_timing, found)
    if record.retries:
        found["energy_tracking.retries"] = record.retries
    found["energy_tracking.session.name"] = record.session
    return found


MAX_ASSUMED = 64
"""How many names of assumptions are kept: there are few, but a record may come from anywhere."""

_ASSUMED: dict[str, str] = {}


def _name_assumed(name: str) -> str:
    """The attribute of an assumption that is new."""
    named = ASSUMED_PREFIX + name
    if len(_ASSUMED) < MAX_ASSUMED:
        _ASSUMED[name] = named
    return named


def _add_total(record: CallRecord, found: Attributes) -> float | None:
    """Add the energy as well as it is known, with its range, and return it [J]."""
    found["energy_tracking.status"] = record.status
    if record.reason is not None:
        found["energy_tracking.reason"] = record.reason
    measured, estimate = record.measured_energy_joules, record.estimate
    if measured is not None:
        joules = low = high = measured
    elif estimate is not None:
        joules = estimate.total_energy_joules
        low, high = estimate.total_energy_low_joules, estimate.total_energy_high_joules
    else:
        return None
    found["energy_tracking.total_energy_joules"] = joules
    found["energy_tracking.total_energy_low_joules"] = low
    found["energy_tracking.total_energy_high_joules"] = high
    return joules


def _add_estimate(estimate: EnergyEstimate, found: Attributes) -> None:
    # All that is computed later is wanted here: at once is quicker than one by one.
    later = complete_values(estimate)
    found["energy_tracking.prefill_energy_joules"] = estimate.prefill_energy_joules
    found["energy_tracking.decode_energy_joules"] = estimate.decode_energy_joules
    reasoning = later["reasoning_energy_joules"]
    if reasoning is not None:
        found["energy_tracking.reasoning_energy_joules"] = reasoning
    found["energy_tracking.range_from"] = ",".join(widest_first(later["range_parts"]))
    found["energy_tracking.total_flops"] = later["total_flops"]
    found["energy_tracking.reasoning_factor"] = estimate.reasoning_factor
    found["energy_tracking.attention_mode"] = estimate.attention_mode
    found["energy_tracking.gpu"] = estimate.gpu
    found["energy_tracking.scope"] = estimate.scope
    found["energy_tracking.model_profile"] = estimate.model_profile
    found["energy_tracking.grade"] = estimate.grade
    found["energy_tracking.method"] = estimate.method
    found["energy_tracking.method_version"] = estimate.method_version


def _add_measurement(record: CallRecord, found: Attributes) -> None:
    """Add how the energy was measured, and the estimate beside it."""
    measurement, estimate = record.measurement, record.estimate
    if measurement is not None:
        found["energy_tracking.measured_by"] = measurement.measured_by
        found["energy_tracking.measured_window_seconds"] = measurement.window_seconds
        found["energy_tracking.measured_share"] = measurement.share
        found["energy_tracking.measured_idle_joules"] = measurement.idle_joules
    if estimate is not None:
        found["energy_tracking.estimated_energy_joules"] = estimate.total_energy_joules
        found["energy_tracking.estimated_energy_low_joules"] = estimate.total_energy_low_joules
        found["energy_tracking.estimated_energy_high_joules"] = estimate.total_energy_high_joules


def _add_grams(intensity: Intensity, found: Attributes) -> None:
    """Add what the energies found so far emit."""
    for name, energy in _GRAMS_OF.items():
        if energy in found:
            found[name] = intensity.grams_of(found[energy])
    found["energy_tracking.grams_per_kwh"] = intensity.grams_per_kwh
    found["energy_tracking.carbon_source"] = intensity.source


_GRAMS_OF = {
    "energy_tracking.total_carbon_grams": "energy_tracking.total_energy_joules",
    "energy_tracking.total_carbon_low_grams": "energy_tracking.total_energy_low_joules",
    "energy_tracking.total_carbon_high_grams": "energy_tracking.total_energy_high_joules",
    "energy_tracking.calibrated_carbon_grams": "energy_tracking.calibrated_energy_joules",
}


def _add_load(load: ServerLoad, found: Attributes) -> None:
    found["energy_tracking.server.running_requests"] = load.running_requests
    if load.model is not None:
        found["energy_tracking.server.model"] = load.model
    if load.output_tokens_per_second is not None:
        found["energy_tracking.server.output_tokens_per_second"] = load.output_tokens_per_second
    if load.cached_share is not None:
        found["energy_tracking.server.cached_share"] = load.cached_share


def _add_timing(timing: ServerTiming, found: Attributes) -> None:
    for name in SERVER_TIMES:
        seconds = getattr(timing, name)
        if seconds is not None:
            found[SERVER_PREFIX + name] = seconds
    found["energy_tracking.server.timing_source"] = timing.source


SERVER_TIMES = (
    *("queue_seconds", "prefill_seconds", "decode_seconds"),
    *("first_token_seconds", "total_seconds"),
)


def read_request_essential(request: CallRequest) -> Attributes:
    """The essential of what a span of ours says from its start."""
    found: Attributes = {
        "gen_ai.provider.name": request.provider,
        "gen_ai.operation.name": request.operation,
    }
    if request.model is not None:
        found["gen_ai.request.model"] = request.model
    return found


def read_own_essential(record: CallRecord) -> Attributes:
    """The essential of what a span of ours says at its end."""
    found = read_others_essential(record)
    if record.error_type is not None:
        found["error.type"] = record.error_type
    return found


def read_others_essential(record: CallRecord) -> Attributes:
    """The essential of the energy: how much with its range, and what that number is."""
    found: Attributes = {}
    joules, estimate = _add_total(record, found), record.estimate
    if estimate is not None:
        found["energy_tracking.gpu"] = estimate.gpu
        found["energy_tracking.model_profile"] = estimate.model_profile
        found["energy_tracking.method"] = estimate.method
    if record.intensity is not None and joules is not None:
        found["energy_tracking.total_carbon_grams"] = record.intensity.grams_of(joules)
    return found


@frozen()
class CallReaders:
    """What spans say of a call.

    Attributes:
        request: A span of ours, from its start.
        own: The same at its end.
        beside: The same where another instrumentation reports the tokens.
        others: A span of another instrumentation.
    """

    request: Callable[[CallRequest], Attributes]
    own: Callable[[CallRecord], Attributes]
    beside: Callable[[CallRecord], Attributes]
    others: Callable[[CallRecord], Attributes]


DETAILS = {
    "full": CallReaders(read_request, read_own, read_beside, read_others),
    "essential": CallReaders(
        read_request_essential, read_own_essential, read_own_essential, read_others_essential
    ),
}
"""The choices of ``detail``."""


def call_attributes(
    read: Callable[[CallRecord], Attributes],
    record: CallRecord,
    session: CreditedSession | None,
) -> Attributes:
    """The attributes of a call's span.

    Args:
        read: Reads those of the record.
        record: The call.
        session: Its session, which has been credited; None where there is none.
    """
    found = read(record)
    if session is not None:
        wh = wh_from_joules(session.running_total_energy_joules)
        found["energy_tracking.session.total_energy_wh"] = wh
    if record.tags:
        for name, value in record.tags.items():
            found[TAG_PREFIX + name] = value
    total = found.get("energy_tracking.total_energy_joules", 0.0)
    calibrated = found.get("energy_tracking.calibrated_energy_joules", 0.0)
    # Span attributes would take NaN without a word.
    return found if isfinite(total + calibrated) else _drop_non_finite(found)


def _drop_non_finite(found: Attributes) -> Attributes:
    return {
        name: value
        for name, value in found.items()
        if not isinstance(value, float) or isfinite(value)
    }


def read_rollup(totals: Totals) -> Attributes:
    """What the span of a decorated function says of the calls inside."""
    found = {
        "energy_tracking.rollup.calls": totals.requests,
        "energy_tracking.rollup.partial_calls": totals.partial_calls,
        "energy_tracking.rollup.unestimated_calls": totals.unestimated_calls,
        "energy_tracking.rollup.failed_calls": totals.failed_calls,
        "energy_tracking.rollup.input_tokens": totals.input_tokens,
        "energy_tracking.rollup.output_tokens": totals.output_tokens,
        "energy_tracking.rollup.total_energy_joules": totals.total_energy_joules,
        "energy_tracking.rollup.total_energy_wh": totals.total_energy_wh,
        "energy_tracking.rollup.total_energy_low_joules": totals.total_energy_low_joules,
        "energy_tracking.rollup.total_energy_high_joules": totals.total_energy_high_joules,
        "energy_tracking.rollup.calibrated_calls": totals.calibrated_calls,
    }
    if totals.calibrated_calls:
        joules = totals.calibrated_energy_joules
        found["energy_tracking.rollup.calibrated_energy_joules"] = joules
    return _drop_non_finite(found)


def read_rollup_grams(emissions: Emissions) -> Attributes:
    """What it says of their emissions."""
    grams = emissions.grams
    found = {
        "energy_tracking.rollup.total_carbon_grams": grams["total_carbon_grams"],
        "energy_tracking.rollup.total_carbon_low_grams": grams["total_carbon_low_grams"],
        "energy_tracking.rollup.total_carbon_high_grams": grams["total_carbon_high_grams"],
    }
    if grams["calibrated_carbon_grams"]:
        calibrated = grams["calibrated_carbon_grams"]
        found["energy_tracking.rollup.calibrated_carbon_grams"] = calibrated
    return _drop_non_finite(found)
