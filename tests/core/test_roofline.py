"""The calibrated estimator: its physics by hand, its limits, its range."""

from __future__ import annotations

import math
import re
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.errors import ConfigurationError, ProfileError, TokenCountError
from energy_tracking.estimator import roofline, roofline_constants
from energy_tracking.estimator.roofline import (
    CALIBRATED,
    Deployment,
    RooflineConstants,
    RooflineEstimate,
    ServingProfile,
    deploy,
    estimate,
    posterior_serving,
)
from energy_tracking.profiles import GpuProfile, ModelProfile

DENSE = ModelProfile(
    name="dense",
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
BOARD = GpuProfile(
    name="board",
    peak_flops=1e14,
    peak_flops_fp8=2e14,
    memory_bytes=80e9,
    memory_bandwidth=1e12,
    link_bandwidth=2e11,
    power_rating=100,
    gpu_prefill_util=0.5,
    gpu_decoding_util=0.1,
    power_prefill_util=1,
    power_decoding_util=0.75,
)
H100 = replace(
    BOARD,
    name="H100 SXM",
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
    mixture_prefill=3,
    error_factor=1.35,
    rate_sigma=0.3,
)
TWO_GPUS = ServingProfile(concurrency=5, num_gpus=2, weight_bytes=2)

tokens = st.integers(min_value=0, max_value=200_000)
concurrencies = st.floats(min_value=0.1, max_value=2000)


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
    return estimate(
        model,
        gpu,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        serving=serving,
        scope=scope,
        constants=constants,
    )


# By hand.


def test_a_dense_request_costs_what_a_pocket_calculator_says() -> None:
    # Ten sequences on two boards; contexts 50 to 150, 100 on average.
    #   weights  2e9 byte over 2e12 byte/s                            1000 us
    #   cache    10 * 100 * 4e4 byte                    4e7 byte        20 us
    #   FLOPs    10 * (2e9 + 4e4 * 100) / 1e14 = 200.4 us / 2 boards   100.2 us
    #   link     8 * 10 * 10 * 1000 / 2 byte over 1e11 byte/s            4 us
    #   layers 100 us, sequences 10 us                          total 1234.2 us
    #   idle     0.2 * 200 W * 1234.2 us                 0.049368 J
    #   bytes    1e-11 * 2e9 + 5e-11 * 4e7               0.022    J
    #   weights  2e-12 * 1e9                             0.002    J
    #   FLOPs    0.5 * 100 W * 200.4 us                  0.01002  J
    energy = request()
    assert energy.decode_energy_joules == pytest.approx(100 * 0.083388 / 10, rel=1e-12)
    assert energy.decode_tokens_per_second == pytest.approx(1 / 1234.2e-6, rel=1e-12)
    # Prompt: (50 * 2e9 + 50**2 / 2 * 4e4) FLOP at peak is 1000.5 us; at 90 W.
    assert energy.prefill_energy_joules == pytest.approx(0.090045, rel=1e-12)
    # 150 tokens of 2e9, and 4e4 for each of 150**2 / 2 pairs.
    assert energy.total_flops == pytest.approx(300e9 + 4.5e8, rel=1e-12)
    assert (energy.batch, energy.num_gpus) == (10, 2)


def test_a_mixture_reads_the_experts_its_tokens_chose_between_them() -> None:
    # The 4e9 inactive parameters are six of eight experts; two are active.
    site = deploy(MIXTURE, BOARD, ServingProfile(concurrency=1, num_gpus=2))
    assert site.expert_params == pytest.approx(8 * 4e9 / 6)
    assert site.shared_params == pytest.approx(3e9 - 2 * 4e9 / 6)
    # Two tokens leave an expert alone with probability (3/4)**2; half of the experts live
    # on the other board, so the wait adds half of the imbalance.
    touched = 7 / 16 * 8 * 4e9 / 6
    assert roofline.weights_read(site, ROUND) == pytest.approx(site.shared_params + 1.5 * touched)


@pytest.mark.parametrize(
    ("share", "sequences", "touched"),
    [(0.25, 1, 0.25), (0.25, 2, 0.4375), (8 / 256, 1, 8 / 256), (1.0, 5, 1.0), (0.0, 5, 0.0)],
)
def test_experts_touched_is_one_minus_the_chance_to_be_left_out(
    share: float, sequences: float, touched: float
) -> None:
    assert roofline.experts_touched(share, sequences) == pytest.approx(touched)


def test_a_mixture_without_expert_counts_is_split_by_rule() -> None:
    site = deploy(replace(DENSE, num_total_params=8e9), BOARD, TWO_GPUS)
    assert site.shared_params == pytest.approx(0.4e9)
    assert site.expert_share == pytest.approx(0.6 / 7.6)


def test_a_total_slightly_above_the_active_parameters_is_an_embedding_not_a_mixture() -> None:
    site = deploy(replace(DENSE, num_total_params=1.2e9), BOARD, TWO_GPUS)
    assert (site.mixture, site.expert_params, site.shared_params) == (0, 0, 1e9)


def test_gpt_4o_on_eight_h100_lies_within_the_public_figures() -> None:
    # 100e9 active of 400e9, as Epoch AI guesses; 500 in, 500 out. Public figures for a
    # typical prompt are 0.24 (Google, 2025) to 0.34 Wh (OpenAI, 2025).
    model = ModelProfile(
        name="gpt-4o by size",
        num_active_params=100e9,
        num_total_params=400e9,
        num_layers=89,
        num_attn_heads=76,
        attn_head_dim=128,
        hidden_dim=9680,
        family="closed",
    )
    energy = estimate(model, H100, input_tokens=500, output_tokens=500, scope="facility")
    assert (energy.num_gpus, energy.weight_bytes, energy.batch) == (8, 1, 256)
    assert 0.24 <= energy.total_energy_joules / 3600 <= 0.34
    assert energy.total_energy_low_joules / 3600 <= 0.24
    assert energy.total_energy_high_joules / 3600 >= 0.34


def test_prefill_of_deepseek_v3_runs_at_the_rate_its_makers_report() -> None:
    # 73.7e3 prompt tokens/s per node of eight H800, 56.3 % of them from a cache; an H800
    # computes like an H100. DeepSeek, "DeepSeek-V3/R1 Inference System Overview", 2025,
    # https://github.com/deepseek-ai/open-infra-index.
    model = replace(
        MIXTURE,
        num_active_params=36.6e9,
        num_total_params=671e9,
        num_experts=256,
        num_experts_per_token=8,
    )
    site = deploy(model, H100, ServingProfile(num_gpus=8, weight_bytes=1))
    joules = roofline.prices(site, CALIBRATED).input_token
    rate = 1 / roofline.prefill_seconds(site, CALIBRATED, joules)
    assert rate == pytest.approx(73.7e3 * (1 - 0.563), rel=0.3)


# Floats and arrays.


def test_arrays_and_floats_take_one_path() -> None:
    prompts = np.array([[0, 1, 700], [4096, 50_000, 1_000_000]])
    answers = np.array([0, 3, 20_000])
    whole = request(MIXTURE, input_tokens=prompts, output_tokens=answers, scope="facility")  # type: ignore[arg-type]
    for field in fields(RooflineEstimate):
        table = getattr(whole, field.name)
        if not isinstance(table, np.ndarray):
            continue
        assert table.shape == (2, 3)
        for row, column in np.ndindex(table.shape):
            one = request(
                MIXTURE,
                input_tokens=int(prompts[row, column]),
                output_tokens=int(answers[column]),
                scope="facility",
            )
            assert table[row, column] == pytest.approx(getattr(one, field.name), rel=1e-12)


def test_small_integer_types_do_not_overflow() -> None:
    n = np.array([200_000], dtype=np.int32)
    assert request(input_tokens=n).total_flops[0] == request(input_tokens=200_000).total_flops  # type: ignore[arg-type, index]


# Limits.


def test_one_sequence_pays_for_every_weight_it_reads() -> None:
    site = deploy(DENSE, BOARD, ServingProfile(concurrency=1, num_gpus=1))
    seconds, joules = roofline.decode_step(site, ROUND, 0)
    assert 2e9 / 1e12 / seconds > 0.9
    two, _ = roofline.decode_step(replace(site, sequences=2.0), ROUND, 0)
    assert two == pytest.approx(seconds, rel=0.02)
    assert joules > 1e-11 * 2e9


def test_endless_sharing_leaves_flops_cache_and_time_per_sequence() -> None:
    def per_token(concurrency: float) -> float:
        return (
            request(serving=replace(TWO_GPUS, concurrency=concurrency)).decode_energy_joules / 100
        )

    # Per token at the limit: idle for 20.04 us / 2 of FLOPs, 2 us of cache, 0.4 us of link
    # and 1 us of scheduling, 4e6 byte of cache, 2.004e9 FLOP.
    idle = 0.2 * 200 * (10.02 + 2 + 0.4 + 1) * 1e-6
    limit = idle + 5e-11 * 4e6 + 0.5 * 100 * 20.04e-6
    assert per_token(1e9) == pytest.approx(limit, rel=1e-4)


@given(concurrencies, concurrencies, st.sampled_from([DENSE, MIXTURE]))
def test_more_sequences_make_a_token_cheaper_and_later(
    one: float, other: float, model: ModelProfile
) -> None:
    few, many = sorted((one, other))
    apart, together = (
        request(model, serving=replace(TWO_GPUS, concurrency=c), constants=CALIBRATED)
        for c in (few, many)
    )
    assert together.decode_energy_joules <= apart.decode_energy_joules * (1 + 1e-9)
    assert together.decode_tokens_per_second <= apart.decode_tokens_per_second * (1 + 1e-9)
    assert together.prefill_energy_joules == apart.prefill_energy_joules


@pytest.mark.parametrize("model", [DENSE, MIXTURE])
def test_the_same_batch_on_more_gpus_is_faster_and_costs_more(model: ModelProfile) -> None:
    two, eight = (
        request(
            model,
            H100,
            ServingProfile(concurrency=64 / gpus, num_gpus=gpus),
            constants=CALIBRATED,
        )
        for gpus in (2, 8)
    )
    assert eight.decode_energy_joules > two.decode_energy_joules
    assert eight.decode_tokens_per_second > two.decode_tokens_per_second


@given(
    st.sampled_from([DENSE, MIXTURE, replace(DENSE, sliding_window=512)]),
    st.sampled_from([BOARD, H100]),
    concurrencies,
    tokens,
    st.integers(min_value=1, max_value=16),
)
def test_a_board_never_draws_more_than_its_rating(
    model: ModelProfile, gpu: GpuProfile, concurrency: float, context: int, gpus: int
) -> None:
    site = deploy(model, gpu, ServingProfile(concurrency=concurrency, num_gpus=gpus))
    seconds, joules = roofline.decode_step(site, CALIBRATED, context)
    assert 0 < joules / (seconds * gpus) <= gpu.power_rating * (1 + 1e-9)


def test_an_early_engine_waits_longer_and_costs_more() -> None:
    now, then = request(), request(serving=replace(TWO_GPUS, early_engine=True))
    # 10 layers of 20 us, and 10 sequences through each of them for 0.1 us.
    late = 1 / then.decode_tokens_per_second - 1 / now.decode_tokens_per_second
    assert late == pytest.approx(210e-6)
    assert then.decode_energy_joules > now.decode_energy_joules


# Tokens.


@given(tokens, tokens, tokens, st.sampled_from([DENSE, MIXTURE, replace(DENSE, sliding_window=99)]))
def test_more_tokens_never_cost_less(
    prompt: int, answer: int, more: int, model: ModelProfile
) -> None:
    base = request(model, input_tokens=prompt, output_tokens=answer).total_energy_joules
    for longer in (
        request(model, input_tokens=prompt + more, output_tokens=answer),
        request(model, input_tokens=prompt, output_tokens=answer + more),
    ):
        assert longer.total_energy_joules >= base * (1 - 1e-9)


@given(tokens, tokens, st.floats(0, 1))
def test_cached_tokens_save_prefill_and_nothing_else(
    prompt: int, answer: int, share: float
) -> None:
    cold = request(input_tokens=prompt, output_tokens=answer)
    warm = request(
        input_tokens=prompt, output_tokens=answer, cached_input_tokens=int(share * prompt)
    )
    assert warm.prefill_energy_joules <= cold.prefill_energy_joules
    assert warm.decode_energy_joules == cold.decode_energy_joules


def test_a_fully_cached_prompt_has_no_prefill_energy() -> None:
    assert request(input_tokens=5000, cached_input_tokens=5000).prefill_energy_joules == 0


def test_an_embedding_is_prefill_alone() -> None:
    energy = request(input_tokens=300, output_tokens=0)
    assert energy.decode_energy_joules == 0
    assert energy.total_energy_joules == energy.prefill_energy_joules > 0


def test_no_tokens_cost_nothing_and_have_no_range() -> None:
    energy = request(input_tokens=0, output_tokens=0, scope="facility")
    assert energy.total_energy_joules == energy.total_flops == 0
    assert energy.total_energy_low_joules == energy.total_energy_high_joules == 0
    assert all(math.isfinite(end) for ends in energy.range_parts.values() for end in ends)


@pytest.mark.parametrize(
    ("counts", "name"),
    [
        ({"input_tokens": -1}, "input_tokens"),
        ({"output_tokens": math.nan}, "output_tokens"),
        ({"cached_input_tokens": math.inf}, "cached_input_tokens"),
        ({"input_tokens": 5, "cached_input_tokens": 6}, "input_tokens - cached_input_tokens"),
        ({"output_tokens": "many"}, "output_tokens"),
    ],
)
def test_impossible_counts_are_refused(counts: dict[str, float], name: str) -> None:
    with pytest.raises(TokenCountError, match=name):
        request(**counts)  # type: ignore[arg-type]


# Attention.


@pytest.mark.parametrize("window", [1, 100, 10_000])
@pytest.mark.parametrize(("start", "stop"), [(0, 50), (30, 400), (2000, 2000), (0, 30_000)])
def test_pairs_are_the_sum_of_the_contexts(start: int, stop: int, window: int) -> None:
    model = replace(DENSE, sliding_window=window, num_sliding_layers=3)
    # The middle of every token's step: the integral of a piecewise linear function.
    positions = np.arange(start, stop) + 0.5
    expected = 0.7 * positions.sum() + 0.3 * np.minimum(positions, window).sum()
    pairs = roofline.attended(deploy(model, BOARD, TWO_GPUS), start, stop)
    assert pairs == pytest.approx(expected, rel=1e-9)


def test_a_window_that_is_never_reached_changes_nothing() -> None:
    windowed = replace(DENSE, sliding_window=151)
    assert request(windowed).total_energy_joules == pytest.approx(request().total_energy_joules)


def test_a_latent_cache_is_read_in_place_of_keys_and_values() -> None:
    # 61 layers of 512 + 64 BF16 numbers, as DeepSeek-V3 keeps them.
    latent = replace(DENSE, num_kv_heads=None, kv_bytes_per_token=70272)
    assert deploy(latent, BOARD, TWO_GPUS).cache_bytes == 61 * 2 * (512 + 64)


@pytest.mark.parametrize(("kv_heads", "per_layer"), [(10, 4000), (2, 800), (None, 4096)])
def test_grouped_heads_share_a_cache(kv_heads: int | None, per_layer: float) -> None:
    site = deploy(replace(DENSE, num_kv_heads=kv_heads), BOARD, TWO_GPUS)
    assert site.cache_bytes == per_layer * 10


# Serving.


@pytest.mark.parametrize(
    ("total_params", "weight_bytes", "gpus"),
    [(1e9, 2, 1), (33e9, 2, 1), (34e9, 2, 2), (70e9, 2, 4), (400e9, 1, 8), (671e9, 1, 16)],
)
def test_gpus_are_the_power_of_two_that_holds_the_weights(
    total_params: float, weight_bytes: float, gpus: int
) -> None:
    model = replace(DENSE, num_active_params=1e9, num_total_params=total_params)
    serving = ServingProfile(weight_bytes=weight_bytes)
    assert deploy(model, BOARD, serving).gpus == gpus


@pytest.mark.parametrize(
    ("family", "fp8", "weight_bytes", "peak"),
    [
        ("closed", 2e14, 1, 2e14),
        ("closed", None, 2, 1e14),
        ("open", 2e14, 2, 1e14),
        ("user", 2e14, 2, 1e14),
    ],
)
def test_closed_models_are_taken_to_be_served_in_fp8(
    family: str, fp8: float | None, weight_bytes: float, peak: float
) -> None:
    site = deploy(
        replace(DENSE, family=family), replace(BOARD, peak_flops_fp8=fp8), ServingProfile()
    )
    assert (site.weight_bytes, site.peak_flops) == (weight_bytes, peak)
    assert site.attention_peak_flops == 1e14


def test_weights_below_one_byte_are_multiplied_in_bf16() -> None:
    assert deploy(DENSE, BOARD, ServingProfile(weight_bytes=0.53)).peak_flops == 1e14


@pytest.mark.parametrize(
    "values",
    [
        {"concurrency": 0},
        {"concurrency": -4},
        {"concurrency": math.inf},
        {"concurrency": math.nan},
        {"num_gpus": 0},
        {"num_gpus": 1.5},
        {"weight_bytes": 0},
        {"concurrency": 32, "concurrency_low_energy": 16},
        {"concurrency": 32, "concurrency_high_energy": 64},
    ],
)
def test_impossible_servings_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(values))):
        ServingProfile(**values)  # type: ignore[arg-type]


