"""How a model is served: what is assumed, and the deployment that follows from it.

``ServingProfile`` is what a user may know or the library assumes. ``deploy`` fills every gap
of a model, GPU and serving profile by rule and returns a ``Deployment`` of plain numbers, the
only thing that the physics in ``roofline`` reads. A new serving input is a field of the first,
a rule in ``deploy`` and a number of the second.

Every number of a deployment may be a float or an array; no function of the physics asks which.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from energy_tracking.errors import ConfigurationError, ProfileError, not_one_of
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS

CONCURRENCY_PER_GPU = 32.0
"""Sequences per GPU where nobody says, for a model of `CONCURRENCY_PARAMS` [1]: the median of the
published measurements of 2023 to 2025 and of those of 2026, each half of the whole."""

CONCURRENCY_PARAMS = 70e9
"""Size of the model that the number above is for [1]."""

CONCURRENCY_EXPONENT = -0.2
"""How it goes with the size [1]: larger models leave less memory, and serve fewer at a time. On
the published measurements, batch unknown, it makes both errors smaller (1.89 to 1.76, 1.91 to
1.84) and both ranges hold more; ``accuracy.py`` prints them."""

CONCURRENCY_SPREAD = 32.0
"""Over and under it lie 90 % of real ones within this factor [1].

Of those measurements, 90 % have 4 to 750 and 0.5 to 110 sequences per GPU. Speeds at which
closed models answer (50 to 100 tokens/s) need few; their prices need many.
"""

EARLY_ENGINE_YEAR = 2024
"""The last year of engines whose scheduler made the GPU wait between steps (vLLM 0.5)."""

UNBALANCED_ENGINE_YEAR = 2025
"""The last year of engines whose busiest expert GPU set the pace (vLLM 0.11)."""

CURRENT_ENGINE_YEAR = 2026


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingProfile:
    """How the model is assumed to be served; the default is a busy public API.

    Attributes:
        concurrency_per_gpu: Sequences decoded together, divided by the GPUs that hold the
            model [1]; None: by the model's size, see ``of_size``.
        concurrency_low_energy: The same at the low end of the 90 % range of energy, where
            most share [1]; None: ``concurrency_per_gpu`` times `CONCURRENCY_SPREAD`.
        concurrency_high_energy: The same at the high end, where fewest share [1]; None:
            divided by it.
        sequences: Sequences decoded together on all GPUs that hold the model [1], taken as
            known; None: ``concurrency_per_gpu`` times the GPUs.
        num_gpus: GPUs that hold one copy of the model, or their mean over instances [1]; None:
            the least power of two whose memory is 1.5 times the weights, or for a closed model
            just that memory.
        weight_bytes: Bytes per weight as served [byte]; None: those of ``weight_format``.
        weight_format: One of `WEIGHT_FORMATS`; empty: the one the model is shipped in, FP8 for
            closed models on GPUs with FP8, else BF16.
        expert_parallel: GPUs that the experts of a mixture are spread over, each expert whole
            on one [1]; None: all that hold the model, those of one link domain at most.
        attention_replicas: Copies of what is outside the experts, each for its own sequences
            (attention data-parallel) [1].
        speculative: Whether a draft model or head proposes tokens that the model then only
            checks; None: not known, taken as not, and part of the range.
        engine_year: Year of the serving engine's release.

    Raises:
        ConfigurationError: A value is impossible, or the three concurrencies are out of order.
    """

    concurrency_per_gpu: float | None = None
    concurrency_low_energy: float | None = None
    concurrency_high_energy: float | None = None
    sequences: float | None = None
    num_gpus: float | None = None
    weight_bytes: float | None = None
    weight_format: str = ""
    expert_parallel: int | None = None
    attention_replicas: int = 1
    speculative: bool | None = None
    engine_year: int = CURRENT_ENGINE_YEAR

    def __post_init__(self) -> None:
        """Check the values together."""
        for name in (
            "concurrency_per_gpu",
            "concurrency_low_energy",
            "concurrency_high_energy",
            "sequences",
            "num_gpus",
            "weight_bytes",
            "expert_parallel",
            "attention_replicas",
        ):
            value = getattr(self, name)
            if value is not None and not (0 < value < math.inf):
                raise ConfigurationError(f"{name} must be finite and above 0, got {value!r}")
        for name in ("expert_parallel", "attention_replicas"):
            value = getattr(self, name)
            if value is not None and value != int(value):
                raise ConfigurationError(f"{name} must be a whole number, got {value!r}")
        if self.weight_format and self.weight_format not in WEIGHT_FORMATS:
            raise ConfigurationError(
                not_one_of("weight_format", self.weight_format, WEIGHT_FORMATS)
            )
        least, most = self.concurrency_range
        if not least <= self.central_concurrency <= most:
            raise ConfigurationError(
                "concurrency_per_gpu must lie between concurrency_high_energy and "
                "concurrency_low_energy, got "
                f"{least:g} <= {self.central_concurrency:g} <= {most:g}"
            )

    @property
    def central_concurrency(self) -> float:
        """Sequences per GPU; those of a model of `CONCURRENCY_PARAMS` where nobody says [1]."""
        return self.concurrency_per_gpu or CONCURRENCY_PER_GPU

    @property
    def concurrency_range(self) -> tuple[float, float]:
        """Least and most sequences per GPU of the 90 % range [1]."""
        least, most = self.concurrency_high_energy, self.concurrency_low_energy
        return (
            self.central_concurrency / CONCURRENCY_SPREAD if least is None else least,
            self.central_concurrency * CONCURRENCY_SPREAD if most is None else most,
        )

    def of_size(self, total_params: float) -> ServingProfile:
        """The same serving, its concurrency that of a model of this size where it is assumed.

        Args:
            total_params: Parameters held in memory [1].
        """
        if self.concurrency_per_gpu is not None:
            return self
        scale = (total_params / CONCURRENCY_PARAMS) ** CONCURRENCY_EXPONENT
        return replace(self, concurrency_per_gpu=CONCURRENCY_PER_GPU * scale)

    @property
    def batch_is_known(self) -> bool:
        """Whether the number of sequences is a fact, not an assumption with a range."""
        least, most = self.concurrency_range
        return self.sequences is not None or least == most

    def with_known_concurrency(self) -> ServingProfile:
        """The same serving, with the concurrency taken as measured, not assumed."""
        return replace(
            self,
            concurrency_per_gpu=self.central_concurrency,
            concurrency_low_energy=self.central_concurrency,
            concurrency_high_energy=self.central_concurrency,
        )


SERVING = ServingProfile()
"""A busy public API: what is assumed where nobody says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    serving = serving.of_size(total)
    shared, expert_share = _split_experts(model, total)
    weight_format = weight_format_served(model, gpu, serving)
    weight_bytes = (
        serving.weight_bytes
        or (model.weight_bytes if not serving.weight_format else None)
        or WEIGHT_FORMATS[weight_format].weight_bytes
    )
    peak, operand_bytes = peak_and_width(gpu, weight_format)
    memory = gpu.memory_bytes or MEMORY_BYTES
    domain = gpu.link_domain_gpus or LINK_DOMAIN_GPUS
    if model.family in CLOSED_FAMILIES:
        # Nobody knows the instances. Their mean need not be a whole number, and steps would
        # put a model above a bigger sibling that fills its GPUs better.
        gpus = serving.num_gpus or max(1.0, MEMORY_OVER_WEIGHTS * total * weight_bytes / memory)
        stages = max(1.0, gpus / domain)
    else:
        gpus = float(serving.num_gpus or gpus_needed(total * weight_bytes, memory))
        stages = float(math.ceil(gpus / domain))
    sequences = serving.sequences or serving.central_concurrency * gpus
    if model.num_kv_heads is None:
        cache_bytes = CACHE_BYTES_PER_LAYER * model.num_layers
    else:
        cache_bytes = 4 * model.num_layers * model.num_kv_heads * model.attn_head_dim
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
        cache_bytes=model.kv_bytes_per_token or cache_bytes,
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


