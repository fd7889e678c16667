"""The calibrated estimator: what a batched decoder moves, computes and waits for.

A server generates one token for each of B sequences per decode step. A step reads the
weights once and every sequence's cache, multiplies, exchanges activations between GPUs,
and pays a fixed time per layer and per sequence. Its energy is that of an idle board for
as long as the step lasts, plus a price per byte, per weight and per FLOP, and its power
is the one over the other:

    weights  W = shared + experts * (1 - (1 - k/E)**B)              [parameters]
    time     t = bytes / bandwidth + FLOPs / peak + link + a * layers + b * B   [s]
    energy   E = idle * G * TDP * t + e_byte * bytes + e_weight * W + e_flop * FLOPs   [J]

each term with a fitted factor (``roofline_constants``). A request pays E / B per token,
and for its uncached prompt the price of the prefill FLOPs. Moving a byte costs the same
energy on every GPU generation, while a FLOP gets cheaper with each: that one choice is
what makes the estimate carry over from one GPU to the next.

Every number below may be a float or an array; no function asks which.

Source: Choi, Bedard, Fowler and Vuduc, "A Roofline Model of Energy", IPDPS 2013,
https://doi.org/10.1109/IPDPS.2013.77, for energy as work plus idle time; the fit is
``tests/benchmarks/fit.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from energy_tracking.errors import ConfigurationError, ProfileError, not_one_of
from energy_tracking.estimator.estimate import GRADE_FACTORS, check_token_count, combined
from energy_tracking.estimator.roofline_constants import FITTED
from energy_tracking.profiles import GpuProfile, ModelProfile

METHOD = "roofline"
VERSION = "1"
SCOPES = ("gpu", "facility")


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineConstants:
    """Factors of the physical terms; ``fit.py`` writes the values.

    Attributes:
        weights_time: Time of reading weights over that at peak bandwidth [1].
        cache_time: The same for the KV cache and recurrent state [1].
        compute_time: Time of decode FLOPs over that at peak [1].
        prefill_time: The same for prefill [1].
        link_time: Time of an exchange between GPUs over that at link bandwidth [1].
        layer_seconds: Fixed time per layer and step [s].
        sequence_seconds: Time per sequence and step: scheduling, sampling [s].
        early_layer_seconds: More per layer on an early engine [s].
        early_sequence_layer_seconds: More per sequence and layer, likewise [s].
        idle_power: Power of a board that waits, as a share of its rating [1].
        weight_byte_joules: Energy per byte of weights read [J/byte].
        weight_joules: Energy per weight brought to the multipliers [J].
        cache_byte_joules: Energy per byte of KV cache or state [J/byte].
        compute_power: Power rating share drawn by FLOPs at peak, decode [1].
        prefill_power: The same for prefill [1].
        expert_imbalance: More expert bytes read, per share of experts elsewhere [1].
        mixture_prefill: Prefill FLOPs of a mixture of experts over dense ones [1].
        error_factor: 90 % of the unseen architectures are predicted within this
            factor, batch and GPU known [1].
        rate_sigma: Standard deviation of ln(predicted / measured step time) [1].
    """

    weights_time: float
    cache_time: float
    compute_time: float
    prefill_time: float
    link_time: float
    layer_seconds: float
    sequence_seconds: float
    early_layer_seconds: float
    early_sequence_layer_seconds: float
    idle_power: float
    weight_byte_joules: float
    weight_joules: float
    cache_byte_joules: float
    compute_power: float
    prefill_power: float
    expert_imbalance: float
    mixture_prefill: float
    error_factor: float
    rate_sigma: float


CALIBRATED = RooflineConstants(**FITTED)

PREFILL_FACTOR = 2.0
"""Prefill energy is known within this factor, 90 % [1]: public data barely isolate it."""

CONCURRENCY_SPREAD = 16.0
"""Over and under the assumed concurrency lie 90 % of real ones within this factor [1].

