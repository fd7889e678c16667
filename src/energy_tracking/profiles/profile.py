"""What is known about models and GPUs: a profile is one row of numbers about one of them.

A profile is checked when it is made: each number against its bound (``MODEL_BOUNDS``,
``GPU_BOUNDS``), then the order of those that belong together. A new number is a field with its
unit, a row of the bounds, and in ``data/`` a value with its source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from itertools import pairwise
from types import MappingProxyType
from typing import Final

from energy_tracking.bounds import Bound, is_choice
from energy_tracking.errors import ProfileError, must_be, not_one_of, shown
from energy_tracking.frozen import declared_defaults, frozen
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS

GRADES: Final = ("A", "B", "C", "D", "E")
"""Confidence in a number: A published config or datasheet, B consistent reports,
C third-party estimate, D proxy or rule, E no public basis."""


_COUNT = Bound(1, 1e6)
_PARAMS = Bound(1, 1e18)
_WHOLE_COUNT = Bound(0, 1e6, is_whole=True)
_FLOPS_PER_TOKEN = Bound(1e-3, 1e6, "FLOP")

MODEL_BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "num_active_params": _PARAMS,
        "num_active_params_low": _PARAMS,
        "num_active_params_high": _PARAMS,
        "num_total_params": _PARAMS,
        "num_layers": _COUNT,
        "num_attn_heads": _COUNT,
        "num_kv_heads": _COUNT,
        "attn_head_dim": _COUNT,
        "hidden_dim": Bound(1, 1e8),
        "kv_bytes_per_token": Bound(1e-3, 1e12, "bytes"),
        "num_experts": _WHOLE_COUNT,
        "num_experts_per_token": _WHOLE_COUNT,
        "sliding_window": Bound(1, 1e12, "tokens", is_whole=True),
        "num_sliding_layers": Bound(1, 1e6, is_whole=True),
        "state_bytes_per_sequence": Bound(1e-3, 1e15, "bytes"),
        # From a third of a bit to FP64.
        "weight_bytes": Bound(0.04, 8, "bytes"),
        "flops_per_tkn_factor": _FLOPS_PER_TOKEN,
        "flops_per_tkn_factor_attn": _FLOPS_PER_TOKEN,
        "reasoning_factor": Bound(1e-3, 1e6),
        "samples": _COUNT,
    }
)
"""Every number of a model profile, and what it may be."""

_FLOPS = Bound(1e6, 1e21, "FLOP/s")
_RATE = Bound(1, 1e18, "bytes/s")
_SHARE = Bound(1e-6, 1)

GPU_BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "peak_flops": _FLOPS,
        "peak_flops_sparse": _FLOPS,
        "peak_flops_fp8": _FLOPS,
        "peak_flops_fp4": _FLOPS,
        "memory_bytes": Bound(1, 1e18, "bytes"),
        "memory_bandwidth": _RATE,
        "link_bandwidth": _RATE,
        "link_domain_gpus": Bound(1, 1e6, is_whole=True),
        # From a microcontroller to a hall of them taken as one.
        "power_rating": Bound(1e-3, 1e7, "W"),
        "gpu_prefill_util": _SHARE,
        "gpu_decoding_util": _SHARE,
        "power_prefill_util": _SHARE,
        "power_decoding_util": _SHARE,
    }
)
"""Every number of a GPU profile, and what it may be."""

_TEXT_FIELDS: Final = ("source", "corrected", "notes", "weight_format")

MODEL_FAMILIES: Final = ("seed", "closed", "open", "user")
GPU_FAMILIES: Final = ("seed", "registry", "user")


@frozen()
class Quantity:
    """A number with where it comes from.

    Attributes:
        value: Central value, in the unit of the field it belongs to.
        low: Lowest value that is still credible, where known.
        high: Highest value that is still credible, where known.
        grade: Confidence, one of ``GRADES``.
        source: Key of a listed source, or free text.

    Raises:
        ProfileError: Not low <= value <= high, or an unknown grade.
    """

    value: float
    low: float | None = None
    high: float | None = None
    grade: str = "C"
    source: str = ""

    def __post_init__(self) -> None:
        """Check that the range holds the value."""
        if self.low is not None and not self.low <= self.value:
            raise ProfileError(f"value must be at least low, {self.low!r}, got {self.value!r}")
        if self.high is not None and not self.value <= self.high:
            raise ProfileError(f"value must be at most high, {self.high!r}, got {self.value!r}")
        if not is_choice(self.grade, GRADES):
            raise ProfileError(not_one_of("grade", self.grade, GRADES))


@frozen(kw_only=True)
class ModelProfile:
    """Size and shape of one model.

    Attributes:
        name: Name it is found by, case ignored.
        num_active_params: Parameters used for one token [1].
        num_layers: Transformer layers [1].
        num_attn_heads: Query heads per layer [1].
        attn_head_dim: Width of one head [1].
        hidden_dim: Width of the residual stream [1].
        flops_per_tkn_factor: Work per active parameter and token [FLOP].
        flops_per_tkn_factor_attn: Work per layer, head, head width and pair of
            tokens [FLOP].
        reasoning_factor: Generated tokens per visible output token, for usage that
            does not count reasoning [1].
        num_total_params: Parameters held in memory [1]; None: dense, all active.
        num_kv_heads: Key-value heads per layer [1].
        kv_bytes_per_token: Key-value cache of one token in BF16, all layers [byte].
        num_experts: Routed experts per layer; 0: dense; None: not known, a mixture where
            ``num_total_params`` says so.
        num_experts_per_token: Routed experts used for one token.
        sliding_window: Tokens a sliding-window layer looks back on [1].
        num_sliding_layers: Layers with that window [1]; None: all, if there is one.
        state_bytes_per_sequence: Recurrent state of one sequence, all layers [byte];
            None: no recurrent layers.
        weight_bytes: Bytes per weight as shipped, scales included [byte]; None: those
            of ``weight_format``.
        weight_format: One of ``WEIGHT_FORMATS``, the format the weights are shipped in;
            empty: not known.
        num_active_params_low: Lowest credible ``num_active_params``.
        num_active_params_high: Highest credible ``num_active_params``.
        grade: Confidence in the profile as a whole, one of ``GRADES``.
        source: Key of a listed source, or free text.
        aliases: Other names of exactly this model.
        family: One of ``MODEL_FAMILIES``.
        samples: Answers generated to give one [1]: the "-pro" models are a base
            model sampled several times, not a bigger model.
        corrected: Name of the profile with better numbers for the same model;
            set on the seed's rows, which keep their published numbers.
        notes: What a reader should know.
        provenance: Per number, where it comes from; may be empty.

    Raises:
        ProfileError: A number is missing, not finite or out of its bound.
    """

    name: str
    num_active_params: float
    num_layers: float
    num_attn_heads: float
    attn_head_dim: float
    hidden_dim: float
    flops_per_tkn_factor: float = 2.0
    flops_per_tkn_factor_attn: float = 4.0
    reasoning_factor: float = 1.0
    num_total_params: float | None = None
    num_kv_heads: float | None = None
    kv_bytes_per_token: float | None = None
    num_experts: int | None = None
    num_experts_per_token: int = 0
    sliding_window: int | None = None
    num_sliding_layers: int | None = None
    state_bytes_per_sequence: float | None = None
    weight_bytes: float | None = None
    weight_format: str = ""
    num_active_params_low: float | None = None
    num_active_params_high: float | None = None
    grade: str = "C"
    source: str = "user"
    aliases: tuple[str, ...] = ()
    family: str = "user"
    samples: float = 1.0
    corrected: str = ""
    notes: str = ""
    provenance: Mapping[str, Quantity] = field(
        default_factory=dict[str, Quantity], repr=False, compare=False
    )

    def __hash__(self) -> int:
        """By the name alone: what is computed once for a profile is looked up with every call."""
        return hash(self.name)

    def __post_init__(self) -> None:
        """Check every number against its bound."""
        _check_profile(self, "model", MODEL_BOUNDS, MODEL_FAMILIES)
        if self.num_experts_per_token and self.num_experts is None:
            raise ProfileError(
                f"model profile {self.name!r}: num_experts_per_token must be at most num_experts, "
                f"which is not given, got {self.num_experts_per_token!r}"
            )
        if self.weight_format and self.weight_format not in WEIGHT_FORMATS:
            raise ProfileError(
                not_one_of(
                    f"model profile {self.name!r}: weight_format",
                    self.weight_format,
                    WEIGHT_FORMATS,
                )
            )
        _check_order(
            self,
            "model",
            ("num_active_params_low", "num_active_params", "num_active_params_high"),
            ("num_active_params", "num_total_params"),
            ("num_kv_heads", "num_attn_heads"),
            ("num_experts_per_token", "num_experts"),
            ("num_sliding_layers", "num_layers"),
        )


@frozen(kw_only=True)
class GpuProfile:
    """Speed, memory and power of one GPU.

    Attributes:
        name: Name it is found by; case, spaces and the maker's name are ignored.
        peak_flops: Peak rate of work [FLOP/s]: dense BF16, except in the seed's
            rows, which keep the figures they were published with.
        gpu_prefill_util: Share of ``peak_flops`` reached in prefill [1].
        gpu_decoding_util: Share of ``peak_flops`` reached in decode [1].
        power_rating: Rated board power [W].
        power_prefill_util: Share of ``power_rating`` drawn in prefill [1].
        power_decoding_util: Share of ``power_rating`` drawn in decode [1].
        peak_flops_sparse: BF16 peak with 2:4 structured sparsity [FLOP/s].
        peak_flops_fp8: Dense FP8 peak [FLOP/s].
        peak_flops_fp4: Dense FP4 peak [FLOP/s].
        memory_bytes: Device memory [byte].
        memory_bandwidth: Memory read rate [byte/s].
        link_bandwidth: GPU-to-GPU rate, both directions together [byte/s].
        link_domain_gpus: GPUs that are linked at that rate [1]; None: 8, one server.
        grade: Confidence in the profile as a whole, one of ``GRADES``.
        source: Key of a listed source, or free text.
        aliases: Other names of exactly this GPU.
        family: One of ``GPU_FAMILIES``.
        corrected: Name of the profile with better numbers for the same GPU; set
            on the seed's rows.
        notes: What a reader should know.
        provenance: Per number, where it comes from; may be empty.

    Raises:
        ProfileError: A number is missing, not finite or out of its bound.
    """

    name: str
    peak_flops: float
    gpu_prefill_util: float
    gpu_decoding_util: float
    power_rating: float
    power_prefill_util: float
    power_decoding_util: float
    peak_flops_sparse: float | None = None
    peak_flops_fp8: float | None = None
    peak_flops_fp4: float | None = None
    memory_bytes: float | None = None
    memory_bandwidth: float | None = None
    link_bandwidth: float | None = None
    link_domain_gpus: int | None = None
    grade: str = "C"
    source: str = "user"
    aliases: tuple[str, ...] = ()
    family: str = "user"
    corrected: str = ""
    notes: str = ""
    provenance: Mapping[str, Quantity] = field(
        default_factory=dict[str, Quantity], repr=False, compare=False
    )

    def __hash__(self) -> int:
        """By the name alone, as of models."""
        return hash(self.name)

    def __post_init__(self) -> None:
        """Check every number against its bound."""
        _check_profile(self, "GPU", GPU_BOUNDS, GPU_FAMILIES)
        _check_order(self, "GPU", ("peak_flops", "peak_flops_sparse"))


Profile = ModelProfile | GpuProfile


def _check_profile(
    profile: Profile, kind: str, bounds: Mapping[str, Bound], families: tuple[str, ...]
) -> None:
    """Check names, grade, family and every number against its bound."""
    for name in ("name", "grade", "family", *_TEXT_FIELDS):
        if hasattr(profile, name):
            object.__setattr__(profile, name, _plain_text(getattr(profile, name)))
    if not _is_name(profile.name):
        what = "a non-empty string without control characters"
        raise ProfileError(must_be(f"{kind} profile: name", what, profile.name))
    where = f"{kind} profile {shown(profile.name)}"
    if not isinstance(profile.aliases, tuple | list):
        raise ProfileError(must_be(f"{where}: aliases", "a list of names", profile.aliases))
    aliases = tuple(map(_plain_text, profile.aliases))
    if not all(map(_is_name, aliases)):
        raise ProfileError(must_be(f"{where}: aliases", "a list of names", profile.aliases))
    object.__setattr__(profile, "aliases", aliases)
    for name in _TEXT_FIELDS:
        text = getattr(profile, name, "")
        if not isinstance(text, str):
            raise ProfileError(must_be(f"{where}: {name}", "a string", text))
    for name, value, choices in (
        ("grade", profile.grade, GRADES),
        ("family", profile.family, families),
    ):
        if not is_choice(value, choices):
            raise ProfileError(not_one_of(f"{where}: {name}", value, choices))
    for name, bound in bounds.items():
        value = getattr(profile, name)
        if value is None and declared_defaults(type(profile))[name] is None:
            continue
        if not bound.holds(value):
            raise ProfileError(must_be(f"{where}: {name}", bound.text, value))
        # Floats, so that products with arrays of token counts cannot overflow.
        kind_of_number = int if bound.is_whole else float
        if type(value) is not kind_of_number:
            object.__setattr__(profile, name, kind_of_number(value))


def _is_name(value: object) -> bool:
    """Whether a value is a name that can be shown."""
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _plain_text(value: object) -> object:
    """A text of a subclass, as the members of an enum are, as a plain one."""
    if type(value) is str:
        return value
    if isinstance(value, Enum):
        value = value.value
    # Not `str(value)`, which a subclass may have changed.
    return str.__str__(value) if isinstance(value, str) else value


def _check_order(profile: Profile, kind: str, *chains: tuple[str, ...]) -> None:
    """Check that the named fields, where given, do not fall along each chain."""
    for chain in chains:
        given = [(name, value) for name in chain if (value := getattr(profile, name)) is not None]
        for (small, low), (large, high) in pairwise(given):
            if low > high:
                raise ProfileError(
                    f"{kind} profile {profile.name!r}: {small} must be at most {large}, "
                    f"{high!r}, got {low!r}"
                )
