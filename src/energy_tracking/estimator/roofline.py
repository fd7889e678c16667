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
what makes the estimate carry over from one GPU to the next. Multiplying a weight costs in
proportion to the width of the multiplication, which is what makes it carry over from BF16
to FP8 and FP4.

The order of things: ``serving.deploy`` turns profiles into numbers; ``decode_step`` is the
physics of one step; ``prices`` makes of it a price per token and per pair of tokens, in which
a request's energy is linear; ``estimate`` adds a request up, and for everything that is not
known takes the same sum at both its ends. A new unknown is one more entry in ``_cases``.

Every number below may be a float or an array; no function asks which.

Source: Choi, Bedard, Fowler and Vuduc, "A Roofline Model of Energy", IPDPS 2013,
https://doi.org/10.1109/IPDPS.2013.77, for energy as work plus idle time; the fit is
``tests/benchmarks/fit.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from energy_tracking.errors import ConfigurationError, not_one_of
from energy_tracking.estimator.estimate import GRADE_FACTORS, check_token_count, combined
from energy_tracking.estimator.roofline_constants import FITTED, GPUS
from energy_tracking.estimator.serving import (
    CLOSED_FAMILIES,
    SERVING,
    Deployment,
    ServingProfile,
    deploy,
)
from energy_tracking.profiles.profile import GpuProfile, ModelProfile

METHOD = "roofline"
VERSION = "2"
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
        weight_joules: Energy per weight multiplied in BF16; narrower ones in proportion [J].
        cache_byte_joules: Energy per byte of KV cache or state [J/byte].
        compute_power: Power rating share drawn by FLOPs at peak, decode [1].
        prefill_power: The same for prefill [1].
        expert_imbalance: More expert bytes read, per share of experts elsewhere, on an engine
            that does not balance them [1].
        quantised_overhead: Decode energy of weights below 16 bits on such an engine, over
            that of the terms above [1].
        mixture_prefill: More prefill FLOPs, per share of the experts a token leaves out [1].
        speculative_decode: Decode energy and time with speculative decoding over without [1].
        speculative_decode_low: The least such ratio measured [1].
        speculative_decode_high: The largest such ratio measured [1].
        error_factor: 90 % of unseen rows are predicted within this factor, batch and GPU
            known [1].
        crowded_error_factor: The same with `CROWD` sequences or more [1].
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
    quantised_overhead: float
    mixture_prefill: float
    speculative_decode: float
    speculative_decode_low: float
    speculative_decode_high: float
    error_factor: float
    crowded_error_factor: float
    rate_sigma: float


CALIBRATED = RooflineConstants(**FITTED)

CROWD = 512
"""Sequences on one instance from which the fit is less sure [1]."""

PREFILL_RANGE = (0.5, 1.6)
"""Prefill energy over the estimate, 90 % [1], where the GPUs are loaded.

Of 101 measured rows whose energy is 30 % prefill or more (``fit.py`` prints them), 5 to 95 %
imply 0.55 to 1.5 of the estimate; prefill on GPUs of its own, saturated, was measured at half
of it.
Source: InferenceX PowerX, DeepSeek-V4-Pro on disaggregated B200.
"""

LIGHT_PREFILL_RANGE = (0.5, 2.6)
"""The same with fewer than `LIGHT_LOAD` sequences per GPU: there the same GPUs took 1.7 to 2.6
times what they take when saturated [1]."""

LIGHT_LOAD = 8.0
"""Sequences per GPU below which prefill has the GPU to itself for part of the time [1]."""

HARDWARE_RANGE = (0.45, 2.5)
"""Energy on the accelerators and at the precisions that a closed provider may serve on, over
that on the GPU assumed [1]; ``accuracy.py`` prints it."""