Of the published measurements, 90 % have 4 to 750 sequences per GPU. Speeds at which
closed models answer (50 to 100 tokens/s) need few; their prices need many.
"""

SLOW_NETWORK = 0.3
"""Probability that a stream arrives later than it was made [1]; an assumption."""

SLOWEST = 10.0
"""Factor over which its delay spreads, log-uniformly [1]; an assumption."""

NORMAL_95 = 1.6449
"""95 % quantile of the standard normal distribution."""

GRID = 60
"""Points of the posterior on either side of the prior's centre."""

TINY = 1e-9
"""Least width of a prior, so that a known concurrency stays what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacilityOverhead:
    """What a data centre adds to the GPUs.

    Attributes:
        host: CPU, memory and network of the server, per GPU energy [1].
        idle: Machines kept waiting, per energy of the busy ones [1].
        pue: Power usage effectiveness: everything over the IT equipment [1].

    Source: Elsworth et al., "Measuring the environmental impact of delivering AI at
    Google scale", 2025, https://arxiv.org/abs/2508.15734: of a median prompt's 0.24 Wh,
    accelerators 0.14, host 0.06, idle machines 0.02, PUE 1.09. Wider for other operators.
    """

    host: float
    idle: float
    pue: float

    @property
    def factor(self) -> float:
        """Facility energy per GPU energy [1]."""
        return (1 + self.host) * (1 + self.idle) * self.pue


FACILITY_LOW = FacilityOverhead(host=0.2, idle=0.10, pue=1.09)
FACILITY = FacilityOverhead(host=0.4, idle=0.12, pue=1.12)
FACILITY_HIGH = FacilityOverhead(host=0.6, idle=0.12, pue=1.20)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingProfile:
    """How the model is assumed to be served; the default is a busy public API.

    Attributes:
        concurrency: Sequences decoded together, per GPU [1].
        concurrency_low_energy: The same at the low end of the 90 % range of energy,
            where most share [1]; None: ``concurrency`` times `CONCURRENCY_SPREAD`.
        concurrency_high_energy: The same at the high end, where fewest share [1];
            None: divided by it.
        num_gpus: GPUs that hold one copy of the model [1]; None: the least power of two
            that holds 1.2 times the weights.
        weight_bytes: Bytes per weight as served [byte]; None: 1 for closed models on
            GPUs with FP8, else 2.
        early_engine: An engine of 2024 or before (vLLM 0.5), whose scheduler made the
            GPU wait between steps.

    Raises:
        ConfigurationError: A value is impossible, or the three concurrencies are out
            of order.
    """

    concurrency: float = 32.0
    concurrency_low_energy: float | None = None
    concurrency_high_energy: float | None = None
    num_gpus: int | None = None
    weight_bytes: float | None = None
    early_engine: bool = False

    def __post_init__(self) -> None:
        """Check the values together."""
        for name in (
            "concurrency",
            "concurrency_low_energy",
            "concurrency_high_energy",
            "num_gpus",
            "weight_bytes",
        ):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise ConfigurationError(f"{name} must be finite and above 0; got {value!r}")
        if self.num_gpus is not None and self.num_gpus != int(self.num_gpus):
            raise ConfigurationError(f"num_gpus must be a whole number; got {self.num_gpus!r}")
        least, most = self.concurrency_range
        if not least <= self.concurrency <= most:
            raise ConfigurationError(
                "concurrency must lie between concurrency_high_energy and "
                f"concurrency_low_energy; got {least:g} <= {self.concurrency:g} <= {most:g}"
            )

    @property
    def concurrency_range(self) -> tuple[float, float]:
        """Least and most sequences per GPU of the 90 % range [1]."""
        least, most = self.concurrency_high_energy, self.concurrency_low_energy
        return (
            self.concurrency / CONCURRENCY_SPREAD if least is None else least,
            self.concurrency * CONCURRENCY_SPREAD if most is None else most,
        )

    def known(self) -> ServingProfile:
        """The same serving, with the concurrency taken as measured, not assumed."""
        return replace(
            self,
            concurrency_low_energy=self.concurrency,
            concurrency_high_energy=self.concurrency,
        )


SERVING = ServingProfile()
"""A busy public API: what is assumed where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One model on its GPUs, every gap of the profiles filled; numbers only.

    Fields may be arrays of one common shape: the fit evaluates all its rows at once.

    Attributes:
        active_params: Parameters used per token [1].
        shared_params: Parameters read in every step [1].
        expert_params: Parameters of all experts; 0 if dense [1].
        expert_share: Share of the experts a token uses; 0 if dense [1].
        mixture: 1 for a mixture of experts, else 0.
        layers: Layers [1].
        hidden_dim: Width of the residual stream [1].
        flops_per_weight: FLOPs per active parameter and token [FLOP].
        attention_flops: FLOPs per token generated and token attended to [FLOP].
        cache_bytes: KV cache per token of context, all layers [byte].
        windowed_share: Share of that cache with a sliding window [1].
        window: Length of that window [tokens].
        samples: Times the answer is generated [1].
        weight_bytes: Bytes per weight [byte].
        gpus: GPUs per instance [1].
        sequences: Sequences decoded together on the instance [1].
        early_engine: 1 for an early engine, else 0.
        peak_flops: Dense peak per GPU at the weights' precision [FLOP/s].
        attention_peak_flops: Dense peak per GPU in BF16 [FLOP/s].
        memory_bandwidth: Per GPU [byte/s].
        link_bandwidth: Between GPUs, per GPU and direction [byte/s].
        power_rating: Per GPU [W].
        state_bytes: Recurrent state per sequence, read and written each step [byte].
    """

    active_params: float
    shared_params: float
    expert_params: float
    expert_share: float
    mixture: float
    layers: float
    hidden_dim: float
    flops_per_weight: float
    attention_flops: float
    cache_bytes: float
    windowed_share: float
    window: float
    samples: float
    weight_bytes: float
    gpus: float
    sequences: float
    early_engine: float
    peak_flops: float
    attention_peak_flops: float
    memory_bandwidth: float
    link_bandwidth: float
    power_rating: float
    state_bytes: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RooflineEstimate:
    """The energy of one request and the range it lies in.

    Energies and FLOPs are floats, or arrays of one common shape.

    Attributes:
        prefill_energy_joules: Energy of reading the prompt [J].
        decode_energy_joules: Energy of generating the output [J].
        total_energy_low_joules: Lower end of the 90 % range [J].
        total_energy_high_joules: Upper end of the 90 % range [J].
        total_flops: Floating-point operations of prefill and decode [FLOP].
        range_parts: For each thing that is not known, the factors by which the total
            may lie under and over the central value on its account [1].
        decode_tokens_per_second: Rate at which one sequence should arrive [tokens/s].
        batch: Sequences decoded together on the instance [1].
        num_gpus: GPUs of the instance [1].
        weight_bytes: Bytes per weight [byte].
        scope: ``"gpu"`` or ``"facility"``.
    """

    prefill_energy_joules: float
    decode_energy_joules: float
    total_energy_low_joules: float
    total_energy_high_joules: float
    total_flops: float
    range_parts: Mapping[str, tuple[float, float]]
    decode_tokens_per_second: float
    batch: float
    num_gpus: float
    weight_bytes: float
    scope: str

    @property
    def total_energy_joules(self) -> float:
        """Prefill and decode together [J]."""
        return self.prefill_energy_joules + self.decode_energy_joules


# The physics: floats or arrays.


def smaller(a: float, b: float) -> float:
    """The smaller of two numbers, element by element."""
    return (a + b - abs(a - b)) / 2


def larger(a: float, b: float) -> float:
    """The larger of two numbers, element by element."""
    return (a + b + abs(a - b)) / 2


def experts_touched(expert_share: float, sequences: float) -> float:
    """Share of the experts that a step reads for ``sequences`` tokens [1].

    Each token picks its experts independently, so an expert stays unread with
    probability (1 - k/E) per token.
    """
    unread: float = (1 - expert_share) ** sequences
    return 1 - unread


def weights_read(site: Deployment, constants: RooflineConstants) -> float:
    """Parameters that one decode step reads, all GPUs together [1].

    With experts spread over GPUs the busiest one sets the pace: the others' wait is
    charged as further reading, in the share of experts that live elsewhere.
    """
    touched = site.expert_params * experts_touched(site.expert_share, site.sequences)
    imbalance = 1 + constants.expert_imbalance * (1 - 1 / site.gpus)
    return site.shared_params + touched * imbalance


@dataclass(frozen=True, slots=True)
class Work:
    """What one request asks for; all of its cost is linear in these.

    A pair is a token and one token it attends to.

    Attributes:
        input_tokens: Prompt tokens that no cache held [tokens].
        input_pairs: Their pairs [tokens**2].
        output_tokens: Generated tokens [tokens].
        output_pairs: Their pairs [tokens**2].
    """

    input_tokens: float
    input_pairs: float
    output_tokens: float
    output_pairs: float


def request_work(
    site: Deployment, input_tokens: float, cached_tokens: float, output_tokens: float
) -> Work:
    """Tokens and pairs of a request."""
    return Work(
        input_tokens - cached_tokens,
        attended(site, cached_tokens, input_tokens),
        output_tokens,
        attended(site, input_tokens, input_tokens + output_tokens),
    )


def attended(site: Deployment, start: float, stop: float) -> float:
    """Pairs of the tokens at positions ``start`` to ``stop`` [tokens**2].

    The integral of x over full-attention layers, and of min(x, window) over the others,
    each by its share of the layers.
    """
    full = (stop**2 - start**2) / 2
    a, b = smaller(start, site.window), smaller(stop, site.window)
    windowed = (b**2 - a**2) / 2 + site.window * ((stop - b) - (start - a))
    return full + site.windowed_share * (windowed - full)


def decode_step(
    site: Deployment, constants: RooflineConstants, context: float
) -> tuple[float, float]:
    """Time [s] and energy [J] of one decode step, all GPUs and sequences together.

    Args:
        site: The deployment.
        constants: Fitted factors.
        context: Mean tokens attended to per sequence [tokens].
    """
    weights = weights_read(site, constants)
    weight_bytes = weights * site.weight_bytes
    cache_bytes = site.sequences * (site.cache_bytes * context + 2 * site.state_bytes)
    flop_seconds = site.sequences * (
        site.flops_per_weight * site.active_params / site.peak_flops
        + site.attention_flops * context / site.attention_peak_flops
    )
    # Two all-reduces of the BF16 residual stream per layer, each sending every element
    # twice but for the share that is already there (ring all-reduce).
    link_bytes = 8 * site.layers * site.sequences * site.hidden_dim * (1 - 1 / site.gpus)

    bandwidth = site.gpus * site.memory_bandwidth
    per_sequence = constants.sequence_seconds + (
        site.early_engine * constants.early_sequence_layer_seconds * site.layers
    )
    per_layer = constants.layer_seconds + site.early_engine * constants.early_layer_seconds
    seconds = (
        constants.weights_time * weight_bytes / bandwidth
        + constants.cache_time * cache_bytes / bandwidth
        + constants.compute_time * flop_seconds / site.gpus
        + constants.link_time * link_bytes / site.link_bandwidth
        + per_layer * site.layers
        + per_sequence * site.sequences
    )
    joules = (
        constants.idle_power * site.gpus * site.power_rating * seconds
        + constants.weight_byte_joules * weight_bytes
        + constants.weight_joules * weights
        + constants.cache_byte_joules * cache_bytes
        + constants.compute_power * site.power_rating * flop_seconds
    )
    # A board held at its power limit slows down until it is within it.
    return larger(seconds, joules / (site.gpus * site.power_rating)), joules


def mean_context(work: Work, input_tokens: float) -> float:
    """Tokens a generated token attends to on average; the prompt, if there is none."""
    none = work.output_tokens == 0
    return (work.output_pairs + none * input_tokens) / (work.output_tokens + none)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a deployment takes for each unit of `Work`.

    Attributes:
        input_token: Per prompt token [J].
        input_pair: Per pair of a prompt token [J].
        output_token: Per generated token [J].
        output_pair: Per pair of a generated token [J].
    """

    input_token: float
    input_pair: float
    output_token: float
    output_pair: float


