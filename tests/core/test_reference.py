"""The seed formula, against the issue's check values and a term-by-term rewrite."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking import (
    ConfigurationError,
    TokenCountError,
    TokenUsage,
    UnknownGpuError,
    UnknownModelError,
)
from energy_tracking import cloud_inference_energy_estimate_w_model_attributes as seed
from energy_tracking.estimator import EnergyEstimate, estimate_usage, reference
from energy_tracking.profiles.files import get_catalogue
from small_profiles import BOARD, DENSE

# The seed document's tables, typed in here a second time.
MODELS: dict[str, tuple[float, ...]] = {
    "gpt-4o": (100e9, 77, 57, 150.1, 2, 4, 1.0),
    "o1": (70e9, 80, 64, 128, 2, 4, 3.0),
    "o3-mini": (7.3e9, 32, 32, 128, 2, 4, 2.0),
}
GPUS: dict[str, tuple[float, ...]] = {
    "A100": (624e12, 0.5, 0.1, 400, 1.0, 0.75),
    "H100": (989e12, 0.5, 0.1, 700, 1.0, 0.75),
    "GB200": (10000e12, 0.5, 0.1, 1200, 1.0, 0.75),
}


def by_hand(n: float, out: float, model: str, gpu: str, mode: str) -> dict[str, float]:
    """The formula in exact fractions, written from the issue's text."""
    params, layers, heads, dim, factor, factor_attn, reasoning = map(Fraction, MODELS[model])
    peak, prefill_util, decode_util, watts, prefill_power, decode_power = map(Fraction, GPUS[gpu])
    n_, t = Fraction(n), Fraction(out) * reasoning
    k = factor_attn * heads * dim * layers
    prefill_flops = n_ * factor * params + (k * n_ * n_ if mode == "quadratic" else k * n_)
    average_context = n_ + (t - 1) / 2
    decode_flops = t * factor * params + k * t * average_context
    prefill = prefill_flops * prefill_power * (watts / peak) / prefill_util
    decode = decode_flops * decode_power * (watts / peak) / decode_util
    return {
        "prefill_energy_joules": float(prefill),
        "decode_energy_joules": float(decode),
        "total_energy_joules": float(prefill + decode),
        "total_energy_wh": float((prefill + decode) / 3600),
        "total_flops": float(prefill_flops + decode_flops),
    }


@pytest.mark.parametrize(("gpu", "expected_wh"), [("H100", "0.2296"), ("GB200", "0.0389")])
def test_check_values_of_the_seed(gpu: str, expected_wh: str) -> None:
    result = seed(input_tokens=1000, output_tokens=500, model_name="gpt-4o", gpu_name=gpu)
    assert f"{result['total_energy_wh']:.4f}" == expected_wh


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("gpu", GPUS)
@pytest.mark.parametrize("mode", ["quadratic", "linear"])
@pytest.mark.parametrize("n", [0, 1, 0.5, 1024, 10_000_000])
@pytest.mark.parametrize("out", [0, 1, 2.5, 256, 10_000_000])
def test_agrees_with_the_formula(n: float, out: float, model: str, gpu: str, mode: str) -> None:
    result = seed(n, out, model, gpu, mode)
    for name, expected in by_hand(n, out, model, gpu, mode).items():
        assert math.isclose(result[name], expected, rel_tol=1e-12, abs_tol=0), name


def test_power_and_utilisation_of_either_phase_make_its_energy() -> None:
    gpu = replace(BOARD, power_prefill_util=0.8)
    formula = reference.Formula(reference.ModelTerms(1e14, 0.0, 1.0), gpu, "quadratic")
    # One second of a board of 100 W at its peak: 80 % of its power at half its speed, and
    # 75 % at a tenth.
    assert formula.price_prompt(1.0) == pytest.approx((160, 1e14), rel=1e-15)
    assert formula.price_answer(0.0, 1.0) == pytest.approx((750, 1e14), rel=1e-15)


def test_defaults_and_keys_are_the_seeds() -> None:
    result = seed()
    assert list(result) == [
        "model",
        "gpu",
        "reasoning_factor",
        "attention_mode",
        "prefill_energy_joules",
        "decode_energy_joules",
        "total_energy_joules",
        "total_energy_wh",
        "total_flops",
    ]
    assert (result["model"], result["gpu"]) == ("gpt-4o", "H100")
    assert (result["reasoning_factor"], result["attention_mode"]) == (1.0, "quadratic")
    assert result["total_energy_wh"] == pytest.approx(
        by_hand(0, 500, "gpt-4o", "H100", "quadratic")["total_energy_wh"], rel=1e-12
    )