def test_an_unknown_scope_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="facility"):
        request(scope="facilty")


def test_a_gpu_without_memory_bandwidth_is_refused() -> None:
    with pytest.raises(ProfileError, match="memory_bandwidth"):
        request(gpu=replace(BOARD, memory_bandwidth=None))


# The range.


def test_a_known_batch_has_no_part_in_the_range() -> None:
    assert set(request(serving=TWO_GPUS.known()).range_parts) == {"formula", "prefill"}
    assert set(request().range_parts) == {"formula", "prefill", "batch"}


def test_the_batch_part_is_the_energy_at_its_ends() -> None:
    serving = replace(TWO_GPUS, concurrency_high_energy=1, concurrency_low_energy=50)
    energy = request(serving=serving)
    for concurrency, factor in zip((50, 1), energy.range_parts["batch"], strict=True):
        end = request(serving=replace(TWO_GPUS, concurrency=concurrency))
        assert end.total_energy_joules / energy.total_energy_joules == pytest.approx(factor)


def test_undisclosed_parameters_widen_the_range_by_their_ends_or_their_grade() -> None:
    serving = TWO_GPUS.known()
    guessed = replace(DENSE, grade="C")
    low, high = request(guessed, serving=serving).range_parts["parameters"]
    assert (low, high) == pytest.approx((1 / 1.8, 1.8))
    wide = replace(guessed, num_active_params_low=1e8, num_active_params_high=2e9)
    low, high = request(wide, serving=serving).range_parts["parameters"]
    double = request(replace(DENSE, num_active_params=2e9), serving=serving)
    assert low < 1 / 1.8
    assert high == pytest.approx(
        max(1.8, double.total_energy_joules / request().total_energy_joules)
    )