FAR = 1e6
"""A context at which the price of one more token is read off [tokens]."""


def prices(site: Deployment, constants: RooflineConstants) -> Prices:
    """Energy per token and pair.

    Prefill rides on decode steps that read the weights anyway: FLOPs alone set its price.
    The small batches that reach each expert make a mixture's cost more.
    """
    _, near = decode_step(site, constants, 0.0)
    _, far = decode_step(site, constants, FAR)
    per_answer = site.samples / site.sequences
    watts = prefill_watts(site, constants)
    penalty = 1 + site.mixture * (constants.mixture_prefill - 1)
    token_flops = site.flops_per_weight * site.active_params
    return Prices(
        input_token=watts * penalty * token_flops / site.peak_flops,
        input_pair=watts * site.attention_flops / site.attention_peak_flops,
        output_token=per_answer * near,
        output_pair=per_answer * (far - near) / FAR,
    )


def prefill_watts(site: Deployment, constants: RooflineConstants) -> float:
    """Energy of prefill FLOPs over the time they would take at peak [W]."""
    share = constants.prefill_power + constants.idle_power * constants.prefill_time
    return site.power_rating * share


def prefill_energy(price: Prices, work: Work) -> float:
    """Energy of reading the uncached part of the prompt [J]."""
    return price.input_token * work.input_tokens + price.input_pair * work.input_pairs


