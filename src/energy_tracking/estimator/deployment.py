"""One model on its GPUs: every gap of a model, GPU and serving profile filled by rule.

``deploy`` returns a ``Deployment`` of plain numbers, the only thing that the physics in
``roofline`` reads. The rules, in the order they are applied:

1. the format of the weights: as served, else as shipped, else FP8 where only the makers serve
   the model and the GPU has it, else BF16;
2. the GPUs that hold one copy, and the groups of GPUs, one behind the other, that they form;
3. the sequences: as said, else the concurrency times the GPUs;
4. what else the profiles are silent about: experts, cache, memory, link.

A new input of the physics is a field of ``Deployment`` and a rule in ``deploy``. Numbers may be
floats or arrays.
"""

from __future__ import annotations

import math

from energy_tracking.errors import ProfileError
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.estimator.serving_bounds import EARLY_ENGINE_YEAR, UNBALANCED_ENGINE_YEAR
from energy_tracking.frozen import frozen
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS

CLOSED_FAMILIES = ("seed", "closed")
"""Families of models that only their makers serve."""

SHARED_SHARE = 0.4
"""Active parameters outside the experts where a profile does not count experts [1]."""

CACHE_BYTES_PER_LAYER = 4096.0
"""KV cache per token and layer where a profile is silent: 8 heads of 128, BF16 [byte]."""

MEMORY_BYTES = 80e9
"""Memory of a GPU whose profile is silent [byte]."""

MEMORY_OVER_WEIGHTS = 1.5
"""Memory of an instance over its weights, at least [1]: a third is left for caches and the rest."""

MEMORY_SHARE = 0.9
"""Share of the memory that engines give to weights and caches [1]: vLLM's default."""

LINK_BANDWIDTH = 900e9
"""GPU-to-GPU rate where a profile is silent, both directions: NVLink 4 [byte/s]."""

LINK_DOMAIN_GPUS = 8
"""GPUs of a link domain where a profile is silent: those of one server [1]."""


@frozen(kw_only=True)
class Deployment:
    """One model on its GPUs, every gap of the profiles filled; numbers only.

    GPUs beyond one link domain form a pipeline. Each stage works on other sequences at the
    same time, so that energy per token is that of one domain with its share of the sequences:
    that share is what stands here.

    Fields may be arrays of one common shape: the fit evaluates all its rows at once.

    Attributes:
        active_params: Parameters used per token [1].
        shared_params: Parameters read in every step [1].
        expert_params: Parameters of all experts; 0 if dense [1].
        expert_share: Share of the experts a token uses; 1 if dense [1].
        layers: Layers [1].
        hidden_dim: Width of the residual stream [1].
        flops_per_weight: FLOPs per active parameter and token [FLOP].
        attention_flops: FLOPs per token generated and token attended to [FLOP].
        cache_bytes: KV cache per token of context, all layers [byte].
        windowed_share: Share of that cache with a sliding window [1].
        window: Length of that window [tokens].
        state_bytes: Recurrent state per sequence, read and written each step [byte].
        samples: Times the answer is generated [1].
        weight_bytes: Bytes per weight [byte].
        operand_bytes: Width of the multiplications [byte]: 2 in BF16.
        gpus: GPUs that share each layer [1].
        stages: Such groups of GPUs, one behind the other [1].
        sequences: Sequences decoded together in one group [1].
        room_bytes: Memory of one group beside the weights [byte].
        expert_parallel: GPUs the experts are spread over, each expert whole on one [1].
        attention_replicas: Copies of what is outside the experts within the group [1].
        early_engine: 1 for an engine whose scheduler made the GPU wait, else 0.
        unbalanced_engine: 1 for an engine that waits for its busiest expert GPU, else 0.
        speculative: 1 where drafts are checked, else 0.
        peak_flops: Dense peak per GPU at the precision of the multiplications [FLOP/s].
        attention_peak_flops: Dense peak per GPU in BF16 [FLOP/s].
        memory_bandwidth: Per GPU [byte/s].
        link_bandwidth: Between GPUs, per GPU and direction [byte/s].
        power_rating: Per GPU [W].
    """

    active_params: float
    shared_params: float
    expert_params: float
    expert_share: float
    layers: float
    hidden_dim: float
    flops_per_weight: float
    attention_flops: float
    cache_bytes: float
    windowed_share: float
    window: float
    state_bytes: float
    samples: float
    weight_bytes: float
    operand_bytes: float
    gpus: float
    stages: float
    sequences: float
    room_bytes: float
    expert_parallel: float
    attention_replicas: float
    early_engine: float
    unbalanced_engine: float
    speculative: float
    peak_flops: float
    attention_peak_flops: float
    memory_bandwidth: float
    link_bandwidth: float
    power_rating: float