def test_independent_parts_add_in_quadrature() -> None:
    energy = request(replace(DENSE, grade="D"), scope="facility")
    parts = energy.range_parts.values()
    over = math.sqrt(sum((high - 1) ** 2 for _, high in parts))
    under = math.sqrt(sum((1 / low - 1) ** 2 for low, _ in parts))
    total = energy.total_energy_joules
    assert energy.total_energy_high_joules == pytest.approx(total * (1 + over))
    assert energy.total_energy_low_joules == pytest.approx(total / (1 + under))


@given(
    tokens,
    tokens,
    concurrencies,
    st.sampled_from("ABCDE"),
    st.sampled_from(roofline.SCOPES),
    st.sampled_from([DENSE, MIXTURE]),
)
def test_the_range_holds_the_estimate(
    prompt: int, answer: int, concurrency: float, grade: str, scope: str, model: ModelProfile
) -> None:
    energy = request(
        replace(model, grade=grade),
        serving=ServingProfile(concurrency=concurrency),
        input_tokens=prompt,
        output_tokens=answer,
        scope=scope,
    )
    assert (
        energy.total_energy_low_joules
        <= energy.total_energy_joules
        <= energy.total_energy_high_joules
    )
    assert all(low <= 1 + 1e-9 and high >= 1 - 1e-9 for low, high in energy.range_parts.values())


