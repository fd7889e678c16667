"""The seed formula: floating-point work over an assumed utilisation.

    decode tokens   T_r  = output_tokens * reasoning_factor
    attention term  k    = flops_per_tkn_factor_attn * heads * head_dim * layers
    prefill FLOPs   n * factor * N  +  k * n**2         (quadratic)   or k * n   (linear)
    decode FLOPs    T_r * factor * N  +  k * (n * T_r + T_r * (T_r - 1) / 2)
    energy          FLOPs / (peak_flops * utilisation) * power_rating * power utilisation

with n the input tokens and N the active parameters. The decode sum is the same in both
modes; ``linear`` changes the prefill term only.

Of n input tokens, c that came from a prompt cache are not computed again: the dense part
covers n - c tokens, the attention part k * (n**2 - c**2) in quadratic mode (the scores
among the cached tokens are already there) and k * (n - c) in linear mode.

What it leaves out: memory bandwidth, batching, several GPUs per model, the causal half of
the prefill attention, and everything outside the GPU board.

Source: seed document of this project ("minions-2025 proxy"), after Narayan et al.,
"Minions: Cost-efficient Collaboration Between On-device and Cloud Language Models", 2025,
https://arxiv.org/abs/2502.15964.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from energy_tracking.estimator.estimate import (
    GRADE_FACTORS,
    EnergyEstimate,
    check_attention_mode,
    check_token_counts,
    combine_parts,
)
from energy_tracking.frozen import fill_fields
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

METHOD = "reference"
VERSION = "1"
SCOPE = "gpu"

DECODE_RANGE = {"A100": (0.45, 14.4), "H100": (0.45, 14.4)}
"""5 and 95 % quantiles of measured over estimated decode energy [1], by the seed's GPU.