def test_wall_time_adds_the_empirical_figures() -> None:
    result = seed(1000, 500, inference_wall_time_sec=12.5)
    assert result["inference_wall_time_sec"] == 12.5
    assert result["total_energy_joules_empirical"] == 12.5 * 700
    assert result["total_energy_wh_empirical"] == 12.5 * 700 / 3600
    assert result["empirical_utilization"] == result["total_flops"] / (12.5 * 989e12)


def test_arrays_broadcast_on_the_same_path() -> None:
    n = np.array([0, 1, 1000, 10_000_000])[:, None]
    out = np.array([0.0, 1.0, 500.0])
    grid = seed(n, out)  # type: ignore[arg-type]
    for i, j in np.ndindex(4, 3):
        one = seed(float(n[i, 0]), float(out[j]))
        for name in ("prefill_energy_joules", "decode_energy_joules", "total_energy_wh"):
            cell = np.broadcast_to(grid[name], (4, 3))[i, j]
            assert cell == pytest.approx(one[name], rel=1e-15), name


INTEGER_TYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@pytest.mark.parametrize("mode", ["quadratic", "linear"])
@pytest.mark.parametrize("kind", INTEGER_TYPES)
def test_integers_of_any_width_count_as_python_counts(kind: str, mode: str) -> None:
    catalogue = get_catalogue()
    most = int(min(np.iinfo(kind).max, 100_000))
    n, out, cached = most, most // 2, most // 3

    def counted(make: Callable[[int], Any]) -> EnergyEstimate:
        return reference.estimate_request(
            catalogue.model("o1"),
            catalogue.gpu("H100"),
            input_tokens=make(n),
            output_tokens=make(out),
            cached_input_tokens=make(cached),
            reasoning_factor=3.0,
            attention_mode=mode,
        )

    plain, one = counted(int), counted(np.dtype(kind).type)
    many: Any = counted(lambda count: np.array([count], kind))
    uncached = by_hand(n, out, "o1", "H100", mode)["decode_energy_joules"]
    assert plain.decode_energy_joules == pytest.approx(uncached)
    for name in (
        "prefill_energy_joules",
        "decode_energy_joules",
        "reasoning_energy_joules",
        "total_flops",
        "total_energy_low_joules",
        "total_energy_high_joules",
    ):
        expected = pytest.approx(getattr(plain, name), rel=1e-14)
        assert getattr(one, name) == expected, name
        assert getattr(many, name)[0] == expected, name


