"""The methods by name: from the tokens of one call and its profiles to an ``EnergyEstimate``.

``estimate_usage`` asks the method that is named, then widens the range by what is doubtful
about this call. A new method is a row in ``METHODS``: what makes a ``Priced`` of a model, a GPU
and ``Assumptions``, where all is computed that does not depend on the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

from energy_tracking.estimator import reference
from energy_tracking.estimator.doubts import grade_match, list_doubts
from energy_tracking.estimator.estimate import (
    CALIBRATED_METHOD,
    REST,
    EnergyEstimate,
    Spread,
    check_token_counts,
    start_values,
    widen_range,
)
from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.estimator.roofline import request as roofline
from energy_tracking.estimator.roofline.cases import build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED
from energy_tracking.estimator.roofline.ranges import CentralEnergy
from energy_tracking.estimator.roofline.work import count_flops
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.estimator.timing_evidence import (
    SLOW_NETWORK,
    find_reason_against,
    update_serving,
)
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.usage.token_usage import TokenUsage


@frozen(kw_only=True)
class Assumptions:
    """What is assumed of a call beside its model and GPU; each method uses its own.

    Attributes:
        attention_mode: Of ``reference``: ``"quadratic"`` or ``"linear"``.
        serving: Of ``roofline``: how the model is served.
        scope: Of ``roofline``: ``"gpu"`` or ``"facility"``; ``reference`` knows the GPU
            board alone.
        timing_evidence: Of ``roofline``: what became of a stream's speed, or of the server's
            clock; empty: not asked for.
        concurrency_source: Of ``roofline``: where its number of sequences was read; empty:
            it is assumed, or set.
    """

    attention_mode: str = "quadratic"
    serving: ServingProfile = SERVING
    scope: str = "gpu"
    timing_evidence: str = ""
    concurrency_source: str = ""

    def __hash__(self) -> int:
        """By two of them: what is prepared for them is looked up by model and GPU, too."""
        return hash((self.attention_mode, self.scope))


ASSUMED = Assumptions()
"""What is assumed where nobody says otherwise."""


class Priced(Protocol):
    """A model on a GPU, with all that a method computes of them before it knows a call's tokens."""

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        """The energy of a call with these tokens."""

    def price_prompt(self, input_tokens: int) -> float:
        """Energy of a prompt of which nothing is cached [J]."""


class Estimator:
    """Estimates the energy of calls whose model, GPU and assumptions are the same."""

    __slots__ = ("_grade", "_model", "_priced", "_rule")

    def __init__(
        self, model: ModelProfile, gpu: GpuProfile, method: str, assumptions: Assumptions, rule: str
    ) -> None:
        """Compute what does not depend on a call's tokens.

        Args:
            model: Model profile.
            gpu: GPU profile.
            method: Name of the method.
            assumptions: What is assumed beside them.
            rule: How the model's name led to the profile, as in ``ModelMatch.rule``.
        """
        self._model, self._rule = model, rule
        self._grade = grade_match(model, rule)
        self._priced = METHODS[method](model, gpu, assumptions)

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        """Estimate the energy of one call from the tokens its server reported.

        Args:
            usage: The tokens; ``check_token_counts`` has seen them.
        """
        estimate = self._priced.estimate(usage)
        doubts = list_doubts(usage, self._model, self._rule)
        return widen_range(estimate, doubts, self._grade) if doubts else estimate

    def compute_avoided_energy(self, usage: TokenUsage) -> float:
        """What an estimate would be more by, had no token been read from a cache [J].

        Args:
            usage: Its tokens.
        """
        # A cache holds the beginning of the prompt: what it saves is that prompt's price.
        return self._priced.price_prompt(usage.cached_input_tokens)


@lru_cache(maxsize=512)
def prepare_estimator(
    model: ModelProfile, gpu: GpuProfile, method: str, assumptions: Assumptions, rule: str
) -> Estimator:
    """The estimator of calls that have all of this in common.

    Args:
        model: Model profile.
        gpu: GPU profile.
        method: Name of the method.
        assumptions: What is assumed beside them.
        rule: How the model's name led to the profile, as in ``ModelMatch.rule``.
    """
    return Estimator(model, gpu, method, assumptions, rule)


