"""What is known about models and GPUs, and which model a name means.

A profile is one row of numbers about one model or one GPU. A catalogue holds the
profiles by name and decides which of them the name in a response stands for, by
explicit rules only: a name that no rule explains has no profile.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from numbers import Real
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from energy_tracking.errors import (
    ConfigurationError,
    ProfileError,
    UnknownGpuError,
    UnknownModelError,
    not_one_of,
)

GRADES: Final = ("A", "B", "C", "D", "E")
"""Confidence in a number: A published config or datasheet, B consistent reports,
C third-party estimate, D proxy or rule, E no public basis."""


class Bound(NamedTuple):
    """What a number of a profile may be, in words and as a test."""

    text: str
    holds: Callable[[float], bool]
    whole: bool = False


_POSITIVE = Bound("above 0", lambda value: value > 0)
_AT_LEAST_ONE = Bound("at least 1", lambda value: value >= 1)
_SHARE = Bound("above 0 and at most 1", lambda value: 0 < value <= 1)
_COUNT = Bound("a whole number, 0 or more", lambda value: value >= 0 and value % 1 == 0, True)
_POSITIVE_COUNT = Bound("a whole number above 0", lambda value: value > 0 and value % 1 == 0, True)

MODEL_BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "num_active_params": _POSITIVE,
        "num_active_params_low": _POSITIVE,
        "num_active_params_high": _POSITIVE,
        "num_total_params": _POSITIVE,
        "num_layers": _POSITIVE,
        "num_attn_heads": _POSITIVE,
        "num_kv_heads": _POSITIVE,
        "attn_head_dim": _POSITIVE,
        "hidden_dim": _POSITIVE,
        "kv_bytes_per_token": _POSITIVE,
        "num_experts": _COUNT,
        "num_experts_per_token": _COUNT,
        "sliding_window": _POSITIVE_COUNT,
        "num_sliding_layers": _POSITIVE_COUNT,
        "state_bytes_per_sequence": _POSITIVE,
        "weight_bytes": _POSITIVE,
        "flops_per_tkn_factor": _POSITIVE,
        "flops_per_tkn_factor_attn": _POSITIVE,
        "reasoning_factor": _POSITIVE,
        "samples": _AT_LEAST_ONE,
    }
)
"""Every number of a model profile, and what it may be."""

GPU_BOUNDS: Final[Mapping[str, Bound]] = MappingProxyType(
    {
        "peak_flops": _POSITIVE,
        "peak_flops_sparse": _POSITIVE,
        "peak_flops_fp8": _POSITIVE,
        "peak_flops_fp4": _POSITIVE,
        "memory_bytes": _POSITIVE,
        "memory_bandwidth": _POSITIVE,
        "link_bandwidth": _POSITIVE,
        "power_rating": _POSITIVE,
        "gpu_prefill_util": _SHARE,
        "gpu_decoding_util": _SHARE,
        "power_prefill_util": _SHARE,
        "power_decoding_util": _SHARE,
    }
)
"""Every number of a GPU profile, and what it may be."""

MODEL_FAMILIES: Final = ("seed", "closed", "open", "user")
GPU_FAMILIES: Final = ("seed", "registry", "user")


class WeightFormat(NamedTuple):
    """How the weights of a model are stored and multiplied.

    Attributes:
        weight_bytes: Bytes per weight, scales included [byte].
        activations: Precision they are multiplied with, where the GPU can: ``"bf16"``
            (formats of the weights alone are widened first), ``"fp8"`` or ``"fp4"``.
    """

    weight_bytes: float
    activations: str


WEIGHT_FORMATS: Final[Mapping[str, WeightFormat]] = MappingProxyType(
    {
        "fp32": WeightFormat(4.0, "bf16"),
        "bf16": WeightFormat(2.0, "bf16"),
        "fp16": WeightFormat(2.0, "bf16"),
        "fp8": WeightFormat(1.0, "fp8"),
        "int8": WeightFormat(1.0, "bf16"),
        # Four bits, and a scale of 8 bits per 32 weights (MX), per 16 (NVFP4), or one of 16
        # bits and a zero point of four per 128 (AWQ, GPTQ).
        "mxfp4": WeightFormat(4.25 / 8, "fp8"),
        "nvfp4": WeightFormat(4.5 / 8, "fp4"),
        "w4a8": WeightFormat(4.25 / 8, "fp8"),
        "int4": WeightFormat(4.15625 / 8, "bf16"),
    }
)
"""Formats of weights, by name."""

# The built-in types first: asking the abstract one is ten times slower.
_NUMBER: Final = (int, float, Real)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with where it comes from.

    Attributes:
        value: Central value, in the unit of the field it belongs to.
        low: Lowest value that is still credible, where known.
        high: Highest value that is still credible, where known.
        grade: Confidence, one of `GRADES`.
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
        """Refuse a range that does not hold its value."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        if not low <= self.value <= high:
            raise ProfileError(f"value is {self.value!r}, must be from {low!r} to {high!r}")
        if self.grade not in GRADES:
            raise ProfileError(not_one_of("grade", self.grade, GRADES))


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProfile:
    """Size and shape of one model.

    Attributes:
        name: Name it is found by, case ignored.
        num_active_params: Parameters used for one token [-].
        num_layers: Transformer layers [-].
        num_attn_heads: Query heads per layer [-].
        attn_head_dim: Width of one head [-].
        hidden_dim: Width of the residual stream [-].
        flops_per_tkn_factor: Work per active parameter and token [FLOP].
        flops_per_tkn_factor_attn: Work per layer, head, head width and pair of
            tokens [FLOP].
        reasoning_factor: Generated tokens per visible output token, for usage that
            does not count reasoning [-].
        num_total_params: Parameters held in memory [-]; None: dense, all active.
        num_kv_heads: Key-value heads per layer [-].
        kv_bytes_per_token: Key-value cache of one token in BF16, all layers [B].
        num_experts: Routed experts per layer, 0 if dense or unknown.
        num_experts_per_token: Routed experts used for one token.
        sliding_window: Tokens a sliding-window layer looks back on [-].
        num_sliding_layers: Layers with that window [-]; None: all, if there is one.
        state_bytes_per_sequence: Recurrent state of one sequence, all layers [byte];
            None: no recurrent layers.
        weight_bytes: Bytes per weight as shipped, scales included [byte]; None: those
            of `weight_format`.
        weight_format: One of `WEIGHT_FORMATS`, the format the weights are shipped in;
            empty: not known.
        num_active_params_low: Lowest credible `num_active_params`.
        num_active_params_high: Highest credible `num_active_params`.
        grade: Confidence in the profile as a whole, one of `GRADES`.
        source: Key of a listed source, or free text.
        aliases: Other names of exactly this model.
        family: One of `MODEL_FAMILIES`.
        samples: Answers generated to give one [-]: the "-pro" models are a base
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
    num_experts: int = 0
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

    def __post_init__(self) -> None:
        """Refuse what no model can have."""
        _check(self, "model", MODEL_BOUNDS, MODEL_FAMILIES)
        if self.weight_format and self.weight_format not in WEIGHT_FORMATS:
            raise ProfileError(
                f"model profile {self.name!r}: "
                + not_one_of("weight_format", self.weight_format, WEIGHT_FORMATS)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuProfile:
    """Speed, memory and power of one GPU.

    Attributes:
        name: Name it is found by; case, spaces and the maker's name are ignored.
        peak_flops: Peak rate of work [FLOP/s]: dense BF16, except in the seed's
            rows, which keep the figures they were published with.
        gpu_prefill_util: Share of `peak_flops` reached in prefill [-].
        gpu_decoding_util: Share of `peak_flops` reached in decode [-].
        power_rating: Rated board power [W].
        power_prefill_util: Share of `power_rating` drawn in prefill [-].
        power_decoding_util: Share of `power_rating` drawn in decode [-].
        peak_flops_sparse: BF16 peak with 2:4 structured sparsity [FLOP/s].
        peak_flops_fp8: Dense FP8 peak [FLOP/s].
        peak_flops_fp4: Dense FP4 peak [FLOP/s].
        memory_bytes: Device memory [B].
        memory_bandwidth: Memory read rate [B/s].
        link_bandwidth: GPU-to-GPU rate, both directions together [B/s].
        grade: Confidence in the profile as a whole, one of `GRADES`.
        source: Key of a listed source, or free text.
        aliases: Other names of exactly this GPU.
        family: One of `GPU_FAMILIES`.
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
    grade: str = "C"
    source: str = "user"
    aliases: tuple[str, ...] = ()
    family: str = "user"
    corrected: str = ""
    notes: str = ""
    provenance: Mapping[str, Quantity] = field(
        default_factory=dict[str, Quantity], repr=False, compare=False
    )

    def __post_init__(self) -> None:
        """Refuse what no GPU can have."""
        _check(self, "GPU", GPU_BOUNDS, GPU_FAMILIES)
        _check_order(self, "GPU", ("peak_flops", "peak_flops_sparse"))