def decode_energy(price: Prices, work: Work) -> float:
    """Energy of generating the answer [J]."""
    return price.output_token * work.output_tokens + price.output_pair * work.output_pairs


def prefill_seconds(site: Deployment, constants: RooflineConstants, joules: float) -> float:
    """Time that a prefill of this energy takes from the whole instance [s]."""
    return constants.prefill_time * joules / (prefill_watts(site, constants) * site.gpus)


def request_flops(site: Deployment, work: Work) -> float:
    """Floating-point operations of one request [FLOP]."""
    tokens = work.input_tokens + site.samples * work.output_tokens
    pairs = work.input_pairs + site.samples * work.output_pairs
    return site.flops_per_weight * site.active_params * tokens + site.attention_flops * pairs


# From profiles to numbers.

SHARED_SHARE = 0.4
"""Active parameters outside the experts where a profile does not count experts [1]."""

MIXTURE_RATIO = 1.5
"""Above this total over active, a profile without experts is taken for a mixture [1]."""

CACHE_BYTES_PER_LAYER = 4096.0
"""KV cache per token and layer where a profile is silent: 8 heads of 128, BF16 [byte]."""

MEMORY_BYTES = 80e9
"""Memory of a GPU whose profile is silent [byte]."""

LINK_BANDWIDTH = 900e9
"""GPU-to-GPU rate where a profile is silent, both directions: NVLink 4 [byte/s]."""


