"""The estimate of one request, or of an array of them, and the range it lies in.

The order: the counts are checked; ``compute_central_energy`` prices the request by the central
case; ``compute_reasoning_energy`` takes its share out of that; ``ranges`` compares both ends of
what is not known with it. What depends on the deployment alone is in ``cases``, computed once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.estimate import check_token_counts, combine_parts
from energy_tracking.estimator.roofline.cases import Cases, build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.facility import FACILITY
from energy_tracking.estimator.roofline.prices import compute_prefill_energy
from energy_tracking.estimator.roofline.ranges import CentralEnergy, list_range_parts
from energy_tracking.estimator.roofline.work import Work, count_flops, count_pairs, count_work
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.frozen import frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

METHOD = "roofline"
VERSION = "2"
SCOPES = ("gpu", "facility")


@frozen(kw_only=True)
class RooflineEstimate:
    """The energy of one request and the range it lies in.

    Energies and FLOPs are floats, or arrays of one common shape.

    Attributes:
        prefill_energy_joules: Energy of reading the prompt [J].
        decode_energy_joules: Energy of generating the output [J].
        reasoning_energy_joules: Part of it spent on reasoning [J].
        total_energy_low_joules: Lower end of the 90 % range [J].
        total_energy_high_joules: Upper end of the 90 % range [J].
        total_flops: Floating-point operations of prefill and decode [FLOP].
        range_parts: For each thing that is not known, the factors by which the total
            may lie under and over the central value on its account [1].
        deployment: What was assumed: GPUs, bytes per weight and the rest.
        sequences: Sequences decoded together by all GPUs of the instance, no more than their
            memory holds where they are assumed [1].
        scope: ``"gpu"`` or ``"facility"``.
    """

    prefill_energy_joules: float
    decode_energy_joules: float
    reasoning_energy_joules: float
    total_energy_low_joules: float
    total_energy_high_joules: float
    total_flops: float
    range_parts: Mapping[str, tuple[float, float]]
    deployment: Deployment
    sequences: float
    scope: str

    @property
    def total_energy_joules(self) -> float:
        """Prefill and decode together [J]."""
        return self.prefill_energy_joules + self.decode_energy_joules


def estimate_request(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0,
    reasoning_tokens: float = 0,
    serving: ServingProfile = SERVING,
    scope: str = "gpu",
    constants: RooflineConstants = CALIBRATED,
) -> RooflineEstimate:
    """Estimate one request, or an array of them.

    The range holds the true value in 90 % of cases if each of its parts does; see
    ``combine_parts``.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        input_tokens: Prompt tokens, cached ones included [tokens].
        output_tokens: All generated tokens, reasoning included [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        reasoning_tokens: Part of the output that is reasoning [tokens].
        serving: How the model is assumed to be served.
        scope: ``"gpu"``, the boards alone, or ``"facility"``: with host, idle machines
            and cooling.
        constants: Fitted factors.

    Raises:
        TokenCountError: A count is negative or not finite.
        ConfigurationError: The scope is unknown.
        ProfileError: The GPU profile has no memory bandwidth.
    """
    cases = build_cases(model, gpu, serving, constants)
    values, sequences = compute_request(
        cases,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        reasoning_tokens=reasoning_tokens,
        scope=scope,
    )
    return RooflineEstimate(**values, deployment=cases.central.site, sequences=sequences)


def compute_request(
    cases: Cases,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float,
    reasoning_tokens: float,
    scope: str,
) -> tuple[dict[str, Any], float]:
    """Estimate one request, or an array of them, by the cases of its deployment.

    Args:
        cases: The central case and both ends of what is not known.
        input_tokens: Prompt tokens, cached ones included [tokens].
        output_tokens: All generated tokens, reasoning included [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        reasoning_tokens: Part of the output that is reasoning [tokens].
        scope: ``"gpu"`` or ``"facility"``.

    Returns:
        The values that a ``RooflineEstimate`` shares with an ``EnergyEstimate``, by name; and the
        sequences decoded together [1].

    Raises:
        TokenCountError: A count is negative or not finite.
        ConfigurationError: The scope is unknown.
    """
    if scope not in SCOPES:
        raise ConfigurationError(not_one_of("scope", scope, SCOPES))
    check_token_counts(input_tokens, cached_input_tokens, output_tokens)
    # Floats from here on: small integer types would overflow.
    prompt, cached, answer = 1.0 * input_tokens, 1.0 * cached_input_tokens, 1.0 * output_tokens
    energy = compute_central_energy(cases, prompt, cached, answer)
    reasoning = compute_reasoning_energy(cases, energy, prompt, 1.0 * reasoning_tokens)
    parts = list_range_parts(cases, energy, scope)
    low, high = combine_parts(parts)
    overhead = FACILITY.factor if scope == "facility" else 1.0
    total = energy.prefill + energy.decode
    site = cases.central.site
    values = {
        "scope": scope,
        "prefill_energy_joules": overhead * energy.prefill,
        "decode_energy_joules": overhead * energy.decode,
        "reasoning_energy_joules": overhead * reasoning,
        "total_flops": count_flops(site, energy.work),
        "total_energy_low_joules": overhead * total * low,
        "total_energy_high_joules": overhead * total * high,
        "range_parts": parts,
    }
    # Of the shape of the counts, also where it is one number for all.
    return values, energy.sequences * site.stages + 0.0 * energy.context


def compute_central_energy(
    cases: Cases, input_tokens: float, cached_input_tokens: float, output_tokens: float
) -> CentralEnergy:
    """One request, or an array of them, by the central case.

    Args:
        cases: The central case and both ends of what is not known.
        input_tokens: Prompt tokens, cached ones included; a float or an array of floats [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        output_tokens: All generated tokens, reasoning included [tokens].
    """
    price = cases.central.prices
    work = count_work(cases.central.site, input_tokens, cached_input_tokens, output_tokens)
    context = input_tokens + output_tokens
    sequences, token_joules = cases.central.price_token(context)
    return CentralEnergy(
        work,
        context,
        sequences,
        token_joules,
        compute_prefill_energy(price, work),
        token_joules * work.output_tokens + price.output_pair * work.output_pairs,
    )


def compute_prompt_energy(cases: Cases, input_tokens: float, scope: str) -> float:
    """Energy of a prompt of which nothing is cached [J].

    Args:
        cases: The central case and both ends of what is not known.
        input_tokens: Prompt tokens; a float or an array of floats [tokens].
        scope: ``"gpu"`` or ``"facility"``.
    """
    prompt = Work(input_tokens, count_pairs(cases.central.site, 0.0, input_tokens), 0.0, 0.0)
    overhead = FACILITY.factor if scope == "facility" else 1.0
    return overhead * compute_prefill_energy(cases.central.prices, prompt)


def compute_reasoning_energy(
    cases: Cases, energy: CentralEnergy, input_tokens: float, reasoning_tokens: float
) -> float:
    """The part of a request's energy that was spent on reasoning [J].

    Args:
        cases: The central case and both ends of what is not known.
        energy: The request by the central case.
        input_tokens: Prompt tokens, cached ones included [tokens].
        reasoning_tokens: Part of the output that is reasoning [tokens].
    """
    # Reasoning comes before the visible answer, so it sees the shorter contexts.
    pairs = count_pairs(cases.central.site, input_tokens, input_tokens + reasoning_tokens)
    return energy.token_joules * reasoning_tokens + cases.central.prices.output_pair * pairs