def test_the_facility_adds_host_idle_machines_and_cooling() -> None:
    boards, site = request(), request(scope="facility")
    ratio = site.total_energy_joules / boards.total_energy_joules
    assert ratio == pytest.approx(1.40 * 1.12 * 1.12)
    # Google's median prompt: 0.24 Wh of which 0.14 Wh in the accelerators.
    low, high = site.range_parts["facility"]
    assert low < 0.24 / 0.14 / ratio < high


def test_samples_repeat_the_answer_not_the_prompt() -> None:
    once, ten = request(), request(replace(DENSE, samples=10))
    assert ten.decode_energy_joules == pytest.approx(10 * once.decode_energy_joules)
    assert ten.prefill_energy_joules == once.prefill_energy_joules
    low, high = ten.range_parts["samples"]
    assert low * ten.total_energy_joules == pytest.approx(once.total_energy_joules)
    assert high == 1


# Evidence from the clock.

PUBLIC = ServingProfile(concurrency=32, num_gpus=1, weight_bytes=2)


def rate_at(concurrency: float) -> float:
    serving = replace(PUBLIC, concurrency=concurrency)
    return request(DENSE, H100, serving, constants=CALIBRATED).decode_tokens_per_second


def timed(rate: float, slow_network: float = roofline.SLOW_NETWORK) -> ServingProfile:
    return posterior_serving(
        DENSE,
        H100,
        input_tokens=50,
        output_tokens=100,
        observed_tokens_per_second=rate,
        serving=PUBLIC,
        slow_network=slow_network,
    )


