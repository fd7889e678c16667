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
from typing import Any

from energy_tracking.estimator.estimate import (
    GRADE_FACTORS,
    REST,
    EnergyEstimate,
    Spread,
    check_attention_mode,
    check_token_counts,
    combine_spreads,
    find_factors,
    start_values,
    sum_excesses,
)
from energy_tracking.frozen import fill_fields, frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.usage.token_usage import TokenUsage

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


@frozen()
class ModelTerms:
    """What the formula takes of a model; floats, or arrays with an element for each request.

    Attributes:
        dense_flops: Work per token outside the attention [FLOP].
        attention_flops: Work of the attention per pair of tokens, all layers [FLOP].
        samples: Times the answer is generated [1].
    """

    dense_flops: float
    attention_flops: float
    samples: float


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


class Formula:
    """The formula with what it takes of one model, or of one for each request, and of one GPU.

    Each price is the energy [J] and the floating-point operations [FLOP] of a part of a request.
    Counts are floats or arrays of floats: the square of a small integer type would overflow.
    """

    __slots__ = (
        "_attention",
        "_decode_joules",
        "_decode_power",
        "_decode_use",
        "_dense",
        "_falls",
        "_is_quadratic",
        "_is_sampled",
        "_prefill_joules",
        "_prefill_power",
        "_prefill_use",
        "_rises",
        "_samples",
        "_watts_per_flops",
    )

    def __init__(self, model: ModelTerms, gpu: GpuProfile, attention_mode: str) -> None:
        """Take from the GPU what does not depend on a request.

        Args:
            model: What the formula takes of the model.
            gpu: GPU profile.
            attention_mode: ``"quadratic"`` or ``"linear"``.
        """
        self._dense, self._attention = model.dense_flops, model.attention_flops
        self._samples = samples = model.samples
        self._is_sampled = type(samples) is not float or samples != 1.0
        self._is_quadratic = attention_mode == "quadratic"
        self._watts_per_flops = gpu.power_rating / gpu.peak_flops
        self._prefill_power, self._prefill_use = gpu.power_prefill_util, gpu.gpu_prefill_util
        self._decode_power, self._decode_use = gpu.power_decoding_util, gpu.gpu_decoding_util
        # Arrays take one factor; one call is rounded step by step, as the seed's.
        self._prefill_joules = self._watts_per_flops * self._prefill_power / self._prefill_use
        self._decode_joules = self._watts_per_flops * self._decode_power / self._decode_use
        prefill_low, prefill_high = PREFILL_RANGE.get(gpu.name, PREFILL_RANGE_ELSEWHERE)
        decode_low, decode_high = DECODE_RANGE.get(gpu.name, DECODE_RANGE_ELSEWHERE)
        self._falls = 1.0 - prefill_low, 1.0 - decode_low
        self._rises = prefill_high - 1.0, decode_high - 1.0

    def price_prompt(
        self, input_tokens: float, cached_input_tokens: float = 0.0
    ) -> tuple[float, float]:
        """Energy [J] and work [FLOP] of reading the prompt.

        Args:
            input_tokens: Prompt tokens, cached ones included [tokens].
            cached_input_tokens: Part of the prompt read from a cache [tokens].
        """
        n, c = input_tokens, cached_input_tokens
        attended = n * n if self._is_quadratic else n
        if type(c) is not float or c != 0.0:
            attended = attended - c * c if self._is_quadratic else n - c
            n = n - c
        flops = n * self._dense
        flops += self._attention * attended
        if type(flops) is float:
            return flops * self._prefill_power * self._watts_per_flops / self._prefill_use, flops
        return flops * self._prefill_joules, flops

    def price_answer(self, input_tokens: float, decode_tokens: float) -> tuple[float, float]:
        """Energy [J] and work [FLOP] of generating an answer, or the first part of one.

        Args:
            input_tokens: Tokens of the prompt before it [tokens].
            decode_tokens: Tokens generated [tokens].
        """
        n, t = input_tokens, decode_tokens
        flops = t - 1.0
        flops *= 0.5
        flops = flops + n
        flops *= t
        flops = flops * self._attention
        flops += t * self._dense
        if self._is_sampled:
            flops = flops * self._samples
        if type(flops) is float:
            return flops * self._decode_power * self._watts_per_flops / self._decode_use, flops
        return flops * self._decode_joules, flops

    def find_spread(self, prefill_joules: float, decode_joules: float) -> Spread:
        """How far the energy may lie under and over the formula's by what it leaves out [J].

        Args:
            prefill_joules: Energy of reading the prompt [J].
            decode_joules: Energy of generating the answer [J].
        """
        (prefill_fall, decode_fall), (prefill_rise, decode_rise) = self._falls, self._rises
        return (
            prefill_fall * prefill_joules + decode_fall * decode_joules,
            prefill_rise * prefill_joules + decode_rise * decode_joules,
        )


