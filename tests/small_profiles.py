"""Small models and GPUs, and those in round numbers, whose energy a pocket calculator gives."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from energy_tracking.estimator.roofline.constants import RooflineConstants
from energy_tracking.estimator.roofline.request import RooflineEstimate, estimate_request
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.profiles.profile import GpuProfile, ModelProfile


def build_model(name: str, **numbers: Any) -> ModelProfile:
    """A dense model of 8 billion parameters, but for what is given.

    Args:
        name: Its name.
        numbers: Fields of the profile.
    """
    dense = {
        "num_active_params": 8e9,
        "num_layers": 32,
        "num_attn_heads": 32,
        "attn_head_dim": 128,
        "hidden_dim": 4096,
    }
    return ModelProfile(name=name, **dense | numbers)


def build_gpu(name: str, **numbers: Any) -> GpuProfile:
    """A GPU of 312 TFLOPS and 400 W, but for what is given.

    Args:
        name: Its name.
        numbers: Fields of the profile.
    """
    board = {
        "peak_flops": 312e12,
        "gpu_prefill_util": 0.5,
        "gpu_decoding_util": 0.1,
        "power_rating": 400,
        "power_prefill_util": 1.0,
        "power_decoding_util": 0.75,
    }
    return GpuProfile(name=name, **board | numbers)


DENSE = build_model(
    "dense",
    num_active_params=1e9,
    num_layers=10,
    num_attn_heads=10,
    attn_head_dim=100,
    hidden_dim=1000,
    num_kv_heads=10,
    grade="A",
    family="open",
)
MIXTURE = replace(
    DENSE,
    name="mixture",
    num_active_params=3e9,
    num_total_params=7e9,
    num_experts=8,
    num_experts_per_token=2,
)
BOARD = build_gpu(
    "board",
    peak_flops=1e14,
    peak_flops_fp8=2e14,
    memory_bytes=80e9,
    memory_bandwidth=1e12,
    link_bandwidth=2e11,
    power_rating=100,
)
BARE = build_gpu("bare", peak_flops=1e15, power_rating=500, grade="D", source="made up")
"""A GPU of which no memory bandwidth is stated."""
H100 = replace(
    BOARD,
    name="H100-SXM",
    peak_flops=989.4e12,
    peak_flops_fp8=1978.9e12,
    memory_bandwidth=3.35e12,
    link_bandwidth=900e9,
    power_rating=700,
)
ROUND = RooflineConstants(
    weights_time=1,
    cache_time=1,
    compute_time=1,
    prefill_time=1.5,
    link_time=1,
    layer_seconds=1e-5,
    sequence_seconds=1e-6,
    early_layer_seconds=2e-5,
    early_sequence_layer_seconds=1e-7,
    idle_power=0.2,
    weight_byte_joules=1e-11,
    weight_joules=2e-12,
    cache_byte_joules=5e-11,
    compute_power=0.5,
    prefill_power=0.6,
    expert_imbalance=1,
    quantised_overhead=1.5,
    mixture_prefill=3,
    speculative_decode=0.8,
    speculative_decode_low=0.6,
    speculative_decode_high=1.0,
    error_factor=1.35,
    crowded_error_factor=1.6,
    rate_sigma=0.3,
)
TWO_GPUS = ServingProfile(concurrency_per_gpu=5, num_gpus=2, speculative=False)


def unchecked(model: ModelProfile, name: str, **numbers: float) -> ModelProfile:
    """A profile with numbers that none can have, for what must hold even then."""
    profile = replace(model, name=name)
    for field, number in numbers.items():
        object.__setattr__(profile, field, number)
    return profile


def request(
    model: ModelProfile = DENSE,
    gpu: GpuProfile = BOARD,
    serving: ServingProfile = TWO_GPUS,
    *,
    input_tokens: float = 50,
    output_tokens: float = 100,
    cached_input_tokens: float = 0,
    scope: str = "gpu",
    constants: RooflineConstants = ROUND,
) -> RooflineEstimate:
    """Estimate a request: of 50 tokens in and 100 out, if nothing else is said."""
    return estimate_request(
        model,
        gpu,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        serving=serving,
        scope=scope,
        constants=constants,
    )