Profile = ModelProfile | GpuProfile
_P = TypeVar("_P", bound=Profile)


def _check(
    profile: Profile, kind: str, bounds: Mapping[str, Bound], families: tuple[str, ...]
) -> None:
    """Check names, grade, family and every number against its bound."""
    if not isinstance(profile.name, str) or not profile.name.strip():
        raise ProfileError(f"{kind} profile: name is {profile.name!r}, must be a non-empty text")
    where = f"{kind} profile {profile.name!r}"
    if not isinstance(profile.aliases, tuple | list) or not all(
        isinstance(alias, str) and alias.strip() for alias in profile.aliases
    ):
        raise ProfileError(f"{where}: aliases is {profile.aliases!r}, must be a list of names")
    object.__setattr__(profile, "aliases", tuple(profile.aliases))
    for what, value, choices in (
        ("grade", profile.grade, GRADES),
        ("family", profile.family, families),
    ):
        if value not in choices:
            raise ProfileError(f"{where}: " + not_one_of(what, value, choices))
    for name, bound in bounds.items():
        value = getattr(profile, name)
        if value is None and type(profile).__dataclass_fields__[name].default is None:
            continue
        is_number = isinstance(value, _NUMBER) and not isinstance(value, bool)
        if not (is_number and math.isfinite(value) and bound.holds(value)):
            raise ProfileError(f"{where}: {name} is {value!r}, must be {bound.text}")
        # Floats, so that products with arrays of token counts cannot overflow.
        kind_of_number = int if bound.whole else float
        if type(value) is not kind_of_number:
            object.__setattr__(profile, name, kind_of_number(value))


