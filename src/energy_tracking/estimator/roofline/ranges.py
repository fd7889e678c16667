"""The parts of an estimate's range: for each thing that is not known, both ends of the energy.

A part takes the same sum as the central estimate at the low and the high end of one unknown.
A new one is an entry in ``list_request_ends``; one that is the same for every request, in the
``factors`` of ``Cases``.
"""

from __future__ import annotations

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
        token_joules: Energy of generating a token that attends to nothing [J].
        prefill: Energy of reading the prompt [J].
        decode: Energy of generating the answer [J].
    """

    # Filled in by ``compute_central_energy``: every call makes one, and arguments cost as much.
    __slots__ = (
        "context",
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
    token_joules: float
    prefill: float
    decode: float


def list_range_parts(
    cases: Cases, energy: CentralEnergy, scope: str
) -> dict[str, tuple[float, float]]:
    """Low and high factor [1] on the total energy, by the name of what is not known.

    Args:
        cases: The central case and both ends of what is not known.
        energy: The request by the central case.
        scope: ``"gpu"`` or ``"facility"``.
    """
    parts = zip(cases.request_parts, list_request_ends(cases, energy), strict=True)
    return {**cases.factors, **dict(parts), **list_scope_parts(scope)}


def list_scope_parts(scope: str) -> dict[str, tuple[float, float]]:
    """The parts that a scope adds [1], the same for every request."""
    return {"facility": _FACILITY_ENDS} if scope == "facility" else {}


def list_request_ends(cases: Cases, energy: CentralEnergy) -> list[tuple[float, float]]:
    """Low and high factor [1] of the parts that each request has its own of.

    Args:
        cases: The central case and both ends of what is not known.
        energy: The request by the central case.

    Returns:
        Those that ``cases.request_parts`` names, in that order.
    """
    central = cases.central
    prefill, decode = energy.prefill, energy.decode
    total = prefill + decode
    # Where there is no energy, both ends are 1.
    nothing = 1.0 * (total == 0.0)
    whole = total + nothing
    under, over = _find_prefill_range(energy.sequences / central.gpus)
    ends = [
        (
            (under * prefill + decode + nothing) / whole,
            (over * prefill + decode + nothing) / whole,
        )
    ]
    under, over = cases.drafting
    if under != over:
        low, high = prefill + under * decode, prefill + over * decode
        ends.append(((low + nothing) / whole, (high + nothing) / whole))
    if cases.batch is not None:
        low, high = _price_answers(cases.batch, energy)
        ends.append(((prefill + low + nothing) / whole, (prefill + high + nothing) / whole))
    if cases.parameters is not None:
        least, largest = cases.parameters
        tokens, pairs = energy.input_tokens, energy.input_pairs
        low, high = _price_answers(cases.parameters, energy)
        low = low + (least.input_token * tokens + least.input_pair * pairs)
        high = high + (largest.input_token * tokens + largest.input_pair * pairs)
        under, over = (low + nothing) / whole, (high + nothing) / whole
        if (spread := cases.grade_factor) > 1.0:
            # The shape may be another one even where the size is as stated.
            under, over = take_smaller(under, 1.0 / spread), take_larger(over, spread)
        ends.append((under, over))
    if central.samples > 1.0:
        ends.append(((prefill + decode / central.samples + nothing) / whole, whole / whole))
    return ends


def _price_answers(ends: tuple[Case, Case], energy: CentralEnergy) -> tuple[float, float]:
    """Energy of the same answer by both ends of something [J].

    Args:
        ends: Their cases.
        energy: The request by the central case.
    """
    tokens, pairs, context = energy.output_tokens, energy.output_pairs, energy.context
    low, high = ends
    return (
        low.find_token_joules(context) * tokens + low.output_pair * pairs,
        high.find_token_joules(context) * tokens + high.output_pair * pairs,
    )


def _find_prefill_range(load: float) -> tuple[float, float]:
    """Low and high factor [1] of prefill energy at this many sequences per GPU [1]."""
    if type(load) is float:
        return LIGHT_PREFILL_RANGE if load < LIGHT_LOAD else PREFILL_RANGE
    light = 1.0 * (load < LIGHT_LOAD)
    return (
        light * LIGHT_PREFILL_RANGE[0] + (1 - light) * PREFILL_RANGE[0],
        light * LIGHT_PREFILL_RANGE[1] + (1 - light) * PREFILL_RANGE[1],
    )
