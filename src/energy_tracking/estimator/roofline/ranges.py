"""The parts of an estimate's range: for each thing that is not known, both ends of the energy.

A part takes the same sum as the central estimate at the low and the high end of one unknown.
A new one is an entry in ``list_range_parts``.
"""

from __future__ import annotations

from dataclasses import dataclass

from energy_tracking.estimator.roofline.cases import Case, Cases
from energy_tracking.estimator.roofline.facility import FACILITY, FACILITY_HIGH, FACILITY_LOW
from energy_tracking.estimator.roofline.prices import compute_prefill_energy
from energy_tracking.estimator.roofline.work import Work, take_larger, take_smaller

PREFILL_RANGE = (0.5, 1.6)
"""Prefill energy over the estimate, 90 % [1], where the GPUs are loaded.

Of 101 measured rows whose energy is 30 % prefill or more (``fit.py`` prints them), 5 to 95 %
imply 0.55 to 1.5 of the estimate; prefill on GPUs of its own, saturated, was measured at half
of it.
Source: InferenceX PowerX, DeepSeek-V4-Pro on disaggregated B200.
"""

LIGHT_PREFILL_RANGE = (0.5, 2.6)
"""The same with fewer than ``LIGHT_LOAD`` sequences per GPU: there the same GPUs took 1.7 to 2.6
times what they take when saturated [1]."""

LIGHT_LOAD = 8.0
"""Sequences per GPU below which prefill has the GPU to itself for part of the time [1]."""


@dataclass(slots=True, eq=False, repr=False)
class CentralEnergy:
    """One request by the central case; floats or arrays of one common shape.

    Attributes:
        work: What it asks for.
        context: Tokens attended to at its end [tokens].
        sequences: Sequences that share a step [1].
        token_joules: Energy of generating a token that attends to nothing [J].
        prefill: Energy of reading the prompt [J].
        decode: Energy of generating the answer [J].
    """

    work: Work
    context: float
    sequences: float
    token_joules: float
    prefill: float
    decode: float

    @property
    def total(self) -> float:
        """Prefill and decode together [J]."""
        return self.prefill + self.decode


def list_range_parts(
    cases: Cases, energy: CentralEnergy, scope: str
) -> dict[str, tuple[float, float]]:
    """Low and high factor [1] on the total energy, by the name of what is not known.

    Args:
        cases: The central case and both ends of what is not known.
        energy: The request by the central case.
        scope: ``"gpu"`` or ``"facility"``.
    """
    central = cases.central
    prefill, decode, total = energy.prefill, energy.decode, energy.total
    # Where there is no energy, both ends are 1.
    nothing = 1.0 * (total == 0)
    whole = total + nothing

    def divide_ends(low: float, high: float) -> tuple[float, float]:
        """Both ends of a range over the central energy [1]."""
        return (low + nothing) / whole, (high + nothing) / whole

    parts = dict(cases.factors)
    under, over = _find_prefill_range(energy.sequences / central.site.gpus)
    parts["prefill"] = divide_ends(under * prefill + decode, over * prefill + decode)
    under, over = cases.drafting
    if under != over:
        parts["speculative decoding"] = divide_ends(
            prefill + under * decode, prefill + over * decode
        )
    if cases.batch is not None:
        most, fewest = cases.batch
        parts["batch"] = divide_ends(
            prefill + _compute_decode(most, energy), prefill + _compute_decode(fewest, energy)
        )
    if cases.parameters is not None:
        least, largest = cases.parameters
        under, over = divide_ends(_compute_total(least, energy), _compute_total(largest, energy))
        if (spread := cases.grade_factor) > 1:
            # The shape may be another one even where the size is as stated.
            under, over = take_smaller(under, 1 / spread), take_larger(over, spread)
        parts["parameters"] = (under, over)
    if central.site.samples > 1:
        parts["samples"] = divide_ends(prefill + decode / central.site.samples, total)
    if scope == "facility":
        central_factor = FACILITY.factor
        parts["facility"] = (
            FACILITY_LOW.factor / central_factor,
            FACILITY_HIGH.factor / central_factor,
        )
    return parts


def _compute_total(case: Case, energy: CentralEnergy) -> float:
    """Energy of the same request by another case [J]."""
    return compute_prefill_energy(case.prices, energy.work) + _compute_decode(case, energy)


def _compute_decode(case: Case, energy: CentralEnergy) -> float:
    """Energy of the same answer by another case [J]."""
    _, token_joules = case.price_token(energy.context)
    work = energy.work
    return token_joules * work.output_tokens + case.prices.output_pair * work.output_pairs


def _find_prefill_range(load: float) -> tuple[float, float]:
    """Low and high factor [1] of prefill energy at this many sequences per GPU [1]."""
    light = 1.0 * (load < LIGHT_LOAD)
    return (
        light * LIGHT_PREFILL_RANGE[0] + (1 - light) * PREFILL_RANGE[0],
        light * LIGHT_PREFILL_RANGE[1] + (1 - light) * PREFILL_RANGE[1],
    )