def deploy(model: ModelProfile, gpu: GpuProfile, serving: ServingProfile) -> Deployment:
    """Fill every gap of the profiles by rule.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        serving: Serving assumption.

    Raises:
        ProfileError: The GPU profile has no memory bandwidth.
    """
    bandwidth = check_gpu(gpu)
    total = model.num_total_params or model.num_active_params
    shared, expert_share = _split_experts(model, total)
    weight_bytes = serving.weight_bytes or _weight_bytes(model, gpu)
    gpus = serving.num_gpus or gpus_needed(total * weight_bytes, gpu.memory_bytes)
    # Weights below one byte are unpacked to BF16 before they are multiplied.
    fp8 = gpu.peak_flops_fp8 if 1 <= weight_bytes < 2 else None
    if model.num_kv_heads is None:
        cache_bytes = CACHE_BYTES_PER_LAYER * model.num_layers
    else:
        cache_bytes = 4 * model.num_layers * model.num_kv_heads * model.attn_head_dim
    windowed = model.num_sliding_layers or model.num_layers
    return Deployment(
        active_params=model.num_active_params,
        shared_params=shared,
        expert_params=total - shared if expert_share else 0.0,
        expert_share=expert_share,
        mixture=1.0 if expert_share else 0.0,
        layers=model.num_layers,
        hidden_dim=model.hidden_dim,
        flops_per_weight=model.flops_per_tkn_factor,
        attention_flops=(
            model.flops_per_tkn_factor_attn
            * model.num_attn_heads
            * model.attn_head_dim
            * model.num_layers
        ),
        cache_bytes=model.kv_bytes_per_token or cache_bytes,
        windowed_share=windowed / model.num_layers if model.sliding_window else 0.0,
        window=float(model.sliding_window or 0),
        samples=model.samples,
        weight_bytes=weight_bytes,
        gpus=float(gpus),
        sequences=serving.concurrency * gpus,
        early_engine=float(serving.early_engine),
        peak_flops=fp8 or gpu.peak_flops,
        attention_peak_flops=gpu.peak_flops,
        memory_bandwidth=bandwidth,
        link_bandwidth=(gpu.link_bandwidth or LINK_BANDWIDTH) / 2,
        power_rating=gpu.power_rating,
        state_bytes=model.state_bytes_per_sequence or 0.0,
    )


