"""The parts of an estimate's range: for each thing that is not known, both ends of the energy.

A part compares the same sum at the low and the high end of one unknown with the central estimate.
A new one is an entry in ``list_spreads``; one that is the same for every request, in the
``factors`` of ``Cases``.
"""

from __future__ import annotations

from energy_tracking.estimator.estimate import Spread
from energy_tracking.estimator.roofline.cases import Case, Cases
from energy_tracking.estimator.roofline.facility import FACILITY, FACILITY_HIGH, FACILITY_LOW
from energy_tracking.estimator.roofline.work import take_larger, take_smaller

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


_FACILITY_ENDS = (
    FACILITY_LOW.factor / FACILITY.factor,
    FACILITY_HIGH.factor / FACILITY.factor,
)


class CentralEnergy:
    """One request by the central case; floats or arrays of one common shape.

    Attributes:
        input_tokens: Prompt tokens that no cache held [tokens].
        input_pairs: Their pairs [tokens**2].
        output_tokens: Generated tokens [tokens].
        output_pairs: Their pairs [tokens**2].
        context: Tokens attended to at its end [tokens].
        sequences: Sequences that share a step [1].
        crowd_joules: Energy of generating a token that attends to nothing, with all sequences
            that fit [J].
        token_joules: The same with those that share the step [J].
        prefill: Energy of reading the prompt [J].
        decode: Energy of generating the answer [J].
    """

    # Filled in by ``compute_central_energy``: every call makes one, and arguments cost as much.
    __slots__ = (
        "context",
        "crowd_joules",
        "decode",
        "input_pairs",
        "input_tokens",
        "output_pairs",
        "output_tokens",
        "prefill",
        "sequences",
        "token_joules",
    )

    input_tokens: float
    input_pairs: float
    output_tokens: float
    output_pairs: float
    context: float
    sequences: float
    crowd_joules: float
    token_joules: float
    prefill: float
    decode: float


def list_scope_parts(scope: str) -> dict[str, tuple[float, float]]:
    """The parts that a scope adds [1], the same for every request."""
    return {"facility": _FACILITY_ENDS} if scope == "facility" else {}


def list_spreads(cases: Cases, energy: CentralEnergy) -> list[Spread]:
    """The parts of the range that each request has its own of [J].

    Args:
        cases: The central case and both ends of what is not known.
        energy: The request by the central case.

    Returns:
        Those that ``cases.request_parts`` names, in that order.
    """
    central = cases.central
    prefill, decode = energy.prefill, energy.decode
    under, over = _find_prefill_range(energy.sequences / central.gpus)
    spreads = [((1.0 - under) * prefill, (over - 1.0) * prefill)]
    under, over = cases.drafting
    if under != over:
        # No drafts is what is estimated, and one end of what is not known.
        rise = 0.0 if over == 1.0 else (over - 1.0) * decode
        spreads.append(((1.0 - under) * decode, rise))
    if cases.batch is not None:
        # Attention costs the same in any batch.
        most, fewest = cases.batch
        joules, tokens, crowd_joules = (
            energy.token_joules,
            energy.output_tokens,
            energy.crowd_joules,
        )
        least = take_larger(most.token_joules, crowd_joules)
        largest = take_larger(fewest.token_joules, crowd_joules)
        spreads.append(((joules - least) * tokens, (largest - joules) * tokens))
    if cases.parameters is not None:
        total = prefill + decode
        smaller, larger = cases.parameters
        low, high = _price_request(smaller, energy), _price_request(larger, energy)
        if (spread := cases.grade_factor) > 1.0:
            # The shape may be another one even where the size is as stated.
            low, high = take_smaller(low, total / spread), take_larger(high, total * spread)
        spreads.append((total - low, high - total))
    if central.samples > 1.0:
        spreads.append((decode - decode / central.samples, 0.0))
    return spreads


def _price_request(case: Case, energy: CentralEnergy) -> float:
    """Energy of the same request by another case [J].

    Args:
        case: The case.
        energy: The request by the central one.
    """
    joules: float = case.input_token * energy.input_tokens
    joules += case.input_pair * energy.input_pairs
    joules = joules + case.find_token_joules(energy.context) * energy.output_tokens
    joules += case.output_pair * energy.output_pairs
    return joules


def _find_prefill_range(load: float) -> tuple[float, float]:
    """Low and high factor [1] of prefill energy at this many sequences per GPU [1]."""
    if type(load) is float:
        return LIGHT_PREFILL_RANGE if load < LIGHT_LOAD else PREFILL_RANGE
    (low, high), (light_low, light_high) = PREFILL_RANGE, LIGHT_PREFILL_RANGE
    is_light = load < LIGHT_LOAD
    return (
        low if low == light_low else low + (light_low - low) * is_light,
        high + (light_high - high) * is_light,
    )