def check_gpu(gpu: GpuProfile) -> float:
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


def gpus_needed(
    total_weight_bytes: float, memory_bytes: float, over: float = MEMORY_OVER_WEIGHTS
) -> int:
    """The least power of two of GPUs that holds ``over`` times the weights [1]."""
    needed = over * total_weight_bytes / memory_bytes
    return int(2 ** max(0, math.ceil(math.log2(needed))))


def peak_and_width(gpu: GpuProfile, weight_format: str) -> tuple[float, float]:
    """Dense peak of a GPU for weights of a format [FLOP/s], and width of its operands [byte].

    Formats of the weights alone are widened to BF16 before they are multiplied, and so are
    those whose precision, or whose scales per block, the GPU has no units for.
    """
    known = WEIGHT_FORMATS[weight_format]
    if not known.block_scaled or gpu.peak_flops_fp4 is not None:
        if known.activations == "fp4" and gpu.peak_flops_fp4 is not None:
            return gpu.peak_flops_fp4, 0.5
        if known.activations == "fp8" and gpu.peak_flops_fp8 is not None:
            return gpu.peak_flops_fp8, 1.0
    return gpu.peak_flops, 2.0


def weight_format_served(model: ModelProfile, gpu: GpuProfile, serving: ServingProfile) -> str:
    """The format the weights are served in, by the first of those who say it."""
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
