"""How the values of a span's attributes are read from the record of a call.

What many attributes are read from, the **holders**, are found once for each call: the estimate,
the tokens as reported, the energy with its range. An attribute is a ``Field`` of one of them, or
an ``Entry`` of what was assumed. Where a call has no such holder, none of its attributes is looked
for.

A further holder is a function here, that of a few numbers of a call with a frozen class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any

from energy_tracking.calls.record import CallRecord
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.estimate import widest_first
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.units import kwh_from_joules, wh_from_joules


@frozen()
class Field:
    """Reads a field of what a record holds: rows of one holder are read at once.

    Attributes:
        holder: Selects what has the field; None where there is none.
        name: The field.
    """

    holder: Callable[[Any], Any]
    name: str

    def __call__(self, source: Any) -> Any:
        """The field's value, None where nothing has it."""
        holder = self.holder(source)
        return None if holder is None else getattr(holder, self.name)


@frozen()
class Entry:
    """Reads an entry of a mapping that a record holds.

    Attributes:
        holder: Selects the mapping.
        key: The key; few of those that there are have a value.
    """

    holder: Callable[[Any], Mapping[str, Any]]
    key: str

    def __call__(self, source: Any) -> Any:
        """The entry's value, None where there is none."""
        return self.holder(source).get(self.key)


def itself(source: Any) -> Any:
    return source


ESTIMATE = attrgetter("estimate")
CALIBRATED = attrgetter("calibrated")
INTENSITY = attrgetter("intensity")
MEASUREMENT = attrgetter("measurement")


def estimate_beside_measured(record: CallRecord) -> EnergyEstimate | None:
    """The estimate where the total is a measured energy."""
    return None if record.measured_energy_joules is None else record.estimate


def find_assumed(record: CallRecord) -> Mapping[str, Any]:
    """What the calibrated number assumed, be it beside another or the estimate itself."""
    estimate = record.calibrated or record.estimate
    return {} if estimate is None else estimate.assumed


@frozen()
class ReportedTokens:
    """The tokens of a call as spans have them, and what is said of them; None is left out.

    Attributes:
        input: All of the input, where the server reported it [tokens].
        output: All of the output, likewise [tokens].
        cached: Part of the input that was read from a cache, if any was [tokens].
        reasoning: Part of the output that is reasoning [tokens].
        estimated: Names of the counts that were estimated from text.
        repairs: What was wrong with the usage.
    """

    input: int | None
    output: int | None
    cached: int | None
    reasoning: int | None
    estimated: str | None
    repairs: str | None


def find_tokens(record: CallRecord) -> ReportedTokens | None:
    """The tokens of a call; None where they are not known."""
    usage = record.usage
    if usage is None:
        return None
    estimated, repairs = usage.estimated, usage.repairs
    values = {
        "input": None if "input_tokens" in estimated else usage.input_tokens,
        "output": None if "output_tokens" in estimated else usage.output_tokens,
        "cached": usage.cached_input_tokens or None,
        "reasoning": usage.reasoning_tokens,
        "estimated": ",".join(estimated) or None,
        "repairs": "; ".join(repairs) or None,
    }
    return fill_fields(ReportedTokens, values)


@frozen()
class KnownEnergy:
    """The energy of a call as well as it is known, with both ends of its 90 % range.

    Attributes:
        joules: The energy [J].
        wh: The same [Wh].
        low_joules: Low end of the range [J]; of a measured energy the energy itself.
        high_joules: High end of the range [J], likewise.
    """

    joules: float
    wh: float
    low_joules: float
    high_joules: float


def find_energy(record: CallRecord) -> KnownEnergy | None:
    """The energy of a call; None where it is not known."""
    measured, estimate = record.measured_energy_joules, record.estimate
    if measured is not None:
        joules = low = high = measured
    elif estimate is not None:
        joules = estimate.total_energy_joules
        low, high = estimate.total_energy_low_joules, estimate.total_energy_high_joules
    else:
        return None
    values = {
        "joules": joules,
        "wh": wh_from_joules(joules),
        "low_joules": low,
        "high_joules": high,
    }
    return fill_fields(KnownEnergy, values)


@frozen()
class EmittedGrams:
    """What the energy of a call emits; None where there is no such energy.

    Attributes:
        total: By its energy [g CO2e].
        low: By the low end of its range [g CO2e].
        high: By the high end [g CO2e].
        calibrated: By the calibrated number [g CO2e].
    """

    total: float | None
    low: float | None
    high: float | None
    calibrated: float | None


def find_grams(record: CallRecord) -> EmittedGrams | None:
    """What a call emits; None where the settings do not name its electricity."""
    if record.intensity is None:
        return None
    energy, calibrated = find_energy(record), record.calibrated
    return EmittedGrams(
        read_carbon(record, None if energy is None else energy.joules),
        read_carbon(record, None if energy is None else energy.low_joules),
        read_carbon(record, None if energy is None else energy.high_joules),
        read_carbon(record, None if calibrated is None else calibrated.total_energy_joules),
    )


def read_carbon(record: CallRecord, joules: float | None) -> float | None:
    """What one of a call's energies emits [g CO2e]; None where its electricity is not known.

    Args:
        record: The call.
        joules: The energy [J], if it is known.
    """
    if record.intensity is None or joules is None:
        return None
    return kwh_from_joules(joules) * record.intensity.grams_per_kwh


def read_total_wh(record: CallRecord) -> float | None:
    """Reads the energy of a call [Wh]; None where it is not known."""
    joules = record.total_energy_joules
    return None if joules is None else wh_from_joules(joules)


def read_range_from(record: CallRecord) -> str | None:
    """Reads what made the range of the estimate."""
    estimate = record.estimate
    return None if estimate is None else ",".join(widest_first(estimate.range_parts))
