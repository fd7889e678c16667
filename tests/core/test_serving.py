"""What is assumed of a deployment: GPUs, formats, experts and sequences, filled by rule."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from energy_tracking.errors import ConfigurationError, ProfileError
from energy_tracking.estimator.deployment import Deployment, deploy, find_peak_and_width
from energy_tracking.estimator.serving import (
    CONCURRENCY_PER_GPU,
    CONCURRENCY_SPREAD,
    SERVING,
    ServingProfile,
)
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.profiles.profile import GpuProfile
from small_profiles import BOARD, DENSE, H100, MIXTURE, TWO_GPUS, request

# Shapes as published; what of them is not said here does not matter here.
DEEPSEEK_R1 = replace(
    MIXTURE,
    name="DeepSeek-R1",
    num_active_params=37e9,
    num_total_params=671e9,
    num_experts=256,
    num_experts_per_token=8,
    weight_format="fp8",
)
GPT_OSS_120B = replace(
    MIXTURE,
    name="gpt-oss-120b",
    num_active_params=5.1e9,
    num_total_params=117e9,
    num_experts=128,
    num_experts_per_token=4,
    weight_format="mxfp4",
)


def shipped_gpu(name: str) -> GpuProfile:
    return load_catalogue().gpu(name)


# Precision.


@pytest.mark.parametrize(
    ("weight_format", "gpu", "peak", "operand_bytes"),
    [
        # Dense peaks of the datasheets: H100 SXM 989.4 TFLOPS in BF16 and 1978.9 in FP8,
        # A100 312 in BF16, B200 2250, 4500 and 9000 in BF16, FP8 and FP4.
        ("bf16", "H100-SXM", 989.4e12, 2),
        ("fp16", "A100-80GB", 312e12, 2),
        ("bf16", "B200", 2250e12, 2),
        ("fp8", "H100-SXM", 1978.9e12, 1),
        ("fp8", "B200", 4500e12, 1),
        ("w8a8", "H100-SXM", 1978.9e12, 1),
        # A GPU without units for a precision widens to BF16 first.
        ("fp8", "A100-80GB", 312e12, 2),
        ("nvfp4", "B200", 9000e12, 0.5),
        ("nvfp4", "H100-SXM", 989.4e12, 2),
        ("nvfp4", "A100-80GB", 312e12, 2),
        # MXFP4 weights are multiplied by FP8 activations, where blocks have units.
        ("mxfp4", "B200", 4500e12, 1),
        ("mxfp4", "H100-SXM", 989.4e12, 2),
        ("w4a8", "B200", 4500e12, 1),
        ("w4a8", "H100-SXM", 1978.9e12, 1),
        ("w4a8", "A100-80GB", 312e12, 2),
        # Formats of the weights alone.
        ("int4", "H100-SXM", 989.4e12, 2),
        ("int4", "B200", 2250e12, 2),
        ("nvfp4a16", "B200", 2250e12, 2),
        ("int8", "H100-SXM", 989.4e12, 2),
        ("q4_k_m", "H100-SXM", 989.4e12, 2),
    ],
)
def test_the_peak_follows_the_precision_of_weights_and_activations(
    weight_format: str, gpu: str, peak: float, operand_bytes: float
) -> None:
    assert find_peak_and_width(shipped_gpu(gpu), weight_format) == (peak, operand_bytes)
    site = deploy(DENSE, shipped_gpu(gpu), ServingProfile(weight_format=weight_format))
    assert (site.peak_flops, site.operand_bytes) == (peak, operand_bytes)


def test_attention_is_multiplied_in_bf16_whatever_the_weights_are() -> None:
    site = deploy(DENSE, shipped_gpu("B200"), ServingProfile(weight_format="nvfp4"))
    assert site.attention_peak_flops == 2250e12


@pytest.mark.parametrize(
    ("weight_format", "weight_bytes"),
    [
        ("bf16", 2),
        ("fp8", 1),
        # 4 bits and 8 bits per 32 weights; 8 per 16; 16 and 4 per 128.
        ("mxfp4", 17 / 32),
        ("nvfp4", 9 / 16),
        ("int4", 4.15625 / 8),
    ],
)
def test_a_weight_is_as_wide_as_its_format_with_its_scales(
    weight_format: str, weight_bytes: float
) -> None:
    assert deploy(DENSE, H100, ServingProfile(weight_format=weight_format)).weight_bytes == (
        pytest.approx(weight_bytes)
    )


def test_a_model_is_served_in_the_format_it_is_shipped_in() -> None:
    # 1.5 * 671e9 byte are 12.6 GPUs of 80 GB, hence 16; in BF16 25.2, hence 32.
    fp8 = deploy(DEEPSEEK_R1, H100, SERVING)
    assert (fp8.weight_bytes, fp8.peak_flops, fp8.gpus * fp8.stages) == (1, 1978.9e12, 16)
    bf16 = deploy(DEEPSEEK_R1, H100, ServingProfile(weight_format="bf16"))
    assert (bf16.weight_bytes, bf16.peak_flops, bf16.gpus * bf16.stages) == (2, 989.4e12, 32)
    # 1.5 * 117e9 * 17/32 byte are 1.2 GPUs; H100s have no units for blocks of FP4.
    mxfp4 = deploy(GPT_OSS_120B, H100, SERVING)
    assert (mxfp4.weight_bytes, mxfp4.operand_bytes, mxfp4.gpus) == (17 / 32, 2, 2)


def test_bytes_per_weight_of_a_profile_stand_for_a_mixed_file() -> None:
    mixed = replace(GPT_OSS_120B, weight_bytes=0.55)
    assert deploy(mixed, H100, SERVING).weight_bytes == 0.55
    # Not if it is served in another format than that.
    assert deploy(mixed, H100, ServingProfile(weight_format="fp8")).weight_bytes == 1


@pytest.mark.parametrize(
    ("weight_bytes", "operand_bytes"), [(4, 2), (2, 2), (1.9, 1), (1, 1), (0.9, 2), (0.25, 2)]
)
def test_bytes_per_weight_alone_mean_the_widest_format_not_wider(
    weight_bytes: float, operand_bytes: float
) -> None:
    site = deploy(DEEPSEEK_R1, H100, ServingProfile(weight_bytes=weight_bytes))
    assert (site.weight_bytes, site.operand_bytes) == (weight_bytes, operand_bytes)


@pytest.mark.parametrize(
    ("family", "fp8", "weight_bytes", "peak"),
    [
        ("closed", 2e14, 1, 2e14),
        ("seed", 2e14, 1, 2e14),
        ("closed", None, 2, 1e14),
        ("open", 2e14, 2, 1e14),
        ("user", 2e14, 2, 1e14),
    ],
)
def test_closed_models_are_taken_to_be_served_in_fp8(
    family: str, fp8: float | None, weight_bytes: float, peak: float
) -> None:
    site = deploy(replace(DENSE, family=family), replace(BOARD, peak_flops_fp8=fp8), SERVING)
    assert (site.weight_bytes, site.peak_flops) == (weight_bytes, peak)


# Experts.


def test_a_mixture_without_expert_counts_is_split_by_rule() -> None:
    site = deploy(replace(DENSE, num_total_params=8e9), BOARD, TWO_GPUS)
    assert site.shared_params == pytest.approx(0.4e9)
    assert site.expert_share == pytest.approx(0.6 / 7.6)


def test_a_counted_mixture_is_split_by_its_counts() -> None:
    # The 4e9 inactive parameters are six of eight experts; two are active.
    site = deploy(MIXTURE, BOARD, TWO_GPUS)
    assert site.expert_share == 2 / 8
    assert site.expert_params == pytest.approx(8 * 4e9 / 6)
    assert site.shared_params == pytest.approx(3e9 - 2 * 4e9 / 6)


@pytest.mark.parametrize("experts", [0, None])
@pytest.mark.parametrize("total_params", [1e9, None])
def test_a_model_that_uses_all_it_has_is_dense(
    experts: int | None, total_params: float | None
) -> None:
    model = replace(DENSE, num_experts=experts, num_total_params=total_params)
    site = deploy(model, BOARD, TWO_GPUS)
    assert (site.expert_share, site.expert_params, site.shared_params) == (1, 0, 1e9)


def test_what_a_model_without_experts_leaves_unused_is_its_embedding() -> None:
    site = deploy(replace(DENSE, num_total_params=1.7e9, num_experts=0), BOARD, TWO_GPUS)
    assert (site.expert_share, site.expert_params, site.shared_params) == (1, 0, 1e9)


def test_the_rule_for_uncounted_experts_ends_where_the_dense_model_begins() -> None:
    site = deploy(replace(DENSE, num_total_params=1.000001e9), BOARD, TWO_GPUS)
    assert site.expert_share == pytest.approx(1, abs=1e-5)
    assert site.shared_params + site.expert_params * site.expert_share == pytest.approx(1e9)


# Caches.


def test_a_latent_cache_is_read_in_place_of_keys_and_values() -> None:
    # 61 layers of 512 + 64 BF16 numbers, as DeepSeek-V3 keeps them.
    latent = replace(DENSE, num_kv_heads=None, kv_bytes_per_token=70272)
    assert deploy(latent, BOARD, TWO_GPUS).cache_bytes == 61 * 2 * (512 + 64)


@pytest.mark.parametrize(("kv_heads", "per_layer"), [(10, 4000), (2, 800), (None, 4096)])
def test_grouped_heads_share_a_cache(kv_heads: int | None, per_layer: float) -> None:
    site = deploy(replace(DENSE, num_kv_heads=kv_heads), BOARD, TWO_GPUS)
    assert site.cache_bytes == per_layer * 10


@pytest.mark.parametrize(
    ("window", "layers", "share"), [(None, None, 0), (512, None, 1), (512, 3, 0.3)]
)
def test_a_window_is_of_all_layers_unless_they_are_counted(
    window: int | None, layers: int | None, share: float
) -> None:
    model = replace(DENSE, sliding_window=window, num_sliding_layers=layers)
    assert deploy(model, BOARD, TWO_GPUS).windowed_share == share


# GPUs and their links.


@pytest.mark.parametrize(
    ("total_params", "weight_bytes", "gpus"),
    # At least 1.5 times the weights, of 80e9 byte each.
    [(1e9, 2, 1), (26e9, 2, 1), (27e9, 2, 2), (70e9, 2, 4), (400e9, 1, 8), (671e9, 1, 16)],
)
def test_gpus_are_the_power_of_two_that_holds_the_weights(
    total_params: float, weight_bytes: float, gpus: int
) -> None:
    model = replace(DENSE, num_active_params=1e9, num_total_params=total_params)
    site = deploy(model, BOARD, ServingProfile(weight_bytes=weight_bytes))
    assert site.gpus * site.stages == gpus


@pytest.mark.parametrize("family", ["closed", "seed"])
@pytest.mark.parametrize(
    ("total_params", "gpus", "stages"),
    # 1.5 times the weights in FP8, over 80e9 byte, at least one; beyond eight in stages.
    [(10e9, 1, 1), (100e9, 1.875, 1), (400e9, 7.5, 1), (640e9, 8, 1.5)],
)
def test_the_mean_instance_of_a_closed_model_need_not_be_a_whole_number_of_gpus(
    family: str, total_params: float, gpus: float, stages: float
) -> None:
    model = replace(DENSE, family=family, num_active_params=1e9, num_total_params=total_params)
    site = deploy(model, BOARD, SERVING)
    assert (site.gpus, site.stages) == pytest.approx((gpus, stages))
    # 32 for 70e9 parameters, and by the fifth root of the size fewer for more.
    assert site.sequences == pytest.approx(32 * (70e9 / total_params) ** 0.2 * gpus)
    # Unless it is said.
    said = deploy(model, BOARD, ServingProfile(num_gpus=16))
    assert (said.gpus, said.stages) == (8, 2)


@pytest.mark.parametrize(
    ("gpu", "num_gpus", "stages", "gpus"),
    [
        ("H100-SXM", 1, 1, 1),
        ("H100-SXM", 8, 1, 8),
        ("H100-SXM", 16, 2, 8),
        ("H100-SXM", 12, 2, 6),
        ("H100-SXM", 32, 4, 8),
        ("GB200-NVL72", 16, 1, 16),
        ("GB200-NVL72", 72, 1, 72),
        ("GB200-NVL72", 144, 2, 72),
    ],
)
def test_gpus_beyond_one_link_domain_are_further_stages(
    gpu: str, num_gpus: int, stages: int, gpus: int
) -> None:
    serving = ServingProfile(num_gpus=num_gpus, concurrency_per_gpu=10)
    site = deploy(DENSE, shipped_gpu(gpu), serving)
    assert (site.stages, site.gpus, site.sequences) == (stages, gpus, 10 * gpus)


def test_experts_are_spread_over_the_gpus_of_a_stage_by_default() -> None:
    for num_gpus, expert_parallel in ((1, 1), (4, 4), (8, 8), (16, 8)):
        site = deploy(MIXTURE, H100, ServingProfile(num_gpus=num_gpus))
        assert site.expert_parallel == expert_parallel
    assert deploy(MIXTURE, H100, ServingProfile(num_gpus=8, expert_parallel=1)).expert_parallel == 1


# Sequences.


@pytest.mark.parametrize(
    ("serving", "sequences"),
    [
        # A model of 1e9 parameters.
        (ServingProfile(num_gpus=8), 8 * CONCURRENCY_PER_GPU * 70**0.2),
        (ServingProfile(num_gpus=8, concurrency_per_gpu=4), 32),
        (ServingProfile(num_gpus=8, sequences=32), 32),
        (ServingProfile(num_gpus=8, sequences=1), 1),
        (ServingProfile(num_gpus=8, concurrency_per_gpu=1 / 8), 1),
        # What is said of the whole instance is better known than a share of it.
        (ServingProfile(num_gpus=8, sequences=3, concurrency_per_gpu=100), 3),
    ],
)
def test_sequences_are_of_the_instance_and_concurrency_of_each_gpu(
    serving: ServingProfile, sequences: float
) -> None:
    assert deploy(DENSE, H100, serving).sequences == pytest.approx(sequences)


def test_the_batch_is_known_where_it_is_given_or_has_no_range() -> None:
    assert not SERVING.batch_is_known
    assert ServingProfile(sequences=1).batch_is_known
    assert SERVING.with_known_concurrency().batch_is_known
    assert not ServingProfile(concurrency_low_energy=CONCURRENCY_PER_GPU).batch_is_known


def test_an_assumed_concurrency_has_its_spread_unless_its_ends_are_given() -> None:
    spread = CONCURRENCY_SPREAD
    assert ServingProfile(concurrency_per_gpu=10).concurrency_range == (10 / spread, 10 * spread)
    ends = ServingProfile(concurrency_high_energy=4, concurrency_low_energy=40)
    assert ends.concurrency_range == (4, 40)
    assert ServingProfile().with_known_concurrency().concurrency_range == (32, 32)


def test_one_sequence_on_eight_gpus_costs_the_same_by_either_name() -> None:
    one, eighth = (
        request(gpu=H100, serving=serving)
        for serving in (
            ServingProfile(num_gpus=8, sequences=1),
            ServingProfile(num_gpus=8, concurrency_per_gpu=1 / 8).with_known_concurrency(),
        )
    )
    assert one.total_energy_joules == eighth.total_energy_joules
    assert one.range_parts == eighth.range_parts
    assert one.sequences == eighth.sequences == 1


# What cannot be.


@pytest.mark.parametrize(
    "values",
    [
        {"concurrency_per_gpu": 0},
        {"concurrency_per_gpu": -4},
        {"concurrency_per_gpu": math.inf},
        {"concurrency_per_gpu": math.nan},
        {"sequences": 0},
        {"sequences": math.nan},
        {"num_gpus": 0},
        {"weight_bytes": 0},
        {"expert_parallel": 0},
        {"expert_parallel": 2.5},
        {"attention_replicas": 0},
        {"attention_replicas": 1.5},
        {"weight_format": "fp7"},
        {"concurrency_per_gpu": 32, "concurrency_low_energy": 16},
        {"concurrency_per_gpu": 32, "concurrency_high_energy": 64},
    ],
)
def test_impossible_servings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        ServingProfile(**values)  # type: ignore[arg-type]


def test_an_unknown_format_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match="'nvfp4'"):
        ServingProfile(weight_format="nvpf4")


def test_a_gpu_without_memory_bandwidth_is_refused() -> None:
    with pytest.raises(ProfileError, match="memory_bandwidth"):
        deploy(DENSE, replace(BOARD, memory_bandwidth=None), TWO_GPUS)


def test_every_field_of_a_deployment_is_a_number() -> None:
    site = deploy(MIXTURE, H100, ServingProfile())
    assert all(isinstance(getattr(site, field.name), int | float) for field in fields(Deployment))