def _check_order(profile: Profile, kind: str, *chains: tuple[str, ...]) -> None:
    """Check that the named fields, where given, do not fall along each chain."""
    for chain in chains:
        given = [(name, value) for name in chain if (value := getattr(profile, name)) is not None]
        for (small, low), (large, high) in pairwise(given):
            if low > high:
                raise ProfileError(
                    f"{kind} profile {profile.name!r}: {small} is {low!r}, "
                    f"must be at most {large}, {high!r}"
                )


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a known model name has no profile.

    Attributes:
        reason: The reason, for the record of a call that could not be estimated.
        is_text_model: Whether a default profile for unknown models may stand in:
            the model generates text, only its size is unknown.
    """

    reason: str
    is_text_model: bool = False


@dataclass(frozen=True, slots=True)
class ModelMatch:
    """The profile a model name stands for, and why.

    Attributes:
        profile: The profile.
        rule: The rules that led to it, in order, joined by ``+``: ``mapping``,
            ``exact``, ``alias``, ``fine_tuned``, ``provider_prefix``, ``snapshot``,
            ``default``; for instance ``fine_tuned+snapshot``.
    """

    profile: ModelProfile
    rule: str


_RULES: Final = (
    # ft:gpt-4o-2024-08-06:my-org:my-name:id
    ("fine_tuned", re.compile(r"ft:(?P<base>[^:]+)(?::.*)?", re.DOTALL)),
    # openai/gpt-4o; what stands before the slash says who serves it, not what it is
    ("provider_prefix", re.compile(r".*/(?P<base>[^/]+)", re.DOTALL)),
    # gpt-4o-2024-08-06, gpt-4o-20240806, gpt-4-0613, gpt-3.5-turbo-instruct:20230824-v2
    (
        "snapshot",
        re.compile(
            r"(?P<base>.+)"
            r"(?:-20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
            r"|-(?:20[0-9]{2})?(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
            r"|:20[0-9]{2}-?[0-9]{2}-?[0-9]{2}-v[0-9]+)",
            re.DOTALL,
        ),
    ),
)
"""What may be taken off a model's name, each at most once: rule and pattern."""

_CACHE_SIZE: Final = 4096
_CACHED_NAME_LENGTH: Final = 256
_UNSEEN: Final[Any] = object()


def _fold_model(name: str) -> str:
    return name.casefold()


_GPU_MAKERS: Final = re.compile(
    r"^(?:(?:nvidia|geforce|tesla|amd|instinct|apple|google|cloud|aws|intel)-)+"
)