From 410 measurements of open models on these two; ``tests/benchmarks/accuracy.py`` prints
them. The formula knows no batch size, and that is most of it.
"""

DECODE_RANGE_ELSEWHERE = (0.45, 57.0)
"""For every other GPU: the upper end over all 615 measurements, those of B200 with the seed's GB200
among them; the lower end as above, which is lower than theirs [1]."""

PREFILL_RANGE = {"A100": (0.5, 5.3), "H100": (0.37, 3.4)}
"""What the calibrated estimator makes of the prompt over what the seed does, 5 and 95 % [1], on
the same rows with prompts of 500 to 100,000 tokens, and the calibrated one's own range. A prompt
is bound by computing: it costs the same in any batch. ``accuracy.py`` prints it too."""

PREFILL_RANGE_ELSEWHERE = (0.37, 12.4)
"""For every other GPU: the widest of the three, its upper end that of GB200 [1]."""


class ModelTerms(NamedTuple):
    """What the formula takes of a model; floats, or arrays with an element for each request.

    Attributes:
        dense_flops: Work per token outside the attention [FLOP].
        attention_flops: Work of the attention per pair of tokens, all layers [FLOP].
        samples: Times the answer is generated [1].
    """

    dense_flops: float
    attention_flops: float
    samples: float


@lru_cache(maxsize=512)
def get_terms(model: ModelProfile) -> ModelTerms:
    """What the formula takes of a model profile."""
    return ModelTerms(
        model.flops_per_tkn_factor * model.num_active_params,
        model.flops_per_tkn_factor_attn
        * model.num_attn_heads
        * model.attn_head_dim
        * model.num_layers,
        model.samples,
    )


def count_prefill_flops(
    model: ModelTerms,
    input_tokens: float,
    cached_input_tokens: float = 0,
    attention_mode: str = "quadratic",
) -> float:
    """Work of reading the prompt [FLOP].

    Args:
        model: What the formula takes of the model.
        input_tokens: Prompt tokens, cached ones included; a float or an array of floats [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        attention_mode: ``"quadratic"`` or ``"linear"``.
    """
    n, c = input_tokens, cached_input_tokens
    dense, attention, _ = model
    is_quadratic = attention_mode == "quadratic"
    attended = n * n if is_quadratic else n
    if type(c) is not float or c != 0:
        attended = attended - c * c if is_quadratic else n - c
        n = n - c
    return n * dense + attention * attended


def count_decode_flops(model: ModelTerms, input_tokens: float, decode_tokens: float) -> float:
    """Work of generating an answer after a prompt [FLOP].

    Args:
        model: What the formula takes of the model.
        input_tokens: Prompt tokens; a float or an array of floats [tokens].
        decode_tokens: Tokens generated after it [tokens].
    """
    n, t = input_tokens, decode_tokens
    dense, attention, _ = model
    return t * dense + attention * (n * t + t * (t - 1.0) / 2.0)


def compute_prefill_energy(gpu: GpuProfile, flops: float) -> float:
    """Energy of prefill work on one GPU board [J].

    Args:
        gpu: GPU profile.
        flops: The work; a float or an array [FLOP].
    """
    return (
        flops
        * gpu.power_prefill_util
        * (gpu.power_rating / gpu.peak_flops)
        / (gpu.gpu_prefill_util)
    )


def compute_decode_energy(gpu: GpuProfile, flops: float) -> float:
    """Energy of decode work on one GPU board [J].

    Args:
        gpu: GPU profile.
        flops: The work; a float or an array [FLOP].
    """
    return (
        flops
        * gpu.power_decoding_util
        * (gpu.power_rating / gpu.peak_flops)
        / (gpu.gpu_decoding_util)
    )


def estimate_request(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0,
    reasoning_tokens: float | None = None,
    reasoning_factor: float = 1.0,
    attention_mode: str = "quadratic",
) -> EnergyEstimate:
    """Estimate one request, or an array of them.

    Args:
        model: Model profile.
        gpu: GPU profile.
        input_tokens: Prompt tokens, cached ones included [tokens].
        output_tokens: Generated tokens before ``reasoning_factor`` [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        reasoning_tokens: Part of the output that is reasoning [tokens]; None: not known.
        reasoning_factor: Decode tokens per output token [1].
        attention_mode: ``"quadratic"`` or ``"linear"``.

    Raises:
        TokenCountError: A count is negative or not finite.
        ConfigurationError: The attention mode is unknown.
    """
    check_attention_mode(attention_mode)
    check_token_counts(input_tokens, cached_input_tokens, output_tokens)
    decode_tokens = 1.0 * output_tokens * reasoning_factor
    if reasoning_tokens is None and reasoning_factor != 1:
        reasoning_tokens = decode_tokens - output_tokens
    energy = compute_energy(
        get_terms(model),
        gpu,
        input_tokens=input_tokens,
        cached_input_tokens=cached_input_tokens,
        decode_tokens=decode_tokens,
        reasoning_tokens=reasoning_tokens,
        attention_mode=attention_mode,
    )
    spread = GRADE_FACTORS[model.grade]
    range_parts = {
        "formula": find_formula_range(gpu, energy),
        "parameters": (1 / spread, spread),
    }
    prefill_joules, decode_joules, reasoning_joules, prefill_flops, decode_flops = energy
    total_joules = prefill_joules + decode_joules
    low, high = combine_parts(range_parts)
    # Python fills a table of no more than 15 names at once.
    values = {
        "model_profile": model.name,
        "gpu": gpu.name,
        "method": METHOD,
        "method_version": VERSION,
        "scope": SCOPE,
        "grade": model.grade,
        "attention_mode": attention_mode,
        "reasoning_factor": reasoning_factor,
        "prefill_energy_joules": prefill_joules,
        "decode_energy_joules": decode_joules,
        "reasoning_energy_joules": reasoning_joules,
        "total_flops": prefill_flops + decode_flops,
        "total_energy_low_joules": total_joules * low,
        "total_energy_high_joules": total_joules * high,
        "range_parts": range_parts,
    }
    values["assumed"] = {}
    return fill_fields(EnergyEstimate, values)


class RequestEnergy(NamedTuple):
    """One request by the formula; floats, or arrays of one common shape.

    Attributes:
        prefill_joules: Energy of reading the prompt [J].
        decode_joules: Energy of generating the output [J].
        reasoning_joules: Part of it spent on reasoning [J]; None where that is not known.
        prefill_flops: Floating-point operations of reading the prompt [FLOP].
        decode_flops: Floating-point operations of generating the output [FLOP].
    """

    prefill_joules: float
    decode_joules: float
    reasoning_joules: float | None
    prefill_flops: float
    decode_flops: float


def compute_energy(
    model: ModelTerms,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    cached_input_tokens: float,
    decode_tokens: float,
    reasoning_tokens: float | None,
    attention_mode: str,
) -> RequestEnergy:
    """The formula, for one request or an array of them, whose models may differ.

    Args:
        model: What the formula takes of the model.
        gpu: GPU profile.
        input_tokens: Prompt tokens, cached ones included [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        decode_tokens: Tokens generated [tokens].
        reasoning_tokens: Part of them that is reasoning [tokens]; None: not known.
        attention_mode: ``"quadratic"`` or ``"linear"``.
    """
    # Floats from here on: the square of a small integer type would overflow.
    n, c, t = 1.0 * input_tokens, 1.0 * cached_input_tokens, 1.0 * decode_tokens
    _, _, samples = model
    prefill = count_prefill_flops(model, n, c, attention_mode)
    decode = count_decode_flops(model, n, t) * samples
    reasoning_joules = None
    if reasoning_tokens is not None:
        # Reasoning comes before the visible answer, so it sees the shorter contexts.
        reasoning = count_decode_flops(model, n, 1.0 * reasoning_tokens) * samples
        reasoning_joules = compute_decode_energy(gpu, reasoning)
    return RequestEnergy(
        compute_prefill_energy(gpu, prefill),
        compute_decode_energy(gpu, decode),
        reasoning_joules,
        prefill,
        decode,
    )


def find_formula_range(gpu: GpuProfile, energy: RequestEnergy) -> tuple[float, float]:
    """Low and high factor [1] on the total energy by what the formula leaves out.

    Args:
        gpu: GPU profile.
        energy: The request by the formula.
    """
    prompt_range = PREFILL_RANGE.get(gpu.name, PREFILL_RANGE_ELSEWHERE)
    decode_range = DECODE_RANGE.get(gpu.name, DECODE_RANGE_ELSEWHERE)
    prefill_joules, decode_joules = energy.prefill_joules, energy.decode_joules
    total_joules = prefill_joules + decode_joules
    nothing = 1.0 * (total_joules == 0)
    whole = total_joules + nothing
    return (
        (prompt_range[0] * prefill_joules + decode_range[0] * decode_joules + nothing) / whole,
        (prompt_range[1] * prefill_joules + decode_range[1] * decode_joules + nothing) / whole,
    )
