"""The estimate of one request, or of an array of them, and the range it lies in.

The order of ``PricedModel.estimate``: ``compute_central_energy`` prices the request by the central
case; ``ranges`` compares both ends of what is not known with it. What depends on the deployment
alone is in ``cases``, computed once; what few readers want, such as the share of reasoning, is
computed by the methods after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator.deployment import Deployment
from energy_tracking.estimator.estimate import (
    CALIBRATED_METHOD,
    REST,
    SCOPES,
    EnergyEstimate,
    Spread,
    check_token_counts,
    combine_spreads,
    find_factors,
    start_values,
    sum_excesses,
)
from energy_tracking.estimator.roofline.cases import Cases, build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.facility import FACILITY
from energy_tracking.estimator.roofline.ranges import (
    CentralEnergy,
    list_scope_parts,
    list_spreads,
)
from energy_tracking.estimator.roofline.work import (
    count_flops,
    count_pairs,
    take_larger,
    take_smaller,
)
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.usage.token_usage import TokenUsage

VERSION = "2"

_NO_REMARKS: Mapping[str, str] = MappingProxyType({})


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
    check_token_counts(input_tokens, cached_input_tokens, output_tokens)
    counts: dict[str, Any] = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cached_input_tokens": cached_input_tokens,
        "reasoning_tokens": reasoning_tokens,
    }
    priced = PricedModel(model, gpu, serving, scope, constants=constants)
    estimate: Any = priced.estimate(TokenUsage(**counts))
    return RooflineEstimate(
        prefill_energy_joules=estimate.prefill_energy_joules,
        decode_energy_joules=estimate.decode_energy_joules,
        reasoning_energy_joules=estimate.reasoning_energy_joules,
        total_energy_low_joules=estimate.total_energy_low_joules,
        total_energy_high_joules=estimate.total_energy_high_joules,
        total_flops=estimate.total_flops,
        range_parts=estimate.range_parts,
        deployment=priced.cases.central.site,
        sequences=estimate.assumed["sequences"],
        scope=scope,
    )


class PricedModel:
    """One model on its GPUs: what does not depend on the request, computed once.

    Attributes:
        cases: The central case and both ends of what is not known.
        model: The model.
    """

    __slots__ = ("_assumed", "_excesses", "_overhead", "_scope_parts", "_values", "cases", "model")

    def __init__(
        self,
        model: ModelProfile,
        gpu: GpuProfile,
        serving: ServingProfile,
        scope: str,
        remarks: Mapping[str, str] = _NO_REMARKS,
        constants: RooflineConstants = CALIBRATED,
    ) -> None:
        """Compute it.

        Args:
            model: Model profile.
            gpu: GPU profile; needs a memory bandwidth.
            serving: How the model is assumed to be served.
            scope: ``"gpu"`` or ``"facility"``.
            remarks: What is to be said of these assumptions, by name.
            constants: Fitted factors.

        Raises:
            ConfigurationError: The scope is unknown.
            ProfileError: The GPU profile has no memory bandwidth.
        """
        if scope not in SCOPES:
            raise ConfigurationError(not_one_of("scope", scope, SCOPES))
        self.model = model
        self.cases = cases = build_cases(model, gpu, serving, constants)
        self._assumed = {**cases.assumed, **remarks}
        self._overhead = FACILITY.factor if scope == "facility" else 1.0
        self._scope_parts = list_scope_parts(scope)
        self._excesses = sum_excesses((*cases.factors.values(), *self._scope_parts.values()))
        self._values = start_values(
            model_profile=model.name,
            gpu=gpu.name,
            method=CALIBRATED_METHOD,
            method_version=VERSION,
            scope=scope,
            grade=model.grade,
            attention_mode="quadratic",
        )

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        """Estimate one request, or an array of them, whose counts have been checked.

        Args:
            usage: Its tokens; each count may be an array.
        """
        factor, reasoning_tokens = 1.0, usage.reasoning_tokens
        output_tokens: float = usage.output_tokens
        if reasoning_tokens is None and "output_tokens" in usage.estimated:
            # What a server reports holds its reasoning; only text that was merely seen does not.
            factor = self.model.reasoning_factor
            output_tokens = usage.output_tokens * factor
            if factor != 1:
                reasoning_tokens = round(output_tokens - usage.output_tokens)
        # Floats from here on: small integer types would overflow.
        energy = compute_central_energy(
            self.cases,
            1.0 * usage.input_tokens,
            1.0 * usage.cached_input_tokens,
            1.0 * output_tokens,
        )
        spreads = list_spreads(self.cases, energy)
        prefill, decode, overhead = energy.prefill, energy.decode, self._overhead
        low, high = combine_spreads(prefill + decode, spreads, self._excesses)
        values = self._values.copy()
        if factor != 1.0:
            values["reasoning_factor"] = factor
        values["prefill_energy_joules"] = overhead * prefill
        values["decode_energy_joules"] = overhead * decode
        values["total_energy_low_joules"] = overhead * low
        values["total_energy_high_joules"] = overhead * high
        values[REST] = self, energy, spreads, usage.input_tokens, reasoning_tokens
        return fill_fields(EnergyEstimate, values)

    def price_prompt(self, input_tokens: float) -> float:
        """Energy of a prompt of which nothing is cached [J].

        Args:
            input_tokens: Prompt tokens; a number or an array [tokens].
        """
        return self._overhead * compute_prompt_energy(self.cases, 1.0 * input_tokens)

    def complete(self, values: dict[str, Any], rest: _Rest, names: tuple[str, ...]) -> None:
        """Put in place what ``estimate`` has left for its few readers, as far as it is missing.

        Args:
            values: Those of the estimate.
            rest: What is needed for it.
            names: What is wanted.
        """
        for name in names:
            if name not in values:
                values[name] = _LATER[name](self, rest)

    def _compute_reasoning(self, rest: _Rest) -> float | None:
        """Energy spent on reasoning [J]; None where its tokens are not known."""
        _, energy, _, input_tokens, reasoning_tokens = rest
        if reasoning_tokens is None:
            return None
        return self._overhead * compute_reasoning_energy(
            self.cases, energy, 1.0 * input_tokens, 1.0 * reasoning_tokens
        )

    def _count_flops(self, rest: _Rest) -> float:
        """Floating-point operations of the request [FLOP]."""
        return count_flops(self.cases.central.site, rest[1])

    def _name_parts(self, rest: _Rest) -> dict[str, tuple[float, float]]:
        """All parts of a range by name [1], those included that are the same for every request."""
        _, energy, spreads, _, _ = rest
        cases, total = self.cases, energy.prefill + energy.decode
        ends = (find_factors(total, spread) for spread in spreads)
        own = dict(zip(cases.request_parts, ends, strict=True))
        if cases.parameters is not None and (factor := cases.grade_factor) > 1.0:
            # Of a request without energy, too.
            low, high = own["parameters"]
            own["parameters"] = take_smaller(low, 1.0 / factor), take_larger(high, factor)
        return {**cases.factors, **own, **self._scope_parts}

    def _list_assumed(self, rest: _Rest) -> dict[str, Any]:
        """What is assumed of how the model is served."""
        energy = rest[1]
        # Of the shape of the counts, also where it is one number for all.
        sequences = energy.sharing.sequences * self.cases.central.site.stages + 0.0 * energy.context
        return {"sequences": sequences, **self._assumed}


_Rest = tuple[PricedModel, CentralEnergy, list[Spread], float, float | None]
"""A priced model, a request by the central case, the parts of its range that each request has its
own of [J], its prompt tokens, cached ones included, and its reasoning tokens, if their number is
known [tokens]."""

_LATER: dict[str, Callable[[PricedModel, _Rest], Any]] = {
    "reasoning_energy_joules": PricedModel._compute_reasoning,
    "total_flops": PricedModel._count_flops,
    "range_parts": PricedModel._name_parts,
    "assumed": PricedModel._list_assumed,
}
"""What computes each field that an estimate may leave for later."""


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
    central, energy = cases.central, CentralEnergy()
    site = central.site
    energy.context = context = input_tokens + output_tokens
    energy.input_tokens = tokens = input_tokens - cached_input_tokens
    energy.output_tokens = output_tokens
    energy.input_pairs = input_pairs = count_pairs(site, cached_input_tokens, input_tokens)
    energy.output_pairs = output_pairs = count_pairs(site, input_tokens, context)
    energy.sharing = sharing = cases.find_sharing(context)
    energy.prefill = central.input_token * tokens
    energy.prefill += central.input_pair * input_pairs
    # In this order, since the pairs have the shape of prompts and answers together.
    energy.decode = central.output_pair * output_pairs
    energy.decode += sharing.token_joules * output_tokens
    return energy


def compute_prompt_energy(cases: Cases, input_tokens: float) -> float:
    """Energy of a prompt of which nothing is cached, by the GPU boards alone [J].

    Args:
        cases: The central case and both ends of what is not known.
        input_tokens: Prompt tokens; a float or an array of floats [tokens].
    """
    central = cases.central
    pairs = count_pairs(central.site, 0.0, input_tokens)
    return central.prices.price_prompt(input_tokens, pairs)


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
    return central.prices.price_answer(energy.sharing.token_joules, reasoning_tokens, pairs)