def _fold_gpu(name: str) -> str:
    folded = re.sub(r"[\s_]+", "-", name.strip().casefold())
    return _GPU_MAKERS.sub("", folded)


class Catalogue:
    """Model and GPU profiles by name.

    Lookups may run in any number of threads, also while another thread registers:
    what they read is replaced, never changed. Registering itself belongs to
    configuration, one thread at a time.
    """

    __slots__ = ("_gpu_aliases", "_gpus", "_model_aliases", "_models", "_refusals", "_resolved")

    def __init__(
        self,
        models: Iterable[ModelProfile] = (),
        gpus: Iterable[GpuProfile] = (),
        refusals: Mapping[str, Refusal] = MappingProxyType({}),
    ) -> None:
        """Hold these profiles.

        Args:
            models: Model profiles; of two with one name, the later stays.
            gpus: GPU profiles; of two with one name, the later stays.
            refusals: Known model names that have no profile, and why.
        """
        self._models: dict[str, ModelProfile] = {}
        self._model_aliases: dict[str, str] = {}
        self._gpus: dict[str, GpuProfile] = {}
        self._gpu_aliases: dict[str, str] = {}
        self._refusals = {_fold_model(name): refusal for name, refusal in refusals.items()}
        self._resolved: dict[str | None, ModelMatch | Refusal | None] = {}
        for model in models:
            _add(model, self._models, self._model_aliases, _fold_model)
        for gpu in gpus:
            _add(gpu, self._gpus, self._gpu_aliases, _fold_gpu)

    @property
    def models(self) -> tuple[ModelProfile, ...]:
        """All model profiles, in the order they were given."""
        return tuple(self._models.values())

    @property
    def gpus(self) -> tuple[GpuProfile, ...]:
        """All GPU profiles, in the order they were given."""
        return tuple(self._gpus.values())

    @property
    def refusals(self) -> Mapping[str, Refusal]:
        """Known model names that have no profile, and why."""
        return MappingProxyType(self._refusals)

    def copy(self) -> Catalogue:
        """A catalogue with the same profiles, to add to without changing this one."""
        other = Catalogue()
        for name in self.__slots__:
            if name != "_resolved":
                setattr(other, name, getattr(self, name))
        return other

    def register_model(self, profile: ModelProfile) -> None:
        """Add a model profile, in place of one with the same name.

        Names that led to the profile replaced lead to the new one.
        """
        models, aliases = dict(self._models), dict(self._model_aliases)
        _add(profile, models, aliases, _fold_model)
        self._models, self._model_aliases = models, aliases
        # Last, so that no answer from before can be stored for after.
        self._resolved = {}

    def register_gpu(self, profile: GpuProfile) -> None:
        """Add a GPU profile, in place of one with the same name."""
        gpus, aliases = dict(self._gpus), dict(self._gpu_aliases)
        _add(profile, gpus, aliases, _fold_gpu)
        self._gpus, self._gpu_aliases = gpus, aliases

    def model(self, name: str) -> ModelProfile:
        """The model profile with this name or alias.

        Raises:
            UnknownModelError: There is none; says the nearest names, and how to
                register one.
        """
        profile = self._find_model(_fold_model(name))
        if profile is None:
            raise UnknownModelError(
                (
                    f"model {name!r} has no profile: {refusal}."
                    if (refusal := self.refusal(name))
                    else not_one_of("model", name, _names(self._models))
                )
                + " To use one of your own: register_model_profile(ModelProfile(...)), or a"
                f" [models.{name!r}] table in a TOML profile file."
            )
        return profile

    def gpu(self, name: str) -> GpuProfile:
        """The GPU profile with this name or alias.

        Raises:
            UnknownGpuError: There is none; says the nearest names, and how to
                register one.
        """
        profile = _lookup(self._gpus, self._gpu_aliases, _fold_gpu(name))
        if profile is None:
            raise UnknownGpuError(
                not_one_of("GPU", name, _names(self._gpus))
                + " To use one of your own: register_gpu_profile(GpuProfile(...)), or a"
                f" [gpus.{name!r}] table in a TOML profile file."
            )
        return profile

    def corrected_model(self, profile: ModelProfile) -> ModelProfile:
        """The profile with better numbers for the same model, itself if none."""
        return self._find_model(_fold_model(profile.corrected)) or profile

    def corrected_gpu(self, profile: GpuProfile) -> GpuProfile:
        """The profile with better numbers for the same GPU, itself if none."""
        return self._gpus.get(_fold_gpu(profile.corrected)) or profile

    def match(
        self,
        name: str | None,
        mapping: Mapping[str, str] | None = None,
        default: str | None = None,
    ) -> ModelMatch | None:
        """The profile the model name of a response stands for, never raising.

        The rules, in order: the user's mapping; the exact name or an alias, case
        ignored; the same after taking off ``ft:`` and a fine-tuning suffix, a
        provider prefix, or a snapshot's date; the default. Nothing is guessed from
        how alike two names look.

        Args:
            name: Model name as the server gave it.
            mapping: The user's names to profile names, as `check_mapping` gives it.
            default: Profile for names no other rule explains. It does not stand in
                for models known to be something else, such as embeddings.

        Returns:
            The profile and the rule, or None.
        """
        if mapping and name is not None:
            target = mapping.get(name)
            if target is None:
                target = mapping.get(_fold_model(name))
            if target is not None:
                mapped = self._find_model(_fold_model(target))
                return None if mapped is None else ModelMatch(mapped, "mapping")
        found = self._resolved.get(name, _UNSEEN)
        if found is _UNSEEN:
            found = self._resolve(name)
        if isinstance(found, ModelMatch):
            return found
        if default is None or (found is not None and not found.is_text_model):
            return None
        fallback = self._find_model(_fold_model(default))
        return None if fallback is None else ModelMatch(fallback, "default")

    def refusal(self, name: str | None) -> str | None:
        """Why a known model name has no profile, None if it has or is not known."""
        found = self._resolved.get(name, _UNSEEN)
        if found is _UNSEEN:
            found = self._resolve(name)
        return found.reason if isinstance(found, Refusal) else None

    def check_mapping(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """A user's mapping of model names, checked and ready for `match`.

        Args:
            mapping: Names as servers give them, such as Azure deployment names, to
                names of model profiles.

        Returns:
            The mapping with its keys folded, so that case is ignored.

        Raises:
            ConfigurationError: A value names no profile.
        """
        for name, target in mapping.items():
            try:
                self.model(target)
            except UnknownModelError as error:
                raise ConfigurationError(f"model mapping {name!r} = {target!r}: {error}") from None
        return {_fold_model(name): target for name, target in mapping.items()}

    def _find_model(self, folded: str) -> ModelProfile | None:
        return _lookup(self._models, self._model_aliases, folded)

    def _resolve(self, name: str | None) -> ModelMatch | Refusal | None:
        """What the rules say of a name, kept for the next time."""
        # Taken first: if a registration comes between, the answer goes to the old one.
        resolved = self._resolved
        found = self._apply_rules(_fold_model(name), ()) if name else None
        if name is None or len(name) <= _CACHED_NAME_LENGTH:
            if len(resolved) >= _CACHE_SIZE:
                resolved.clear()
            resolved[name] = found
        return found

    def _apply_rules(self, folded: str, taken: tuple[str, ...]) -> ModelMatch | Refusal | None:
        profile = self._models.get(folded)
        if profile is not None:
            return ModelMatch(profile, "+".join(taken) or "exact")
        profile = self._models.get(self._model_aliases.get(folded, ""))
        if profile is not None:
            return ModelMatch(profile, "+".join((*taken, "alias")))
        if folded in self._refusals:
            return self._refusals[folded]
        for rule, pattern in _RULES:
            if rule not in taken and (shorter := pattern.fullmatch(folded)):
                found = self._apply_rules(shorter["base"], (*taken, rule))
                if found is not None:
                    return found
        return None


def _add(
    profile: _P, profiles: dict[str, _P], aliases: dict[str, str], fold: Callable[[str], str]
) -> None:
    """Put a profile under its folded name, and its aliases beside it."""
    name = fold(profile.name)
    profiles[name] = profile
    aliases.update((fold(alias), name) for alias in profile.aliases)


def _lookup(profiles: Mapping[str, _P], aliases: Mapping[str, str], folded: str) -> _P | None:
    """The profile with this folded name, else with this alias."""
    return profiles.get(folded) or profiles.get(aliases.get(folded, ""))


def _names(profiles: Mapping[str, _P]) -> list[str]:
    """All names as written, aliases last."""
    return [profile.name for profile in profiles.values()] + [
        alias for profile in profiles.values() for alias in profile.aliases
    ]
