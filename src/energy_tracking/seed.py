"""The seed's estimator under its own name, with its own profiles by name.

Source: seed document of this project, "minions-2025 proxy".
"""

from __future__ import annotations

import sys
from typing import Any

from energy_tracking.bounds import Bound
from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.estimator import reference
from energy_tracking.estimator.estimate import check_token_count
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.units import wh_from_joules

_WALL_TIME = Bound(sys.float_info.min, sys.float_info.max, "s")


def cloud_inference_energy_estimate_w_model_attributes(
    input_tokens: float = 0,
    output_tokens: float = 500,
    model_name: str = "gpt-4o",
    gpu_name: str = "H100",
    attention_mode: str = "quadratic",
    inference_wall_time_sec: float | None = None,
) -> dict[str, Any]:
    """Estimate the GPU energy of one request with the seed formula.

    ``output_tokens`` are multiplied by the model's ``reasoning_factor``: give the visible
    tokens here. (The instrumentation gives reported tokens, which already hold the
    reasoning, and leaves the factor out.) Token counts may be numpy arrays that broadcast.

    Args:
        input_tokens: Prompt tokens [tokens].
        output_tokens: Generated tokens [tokens].
        model_name: Model profile, e.g. ``"gpt-4o"``, ``"o1"``, ``"o3-mini"``.
        gpu_name: GPU profile, e.g. ``"A100"``, ``"H100"``, ``"GB200"``.
        attention_mode: ``"quadratic"``, or ``"linear"`` for a prefill whose attention
            term grows linearly with the prompt.
        inference_wall_time_sec: Wall time of the request [s]. Adds
            ``empirical_utilization`` [1], the FLOPs over what one GPU could have done in
            that time, and ``total_energy_joules_empirical`` [J] and
            ``total_energy_wh_empirical`` [Wh], the energy of one whole GPU at full power
            for that time. They bill a GPU that serves many requests at once to a single
            one, and are never used by the instrumentation.

    Returns:
        ``model``, ``gpu``, ``reasoning_factor``, ``attention_mode``,
        ``prefill_energy_joules``, ``decode_energy_joules``, ``total_energy_joules``,
        ``total_energy_wh``, ``total_flops``, and what the wall time adds.

    Raises:
        UnknownModelError: No such model profile.
        UnknownGpuError: No such GPU profile.
        TokenCountError: A count is negative or not finite.
        ConfigurationError: The attention mode is unknown, or the wall time not positive.
    """
    for name, count in (("input_tokens", input_tokens), ("output_tokens", output_tokens)):
        check_token_count(name, count)
    model = get_catalogue().model(model_name)
    gpu = get_catalogue().gpu(gpu_name)
    estimate = reference.estimate_request(
        model,
        gpu,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        reasoning_factor=model.reasoning_factor,
        attention_mode=attention_mode,
    )
    result = {
        "model": model_name,
        "gpu": gpu_name,
        "reasoning_factor": model.reasoning_factor,
        "attention_mode": attention_mode,
        "prefill_energy_joules": estimate.prefill_energy_joules,
        "decode_energy_joules": estimate.decode_energy_joules,
        "total_energy_joules": estimate.total_energy_joules,
        "total_energy_wh": estimate.total_energy_wh,
        "total_flops": estimate.total_flops,
    }
    if inference_wall_time_sec is not None:
        if not _WALL_TIME.holds(inference_wall_time_sec):
            what = "a finite number of seconds above 0"
            raise ConfigurationError(
                must_be("inference_wall_time_sec", what, inference_wall_time_sec)
            )
        energy_joules = inference_wall_time_sec * gpu.power_rating
        result |= {
            "inference_wall_time_sec": inference_wall_time_sec,
            "empirical_utilization": estimate.total_flops
            / (inference_wall_time_sec * gpu.peak_flops),
            "total_energy_joules_empirical": energy_joules,
            "total_energy_wh_empirical": wh_from_joules(energy_joules),
        }
    return result