UNSEEN_GPU_FACTOR = 1.5
"""What a GPU may cost over or under the estimate, 90 %, if the fit saw none of its kind [1].

Each GPU that was seen, left out of the fit, is predicted within this factor in 90 % of its
rows; ``fit.py`` prints it.
"""


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
class RooflineEstimate:
    """The energy of one request and the range it lies in.

    Energies and FLOPs are floats, or arrays of one common shape.

    Attributes:
        prefill_energy_joules: Energy of reading the prompt [J].
        decode_energy_joules: Energy of generating the output [J].
        reasoning_energy_joules: Part of it spent on reasoning [J].
        total_energy_low_joules: Lower end of the 90 % range [J].
        total_energy_high_joules: Upper end of the 90 % range [J].
        total_flops: Floating-point operations of prefill and decode [FLOP].
        range_parts: For each thing that is not known, the factors by which the total
            may lie under and over the central value on its account [1].
        deployment: What was assumed: GPUs, bytes per weight and the rest.
        sequences: Sequences decoded together by all GPUs of the instance, no more than their
            memory holds where they are assumed [1].
        scope: ``"gpu"`` or ``"facility"``.
    """

    prefill_energy_joules: float
    decode_energy_joules: float
    reasoning_energy_joules: float
    total_energy_low_joules: float
    total_energy_high_joules: float
    total_flops: float
    range_parts: Mapping[str, tuple[float, float]]
    deployment: Deployment
    sequences: float
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


def imbalance(site: Deployment, constants: RooflineConstants) -> float:
    """Bytes of experts charged over those read [1].

    With experts spread over GPUs the busiest one sets the pace: the others' wait is charged as
    further reading, in the share of experts that live elsewhere. Engines of today move experts
    about so that none is the busiest.
    """
    elsewhere = 1 - 1 / site.expert_parallel
    return 1 + site.unbalanced_engine * constants.expert_imbalance * elsewhere


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


@dataclass(frozen=True, slots=True)
class StepCosts:
    """What a decode step costs, once and for each of what it moves; each [s] or [J].

    Attributes:
        fixed: Whatever the step does.
        per_weight: For each parameter read.
        per_sequence: For each sequence.
        per_pair: For each token that a sequence attends to.
    """

    fixed: float
    per_weight: float
    per_sequence: float
    per_pair: float


def step_costs(site: Deployment, constants: RooflineConstants) -> tuple[StepCosts, StepCosts]:
    """Time [s] and energy [J] of a decode step, all GPUs of a group together.

    With speculative decoding: per token of each sequence, since a step yields several.
    """
    bandwidth = site.gpus * site.memory_bandwidth
    weight_flop_seconds = site.flops_per_weight * site.active_params / site.peak_flops
    pair_flop_seconds = site.attention_flops / site.attention_peak_flops
    # Recurrent state is read and written.
    state_bytes = 2 * site.state_bytes
    # Two all-reduces of the BF16 residual stream per layer, each sending every element
    # twice but for the share that is already there (ring all-reduce).
    link_bytes = 8 * site.layers * site.hidden_dim * (1 - 1 / site.gpus)
    layer_seconds = constants.layer_seconds + site.early_engine * constants.early_layer_seconds
    scheduling_seconds = constants.sequence_seconds + (
        site.early_engine * constants.early_sequence_layer_seconds * site.layers
    )
    fixed = layer_seconds * site.layers
    per_weight = constants.weights_time * site.weight_bytes / bandwidth
    per_sequence = (
        constants.cache_time * state_bytes / bandwidth
        + constants.compute_time * weight_flop_seconds / site.gpus
        + constants.link_time * link_bytes / site.link_bandwidth
        + scheduling_seconds
    )
    per_pair = (
        constants.cache_time * site.cache_bytes / bandwidth
        + constants.compute_time * pair_flop_seconds / site.gpus
    )
    idle_watts = constants.idle_power * site.gpus * site.power_rating
    compute_watts = constants.compute_power * site.power_rating
    weight_joules = (
        constants.weight_byte_joules * site.weight_bytes
        + constants.weight_joules * site.operand_bytes / 2
    )
    drafted = 1 + site.speculative * (constants.speculative_decode - 1)
    # Kernels for narrow weights were young on engines that did not balance experts either.
    quantised = (site.weight_bytes < 2) * site.unbalanced_engine
    dearer = drafted * (1 + quantised * (constants.quantised_overhead - 1))
    return (
        StepCosts(
            drafted * fixed, drafted * per_weight, drafted * per_sequence, drafted * per_pair
        ),
        StepCosts(
            dearer * idle_watts * fixed,
            dearer * (idle_watts * per_weight + weight_joules),
            dearer
            * (
                idle_watts * per_sequence
                + constants.cache_byte_joules * state_bytes
                + compute_watts * weight_flop_seconds
            ),
            dearer
            * (
                idle_watts * per_pair
                + constants.cache_byte_joules * site.cache_bytes
                + compute_watts * pair_flop_seconds
            ),
        ),
    )