def width(serving: ServingProfile) -> float:
    least, most = serving.concurrency_range
    return math.log(most / least)


@pytest.mark.parametrize("concurrency", [64, 128, 256])
def test_a_timed_stream_tells_the_concurrency(concurrency: float) -> None:
    seen = timed(rate_at(concurrency), slow_network=0.01)
    least, most = seen.concurrency_range
    assert least <= concurrency <= most
    assert width(seen) < width(PUBLIC)


def test_a_fast_stream_is_evidence_against_a_crowd() -> None:
    assert timed(2 * rate_at(32)).concurrency < 32
    assert timed(2 * rate_at(32)).concurrency_range[1] < PUBLIC.concurrency_range[1]


def test_a_slow_network_is_not_taken_for_a_crowd() -> None:
    crawling = timed(rate_at(32) / 1000)
    assert crawling.concurrency == pytest.approx(32, rel=0.15)
    assert width(crawling) == pytest.approx(width(PUBLIC), rel=0.05)


def test_the_surer_the_network_the_stronger_the_evidence() -> None:
    doubtful, sure = (timed(rate_at(200), slow_network=share) for share in (0.5, 0.01))
    assert abs(math.log(sure.concurrency / 200)) < abs(math.log(doubtful.concurrency / 200))
    assert width(sure) < width(doubtful)