def check_gpu(gpu: GpuProfile) -> float:
    """The memory bandwidth of a GPU profile [byte/s], which this method cannot do without.

    Raises:
        ProfileError: The profile has none.
    """
    if gpu.memory_bandwidth is None:
        raise ProfileError(
            f"GPU profile {gpu.name!r} has no memory_bandwidth, which method {METHOD!r} needs; "
            "give it one, or use a profile that has it"
        )
    return gpu.memory_bandwidth


def gpus_needed(total_weight_bytes: float, memory_bytes: float | None) -> int:
    """The least power of two of GPUs that holds 1.2 times the weights [1]."""
    needed = 1.2 * total_weight_bytes / (memory_bytes or MEMORY_BYTES)
    return int(2 ** max(0, math.ceil(math.log2(needed))))


def _weight_bytes(model: ModelProfile, gpu: GpuProfile) -> float:
    closed = model.family not in ("open", "user")
    return 1.0 if closed and gpu.peak_flops_fp8 else 2.0


def _split_experts(model: ModelProfile, total: float) -> tuple[float, float]:
    """Parameters outside the experts [1], and the share of experts a token uses [1].

    Of E equal experts k are active: active = shared + k * expert and
    total = shared + E * expert give both.
    """
    active, experts, used = (
        model.num_active_params,
        model.num_experts,
        model.num_experts_per_token,
    )
    if 0 < used < experts:
        shared = active - used * (total - active) / (experts - used)
        if shared > 0:
            return shared, used / experts
    if total < MIXTURE_RATIO * active:
        return active, 0.0
    shared = SHARED_SHARE * active
    return shared, (active - shared) / (total - shared)


# The estimate and its range.


