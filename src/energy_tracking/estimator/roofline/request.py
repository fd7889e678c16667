"""The estimate of one request, or of an array of them, and the range it lies in.

The order of ``PricedModel.price``: the counts are checked; ``compute_central_energy`` prices the
request by the central case; ``compute_reasoning_energy`` takes its share out of that; ``ranges``
compares both ends of what is not known with it. What depends on the deployment alone is in
``cases``, computed once.
"""

from __future__ import annotations

from collections.abc import Mapping

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.estimate import check_token_counts, combine_parts, sum_excesses
from energy_tracking.estimator.roofline.cases import Cases, build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.facility import FACILITY
from energy_tracking.estimator.roofline.ranges import (
    CentralEnergy,
    list_request_parts,
    list_scope_parts,
)
from energy_tracking.estimator.roofline.work import count_flops, count_pairs
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.frozen import frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

METHOD = "roofline"
VERSION = "2"
SCOPES = ("gpu", "facility")

_FACILITY_FACTOR = FACILITY.factor


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
    priced = PricedModel(build_cases(model, gpu, serving, constants), scope)
    prefill, decode, reasoning, flops, low, high, parts, sequences = priced.price(
        input_tokens, output_tokens, cached_input_tokens, reasoning_tokens
    )
    return RooflineEstimate(
        prefill_energy_joules=prefill,
        decode_energy_joules=decode,
        reasoning_energy_joules=reasoning,
        total_energy_low_joules=low,
        total_energy_high_joules=high,
        total_flops=flops,
        range_parts=parts,
        deployment=priced.cases.central.site,
        sequences=sequences,
        scope=scope,
    )


class PricedModel:
    """One model on its GPUs: what does not depend on the request, computed once.

    Attributes:
        cases: The central case and both ends of what is not known.
        scope: ``"gpu"`` or ``"facility"``.
    """

    __slots__ = ("_excesses", "_overhead", "_scope_parts", "cases", "scope")

    def __init__(self, cases: Cases, scope: str) -> None:
        """Compute it.

        Args:
            cases: The central case and both ends of what is not known.
            scope: ``"gpu"`` or ``"facility"``.

        Raises:
            ConfigurationError: The scope is unknown.
        """
        if scope not in SCOPES:
            raise ConfigurationError(not_one_of("scope", scope, SCOPES))
        self.cases = cases
        self.scope = scope
        self._overhead = find_overhead(scope)
        self._scope_parts = list_scope_parts(scope)
        self._excesses = sum_excesses({**cases.factors, **self._scope_parts})

    def price(
        self,
        input_tokens: float,
        output_tokens: float,
        cached_input_tokens: float,
        reasoning_tokens: float,
    ) -> tuple[float, float, float, float, float, float, dict[str, tuple[float, float]], float]:
        """Price one request, or an array of them.

        Args:
            input_tokens: Prompt tokens, cached ones included [tokens].
            output_tokens: All generated tokens, reasoning included [tokens].
            cached_input_tokens: Part of the prompt read from a cache [tokens].
            reasoning_tokens: Part of the output that is reasoning [tokens].

        Returns:
            Energy of the prompt, of the answer, and of its reasoning [J]; its work [FLOP]; low and
            high end of its energy [J]; the parts of that range [1]; and the sequences decoded
            together [1].

        Raises:
            TokenCountError: A count is negative or not finite.
        """
        check_token_counts(input_tokens, cached_input_tokens, output_tokens)
        cases, overhead = self.cases, self._overhead
        # Floats from here on: small integer types would overflow.
        prompt = 1.0 * input_tokens
        energy = compute_central_energy(
            cases, prompt, 1.0 * cached_input_tokens, 1.0 * output_tokens
        )
        reasoning = compute_reasoning_energy(cases, energy, prompt, 1.0 * reasoning_tokens)
        parts = list_request_parts(cases, energy)
        low, high = combine_parts(parts, *self._excesses)
        total = overhead * (energy.prefill + energy.decode)
        site = cases.central.site
        return (
            overhead * energy.prefill,
            overhead * energy.decode,
            overhead * reasoning,
            count_flops(site, energy),
            total * low,
            total * high,
            {**cases.factors, **parts, **self._scope_parts},
            # Of the shape of the counts, also where it is one number for all.
            energy.sequences * site.stages + 0.0 * energy.context,
        )

    def price_prompt(self, input_tokens: float) -> float:
        """Energy of a prompt of which nothing is cached [J].

        Args:
            input_tokens: Prompt tokens; a float or an array of floats [tokens].
        """
        return compute_prompt_energy(self.cases, input_tokens, self.scope)


def find_overhead(scope: str) -> float:
    """Energy in a scope over that of the GPU boards [1]."""
    return _FACILITY_FACTOR if scope == "facility" else 1.0


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
    central = cases.central
    prices, site = central.prices, central.site
    tokens, context = input_tokens - cached_input_tokens, input_tokens + output_tokens
    input_pairs = count_pairs(site, cached_input_tokens, input_tokens)
    output_pairs = count_pairs(site, input_tokens, context)
    sequences, token_joules = central.price_token(context)
    return CentralEnergy(
        tokens,
        input_pairs,
        output_tokens,
        output_pairs,
        context,
        sequences,
        token_joules,
        prices.price_prompt(tokens, input_pairs),
        prices.price_answer(token_joules, output_tokens, output_pairs),
    )


def compute_prompt_energy(cases: Cases, input_tokens: float, scope: str) -> float:
    """Energy of a prompt of which nothing is cached [J].

    Args:
        cases: The central case and both ends of what is not known.
        input_tokens: Prompt tokens; a float or an array of floats [tokens].
        scope: ``"gpu"`` or ``"facility"``.
    """
    central = cases.central
    pairs = count_pairs(central.site, 0.0, input_tokens)
    return find_overhead(scope) * central.prices.price_prompt(input_tokens, pairs)


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
    central = cases.central
    pairs = count_pairs(central.site, input_tokens, input_tokens + reasoning_tokens)
    return central.prices.price_answer(energy.token_joules, reasoning_tokens, pairs)
