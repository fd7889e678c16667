"""The methods by name: from the tokens of one call and its profiles to an ``EnergyEstimate``.

``estimate_usage`` asks the method that is named, then widens the range by what is doubtful
about this call. A new method is a row in ``METHODS``: a function that takes usage, model, GPU
and ``Assumptions`` and returns an ``EnergyEstimate``; and one in ``UNCACHED_PROMPTS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from energy_tracking.estimator import reference
from energy_tracking.estimator.doubts import grade_match, list_doubts
from energy_tracking.estimator.estimate import EnergyEstimate, widen_range
from energy_tracking.estimator.evidence import ServerLoad, ServingEvidence
from energy_tracking.estimator.roofline import request as roofline
from energy_tracking.estimator.roofline.cases import build_cases
from energy_tracking.estimator.roofline.constants import CALIBRATED
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.estimator.timing_evidence import (
    SLOW_NETWORK,
    find_reason_against,
    update_serving,
)
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.usage.token_usage import TokenUsage

CALIBRATED_METHOD = roofline.METHOD
"""The method whose estimate stands beside that of ``reference``."""


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


ASSUMED = Assumptions()
"""What is assumed where nobody says otherwise."""


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
    """
    estimate = METHODS[method](usage, model, gpu, assumptions)
    doubts, grade = list_doubts(usage, model, rule), grade_match(model, rule)
    return widen_range(estimate, doubts, grade) if doubts or grade != model.grade else estimate


def compute_avoided_energy(
    estimate: EnergyEstimate,
    usage: TokenUsage,
    model: ModelProfile,
    gpu: GpuProfile,
    assumptions: Assumptions,
) -> float:
    """What an estimate would be more by, had no token been read from a cache [J].

    Args:
        estimate: The estimate.
        usage: Its tokens.
        model: Its model profile.
        gpu: Its GPU profile.
        assumptions: What was assumed beside them.
    """
    # To decode costs the same: the prompt alone would be computed anew.
    uncached = UNCACHED_PROMPTS[estimate.method](usage.input_tokens, model, gpu, assumptions)
    return uncached + estimate.decode_energy_joules - estimate.total_energy_joules


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


def _estimate_by_reference(
    usage: TokenUsage, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> EnergyEstimate:
    # As the seed has it: only a usage that says nothing of reasoning may leave it out.
    hidden = usage.reasoning_tokens is None and model.reasoning_factor > 1
    return reference.estimate_request(
        model,
        gpu,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        reasoning_factor=model.reasoning_factor if hidden else 1.0,
        attention_mode=assumptions.attention_mode,
    )


def _estimate_by_roofline(
    usage: TokenUsage, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> EnergyEstimate:
    # What a server reports holds its reasoning; only text that was merely seen does not.
    hidden = usage.reasoning_tokens is None and "output_tokens" in usage.estimated
    reasoning_factor = model.reasoning_factor if hidden else 1.0
    output_tokens = usage.output_tokens * reasoning_factor if hidden else usage.output_tokens
    reasoning_tokens = usage.reasoning_tokens
    if reasoning_tokens is None and reasoning_factor != 1:
        reasoning_tokens = round(output_tokens - usage.output_tokens)
    cases = build_cases(model, gpu, assumptions.serving, CALIBRATED)
    values, sequences = roofline.compute_request(
        cases,
        input_tokens=usage.input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        reasoning_tokens=reasoning_tokens or 0,
        scope=assumptions.scope,
    )
    if reasoning_tokens is None:
        values["reasoning_energy_joules"] = None
    assumed = {"sequences": sequences, **cases.assumed}
    if assumptions.timing_evidence:
        assumed["timing_evidence"] = assumptions.timing_evidence
    if assumptions.concurrency_source:
        assumed["concurrency_source"] = assumptions.concurrency_source
    named = {
        "model_profile": model.name,
        "gpu": gpu.name,
        "method": roofline.METHOD,
        "method_version": roofline.VERSION,
        "grade": model.grade,
        "attention_mode": "quadratic",
        "reasoning_factor": reasoning_factor,
        "assumed": assumed,
    }
    return fill_fields(EnergyEstimate, named | values)


def _price_prompt_by_reference(
    input_tokens: int, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> float:
    """Energy of a prompt of which nothing is cached [J]."""
    terms, mode = reference.get_terms(model), assumptions.attention_mode
    flops = reference.count_prefill_flops(terms, 1.0 * input_tokens, 0.0, mode)
    return reference.compute_prefill_energy(gpu, flops)


def _price_prompt_by_roofline(
    input_tokens: int, model: ModelProfile, gpu: GpuProfile, assumptions: Assumptions
) -> float:
    """Energy of a prompt of which nothing is cached [J]."""
    cases = build_cases(model, gpu, assumptions.serving, CALIBRATED)
    return roofline.compute_prompt_energy(cases, 1.0 * input_tokens, assumptions.scope)


UNCACHED_PROMPTS: dict[str, Callable[[int, ModelProfile, GpuProfile, Assumptions], float]] = {
    reference.METHOD: _price_prompt_by_reference,
    roofline.METHOD: _price_prompt_by_roofline,
}

METHODS: dict[str, Callable[..., EnergyEstimate]] = {
    reference.METHOD: _estimate_by_reference,
    roofline.METHOD: _estimate_by_roofline,
}