def estimate(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0,
    serving: ServingProfile = SERVING,
    scope: str = "gpu",
    constants: RooflineConstants = CALIBRATED,
) -> RooflineEstimate:
    """Estimate one request, or an array of them.

    The range holds the true value in 90 % of cases if each of its parts does; see
    ``combined``.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        input_tokens: Prompt tokens, cached ones included [tokens].
        output_tokens: All generated tokens, reasoning included [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        serving: How the model is assumed to be served.
        scope: ``"gpu"``, the boards alone, or ``"facility"``: with host, idle machines
            and cooling.
        constants: Fitted factors.

    Raises:
        TokenCountError: A count is negative or not finite.
        ConfigurationError: The scope is unknown.
        ProfileError: The GPU profile has no memory bandwidth.
    """
    if scope not in SCOPES:
        raise ConfigurationError(not_one_of("scope", scope, SCOPES))
    check_token_count("input_tokens", input_tokens)
    check_token_count("output_tokens", output_tokens)
    check_token_count("cached_input_tokens", cached_input_tokens)
    check_token_count("input_tokens - cached_input_tokens", input_tokens - cached_input_tokens)
    # Floats from here on: the square of a small integer type would overflow.
    prompt, cached, answer = 1.0 * input_tokens, 1.0 * cached_input_tokens, 1.0 * output_tokens

    cases = _cases(model, gpu, serving, constants)
    site = cases.site
    work = request_work(site, prompt, cached, answer)
    prefill, decode = prefill_energy(cases.central, work), decode_energy(cases.central, work)
    total = prefill + decode
    step_seconds, _ = decode_step(site, constants, mean_context(work, prompt))

    parts = {"formula": (1 / constants.error_factor, constants.error_factor)}
    if cases.batch:
        # A prompt costs the same in any company.
        parts["batch"] = _relative(total, *(prefill + decode_energy(p, work) for p in cases.batch))
    if cases.parameters:
        low, high = _relative(
            total, *(prefill_energy(p, work) + decode_energy(p, work) for p in cases.parameters)
        )
        spread = GRADE_FACTORS[model.grade]
        parts["parameters"] = (smaller(low, 1 / spread), larger(high, spread))
    if model.samples > 1:
        parts["samples"] = _relative(total, prefill + decode / model.samples, total)
    parts["prefill"] = _relative(
        total, prefill / PREFILL_FACTOR + decode, prefill * PREFILL_FACTOR + decode
    )
    overhead = 1.0
    if scope == "facility":
        overhead = FACILITY.factor
        parts["facility"] = (FACILITY_LOW.factor / overhead, FACILITY_HIGH.factor / overhead)
    low, high = combined(parts)
    return RooflineEstimate(
        prefill_energy_joules=overhead * prefill,
        decode_energy_joules=overhead * decode,
        total_energy_low_joules=overhead * total * low,
        total_energy_high_joules=overhead * total * high,
        total_flops=request_flops(site, work),
        range_parts=parts,
        decode_tokens_per_second=1 / step_seconds,
        batch=site.sequences,
        num_gpus=site.gpus,
        weight_bytes=site.weight_bytes,
        scope=scope,
    )


@dataclass(frozen=True, slots=True)
class _Cases:
    """Prices of the central case, and of both ends of what is not known."""

    site: Deployment
    central: Prices
    batch: tuple[Prices, Prices] | None
    parameters: tuple[Prices, Prices] | None


@lru_cache(maxsize=512)
def _cases(
    model: ModelProfile, gpu: GpuProfile, serving: ServingProfile, constants: RooflineConstants
) -> _Cases:
    site = deploy(model, gpu, serving)
    least, most = serving.concurrency_range
    known = model.grade == "A" and not (model.num_active_params_low or model.num_active_params_high)
    low, high = _parameter_ends(model)
    return _Cases(
        site,
        prices(site, constants),
        None
        if least == most
        else (
            prices(replace(site, sequences=most * site.gpus), constants),
            prices(replace(site, sequences=least * site.gpus), constants),
        ),
        None
        if known
        else (
            prices(deploy(low, gpu, serving), constants),
            prices(deploy(high, gpu, serving), constants),
        ),
    )


def _relative(total: float, low: float, high: float) -> tuple[float, float]:
    """Both ends of a range over the central energy [1]; 1 where that is zero."""
    nothing = total == 0
    return (low + nothing) / (total + nothing), (high + nothing) / (total + nothing)


