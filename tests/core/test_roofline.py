"""The calibrated estimator: its physics by hand, its limits, its range."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking import Tracker
from energy_tracking.errors import ConfigurationError, TokenCountError
from energy_tracking.estimator import SCOPES, estimate_usage
from energy_tracking.estimator.deployment import deploy
from energy_tracking.estimator.roofline import fitted
from energy_tracking.estimator.roofline.cases import HARDWARE_RANGE, UNSEEN_GPU_FACTOR
from energy_tracking.estimator.roofline.constants import CALIBRATED, RooflineConstants
from energy_tracking.estimator.roofline.prices import (
    compute_decode_energy,
    compute_prefill_watts,
    compute_prices,
)
from energy_tracking.estimator.roofline.request import RooflineEstimate, estimate_request
from energy_tracking.estimator.roofline.step import compute_decode_step, compute_imbalance
from energy_tracking.estimator.roofline.work import Work, compute_experts_read, count_pairs
from energy_tracking.estimator.serving import SERVING, ServingProfile
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.usage.token_usage import TokenUsage
from small_profiles import BOARD, DENSE, H100, MIXTURE, ROUND, TWO_GPUS, build_model, request

tokens = st.integers(min_value=0, max_value=200_000)
batches = st.floats(min_value=0.1, max_value=4000)
INTEGER_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


def step(
    model: ModelProfile = DENSE,
    gpu: GpuProfile = BOARD,
    serving: ServingProfile = TWO_GPUS,
    *,
    context: float = 100,
    constants: RooflineConstants = ROUND,
) -> tuple[float, float]:
    """Time [s] and energy [J] of a decode step, at the mean context of the usual request."""
    return compute_decode_step(deploy(model, gpu, serving), constants, context)


def weights_read(model: ModelProfile, serving: ServingProfile) -> float:
    """Parameters that a step reads, from its energy where nothing else takes any."""
    bytes_alone = replace(
        ROUND,
        idle_power=0,
        weight_joules=0,
        cache_byte_joules=0,
        compute_power=0,
        weight_byte_joules=1,
    )
    joules = step(model, serving=serving, constants=bytes_alone)[1]
    return joules / deploy(model, BOARD, serving).weight_bytes


def closed_model() -> ModelProfile:
    catalogue = load_catalogue()
    return catalogue.corrected_model(catalogue.model("gpt-4o"))


def served(
    serving: ServingProfile = SERVING,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0,
) -> RooflineEstimate:
    """A closed model of today on H100, as a user gets it."""
    return estimate_request(
        closed_model(),
        load_catalogue().gpu("H100-SXM"),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=cached_input_tokens,
        serving=serving,
    )


# By hand.


def test_a_dense_request_costs_what_a_pocket_calculator_shows() -> None:
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
    assert step() == pytest.approx((1234.2e-6, 0.083388), rel=1e-12)
    energy = request()
    assert energy.decode_energy_joules == pytest.approx(100 * 0.083388 / 10, rel=1e-12)
    # Prompt: (50 * 2e9 + 50**2 / 2 * 4e4) FLOP at peak is 1000.5 us; at 90 W.
    assert energy.prefill_energy_joules == pytest.approx(0.090045, rel=1e-12)
    # 150 tokens of 2e9, and 4e4 for each of 150**2 / 2 pairs.
    assert energy.total_flops == pytest.approx(300e9 + 4.5e8, rel=1e-12)
    assert (energy.sequences, energy.deployment.gpus) == pytest.approx((10, 2))


def test_a_request_in_fp8_moves_half_the_bytes_at_twice_the_peak() -> None:
    #   weights  1e9 byte over 2e12 byte/s                             500 us
    #   cache                                                           20 us
    #   FLOPs    10 * (2e9 / 2e14 + 4e4 * 100 / 1e14) = 100.4 us / 2   50.2 us
    #   link, layers and sequences                                     114 us
    #                                                           total 684.2 us
    #   idle     0.2 * 200 W * 684.2 us                  0.027368 J
    #   bytes    1e-11 * 1e9 + 5e-11 * 4e7               0.012    J
    #   weights  2e-12 * 1e9, half as wide               0.001    J
    #   FLOPs    0.5 * 100 W * 100.4 us                  0.00502  J
    fp8 = replace(TWO_GPUS, weight_format="fp8")
    assert step(serving=fp8) == pytest.approx((684.2e-6, 0.045388), rel=1e-12)
    # Kernels for it were young in 2025.
    young = replace(fp8, engine_year=2025)
    assert step(serving=young) == pytest.approx((684.2e-6, 1.5 * 0.045388), rel=1e-12)
    assert step(serving=replace(TWO_GPUS, engine_year=2025)) == step()


@pytest.mark.parametrize(
    ("weight_format", "joules"), [("bf16", 2e-3), ("fp8", 1e-3), ("nvfp4", 0.5e-3)]
)
def test_a_weight_costs_in_proportion_to_the_width_of_its_multiplication(
    weight_format: str, joules: float
) -> None:
    # 1e9 weights at 2e-12 J in BF16; nothing else costs anything.
    weights_alone = replace(
        ROUND, idle_power=0, weight_byte_joules=0, cache_byte_joules=0, compute_power=0
    )
    fp4_board = replace(BOARD, peak_flops_fp4=4e14)
    serving = replace(TWO_GPUS, weight_format=weight_format)
    assert step(gpu=fp4_board, serving=serving, constants=weights_alone)[1] == pytest.approx(joules)


def test_recurrent_state_is_read_and_written_in_every_step() -> None:
    # Ten sequences of 1e6 byte, twice: 10 us, idle 0.2 * 200 W, and 5e-11 J for each byte.
    seconds, joules = step(replace(DENSE, state_bytes_per_sequence=1e6))
    assert seconds - step()[0] == pytest.approx(10e-6)
    assert joules - step()[1] == pytest.approx(0.0004 + 0.001)


def test_prefill_of_a_mixture_costs_more_by_the_share_of_experts_left_out() -> None:
    # Two of eight experts: 1 + 3 * 6/8 = 3.25 times 6e9 FLOP, at 90 W and 1e14 FLOP/s;
    # attention, 4e4 for each of 50**2 / 2 pairs, is as in a dense model.
    expected = 90 * (3.25 * 50 * 6e9 + 1250 * 4e4) / 1e14
    assert request(MIXTURE).prefill_energy_joules == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("speculative", "factor"), [(True, 0.8), (False, 1.0), (None, 1.0)])
def test_drafts_make_generating_cheaper_and_faster_but_not_reading(
    speculative: bool | None, factor: float
) -> None:
    serving = replace(TWO_GPUS, speculative=speculative)
    drafted, plain = request(serving=serving), request()
    assert drafted.decode_energy_joules == pytest.approx(factor * plain.decode_energy_joules)
    assert drafted.prefill_energy_joules == plain.prefill_energy_joules
    assert step(serving=serving)[0] == pytest.approx(factor * step()[0])


def test_a_mixture_reads_the_experts_its_tokens_chose_between_them() -> None:
    # Two tokens leave an expert alone with probability (3/4)**2.
    touched = 7 / 16 * 8 * 4e9 / 6
    shared = 3e9 - 2 * 4e9 / 6
    two_sequences = ServingProfile(sequences=2, num_gpus=2)
    assert weights_read(MIXTURE, two_sequences) == pytest.approx(shared + touched)
    # Half of the experts live on the other board: an engine of 2025 waits half of the time.
    unbalanced = replace(two_sequences, engine_year=2025)
    assert weights_read(MIXTURE, unbalanced) == pytest.approx(shared + 1.5 * touched)
    # Two copies of what is outside the experts are read apart.
    copied = replace(two_sequences, attention_replicas=2)
    assert weights_read(MIXTURE, copied) == pytest.approx(2 * shared + touched)
    assert weights_read(DENSE, copied) == pytest.approx(2e9)


@pytest.mark.parametrize("num_gpus", [2, 8])
@pytest.mark.parametrize(
    ("expert_parallel", "engine_year", "charged"),
    [
        (1, 2025, 1),
        (2, 2025, 1.5),
        (8, 2025, 1.875),
        (8, 2024, 1.875),
        (8, 2026, 1),
        (2, 2026, 1),
    ],
)
def test_imbalance_follows_expert_parallelism_and_the_engines_age_alone(
    num_gpus: int, expert_parallel: int, engine_year: int, charged: float
) -> None:
    serving = ServingProfile(
        num_gpus=num_gpus, expert_parallel=expert_parallel, engine_year=engine_year
    )
    assert compute_imbalance(deploy(MIXTURE, BOARD, serving), ROUND) == charged


@pytest.mark.parametrize(
    ("share", "sequences", "touched"),
    [(0.25, 1, 0.25), (0.25, 2, 0.4375), (8 / 256, 1, 8 / 256), (1.0, 5, 1.0), (0.0, 5, 0.0)],
)
def test_experts_touched_is_one_minus_the_chance_to_be_left_out(
    share: float, sequences: float, touched: float
) -> None:
    assert compute_experts_read(share, sequences) == pytest.approx(touched)


def test_gpt_4o_on_h100_lies_within_the_public_figures() -> None:
    # 100e9 active of 400e9, as Epoch AI guesses; 500 in, 500 out. Public figures for a
    # typical prompt are 0.24 (Google, 2025) to 0.34 Wh (OpenAI, 2025).
    model = build_model(
        "gpt-4o by size",
        num_active_params=100e9,
        num_total_params=400e9,
        num_layers=89,
        num_attn_heads=76,
        attn_head_dim=128,
        hidden_dim=9680,
        family="closed",
    )
    energy = estimate_request(model, H100, input_tokens=500, output_tokens=500, scope="facility")
    # 1.5 * 400e9 byte in FP8 are the memory of 7.5 GPUs.
    fewer = (70 / 400) ** 0.2
    assert (energy.deployment.gpus, energy.sequences) == pytest.approx((7.5, 240 * fewer))
    assert energy.deployment.weight_bytes == 1
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
    site = deploy(model, H100, ServingProfile(num_gpus=8, weight_format="fp8"))
    joules = compute_prices(site, CALIBRATED).input_token
    watts = compute_prefill_watts(site, CALIBRATED) * site.gpus
    rate = watts / (CALIBRATED.prefill_time * joules)
    assert rate == pytest.approx(73.7e3 * (1 - 0.563), rel=0.3)


@given(
    st.sampled_from([DENSE, MIXTURE, replace(DENSE, samples=4, state_bytes_per_sequence=1e6)]),
    batches,
    st.integers(min_value=0, max_value=100_000),
    st.sampled_from(["", "fp8"]),
    st.sampled_from([2024, 2025, 2026]),
    st.sampled_from([1, 2]),
    st.sampled_from([True, False]),
)
def test_each_sequence_pays_its_share_of_the_step(
    model: ModelProfile,
    batch: float,
    context: int,
    weight_format: str,
    engine_year: int,
    attention_replicas: int,
    speculative: bool,
) -> None:
    serving = ServingProfile(
        sequences=batch,
        num_gpus=2,
        weight_format=weight_format,
        engine_year=engine_year,
        attention_replicas=attention_replicas,
        speculative=speculative,
    )
    site = deploy(model, BOARD, serving)
    one_token = Work(0, 0, 1, context)
    share = compute_decode_energy(compute_prices(site, ROUND), one_token)
    _, joules = compute_decode_step(site, ROUND, context)
    assert share * batch == pytest.approx(model.samples * joules, rel=1e-9)


# Floats and arrays.


def test_arrays_and_floats_take_one_path() -> None:
    prompts = np.array([[0, 1, 700], [4096, 50_000, 1_000_000]])
    answers = np.array([0, 3, 20_000])
    whole = request(MIXTURE, input_tokens=prompts, output_tokens=answers, scope="facility")  # type: ignore[arg-type]
    # Up to 1,020,000 tokens of 4e4 byte: the two boards hold three such sequences, not ten.
    assert np.ptp(whole.sequences) > 5
    for row, column in np.ndindex(2, 3):
        one = request(
            MIXTURE,
            input_tokens=int(prompts[row, column]),
            output_tokens=int(answers[column]),
            scope="facility",
        )
        for field in fields(RooflineEstimate):
            table = getattr(whole, field.name)
            if isinstance(table, np.ndarray):
                assert table.shape == (2, 3)
                assert table[row, column] == pytest.approx(getattr(one, field.name), rel=1e-12)
        for name, ends in whole.range_parts.items():
            for end, same in zip(ends, one.range_parts[name], strict=True):
                assert np.broadcast_to(end, (2, 3))[row, column] == pytest.approx(same, rel=1e-9)


@pytest.mark.parametrize("kind", INTEGER_TYPES)
def test_integers_of_any_width_count_as_python_counts(kind: str) -> None:
    most = int(min(np.iinfo(kind).max, 100_000))

    def counted(make: Callable[[int], Any]) -> RooflineEstimate:
        return served(
            input_tokens=make(most),
            output_tokens=make(most // 2),
            cached_input_tokens=make(most // 3),
        )

    plain = counted(int)
    one = counted(np.dtype(kind).type)
    many: Any = counted(lambda count: np.array([count], kind))
    for field in fields(RooflineEstimate):
        expected = getattr(plain, field.name)
        if isinstance(expected, float):
            assert getattr(one, field.name) == pytest.approx(expected, rel=1e-12), field.name
            assert getattr(many, field.name)[0] == pytest.approx(expected, rel=1e-12), field.name


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-4o-mini", "llama-3.1-8b", "deepseek-v3"])
def test_a_request_alone_is_limited_by_memory_as_it_is_among_others(name: str) -> None:
    """Where all sequences fit, a request alone takes a price that was computed before."""
    catalogue = load_catalogue()
    model = catalogue.corrected_model(catalogue.model(name))
    prompts = [round(10 ** (step / 8)) for step in range(73)]
    for serving in (SERVING, ServingProfile(concurrency_per_gpu=1), ServingProfile(sequences=64)):
        whole = estimate_request(
            model,
            catalogue.gpu("H100-SXM"),
            input_tokens=np.array(prompts),  # type: ignore[arg-type]
            output_tokens=100,
            serving=serving,
        )
        for place, prompt in enumerate(prompts):
            one = estimate_request(
                model,
                catalogue.gpu("H100-SXM"),
                input_tokens=prompt,
                output_tokens=100,
                serving=serving,
            )
            for ours, theirs in (
                (one.decode_energy_joules, whole.decode_energy_joules),
                (one.sequences, whole.sequences),
                (one.total_energy_low_joules, whole.total_energy_low_joules),
                (one.total_energy_high_joules, whole.total_energy_high_joules),
            ):
                assert ours == pytest.approx(np.broadcast_to(theirs, 73)[place], rel=1e-12)


# Limits.


def test_one_sequence_pays_for_every_weight_it_reads() -> None:
    alone = ServingProfile(sequences=1, num_gpus=1)
    seconds, joules = step(serving=alone, context=0)
    assert 2e9 / 1e12 / seconds > 0.9
    two, _ = step(serving=replace(alone, sequences=2), context=0)
    assert two == pytest.approx(seconds, rel=0.02)
    assert joules > 1e-11 * 2e9


def test_endless_sharing_leaves_flops_cache_and_time_per_sequence() -> None:
    # Per token at the limit: idle for 20.04 us / 2 of FLOPs, 2 us of cache, 0.4 us of link
    # and 1 us of scheduling, 4e6 byte of cache, 2.004e9 FLOP.
    idle = 0.2 * 200 * (10.02 + 2 + 0.4 + 1) * 1e-6
    limit = idle + 5e-11 * 4e6 + 0.5 * 100 * 20.04e-6
    endless = request(serving=replace(TWO_GPUS, sequences=2e9))
    assert endless.decode_energy_joules / 100 == pytest.approx(limit, rel=1e-4)


@given(batches, batches, st.sampled_from([DENSE, MIXTURE]))
def test_more_sequences_make_a_token_cheaper_and_later(
    one: float, other: float, model: ModelProfile
) -> None:
    few, many = (replace(TWO_GPUS, sequences=batch) for batch in sorted((one, other)))
    apart, together = (request(model, serving=s, constants=CALIBRATED) for s in (few, many))
    assert together.decode_energy_joules <= apart.decode_energy_joules * (1 + 1e-9)
    assert together.prefill_energy_joules == apart.prefill_energy_joules
    early, late = (step(model, serving=s, constants=CALIBRATED)[0] for s in (few, many))
    assert late >= early * (1 - 1e-9)


@pytest.mark.parametrize("model", [DENSE, MIXTURE])
def test_the_same_batch_on_more_gpus_is_faster_and_costs_more(model: ModelProfile) -> None:
    two, eight = (ServingProfile(sequences=64, num_gpus=gpus) for gpus in (2, 8))
    cheap, dear = (request(model, H100, s, constants=CALIBRATED) for s in (two, eight))
    assert dear.decode_energy_joules > cheap.decode_energy_joules
    slow, fast = (step(model, H100, s, constants=CALIBRATED)[0] for s in (two, eight))
    assert fast < slow


@pytest.mark.parametrize("model", [DENSE, MIXTURE])
@pytest.mark.parametrize("engine_year", [2024, 2026])
def test_two_stages_of_gpus_cost_as_one_with_half_of_the_sequences(
    model: ModelProfile, engine_year: int
) -> None:
    one, two = (
        request(
            model,
            H100,
            ServingProfile(num_gpus=gpus, sequences=4 * gpus, engine_year=engine_year),
            constants=CALIBRATED,
        )
        for gpus in (8, 16)
    )
    assert two.deployment.stages == 2
    assert two.total_energy_joules == pytest.approx(one.total_energy_joules, rel=1e-12)


@given(
    st.sampled_from([DENSE, MIXTURE, replace(DENSE, sliding_window=512)]),
    st.sampled_from([BOARD, H100]),
    batches,
    tokens,
    st.integers(min_value=1, max_value=16),
    st.sampled_from([None, "fp8", "mxfp4"]),
    st.sampled_from([2024, 2025, 2026]),
)
def test_a_board_never_draws_more_than_its_rating(
    model: ModelProfile,
    gpu: GpuProfile,
    batch: float,
    context: int,
    gpus: int,
    weight_format: str | None,
    engine_year: int,
) -> None:
    serving = ServingProfile(
        sequences=batch,
        num_gpus=gpus,
        weight_format=weight_format or "",
        engine_year=engine_year,
    )
    seconds, joules = step(model, gpu, serving, context=context, constants=CALIBRATED)
    boards = deploy(model, gpu, serving).gpus
    assert 0 < joules / (seconds * boards) <= gpu.power_rating * (1 + 1e-9)


def test_an_early_engine_waits_longer_and_costs_more() -> None:
    early = replace(TWO_GPUS, engine_year=2024)
    # 10 layers of 20 us, and 10 sequences through each of them for 0.1 us.
    assert step(serving=early)[0] - step()[0] == pytest.approx(210e-6)
    assert request(serving=early).decode_energy_joules > request().decode_energy_joules
    assert step(serving=replace(TWO_GPUS, engine_year=2025)) == step()


def energy_by_ratio(ratio: float, serving: ServingProfile) -> float:
    """Of 10,000 tokens in and 500 out, by total over active parameters."""
    model = build_model(
        "by size",
        num_active_params=20e9,
        num_total_params=ratio * 20e9,
        num_layers=50,
        num_attn_heads=48,
        num_kv_heads=8,
        attn_head_dim=128,
        hidden_dim=6144,
    )
    energy = estimate_request(model, H100, input_tokens=10_000, output_tokens=500, serving=serving)
    return energy.total_energy_joules


@pytest.mark.parametrize("sequences", [None, 1, 64])
@pytest.mark.no_cover  # rounds of what other tests do once
def test_energy_has_no_cliff_where_a_dense_model_becomes_a_mixture(
    sequences: float | None,
) -> None:
    serving = ServingProfile(sequences=sequences, num_gpus=8, weight_format="fp8")
    below, above = (energy_by_ratio(ratio, serving) for ratio in (1.498, 1.502))
    assert above == pytest.approx(below, rel=0.01)
    ratios = 1.003 ** np.arange(540)
    assert ratios[-1] > 5
    energies = [energy_by_ratio(ratio, serving) for ratio in ratios]
    assert np.abs(np.diff(np.log(energies))).max() < 0.01


# Memory.

ONE_BOARD = ServingProfile(concurrency_per_gpu=32, num_gpus=1)


def long_request(serving: ServingProfile, model: ModelProfile = DENSE) -> RooflineEstimate:
    return request(model, serving=serving, input_tokens=99_000, output_tokens=1000)


def test_no_more_sequences_are_assumed_than_memory_holds() -> None:
    # One board of 80e9 byte gives 90 % to weights, 2e9 byte, and caches of 4e4 byte per token:
    # 70e9 / (100,000 * 4e4) = 17.5 sequences.
    assert long_request(ONE_BOARD).sequences == pytest.approx(17.5)
    # Engines keep what a window has left behind.
    windowed = replace(DENSE, sliding_window=1000, num_sliding_layers=3)
    assert long_request(ONE_BOARD, windowed).sequences == pytest.approx(17.5)
    # A recurrent state as large as the cache.
    recurrent = replace(DENSE, state_bytes_per_sequence=4e9)
    assert long_request(ONE_BOARD, recurrent).sequences == pytest.approx(17.5 / 2)
    # There is room for all of a quarter of the length.
    few = replace(ONE_BOARD, concurrency_per_gpu=32)
    assert request(serving=few, input_tokens=24_000, output_tokens=1000).sequences == 32


def test_memory_of_every_stage_holds_sequences() -> None:
    # Sixteen boards: 1.152e12 byte less weights, over 1e6 tokens of 4e4 byte.
    serving = ServingProfile(num_gpus=16)
    energy = request(serving=serving, input_tokens=999_000, output_tokens=1000)
    assert energy.deployment.stages == 2
    assert energy.sequences == pytest.approx((1.152e12 - 2e9) / (1e6 * 4e4))


def test_what_the_user_knows_of_the_batch_is_not_capped() -> None:
    for serving in (replace(ONE_BOARD, sequences=32), ONE_BOARD.with_known_concurrency()):
        assert long_request(serving).sequences == 32


def test_256_long_prompts_of_a_large_closed_model_do_not_fit_eight_h100() -> None:
    model = closed_model()
    assert model.num_total_params is not None
    assert model.kv_bytes_per_token is not None
    eight = ServingProfile(num_gpus=8)
    known = served(replace(eight, sequences=256), input_tokens=100_000, output_tokens=500)
    assumed = served(eight, input_tokens=100_000, output_tokens=500)
    each = 100_500 * model.kv_bytes_per_token
    # Weights in FP8; engines keep a tenth of the memory to themselves.
    room = 0.9 * 8 * 80e9 - model.num_total_params
    assert 256 * each > room
    assert known.sequences == 256
    assert assumed.sequences == pytest.approx(room / each)
    assert assumed.total_energy_joules > known.total_energy_joules


def test_there_is_always_room_for_one() -> None:
    assert request(serving=ONE_BOARD, input_tokens=10_000_000).sequences == pytest.approx(1)


@given(tokens, tokens, tokens)
def test_the_cap_never_makes_more_tokens_cheaper(prompt: int, answer: int, more: int) -> None:
    base = served(input_tokens=prompt, output_tokens=answer).total_energy_joules
    for longer in (
        served(input_tokens=prompt + more, output_tokens=answer),
        served(input_tokens=prompt, output_tokens=answer + more),
    ):
        assert longer.total_energy_joules >= base * (1 - 1e-9)


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
    guessed = request(
        replace(DENSE, num_active_params_low=5e8),
        serving=SERVING,
        input_tokens=0,
        output_tokens=0,
    )
    of_energy = ("prefill", "batch", "parameters", "speculative decoding")
    assert {guessed.range_parts[name] for name in of_energy} == {(1, 1)}


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


def test_an_unknown_scope_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="facility"):
        request(scope="facilty")


# Reasoning.


def test_reported_output_holds_its_reasoning_and_is_never_multiplied() -> None:
    tracker = Tracker(method="roofline", gpu="H100")
    usage = {"prompt_tokens": 100, "completion_tokens": 800, "total_tokens": 900}
    details = {"completion_tokens_details": {"reasoning_tokens": 600}}
    bare, detailed = (
        tracker.record(model="o1", usage=reported).estimate for reported in (usage, usage | details)
    )
    assert bare is not None
    assert detailed is not None
    assert bare.decode_energy_joules == detailed.decode_energy_joules
    assert bare.reasoning_energy_joules is None
    assert detailed.reasoning_energy_joules is not None


def test_text_that_was_merely_seen_is_multiplied_by_its_hidden_reasoning() -> None:
    reasoner = replace(DENSE, reasoning_factor=3)
    counts = TokenUsage(input_tokens=100, output_tokens=800)
    reported, seen, whole = (
        estimate_usage(usage, reasoner, H100, method="roofline")
        for usage in (
            counts,
            replace(counts, estimated=("input_tokens", "output_tokens")),
            replace(counts, output_tokens=2400),
        )
    )
    assert (reported.reasoning_factor, seen.reasoning_factor) == (1, 3)
    assert seen.decode_energy_joules == pytest.approx(whole.decode_energy_joules)
    assert seen.reasoning_energy_joules is not None
    assert 0 < seen.reasoning_energy_joules < seen.decode_energy_joules


def test_reasoning_shares_a_step_with_as_many_as_the_answer() -> None:
    # Seventeen sequences of this length fit, not 32.
    energy = estimate_request(
        DENSE,
        BOARD,
        input_tokens=99_000,
        output_tokens=1000,
        reasoning_tokens=1000,
        serving=ONE_BOARD,
        constants=ROUND,
    )
    assert energy.reasoning_energy_joules == pytest.approx(energy.decode_energy_joules)


# Attention.


@pytest.mark.parametrize("window", [1, 100, 10_000])
@pytest.mark.parametrize(("start", "stop"), [(0, 50), (30, 400), (2000, 2000), (0, 30_000)])
def test_pairs_are_the_sum_of_the_contexts(start: int, stop: int, window: int) -> None:
    model = replace(DENSE, sliding_window=window, num_sliding_layers=3)
    # The middle of every token's step: the integral of a piecewise linear function.
    positions = np.arange(start, stop) + 0.5
    expected = 0.7 * positions.sum() + 0.3 * np.minimum(positions, window).sum()
    pairs = count_pairs(deploy(model, BOARD, TWO_GPUS), start, stop)
    assert pairs == pytest.approx(expected, rel=1e-9)


def test_a_window_that_is_never_reached_changes_nothing() -> None:
    windowed = replace(DENSE, sliding_window=151)
    assert request(windowed).total_energy_joules == pytest.approx(request().total_energy_joules)


# The range.

KNOWN = replace(TWO_GPUS, sequences=10)


def test_what_is_known_has_no_part_in_the_range() -> None:
    assert set(request(gpu=H100, serving=KNOWN).range_parts) == {"formula", "prefill"}
    assert set(request(gpu=H100).range_parts) == {"formula", "prefill", "batch"}


def test_the_batch_part_is_the_energy_at_its_ends() -> None:
    serving = replace(TWO_GPUS, concurrency_high_energy=1, concurrency_low_energy=50)
    energy = request(serving=serving)
    for concurrency, factor in zip((50, 1), energy.range_parts["batch"], strict=True):
        end = request(serving=replace(TWO_GPUS, concurrency_per_gpu=concurrency))
        assert end.total_energy_joules / energy.total_energy_joules == pytest.approx(factor)


def test_the_low_end_of_the_batch_is_limited_by_memory_where_one_sequence_is_estimated() -> None:
    serving = replace(ONE_BOARD, concurrency_per_gpu=1)
    one = long_request(serving)
    crowded = long_request(replace(serving, concurrency_per_gpu=17.5))
    assert one.range_parts["batch"][0] == pytest.approx(
        crowded.total_energy_joules / one.total_energy_joules
    )


def test_undisclosed_parameters_widen_the_range_by_their_ends_or_their_grade() -> None:
    guessed = replace(DENSE, grade="C")
    low, high = request(guessed, serving=KNOWN).range_parts["parameters"]
    assert (low, high) == pytest.approx((1 / 1.8, 1.8))
    wide = replace(guessed, num_active_params_low=1e8, num_active_params_high=2e9)
    low, high = request(wide, serving=KNOWN).range_parts["parameters"]
    double = request(replace(DENSE, num_active_params=2e9), serving=KNOWN)
    assert low < 1 / 1.8
    assert high == pytest.approx(
        max(1.8, double.total_energy_joules / request().total_energy_joules)
    )


def test_an_undisclosed_model_has_room_for_as_many_sequences_as_its_size_leaves() -> None:
    guessed = replace(DENSE, num_active_params_low=5e8, num_active_params_high=4e9)
    total = long_request(ONE_BOARD, guessed).total_energy_joules
    ends = [
        long_request(ONE_BOARD, replace(DENSE, num_active_params=size)).total_energy_joules / total
        for size in (5e8, 4e9)
    ]
    assert long_request(ONE_BOARD, guessed).range_parts["parameters"] == pytest.approx(ends)


def test_a_gpu_the_fit_has_not_seen_widens_the_range() -> None:
    assert H100.name in fitted.GPUS
    assert BOARD.name not in fitted.GPUS
    assert "gpu" not in request(gpu=H100).range_parts
    factor = UNSEEN_GPU_FACTOR
    assert request().range_parts["gpu"] == (1 / factor, factor)


@pytest.mark.parametrize(
    ("family", "widens"), [("closed", True), ("seed", True), ("open", False), ("user", False)]
)
def test_what_a_closed_provider_serves_on_is_not_known(family: str, widens: bool) -> None:
    parts = request(replace(DENSE, family=family)).range_parts
    assert parts.get("hardware") == (HARDWARE_RANGE if widens else None)


@pytest.mark.parametrize(
    ("sequences", "ends"),
    # Fewer than eight per GPU on two GPUs: prefill has them to itself for part of the time.
    [(1, (0.5, 2.6)), (15, (0.5, 2.6)), (16, (0.5, 1.6)), (500, (0.5, 1.6))],
)
def test_the_range_of_prefill_is_wider_where_the_gpus_are_hardly_loaded(
    sequences: float, ends: tuple[float, float]
) -> None:
    serving = replace(TWO_GPUS, sequences=sequences)
    prompt_alone = request(serving=serving, output_tokens=0)
    assert prompt_alone.range_parts["prefill"] == pytest.approx(ends)
    low, high = request(serving=serving).range_parts["prefill"]
    assert ends[0] < low < 1 < high < ends[1]


@pytest.mark.parametrize(
    ("num_gpus", "sequences", "factor"),
    [(2, 511, 1.35), (2, 512, 1.6), (16, 511, 1.35), (16, 512, 1.6)],
)
def test_the_fit_is_less_sure_of_a_crowd(num_gpus: int, sequences: float, factor: float) -> None:
    serving = ServingProfile(num_gpus=num_gpus, sequences=sequences)
    assert request(serving=serving).range_parts["formula"] == (1 / factor, factor)


@pytest.mark.parametrize(
    ("speculative", "ends"),
    # Measured between 0.6 and 1.0 of the energy without drafts, 0.8 on average.
    [(None, (0.6, 1.0)), (True, (0.75, 1.25)), (False, None)],
)
def test_drafts_are_part_of_the_range_unless_there_are_none(
    speculative: bool | None, ends: tuple[float, float] | None
) -> None:
    answer_alone = request(serving=replace(KNOWN, speculative=speculative), input_tokens=0)
    part = answer_alone.range_parts.get("speculative decoding")
    assert part == (None if ends is None else pytest.approx(ends))


def test_unknown_drafts_reach_as_low_as_the_best_known_ones() -> None:
    unknown, drafted = (
        request(serving=replace(KNOWN, speculative=speculative)) for speculative in (None, True)
    )
    low = unknown.range_parts["speculative decoding"][0] * unknown.total_energy_joules
    best = drafted.range_parts["speculative decoding"][0] * drafted.total_energy_joules
    assert low == pytest.approx(best)


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
    batches,
    st.sampled_from("ABCDE"),
    st.sampled_from(SCOPES),
    st.sampled_from([DENSE, MIXTURE]),
    st.sampled_from([True, False, None]),
)
def test_the_range_holds_the_estimate(
    prompt: int,
    answer: int,
    concurrency: float,
    grade: str,
    scope: str,
    model: ModelProfile,
    speculative: bool | None,
) -> None:
    energy = request(
        replace(model, grade=grade),
        serving=ServingProfile(concurrency_per_gpu=concurrency, speculative=speculative),
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


@pytest.mark.parametrize("samples", [1.5, 10])
def test_samples_repeat_the_answer_not_the_prompt(samples: float) -> None:
    once, often = request(), request(replace(DENSE, samples=samples))
    assert often.decode_energy_joules == pytest.approx(samples * once.decode_energy_joules)
    assert often.prefill_energy_joules == once.prefill_energy_joules
    low, high = often.range_parts["samples"]
    assert low * often.total_energy_joules == pytest.approx(once.total_energy_joules)
    assert high == 1
    assert "samples" not in once.range_parts


# The constants.


def test_the_constants_are_complete_and_name_their_run() -> None:
    assert set(fitted.FITTED) == {field.name for field in fields(RooflineConstants)}
    assert re.search(r"Run: python tests/benchmarks/fit.py", fitted.__doc__ or "")
    for seen in (fitted.ARCHITECTURES, fitted.GPUS):
        assert len(set(seen)) == len(seen) > 5


def test_no_time_beats_the_hardware() -> None:
    for name in ("weights_time", "cache_time", "compute_time", "prefill_time", "link_time"):
        assert getattr(CALIBRATED, name) >= 1


def test_every_factor_points_the_way_it_is_named() -> None:
    constants = CALIBRATED
    assert constants.quantised_overhead >= 1
    assert (
        constants.speculative_decode_low
        < constants.speculative_decode
        < constants.speculative_decode_high
        <= 1
    )
    assert 1 < constants.error_factor < constants.crowded_error_factor


def test_every_gpu_the_fit_has_seen_is_in_the_catalogue() -> None:
    for name in fitted.GPUS:
        assert load_catalogue().gpu(name).name == name