def test_a_stream_faster_than_any_prediction_means_as_few_as_can_be() -> None:
    assert timed(1e9).concurrency == 1


def test_the_evidence_keeps_the_rest_of_the_serving() -> None:
    seen = timed(100)
    assert (seen.num_gpus, seen.weight_bytes) == (1, 2)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_an_impossible_rate_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="observed_tokens_per_second"):
        timed(rate)


@pytest.mark.parametrize("share", [0, 1, -0.1, math.nan])
def test_an_impossible_probability_is_refused(share: float) -> None:
    with pytest.raises(ConfigurationError, match="slow_network"):
        timed(100, slow_network=share)


# The constants.


def test_the_constants_are_complete_and_name_their_run() -> None:
    assert set(roofline_constants.FITTED) == {field.name for field in fields(RooflineConstants)}
    assert re.search(r"Run: python tests/benchmarks/fit.py", roofline_constants.__doc__ or "")
    assert len(set(roofline_constants.ARCHITECTURES)) == len(roofline_constants.ARCHITECTURES) > 20


def test_no_time_beats_the_hardware() -> None:
    for name in ("weights_time", "cache_time", "compute_time", "prefill_time", "link_time"):
        assert getattr(CALIBRATED, name) >= 1


def test_every_field_of_a_deployment_is_a_number() -> None:
    site = deploy(MIXTURE, H100, ServingProfile())
    assert all(isinstance(getattr(site, field.name), int | float) for field in fields(Deployment))