def _parameter_ends(model: ModelProfile) -> tuple[ModelProfile, ModelProfile]:
    """The profile with the least and the most credible active parameters."""

    def with_active(active: float) -> ModelProfile:
        total = model.num_total_params
        dense = total is None or total < MIXTURE_RATIO * model.num_active_params
        return replace(
            model,
            num_active_params=active,
            num_total_params=None if dense else max(total or active, active),
            num_active_params_low=None,
            num_active_params_high=None,
        )

    central = model.num_active_params
    return (
        with_active(model.num_active_params_low or central),
        with_active(model.num_active_params_high or central),
    )


# Evidence from the clock.


def posterior_serving(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    observed_tokens_per_second: float,
    serving: ServingProfile = SERVING,
    slow_network: float = SLOW_NETWORK,
    constants: RooflineConstants = CALIBRATED,
) -> ServingProfile:
    """The serving assumption, updated by the rate at which a stream was seen to arrive.

    Prior: ln(concurrency) is normal on either side of the central value, with the
    range's ends at its 5 and 95 % quantiles. Likelihood: a step takes as long as
    predicted, with the fit's own scatter; but with probability ``slow_network`` the
    stream was held up on its way, by any factor, spread log-uniformly over `SLOWEST`. A
    rate above the predicted one is therefore strong evidence for few sequences, one far
    below it almost none for many: the posterior then falls back to the prior.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        input_tokens: Prompt tokens of the timed request [tokens].
        output_tokens: All generated tokens of the timed request [tokens].
        observed_tokens_per_second: Output tokens after the first, over the time from
            the first to the last [tokens/s].
        serving: The prior.
        slow_network: Probability that the network or client set the pace, between 0
            and 1 [1].
        constants: Fitted factors.

    Returns:
        The same profile with the concurrency's median and 5 and 95 % quantiles.

    Raises:
        ConfigurationError: The rate is not finite and above 0, or the probability is
            not between 0 and 1.
    """
    if not 0 < observed_tokens_per_second < math.inf:
        raise ConfigurationError(
            "observed_tokens_per_second must be finite and above 0; "
            f"got {observed_tokens_per_second!r}"
        )
    if not 0 < slow_network < 1:
        raise ConfigurationError(f"slow_network must lie between 0 and 1; got {slow_network!r}")
    least, most = serving.concurrency_range
    central = math.log(serving.concurrency)
    below = max(central - math.log(least), TINY) / NORMAL_95
    above = max(math.log(most) - central, TINY) / NORMAL_95
    site = deploy(model, gpu, serving)
    work = request_work(site, input_tokens, 0.0, output_tokens)
    context = mean_context(work, input_tokens)
    points, weights = [], []
    for step in range(-GRID, GRID + 1):
        # Four standard deviations of the prior either way.
        deviation = 4 * step / GRID
        point = central + deviation * (below if step < 0 else above)
        # No instance serves less than one sequence.
        sequences = max(math.exp(point) * site.gpus, 1.0)
        crowd = replace(site, sequences=sequences)
        seconds, _ = decode_step(crowd, constants, context)
        z = -math.log(seconds * observed_tokens_per_second) / constants.rate_sigma
        on_time = math.exp(-(z**2) / 2) / (constants.rate_sigma * math.sqrt(2 * math.pi))
        held_up = (1 + math.erf(z / math.sqrt(2))) / 2 / math.log(SLOWEST)
        likelihood = (1 - slow_network) * on_time + slow_network * held_up
        points.append(math.log(sequences / site.gpus))
        weights.append(math.exp(-(deviation**2) / 2) * (below if step < 0 else above) * likelihood)
    low, median, high = (_quantile(points, weights, share) for share in (0.05, 0.5, 0.95))
    return replace(
        serving,
        concurrency=math.exp(median),
        concurrency_low_energy=math.exp(high),
        concurrency_high_energy=math.exp(low),
    )


def _quantile(points: list[float], weights: list[float], share: float) -> float:
    """The point below which ``share`` of the weight lies; the first, if none has any.

    None has any where a stream outran every prediction: as few sequences as can be.
    """
    wanted, seen = share * sum(weights), 0.0
    for point, weight in zip(points, weights, strict=True):
        seen += weight
        if seen >= wanted:
            return point
    return points[-1]