def decode_step(
    site: Deployment, constants: RooflineConstants, context: float
) -> tuple[float, float]:
    """Time [s] and energy [J] of a decode step of the deployment's sequences.

    Args:
        site: The deployment.
        constants: Fitted factors.
        context: Mean tokens attended to per sequence [tokens].
    """
    weights = site.shared_params * site.attention_replicas + (
        site.expert_params
        * imbalance(site, constants)
        * experts_touched(site.expert_share, site.sequences)
    )
    seconds, joules = (
        cost.fixed
        + cost.per_weight * weights
        + site.sequences * (cost.per_sequence + cost.per_pair * context)
        for cost in step_costs(site, constants)
    )
    # A board held at its power limit slows down until it is within it.
    return larger(seconds, joules / (site.gpus * site.power_rating)), joules


def mean_context(work: Work, input_tokens: float) -> float:
    """Tokens a generated token attends to on average; the prompt, if there is none."""
    none = work.output_tokens == 0
    return (work.output_pairs + none * input_tokens) / (work.output_tokens + none)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a deployment takes for each unit of `Work`, and for what its sequences share.

    Attributes:
        input_token: Per prompt token [J].
        input_pair: Per pair of a prompt token [J].
        step: Per generated token of all sequences together [J].
        experts: The same, if every expert is read [J].
        expert_share: Share of the experts that one token uses [1].
        output_token: Per generated token [J].
        output_pair: Per pair of a generated token [J].
        sequences: Sequences that share a step [1].
    """

    input_token: float
    input_pair: float
    step: float
    experts: float
    expert_share: float
    output_token: float
    output_pair: float
    sequences: float


def prices(site: Deployment, constants: RooflineConstants) -> Prices:
    """Energy per token and pair.

    Prefill rides on decode steps that read the weights anyway: FLOPs alone set its price.
    The small batches that reach each expert make a mixture's cost more, the more of its
    experts a token leaves out.
    """
    _, cost = step_costs(site, constants)
    watts = prefill_watts(site, constants)
    penalty = 1 + constants.mixture_prefill * (1 - site.expert_share)
    token_flops = site.flops_per_weight * site.active_params
    shared = site.shared_params * site.attention_replicas
    experts = site.expert_params * imbalance(site, constants)
    return Prices(
        input_token=watts * penalty * token_flops / site.peak_flops,
        input_pair=watts * site.attention_flops / site.attention_peak_flops,
        step=site.samples * (cost.fixed + cost.per_weight * shared),
        experts=site.samples * cost.per_weight * experts,
        expert_share=site.expert_share,
        output_token=site.samples * cost.per_sequence,
        output_pair=site.samples * cost.per_pair,
        sequences=site.sequences,
    )


def prefill_watts(site: Deployment, constants: RooflineConstants) -> float:
    """Energy of prefill FLOPs over the time they would take at peak [W]."""
    share = constants.prefill_power + constants.idle_power * constants.prefill_time
    return site.power_rating * share


def prefill_energy(price: Prices, work: Work) -> float:
    """Energy of reading the uncached part of the prompt [J]."""
    return price.input_token * work.input_tokens + price.input_pair * work.input_pairs


def decode_energy(price: Prices, work: Work, sequences: float | None = None) -> float:
    """Energy of generating the answer [J].

    Args:
        price: Prices of the deployment.
        work: The request.
        sequences: Sequences that share a step, in place of the deployment's [1].
    """
    many = price.sequences if sequences is None else sequences
    shared = price.step + price.experts * experts_touched(price.expert_share, many)
    return (
        shared / many + price.output_token
    ) * work.output_tokens + price.output_pair * work.output_pairs


def prefill_seconds(site: Deployment, constants: RooflineConstants, joules: float) -> float:
    """Time that a prefill of this energy takes from the whole instance [s]."""
    return constants.prefill_time * joules / (prefill_watts(site, constants) * site.gpus)


def request_flops(site: Deployment, work: Work) -> float:
    """Floating-point operations of one request [FLOP]."""
    tokens = work.input_tokens + site.samples * work.output_tokens
    pairs = work.input_pairs + site.samples * work.output_pairs
    return site.flops_per_weight * site.active_params * tokens + site.attention_flops * pairs


# The estimate and its range.


def estimate(
    model: ModelProfile,
    gpu: GpuProfile,
    *,
    input_tokens: float,
    output_tokens: float,
    cached_input_tokens: float = 0,
    reasoning_tokens: float = 0,
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
        reasoning_tokens: Part of the output that is reasoning [tokens].
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
    # Floats from here on: small integer types would overflow.
    prompt, cached, answer = 1.0 * input_tokens, 1.0 * cached_input_tokens, 1.0 * output_tokens
    check_token_count("input_tokens - cached_input_tokens", prompt - cached)

    cases = _cases(model, gpu, serving, constants)
    central = cases.central
    site, price = central.site, central.prices
    work = request_work(site, prompt, cached, answer)
    context = prompt + answer
    sequences = cases.fitting(central, price.sequences, context)
    prefill, decode = prefill_energy(price, work), decode_energy(price, work, sequences)
    total = prefill + decode
    # Reasoning comes before the visible answer, so it sees the shorter contexts.
    reasoned = request_work(site, prompt, cached, 1.0 * reasoning_tokens)
    reasoning = decode_energy(price, reasoned, sequences)

    load = sequences / site.gpus
    under, over = _prefill_range(load)
    parts = dict(cases.factors)
    parts["prefill"] = _relative(total, under * prefill + decode, over * prefill + decode)
    under, over = cases.drafting
    if under != over:
        parts["speculative decoding"] = _relative(
            total, prefill + under * decode, prefill + over * decode
        )
    if cases.batch is not None:
        ends = (cases.fitting(central, end, context) for end in cases.batch)
        parts["batch"] = _relative(
            total, *(prefill + decode_energy(price, work, end) for end in ends)
        )
    if cases.parameters is not None:
        parts["parameters"] = _relative(
            total,
            *(
                prefill_energy(end.prices, work)
                + decode_energy(end.prices, work, cases.fitting(end, end.prices.sequences, context))
                for end in cases.parameters
            ),
        )
    if cases.grade_factor > 1:
        # The shape may be another one even where the size is as said.
        under, over = parts.get("parameters", (1.0, 1.0))
        spread = cases.grade_factor
        parts["parameters"] = (smaller(under, 1 / spread), larger(over, spread))
    if model.samples > 1:
        parts["samples"] = _relative(total, prefill + decode / model.samples, total)
    overhead = 1.0
    if scope == "facility":
        overhead = FACILITY.factor
        parts["facility"] = (FACILITY_LOW.factor / overhead, FACILITY_HIGH.factor / overhead)
    low, high = combined(parts)
    return RooflineEstimate(
        prefill_energy_joules=overhead * prefill,
        decode_energy_joules=overhead * decode,
        reasoning_energy_joules=overhead * reasoning,
        total_energy_low_joules=overhead * total * low,
        total_energy_high_joules=overhead * total * high,
        total_flops=request_flops(site, work),
        range_parts=parts,
        deployment=site,
        sequences=sequences * site.stages,
        scope=scope,
    )


def sequences_that_fit(site: Deployment, context: float) -> float:
    """Sequences of this context whose caches fit beside the weights, at least one [1].

    Layers that look back on a window are taken to keep everything, as sparse attention does,
    and as engines that treat all layers alike do.
    """
    each = site.cache_bytes * context + site.state_bytes
    nothing = each == 0
    return larger(site.room_bytes / (each + nothing) + nothing * site.sequences, 1.0)


@dataclass(frozen=True, slots=True)
class _Case:
    """A deployment and its prices."""

    site: Deployment
    prices: Prices


@dataclass(frozen=True, slots=True)
class _Cases:
    """The central case, and both ends of what is not known.

    Attributes:
        central: The case that is estimated.
        batch: Most and fewest sequences [1]; None where they are known.
        parameters: The least and the largest model; None where it is published.
        drafting: Decode energy over the central one at both ends of what speculative decoding
            may save [1].
        factors: The low and high factor [1] of unknowns that touch all of the energy alike.
        grade_factor: What the model may cost over or under its profile by its grade [1].
    """

    central: _Case
    batch: tuple[float, float] | None
    parameters: tuple[_Case, _Case] | None
    drafting: tuple[float, float]
    factors: Mapping[str, tuple[float, float]]
    grade_factor: float

    def fitting(self, case: _Case, sequences: float, context: float) -> float:
        """Sequences, no more than fit with this context where they are assumed [1]."""
        if self.batch is None:
            return sequences
        return smaller(sequences, sequences_that_fit(case.site, context))


@lru_cache(maxsize=512)
def _cases(
    model: ModelProfile, gpu: GpuProfile, serving: ServingProfile, constants: RooflineConstants
) -> _Cases:
    serving = serving.of_size(model.num_total_params or model.num_active_params)

    def case(profile: ModelProfile) -> _Case:
        site = deploy(profile, gpu, serving)
        return _Case(site, prices(site, constants))

    central = case(model)
    least, most = (bound * central.site.gpus for bound in serving.concurrency_range)
    parameters = None
    if model.grade != "A" or model.num_active_params_low or model.num_active_params_high:
        low, high = _parameter_ends(model)
        parameters = case(low), case(high)
    drafting = (1.0, 1.0)
    if serving.speculative:
        drafted = constants.speculative_decode
        drafting = (
            constants.speculative_decode_low / drafted,
            constants.speculative_decode_high / drafted,
        )
    elif serving.speculative is None:
        drafting = (constants.speculative_decode_low, 1.0)
    crowded = central.site.sequences * central.site.stages >= CROWD
    error = constants.crowded_error_factor if crowded else constants.error_factor
    factors = {"formula": (1 / error, error)}
    if gpu.name not in GPUS:
        factors["gpu"] = (1 / UNSEEN_GPU_FACTOR, UNSEEN_GPU_FACTOR)
    if model.family in CLOSED_FAMILIES:
        factors["hardware"] = HARDWARE_RANGE
    return _Cases(
        central,
        None if serving.batch_is_known else (most, least),
        parameters,
        drafting,
        factors,
        GRADE_FACTORS[model.grade],
    )


def _prefill_range(load: float) -> tuple[float, float]:
    """Low and high factor [1] of prefill energy at this many sequences per GPU [1]."""
    light = 1.0 * (load < LIGHT_LOAD)
    under, over = (
        light * at_light_load + (1 - light) * loaded
        for at_light_load, loaded in zip(LIGHT_PREFILL_RANGE, PREFILL_RANGE, strict=True)
    )
    return under, over


def _relative(total: float, low: float, high: float) -> tuple[float, float]:
    """Both ends of a range over the central energy [1]; 1 where that is zero."""
    nothing = total == 0
    return (low + nothing) / (total + nothing), (high + nothing) / (total + nothing)


def _parameter_ends(model: ModelProfile) -> tuple[ModelProfile, ModelProfile]:
    """The profile with the least and the most credible active parameters."""

    def with_active(active: float) -> ModelProfile:
        total = model.num_total_params
        return replace(
            model,
            num_active_params=active,
            num_total_params=None if total is None else max(total, active),
            num_active_params_low=None,
            num_active_params_high=None,
        )

    central = model.num_active_params
    return (
        with_active(model.num_active_params_low or central),
        with_active(model.num_active_params_high or central),
    )