def estimate_usage(
    usage: TokenUsage,
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    method: str = reference.METHOD,
    assumptions: Assumptions = ASSUMED,
    rule: str = "exact",
) -> EnergyEstimate:
    """Estimate the energy of one call from the tokens its server reported.

    Args:
        usage: Its tokens.
        model: Model profile.
        gpu: GPU profile.
        method: Name of the estimator.
        assumptions: What is assumed beside them.
        rule: How the model's name led to the profile, as in ``ModelMatch.rule``.

    Raises:
        TokenCountError: A count is negative or not finite, or more is cached than given.
    """
    check_token_counts(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
    return prepare_estimator(model, gpu, method, assumptions, rule).estimate(usage)


def apply_evidence(
    assumptions: Assumptions,
    usage: TokenUsage,
    model: ModelProfile,
    gpu: GpuProfile,
    evidence: ServingEvidence,
    rule: str = "exact",
    *,
    uses_timing: bool,
    is_engine_known: bool,
) -> Assumptions:
    """The assumptions after the server was seen to serve this usage.

    What its metrics page states of its batch is taken as known. Else, where it is asked for, how
    fast tokens came is evidence: by the server's own clock if its engine is known, else by the
    stream here. Where the model's shape is not published, or it is not sure that this is the
    model, it is none, and the assumptions say why.

    Args:
        assumptions: What was assumed before.
        usage: Its tokens.
        model: Model profile.
        gpu: GPU profile.
        evidence: What was seen of the server.
        rule: How the model's name led to the profile, as in ``ModelMatch.rule``.
        uses_timing: Whether speed is to be used.
        is_engine_known: Whether the user has named the year of the engine.
    """
    if evidence.load is not None:
        return _take_load(assumptions, evidence.load)
    if not uses_timing:
        return assumptions
    rate, is_own_clock = None, False
    if is_engine_known and evidence.timing is not None and usage.output_tokens > 1:
        seconds = evidence.timing.decode_seconds
        rate = (usage.output_tokens - 1) / seconds if seconds else None
        is_own_clock = rate is not None
    rate = rate or evidence.tokens_per_second
    if rate is None:
        return assumptions
    reason = find_reason_against(model)
    if reason is None and grade_match(model, rule) != model.grade:
        reason = f"that this is {model.name!r} rests on the {rule} alone"
    if reason is not None:
        return replace(assumptions, timing_evidence=f"not used: {reason}")
    serving = update_serving(
        model,
        gpu,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        observed_tokens_per_second=rate,
        serving=assumptions.serving,
        slow_network=None if is_own_clock else SLOW_NETWORK,
    )
    came = "made, by the server's clock" if is_own_clock else "arrived"
    said = f"used: {rate:.3g} tokens/s {came}"
    return replace(assumptions, serving=serving, timing_evidence=said)


def _take_load(assumptions: Assumptions, load: ServerLoad) -> Assumptions:
    """The assumptions with the batch that a server states, and its GPUs where nobody set them."""
    # At least the call itself; to the digits that a mean has, of which few are computed anew.
    sequences = max(float(f"{load.running_requests:.3g}"), 1.0)
    serving = replace(
        assumptions.serving,
        sequences=sequences,
        num_gpus=assumptions.serving.num_gpus or load.num_gpus,
    )
    return replace(
        assumptions, serving=serving, concurrency_source=f"running requests of {load.source}"
    )


class _ByReference:
    """A model on a GPU, priced by the seed formula."""

    __slots__ = ("_model", "_priced")

    def __init__(self, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions) -> None:
        self._model = model
        self._priced = reference.price_model(model, gpu, assumptions.attention_mode)

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        factor, reasoning_tokens = 1.0, usage.reasoning_tokens
        if reasoning_tokens is None and self._model.reasoning_factor > 1:
            # As the seed has it: only a usage that says nothing of reasoning may leave it out.
            factor = self._model.reasoning_factor
        return self._priced.estimate(
            usage.input_tokens,
            usage.output_tokens,
            usage.cached_input_tokens,
            reasoning_tokens,
            factor,
        )

    def price_prompt(self, input_tokens: int) -> float:
        joules, _ = self._priced.formula.price_prompt(1.0 * input_tokens)
        return joules


class _ByRoofline:
    """A model on its GPUs, priced by the calibrated estimator."""

    __slots__ = ("_assumed", "_model", "_priced", "_values")

    def __init__(self, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions) -> None:
        cases = build_cases(model, gpu, assumptions.serving, CALIBRATED)
        self._model = model
        self._priced = roofline.PricedModel(cases, assumptions.scope)
        self._assumed = dict(cases.assumed)
        if assumptions.timing_evidence:
            self._assumed["timing_evidence"] = assumptions.timing_evidence
        if assumptions.concurrency_source:
            self._assumed["concurrency_source"] = assumptions.concurrency_source
        self._values = start_values(
            model_profile=model.name,
            gpu=gpu.name,
            method=CALIBRATED_METHOD,
            method_version=roofline.VERSION,
            scope=assumptions.scope,
            grade=model.grade,
            attention_mode="quadratic",
        )

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        factor, reasoning_tokens = 1.0, usage.reasoning_tokens
        output_tokens: float = usage.output_tokens
        if reasoning_tokens is None and "output_tokens" in usage.estimated:
            # What a server reports holds its reasoning; only text that was merely seen does not.
            factor = self._model.reasoning_factor
            output_tokens = usage.output_tokens * factor
            if factor != 1:
                reasoning_tokens = round(output_tokens - usage.output_tokens)
        prefill, decode, low, high, spreads, energy = self._priced.price(
            usage.input_tokens, output_tokens, usage.cached_input_tokens
        )
        values = self._values.copy()
        if factor != 1.0:
            values["reasoning_factor"] = factor
        values["prefill_energy_joules"] = prefill
        values["decode_energy_joules"] = decode
        values["total_energy_low_joules"] = low
        values["total_energy_high_joules"] = high
        values[REST] = self, energy, spreads, usage.input_tokens, reasoning_tokens
        return fill_fields(EnergyEstimate, values)

    # What few readers of an estimate want: each of what ``estimate`` leaves for it.

    def compute_reasoning(
        self,
        energy: CentralEnergy,
        spreads: list[Spread],
        input_tokens: int,
        reasoning_tokens: int | None,
    ) -> float | None:
        """Energy spent on reasoning [J]; None where its tokens are not known.

        Args:
            energy: The request by the central case.
            spreads: The parts of the range that each request has its own of [J].
            input_tokens: Prompt tokens, cached ones included [tokens].
            reasoning_tokens: Part of the output that is reasoning [tokens]; None: not known.
        """
        if reasoning_tokens is None:
            return None
        return self._priced.price_reasoning(energy, input_tokens, reasoning_tokens)

    def count_flops(self, energy: CentralEnergy, *_: Any) -> float:
        """Floating-point operations of the request [FLOP]."""
        return count_flops(self._priced.cases.central.site, energy)

    def name_parts(
        self, energy: CentralEnergy, spreads: list[Spread], *_: Any
    ) -> dict[str, tuple[float, float]]:
        """The parts of the range by name [1].

        Args:
            energy: The request by the central case.
            spreads: The parts that each request has its own of [J].
        """
        return self._priced.name_parts(energy, spreads)

    def list_assumed(self, energy: CentralEnergy, *_: Any) -> dict[str, Any]:
        """What is assumed of how the model is served."""
        return {"sequences": self._priced.count_sequences(energy), **self._assumed}

    def price_prompt(self, input_tokens: int) -> float:
        return self._priced.price_prompt(1.0 * input_tokens)


METHODS: dict[str, Callable[[ModelProfile, GpuProfile, Assumptions], Priced]] = {
    reference.METHOD: _ByReference,
    CALIBRATED_METHOD: _ByRoofline,
}