def deploy(model: ModelProfile, gpu: GpuProfile, serving: ServingProfile) -> Deployment:
    """Fill every gap of the profiles by rule.

    Args:
        model: Model profile.
        gpu: GPU profile; needs a memory bandwidth.
        serving: Serving assumption.

    Raises:
        ProfileError: The GPU profile has no memory bandwidth.
    """
    bandwidth = check_memory_bandwidth(gpu)
    total = model.num_total_params or model.num_active_params
    serving = serving.of_size(total)
    shared, expert_share = _split_experts(model, total)
    weight_format = find_served_format(model, gpu, serving)
    weight_bytes = (
        serving.weight_bytes
        or (model.weight_bytes if not serving.weight_format else None)
        or WEIGHT_FORMATS[weight_format].weight_bytes
    )
    peak, operand_bytes = find_peak_and_width(gpu, weight_format)
    memory = gpu.memory_bytes or MEMORY_BYTES
    gpus, stages = _count_gpus_and_stages(model, gpu, serving, total, weight_bytes)
    sequences = serving.sequences or serving.central_concurrency * gpus
    windowed = model.num_sliding_layers or model.num_layers
    return Deployment(
        active_params=model.num_active_params,
        shared_params=shared,
        expert_params=total - shared if expert_share < 1 else 0.0,
        expert_share=expert_share,
        layers=model.num_layers,
        hidden_dim=model.hidden_dim,
        flops_per_weight=model.flops_per_tkn_factor,
        attention_flops=(
            model.flops_per_tkn_factor_attn
            * model.num_attn_heads
            * model.attn_head_dim
            * model.num_layers
        ),
        cache_bytes=_count_cache_bytes(model),
        windowed_share=windowed / model.num_layers if model.sliding_window else 0.0,
        window=float(model.sliding_window or 0),
        state_bytes=model.state_bytes_per_sequence or 0.0,
        samples=model.samples,
        weight_bytes=weight_bytes,
        operand_bytes=operand_bytes,
        gpus=gpus / stages,
        stages=stages,
        sequences=sequences / stages,
        room_bytes=(MEMORY_SHARE * memory * gpus - total * weight_bytes) / stages,
        expert_parallel=float(serving.expert_parallel or gpus / stages),
        attention_replicas=float(serving.attention_replicas),
        early_engine=float(serving.engine_year <= EARLY_ENGINE_YEAR),
        unbalanced_engine=float(serving.engine_year <= UNBALANCED_ENGINE_YEAR),
        speculative=float(serving.speculative or False),
        peak_flops=peak,
        attention_peak_flops=gpu.peak_flops,
        memory_bandwidth=bandwidth,
        link_bandwidth=(gpu.link_bandwidth or LINK_BANDWIDTH) / 2,
        power_rating=gpu.power_rating,
    )


def check_memory_bandwidth(gpu: GpuProfile) -> float:
    """The memory bandwidth of a GPU profile [byte/s], without which nothing can be deployed.

    Raises:
        ProfileError: The profile has none.
    """
    if gpu.memory_bandwidth is None:
        raise ProfileError(
            f"GPU profile {gpu.name!r} has no memory_bandwidth, which method 'roofline' needs; "
            "give it one, or use a profile that has it"
        )
    return gpu.memory_bandwidth


