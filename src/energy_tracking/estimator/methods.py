"""The methods by name: from the tokens of one call and its profiles to an ``EnergyEstimate``.

``estimate_usage`` asks the method that is named, then widens the range by what is doubtful
about this call. A new method is a row in ``METHODS``: what makes an ``Estimator`` of a model, a
GPU and ``Assumptions``, where all is computed that does not depend on the tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Protocol

from energy_tracking.estimator import reference
from energy_tracking.estimator.doubts import grade_match, list_doubts
from energy_tracking.estimator.estimate import (
    CALIBRATED_METHOD,
    EnergyEstimate,
    check_token_counts,
    widen_range,
)
from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.estimator.roofline import request as roofline
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.estimator.timing_evidence import (
    SLOW_NETWORK,
    find_reason_against,
    update_serving,
)
from energy_tracking.frozen import frozen
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


class Estimator(Protocol):
    """Estimates the energy of calls whose model, GPU and assumptions are the same.

    All is computed beforehand that does not depend on a call's tokens.
    """

    @property
    def model(self) -> ModelProfile:
        """The model."""

    def estimate(self, usage: TokenUsage) -> EnergyEstimate:
        """The energy of a call with these tokens, which ``check_token_counts`` has seen.

        What is doubtful about the call itself is not in it: see ``widen_by_doubts``.
        """

    def price_prompt(self, input_tokens: int) -> float:
        """Energy of a prompt of which nothing is cached [J].

        A cache holds the beginning of a prompt: this is what it saves.
        """


@lru_cache(maxsize=512)
def prepare_estimator(
    model: ModelProfile, gpu: GpuProfile, method: str, assumptions: Assumptions
) -> Estimator:
    """The estimator of calls that have all of this in common.

    Args:
        model: Model profile.
        gpu: GPU profile.
        method: Name of the method.
        assumptions: What is assumed beside them.
    """
    return METHODS[method](model, gpu, assumptions)


def widen_by_doubts(
    estimate: EnergyEstimate, usage: TokenUsage, model: ModelProfile, rule: str
) -> EnergyEstimate:
    """An estimate with what is doubtful about the call itself in its range and grade.

    Args:
        estimate: By the tokens alone.
        usage: The tokens.
        model: The model that was estimated.
        rule: How the model's name led to the profile, as in ``ModelMatch.rule``.
    """
    doubts = list_doubts(usage, model, rule)
    return widen_range(estimate, doubts, grade_match(model, rule)) if doubts else estimate


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
    estimate = prepare_estimator(model, gpu, method, assumptions).estimate(usage)
    return widen_by_doubts(estimate, usage, model, rule)


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


def _price_by_reference(
    model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> reference.PricedModel:
    return reference.price_model(model, gpu, assumptions.attention_mode)


def _price_by_roofline(
    model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> roofline.PricedModel:
    stated = {
        "timing_evidence": assumptions.timing_evidence,
        "concurrency_source": assumptions.concurrency_source,
    }
    remarks = {name: remark for name, remark in stated.items() if remark}
    return roofline.PricedModel(model, gpu, assumptions.serving, assumptions.scope, remarks)


METHODS: dict[str, Callable[[ModelProfile, GpuProfile, Assumptions], Estimator]] = {
    reference.METHOD: _price_by_reference,
    CALIBRATED_METHOD: _price_by_roofline,
}