@pytest.mark.parametrize("kind", INTEGER_TYPES)
def test_work_is_counted_in_floats_from_the_first_line(kind: str) -> None:
    catalogue = get_catalogue()
    most = int(min(np.iinfo(kind).max, 100_000))

    def count(number: Callable[[int], Any], mode: str) -> tuple[Any, ...]:
        priced = reference.price_model(catalogue.model("gpt-4o"), catalogue.gpu("H100"), mode)
        counts = {
            "input_tokens": number(most),
            "output_tokens": number(most // 3),
            "cached_input_tokens": number(most // 3),
            "reasoning_tokens": number(most // 4),
        }
        made = priced.estimate(TokenUsage(**counts), 1.0)
        return (
            made.prefill_energy_joules,
            made.decode_energy_joules,
            made.reasoning_energy_joules,
            made.total_flops,
        )

    for mode in ("quadratic", "linear"):
        counted: Any = count(lambda one: np.array([one], kind), mode)
        for found, expected in zip(counted, count(int, mode), strict=True):
            assert found[0] == pytest.approx(expected, rel=1e-14)


def test_an_unsigned_count_below_the_cached_one_is_refused() -> None:
    catalogue = get_catalogue()
    five: Any = np.uint64(5)
    six: Any = np.uint64(6)
    with pytest.raises(TokenCountError, match="input_tokens - cached_input_tokens"):
        reference.estimate_request(
            catalogue.model("gpt-4o"),
            catalogue.gpu("H100"),
            input_tokens=five,
            output_tokens=1,
            cached_input_tokens=six,
        )


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"model_name": "gpt-4"[:-1] + "o4"}, UnknownModelError, "register_model_profile"),
        ({"model_name": "gpt-4oo"}, UnknownModelError, "'gpt-4o'"),
        ({"gpu_name": "H1000"}, UnknownGpuError, "'H100'"),
        ({"gpu_name": "H1000"}, UnknownGpuError, "register_gpu_profile"),
        ({"attention_mode": "cubic"}, ConfigurationError, "'quadratic', 'linear'"),
        ({"input_tokens": -1}, TokenCountError, "input_tokens .* got -1"),
        ({"output_tokens": math.nan}, TokenCountError, "output_tokens .* got nan"),
        ({"output_tokens": math.inf}, TokenCountError, "output_tokens .* got inf"),
        ({"input_tokens": "many"}, TokenCountError, "got 'many'"),
        ({"input_tokens": np.array([1, -1])}, TokenCountError, "input_tokens"),
        ({"input_tokens": np.array([1, np.inf])}, TokenCountError, "input_tokens"),
        ({"inference_wall_time_sec": 0}, ConfigurationError, "a finite number of seconds above 0"),
    ],
)
def test_bad_input_is_named(arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        seed(**arguments)


counts = st.integers(0, 10**7)


@given(n=counts, cached=counts, out=counts, mode=st.sampled_from(["quadratic", "linear"]))
def test_cached_prompts_cost_less_and_never_less_than_nothing(
    n: int, cached: int, out: int, mode: str
) -> None:
    cached = min(n, cached)
    model, gpu = get_catalogue().model("gpt-4o"), get_catalogue().gpu("H100")

    def prefill(cached_tokens: int) -> float:
        return reference.estimate_request(
            model,
            gpu,
            input_tokens=n,
            output_tokens=out,
            cached_input_tokens=cached_tokens,
            attention_mode=mode,
        ).prefill_energy_joules

    assert 0 <= prefill(cached) <= prefill(0)
    assert prefill(n) == 0


@pytest.mark.parametrize(
    ("mode", "attention"), [("quadratic", 1000**2 - 600**2), ("linear", 1000 - 600)]
)
def test_cached_tokens_skip_their_prefill(mode: str, attention: int) -> None:
    model = reference.get_terms(get_catalogue().model("gpt-4o"))
    formula = reference.Formula(model, get_catalogue().gpu("H100"), mode)
    k = 4 * 57 * 150.1 * 77
    expected = (1000 - 600) * 2 * 100e9 + k * attention
    _, flops = formula.price_prompt(1000.0, 600.0)
    assert flops == pytest.approx(expected, rel=1e-15)


@pytest.mark.parametrize(
    ("reasoning", "factor", "reasoning_known"),
    [(None, 3.0, True), (0, 1.0, True), (300, 1.0, True)],
)
def test_the_factor_is_applied_only_without_a_reasoning_count(
    reasoning: int | None, factor: float, reasoning_known: bool
) -> None:
    model, gpu = get_catalogue().model("o1"), get_catalogue().gpu("H100")
    usage = TokenUsage(input_tokens=100, output_tokens=500, reasoning_tokens=reasoning)
    estimate = estimate_usage(usage, model, gpu)
    assert estimate.reasoning_factor == factor
    expected = by_hand(100, 500 * factor / 3, "o1", "H100", "quadratic")
    assert estimate.decode_energy_joules == pytest.approx(expected["decode_energy_joules"])
    assert (estimate.reasoning_energy_joules is not None) is reasoning_known


def test_reasoning_energy_is_that_of_the_first_tokens_generated() -> None:
    model, gpu = get_catalogue().model("o1"), get_catalogue().gpu("H100")
    usage = TokenUsage(input_tokens=100, output_tokens=500, reasoning_tokens=300)
    first_300 = TokenUsage(input_tokens=100, output_tokens=300, reasoning_tokens=0)
    assert estimate_usage(usage, model, gpu).reasoning_energy_joules == pytest.approx(
        estimate_usage(first_300, model, gpu).decode_energy_joules
    )


def test_a_model_without_a_factor_knows_no_reasoning_energy() -> None:
    model, gpu = get_catalogue().model("gpt-4o"), get_catalogue().gpu("H100")
    estimate = estimate_usage(TokenUsage(input_tokens=1, output_tokens=1), model, gpu)
    assert estimate.reasoning_energy_joules is None


def test_text_that_was_merely_seen_is_multiplied_as_a_count_without_details_is() -> None:
    model, gpu = get_catalogue().model("o1"), get_catalogue().gpu("H100")
    reported = TokenUsage(input_tokens=100, output_tokens=500)
    seen = replace(reported, estimated=("input_tokens", "output_tokens"))
    energies = [
        estimate_usage(usage, model, gpu).decode_energy_joules for usage in (reported, seen)
    ]
    assert energies[0] == energies[1]
    assert energies[0] == pytest.approx(
        by_hand(100, 500, "o1", "H100", "quadratic")["decode_energy_joules"]
    )


# The range.


def ranged(
    n: float, out: float, gpu: str = "H100", model: str = "gpt-4o"
) -> tuple[EnergyEstimate, tuple[float, float]]:
    """An estimate, and the part of its range that is the formula's."""
    estimate = reference.estimate_request(
        get_catalogue().model(model),
        get_catalogue().gpu(gpu),
        input_tokens=n,
        output_tokens=out,
    )
    return estimate, estimate.range_parts["formula"]


def test_a_long_prompt_has_not_the_high_end_of_an_answer() -> None:
    # With the decode's range alone it was said to take up to 209 Wh; Epoch AI says 40.
    estimate, _ = ranged(100_000, 500)
    assert 40 * 3600 < estimate.total_energy_high_joules < 209 * 3600 / 2


@pytest.mark.parametrize(
    ("gpu", "prompt", "answer"),
    [
        ("A100", reference.PREFILL_RANGE["A100"], reference.DECODE_RANGE["A100"]),
        ("H100", reference.PREFILL_RANGE["H100"], reference.DECODE_RANGE["H100"]),
        ("GB200", reference.PREFILL_RANGE_ELSEWHERE, reference.DECODE_RANGE_ELSEWHERE),
        ("B200", reference.PREFILL_RANGE_ELSEWHERE, reference.DECODE_RANGE_ELSEWHERE),
    ],
)
def test_prompt_and_answer_have_ranges_of_their_own(
    gpu: str, prompt: tuple[float, float], answer: tuple[float, float]
) -> None:
    assert ranged(1000, 0, gpu)[1] == pytest.approx(prompt)
    assert ranged(0, 1000, gpu)[1] == pytest.approx(answer)
    estimate, both = ranged(1000, 1000, gpu)
    share = estimate.prefill_energy_joules / estimate.total_energy_joules
    for end, of_prompt, of_answer in zip(both, prompt, answer, strict=True):
        assert end == pytest.approx(share * of_prompt + (1 - share) * of_answer)


def test_the_range_of_a_prompt_is_the_narrower_one() -> None:
    for gpu in ("A100", "H100", "GB200"):
        (low, high), (answer_low, answer_high) = ranged(1000, 0, gpu)[1], ranged(0, 1000, gpu)[1]
        assert high / low < answer_high / answer_low


@pytest.mark.parametrize(
    ("grade", "spread"), [("A", 1), ("B", 1.2), ("C", 1.8), ("D", 2.3), ("E", 3.2)]
)
def test_a_guessed_model_widens_the_range_by_its_grade(grade: str, spread: float) -> None:
    sure, guessed = (
        reference.estimate_request(
            replace(DENSE, grade=each), BOARD, input_tokens=1000, output_tokens=500
        )
        for each in ("A", grade)
    )
    assert guessed.range_parts["parameters"] == pytest.approx((1 / spread, spread))
    assert guessed.total_energy_joules == sure.total_energy_joules
    over = [each.total_energy_high_joules / each.total_energy_joules for each in (sure, guessed)]
    assert over[1] - 1 == pytest.approx(math.hypot(over[0] - 1, spread - 1))


def test_no_tokens_cost_nothing_and_have_no_range() -> None:
    estimate, part = ranged(0, 0)
    assert estimate.total_energy_joules == estimate.total_energy_high_joules == 0
    assert part == (1, 1)


def test_what_made_the_range_is_named_widest_first_and_only_where_it_adds_something() -> None:
    estimate = reference.estimate_request(DENSE, BOARD, input_tokens=10, output_tokens=10)
    parts = {"both ways": (0.8, 1.5), "downwards": (0.25, 1.0), "nothing": (1.0, 1.0)}
    assert replace(estimate, range_parts=parts).range_from == ("downwards", "both ways")
