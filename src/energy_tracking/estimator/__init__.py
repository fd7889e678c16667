"""From token counts to energy: the estimators, by the name of their method."""

from __future__ import annotations

from collections.abc import Callable

from energy_tracking.estimator import reference
from energy_tracking.estimator.estimate import (
    ATTENTION_MODES,
    EnergyEstimate,
    check_attention_mode,
)
from energy_tracking.profiles import GpuProfile, ModelProfile
from energy_tracking.usage import TokenUsage

__all__ = ["ATTENTION_MODES", "METHODS", "EnergyEstimate", "check_attention_mode", "estimate_usage"]

METHODS: dict[str, Callable[..., EnergyEstimate]] = {reference.METHOD: reference.estimate}


def estimate_usage(
    usage: TokenUsage,
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    method: str = reference.METHOD,
    attention_mode: str = "quadratic",
) -> EnergyEstimate:
    """Estimate the energy of one call from the tokens its server reported.

    Reported output tokens already contain the reasoning, so the profile's
    ``reasoning_factor`` is applied only where the usage says nothing about reasoning at
    all: a server that hides it, or text that was merely seen.
    """
    hidden_reasoning = usage.reasoning_tokens is None and model.reasoning_factor > 1
    return METHODS[method](
        model,
        gpu,
        input_tokens=usage.input_tokens,
        cached_input_tokens=usage.cached_input_tokens,
        output_tokens=usage.output_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        reasoning_factor=model.reasoning_factor if hidden_reasoning else 1.0,
        attention_mode=attention_mode,
    )