class PricedModel:
    """One model on one GPU: what does not depend on the request, computed once.

    Attributes:
        formula: The formula with their numbers.
        model: The model.
    """

    __slots__ = ("_excesses", "_parameters", "_reasoning_factor", "_values", "formula", "model")

    def __init__(self, model: ModelProfile, gpu: GpuProfile, attention_mode: str) -> None:
        """Compute it.

        Args:
            model: Model profile.
            gpu: GPU profile.
            attention_mode: ``"quadratic"`` or ``"linear"``.
        """
        self.model = model
        self.formula = Formula(get_terms(model), gpu, attention_mode)
        self._reasoning_factor = max(model.reasoning_factor, 1.0)
        spread = GRADE_FACTORS[model.grade]
        self._parameters = 1 / spread, spread
        self._excesses = sum_excesses((self._parameters,))
        self._values = start_values(
            model_profile=model.name,
            gpu=gpu.name,
            method=METHOD,
            method_version=VERSION,
            scope=SCOPE,
            grade=model.grade,
            attention_mode=attention_mode,
        )

    def estimate(self, usage: TokenUsage, reasoning_factor: float | None = None) -> EnergyEstimate:
        """Estimate one request, or an array of them, whose counts have been checked.

        Args:
            usage: Its tokens; each count may be an array.
            reasoning_factor: Decode tokens per output token [1]; None: as the seed has it, the
                model's, where the usage says nothing of reasoning and so may leave it out.
        """
        formula = self.formula
        reasoning_tokens: float | None = usage.reasoning_tokens
        if reasoning_factor is None:
            reasoning_factor = self._reasoning_factor if reasoning_tokens is None else 1.0
        prompt, decode_tokens = 1.0 * usage.input_tokens, 1.0 * usage.output_tokens
        if reasoning_factor != 1.0:
            decode_tokens = decode_tokens * reasoning_factor
            if reasoning_tokens is None:
                reasoning_tokens = decode_tokens - usage.output_tokens
        cached = 1.0 * usage.cached_input_tokens
        prefill_joules, prefill_flops = formula.price_prompt(prompt, cached)
        decode_joules, decode_flops = formula.price_answer(prompt, decode_tokens)
        spread = formula.find_spread(prefill_joules, decode_joules)
        total_joules = prefill_joules + decode_joules
        low, high = combine_spreads(total_joules, (spread,), self._excesses)
        flops = prefill_flops + decode_flops
        values = self._values.copy()
        if reasoning_factor != 1.0:
            values["reasoning_factor"] = reasoning_factor
        values["prefill_energy_joules"] = prefill_joules
        values["decode_energy_joules"] = decode_joules
        values["total_energy_low_joules"] = low
        values["total_energy_high_joules"] = high
        if reasoning_tokens is None:
            values["reasoning_energy_joules"] = None
        else:
            # Reasoning comes before the visible answer, so it sees the shorter contexts.
            reasoning_joules, _ = formula.price_answer(prompt, 1.0 * reasoning_tokens)
            values["reasoning_energy_joules"] = reasoning_joules
        values[REST] = self, flops, total_joules, spread
        return fill_fields(EnergyEstimate, values)

    def price_prompt(self, input_tokens: float) -> float:
        """Energy of a prompt of which nothing is cached [J].

        Args:
            input_tokens: Prompt tokens [tokens].
        """
        joules, _ = self.formula.price_prompt(1.0 * input_tokens)
        return joules

    def complete(self, values: dict[str, Any], rest: _Rest, names: tuple[str, ...]) -> None:
        """Put in place all that ``estimate`` has left for its few readers: one costs as much.

        Args:
            values: Those of the estimate.
            rest: What is needed for it.
            names: What is wanted.
        """
        _, flops, total_joules, spread = rest
        values["total_flops"] = flops
        values["range_parts"] = {
            "formula": find_factors(total_joules, spread),
            "parameters": self._parameters,
        }
        # Nothing, of how the model is served.
        values["assumed"] = {}


_Rest = tuple[PricedModel, float, float, Spread]
"""A priced model; of a request its work [FLOP], its energy [J], and how far that may lie off by
what the formula leaves out [J]."""


@lru_cache(maxsize=512)
def price_model(model: ModelProfile, gpu: GpuProfile, attention_mode: str) -> PricedModel:
    """A model on a GPU, with all that does not depend on the request.

    Args:
        model: Model profile.
        gpu: GPU profile.
        attention_mode: ``"quadratic"`` or ``"linear"``.
    """
    return PricedModel(model, gpu, attention_mode)


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
    counts: dict[str, Any] = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "cached_input_tokens": cached_input_tokens,
        "reasoning_tokens": reasoning_tokens,
    }
    priced = price_model(model, gpu, attention_mode)
    return priced.estimate(TokenUsage(**counts), reasoning_factor)
