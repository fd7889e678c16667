"""The parts of an estimate's range: for each thing that is not known, both ends of the energy.

A part compares the same sum at the low and the high end of one unknown with the central estimate.
A new one is an entry in ``list_spreads``; one that is the same for every request, in the
``factors`` of ``Cases``.
"""

from __future__ import annotations

from energy_tracking.estimator.estimate import Spread
from energy_tracking.estimator.roofline.cases import Cases
from energy_tracking.estimator.roofline.facility import FACILITY, FACILITY_HIGH, FACILITY_LOW
from energy_tracking.estimator.roofline.sharing import Case, Sharing
from energy_tracking.estimator.roofline.work import take_larger, take_smaller

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
        sharing: How many sequences share a step, and what comes of it.
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
        "sharing",
    )

    input_tokens: float
    input_pairs: float
    output_tokens: float
    output_pairs: float
    context: float
    sharing: Sharing
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
    sharing, tokens = energy.sharing, energy.output_tokens
    prefill, decode = energy.prefill, energy.decode
    fall, rise = sharing.prefill
    spreads = [(fall * prefill, rise * prefill)]
    if cases.drafting is not None:
        fall, rise = cases.drafting
        spreads.append((fall * decode, rise * decode if rise else 0.0))
    if cases.batch is not None:
        # Attention costs the same in any batch.
        joules, crowd_joules = sharing.token_joules, sharing.crowd_joules
        if crowd_joules is None:
            _, crowd_joules = cases.batch[0].price_crowd(energy.context)
        fall = joules - crowd_joules
        rise = sharing.fewest_joules - joules
        fall *= tokens
        rise *= tokens
        spreads.append((fall, rise))
    if cases.parameters is not None and sharing.parameters is not None:
        total = prefill + decode
        (smaller, larger), (of_smaller, of_larger) = cases.parameters, sharing.parameters
        low = _price_request(smaller, energy, of_smaller)
        high = _price_request(larger, energy, of_larger)
        if (spread := cases.grade_factor) > 1.0:
            # The shape may be another one even where the size is as stated.
            low, high = take_smaller(low, total / spread), take_larger(high, total * spread)
        spreads.append((total - low, high - total))
    if (samples := cases.central.samples) > 1.0:
        spreads.append((decode - decode / samples, 0.0))
    return spreads


def _price_request(case: Case, energy: CentralEnergy, token_joules: float) -> float:
    """Energy of the same request by another case [J].

    Args:
        case: The case.
        energy: The request by the central one.
        token_joules: Energy of generating a token that attends to nothing [J].
    """
    # In this order, since the pairs have the shape of prompts and answers together.
    joules: float = case.output_pair * energy.output_pairs
    joules += token_joules * energy.output_tokens
    joules += case.input_token * energy.input_tokens
    joules += case.input_pair * energy.input_pairs
    return joules