def count_gpus_needed(
    total_weight_bytes: float, memory_bytes: float, over: float = MEMORY_OVER_WEIGHTS
) -> int:
    """The least power of two of GPUs that holds ``over`` times the weights [1].

    Args:
        total_weight_bytes: All weights [byte].
        memory_bytes: Memory of one GPU [byte].
        over: Memory of the instance over its weights [1].
    """
    needed = over * total_weight_bytes / memory_bytes
    return int(2 ** max(0, math.ceil(math.log2(needed))))


def find_peak_and_width(gpu: GpuProfile, weight_format: str) -> tuple[float, float]:
    """Dense peak of a GPU for weights of a format [FLOP/s], and width of its operands [byte].

    Formats of the weights alone are widened to BF16 before they are multiplied, and so are
    those whose precision, or whose scales per block, the GPU has no units for.

    Args:
        gpu: GPU profile.
        weight_format: One of ``WEIGHT_FORMATS``.
    """
    known = WEIGHT_FORMATS[weight_format]
    if not known.block_scaled or gpu.peak_flops_fp4 is not None:
        if known.activations == "fp4" and gpu.peak_flops_fp4 is not None:
            return gpu.peak_flops_fp4, 0.5
        if known.activations == "fp8" and gpu.peak_flops_fp8 is not None:
            return gpu.peak_flops_fp8, 1.0
    return gpu.peak_flops, 2.0


def find_served_format(model: ModelProfile, gpu: GpuProfile, serving: ServingProfile) -> str:
    """The format the weights are served in, by the first of those that say it.

    Args:
        model: Model profile.
        gpu: GPU profile.
        serving: Serving assumption.
    """
    if serving.weight_format:
        return serving.weight_format
    if serving.weight_bytes is not None:
        # The widest format that is no wider than what was given.
        return next(name for name, least in _FORMAT_BY_BYTES if serving.weight_bytes >= least)
    if model.weight_format:
        return model.weight_format
    closed = model.family in CLOSED_FAMILIES
    return "fp8" if closed and gpu.peak_flops_fp8 else "bf16"


_FORMAT_BY_BYTES = (("bf16", 2.0), ("fp8", 1.0), ("int4", 0.0))


def _count_gpus_and_stages(
    model: ModelProfile, gpu: GpuProfile, serving: ServingProfile, total: float, weight_bytes: float
) -> tuple[float, float]:
    """GPUs that hold one copy of the model [1], and the groups of them in a row [1]."""
    memory = gpu.memory_bytes or MEMORY_BYTES
    domain = gpu.link_domain_gpus or LINK_DOMAIN_GPUS
    if model.family in CLOSED_FAMILIES:
        # Nobody knows the instances. Their mean need not be a whole number, and steps would
        # put a model above a bigger sibling that fills its GPUs better.
        gpus = serving.num_gpus or max(1.0, MEMORY_OVER_WEIGHTS * total * weight_bytes / memory)
        return gpus, max(1.0, gpus / domain)
    gpus = float(serving.num_gpus or count_gpus_needed(total * weight_bytes, memory))
    return gpus, float(math.ceil(gpus / domain))


def _count_cache_bytes(model: ModelProfile) -> float:
    """KV cache per token of context, all layers [byte]."""
    if model.kv_bytes_per_token is not None:
        return model.kv_bytes_per_token
    if model.num_kv_heads is None:
        return CACHE_BYTES_PER_LAYER * model.num_layers
    return 4 * model.num_layers * model.num_kv_heads * model.attn_head_dim


def _split_experts(model: ModelProfile, total: float) -> tuple[float, float]:
    """Parameters outside the experts [1], and the share of experts a token uses [1].

    Of E equal experts k are active: active = shared + k * expert and
    total = shared + E * expert give both. Where nobody counts the experts, a fixed share of
    the active parameters is outside, and the rest of both gives the share used.
    """
    active, experts, used = (
        model.num_active_params,
        model.num_experts,
        model.num_experts_per_token,
    )
    if experts == 0 or total <= active:
        # What a dense model does not use of itself is its input embedding.
        return active, 1.0
    if experts is not None and 0 < used < experts:
        shared = active - used * (total - active) / (experts - used)
        if shared > 0:
            return shared, used / experts
    shared = SHARED_SHARE * active
    return shared, (active - shared) / (total - shared)
