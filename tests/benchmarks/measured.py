"""Measured points, read from a CSV and put in the estimators' terms.

The columns are those of ``../shared/accuracy/measured.csv``. What a row does not say
about a model's shape (experts, windows, latent caches) comes from the library's own
profile of that architecture if there is one, else from the estimator's rules. A row that
cannot be used is kept aside with the reason; none stops the run.
"""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from energy_tracking.errors import EnergyTrackingError
from energy_tracking.estimator.deployment import Deployment, deploy
from energy_tracking.estimator.serving import ServingProfile
from energy_tracking.estimator.serving_bounds import (
    CURRENT_ENGINE_YEAR,
    EARLY_ENGINE_YEAR,
    UNBALANCED_ENGINE_YEAR,
)
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.profiles.profile import GpuProfile, ModelProfile
from energy_tracking.profiles.weight_formats import WEIGHT_FORMATS
from energy_tracking.profiles.weight_suffixes import WEIGHT_SUFFIXES

Array = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

FORMAT_NAMES = {"fp4": "nvfp4", "int4-awq": "int4", "awq": "int4", "gptq": "int4"}
"""Names of weight formats in the files that are not the library's."""

ENGINES = {
    # Last version whose scheduler made the GPU wait, and last of 2025.
    "vllm": ((0, 5), (0, 13)),
    "sglang": ((0, 3), (0, 5, 7)),
    "tensorrt-llm": ((0, 12), (1, 1)),
}
"""By the dates of their releases."""

NO_DRAFTS = {"", "none", "no", "off", "false", "0"}
"""What ``spec_decode`` holds where no drafts were checked."""

NOT_BOARDS = re.compile("cpu|dram|host|node|server|system|chassis|wall|facility", re.IGNORECASE)
"""What a ``scope`` names that counts more than the boards."""

USUAL_INPUT_TOKENS = 400.0
"""Prompt length where a row has none: that of the benchmark's chat tasks [tokens]."""

DENSE_RATIO = 1.5
"""Total over active parameters of a row, above which it is a mixture of experts [1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One measured configuration.

    Attributes:
        file: Name of the file.
        source: Who measured it.
        architecture: Key of the architecture; what cross-validation leaves out.
        task: The benchmark's task.
        precision: Of the weights, as written.
        gpu_label: GPU as written.
        model: Shape of the model.
        gpu: The GPU.
        serving: How it was served; concurrency and GPUs are known.
        batch: Sequences decoded together on the instance [1].
        input_tokens: Mean prompt [tokens].
        output_tokens: Mean answer [tokens].
        cached_input_tokens: Part of the prompt read from a cache [tokens].
        joules_per_token: Energy per output token, prefill included [J].
        scope: ``"gpu"``: of the boards; ``"wall"``: of whole servers at the plug.
        flag: Why the row stands apart, if it does: those who measured it call it an outlier, or
            a limit of the engine.
        tokens_per_second: Of the instance; NaN if not measured [tokens/s].
        prefill_joules_per_token: Energy of prefill GPUs per input token, where prefill has its
            own; NaN elsewhere [J].
    """

    file: str
    source: str
    architecture: str
    task: str
    precision: str
    gpu_label: str
    model: ModelProfile
    gpu: GpuProfile
    serving: ServingProfile
    batch: float
    input_tokens: float
    output_tokens: float
    cached_input_tokens: float
    joules_per_token: float
    tokens_per_second: float
    prefill_joules_per_token: float
    scope: str
    flag: str

    def site(self) -> Deployment:
        """The deployment as measured."""
        return deploy(self.model, self.gpu, self.serving)


@dataclass(frozen=True, slots=True)
class Measured:
    """The usable points of a file, and why the others are not."""

    points: tuple[Point, ...]
    skipped: Mapping[str, int]

    def column(self, value: Callable[[Point], float]) -> Array:
        """One number per point, shape (points,)."""
        return np.array([value(point) for point in self.points], dtype=float)

    def labels(self, value: Callable[[Point], str]) -> npt.NDArray[np.str_]:
        """One label per point, shape (points,)."""
        return np.array([value(point) for point in self.points])

    def sites(self) -> Deployment:
        """All deployments as one, its fields of shape (points,)."""
        return stack([point.site() for point in self.points])


class Unusable(Exception):
    """Why a row is left out."""


def stack(sites: Sequence[Deployment]) -> Deployment:
    """Many deployments as one whose fields are arrays, shape (sites,)."""
    columns = {
        field.name: np.array([getattr(site, field.name) for site in sites], dtype=float)
        for field in fields(Deployment)
    }
    return Deployment(**columns)  # type: ignore[arg-type]


def read_measured(*paths: Path) -> Measured:
    """Read every row of the files; unusable ones are counted by reason."""
    points, skipped = [], Counter[str]()
    for path in paths:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                try:
                    points.append(_point(row, path.name))
                except Unusable as reason:
                    skipped[str(reason)] += 1
    return Measured(tuple(points), dict(skipped))


def slices(measured: Measured) -> dict[str, dict[str, Mask]]:
    """The ways the points are cut, each a mask per value."""
    batch = measured.column(lambda point: point.batch)
    edges = [1, 8, 32, 128, 512, np.inf]
    by: dict[str, Callable[[Point], str]] = {
        "GPU": lambda point: point.gpu_label,
        "precision": lambda point: point.precision,
        "kind": lambda point: "mixture" if point.site().expert_share < 1 else "dense",
        "speculative decoding": lambda point: "on" if point.serving.speculative else "off",
        "attention replicas": lambda point: f"{point.serving.attention_replicas}",
        "source": lambda point: point.source,
        "file": lambda point: point.file,
    }
    cuts = {}
    for name, value in by.items():
        labels = measured.labels(value)
        cuts[name] = {f"{label}": labels == label for label in np.unique(labels)}
    cuts["batch"] = {
        f"{low:g} to {high:g}": (batch >= low) & (batch < high) for low, high in pairwise(edges)
    }
    return {
        name: {label: mask for label, mask in cut.items() if mask.any()}
        for name, cut in cuts.items()
    }


def by_size(name: str, active_params: float, total_params: float) -> ModelProfile:
    """A model of which nothing is known but its active and total parameters.

    Layers grow with size as in the published dense models; the width follows from 12
    weights per layer and width squared (Kaplan et al., "Scaling Laws for Neural Language
    Models", 2020, https://arxiv.org/abs/2001.08361, section 2.1).
    """
    layers = 17 * (active_params / 1e9) ** 0.36
    width = math.sqrt(active_params / (12 * layers))
    return ModelProfile(
        name=name,
        num_active_params=active_params,
        num_total_params=total_params,
        num_layers=layers,
        num_attn_heads=width / 128,
        attn_head_dim=128,
        hidden_dim=width,
        grade="B",
    )


def _point(row: Mapping[str, str], file: str) -> Point:
    architecture = row.get("arch_key") or row.get("model", "")
    # Where prefill has GPUs of its own, those that decode hold the sequences.
    gpus = int(_number(row, "n_decode_gpus") or _needed(row, "n_gpus"))
    batch = _needed(row, "batch")
    output_tokens = _needed(row, "mean_output_tokens")
    input_tokens = _number(row, "mean_input_tokens") or USUAL_INPUT_TOKENS
    cached_fraction = _number(row, "cached_input_fraction") or 0.0
    if cached_fraction > 1:
        raise Unusable("cached_input_fraction above 1")
    precision = row.get("precision", "").strip().lower()
    weight_format = FORMAT_NAMES.get(precision) or WEIGHT_SUFFIXES.get(precision, precision)
    if weight_format not in WEIGHT_FORMATS:
        raise Unusable(f"precision {precision!r} is no known weight format")
    if "cached fraction not published" in row.get("notes", ""):
        raise Unusable("prompts partly from a cache, how large a part is not published")
    speculative = row.get("spec_decode", "").strip().lower()
    replicas = max(_number(row, "dp") or 1, _number(row, "dp_attention") or 1)
    serving = ServingProfile(
        sequences=batch,
        num_gpus=gpus,
        weight_format=weight_format,
        expert_parallel=int(_number(row, "ep") or 1),
        # Copies of a model on one GPU each are instances of their own.
        attention_replicas=int(replicas) if gpus > 1 else 1,
        speculative=speculative not in NO_DRAFTS,
        engine_year=_engine_year(row),
    )
    return Point(
        file=file,
        source=row.get("source", ""),
        architecture=architecture,
        task=row.get("task", ""),
        precision=precision,
        gpu_label=row.get("gpu", ""),
        model=_model(architecture, row),
        gpu=_gpu(row.get("gpu", "")),
        serving=serving,
        batch=batch,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        cached_input_tokens=input_tokens * cached_fraction,
        joules_per_token=_joules_per_token(row, input_tokens, output_tokens),
        tokens_per_second=_number(row, "throughput") or math.nan,
        prefill_joules_per_token=_number(row, "prefill_J_per_input_token") or math.nan,
        scope="wall" if _is_at_the_wall(row) else "gpu",
        flag=_flag(row, serving),
    )


def _joules_per_token(row: Mapping[str, str], input_tokens: float, output_tokens: float) -> float:
    """Energy per output token with its share of the prefill [J], by whichever columns state it."""
    per_token = _number(row, "energy_J_per_output_token")
    if per_token is not None:
        return per_token
    decode, prefill = _number(row, "decode_J_per_output_token"), "prefill_J_per_input_token"
    if decode is not None and _number(row, "energy_J_per_request") is None:
        return decode + _needed(row, prefill) * input_tokens / output_tokens
    return _needed(row, "energy_J_per_request") / output_tokens


def _is_at_the_wall(row: Mapping[str, str]) -> bool:
    """Whether the energy is of more than the boards; a row that says nothing is of the boards."""
    scope = row.get("scope") or "gpu"
    return (
        "gpu" not in scope.lower()
        or NOT_BOARDS.search(scope) is not None
        or "wall" in (row.get("power_scope") or "").lower()
    )


def _flag(row: Mapping[str, str], serving: ServingProfile) -> str:
    if "outlier" in row.get("notes", "").lower():
        return "outlier"
    if serving.attention_replicas > 1 and serving.engine_year <= UNBALANCED_ENGINE_YEAR:
        # The leaderboard's authors: copies that have nothing to do wait at full power.
        return "attention in several copies on an engine of 2025"
    return ""


def _number(row: Mapping[str, str], *names: str) -> float | None:
    """The first of these columns that is there and holds a finite number above 0."""
    for name in names:
        try:
            value = float(row.get(name) or math.nan)
        except ValueError:
            continue
        if 0 < value < math.inf:
            return value
    return None


def _needed(row: Mapping[str, str], name: str) -> float:
    value = _number(row, name)
    if value is None:
        raise Unusable(f"no {name}")
    return value


def _engine_year(row: Mapping[str, str]) -> int:
    """Year of the engine: by its version, else as its name or the row is dated.

    Only of an engine that the table knows is it believed that its scheduler was slow.
    """
    engine = row.get("engine", "").lower()
    if "transformers" in engine:
        # A plain loop has no scheduler at all, in any version.
        return EARLY_ENGINE_YEAR
    version = re.search(r"\d+(?:\.\d+)+", engine)
    for name, (early, last_of_2025) in ENGINES.items():
        if name in engine and version:
            numbers = tuple(map(int, version[0].split(".")))
            if numbers[: len(early)] <= early:
                return EARLY_ENGINE_YEAR
            of_2025 = numbers[: len(last_of_2025)] <= last_of_2025
            return UNBALANCED_ENGINE_YEAR if of_2025 else CURRENT_ENGINE_YEAR
    year = re.search(r"\b20\d\d\b", engine) or re.match(r"20\d\d", row.get("date") or "")
    earliest = 2023 if any(name in engine for name in ENGINES if name != "tensorrt-llm") else 2025
    return max(int(year[0]), earliest) if year else 2025


def _model(architecture: str, row: Mapping[str, str]) -> ModelProfile:
    """The row's shape, with the gaps filled from the library's profile of the model."""
    match = load_catalogue().match(architecture) or load_catalogue().match(row.get("model"))
    known = match.profile if match and match.profile.family == "open" else None
    active = _needed(row, "active_params")
    total = _number(row, "total_params") or active
    bare = by_size(architecture, active, max(total, active))
    layers = _number(row, "layers") or bare.num_layers
    heads = _number(row, "heads") or bare.num_attn_heads
    head_dim = _number(row, "head_dim") or bare.attn_head_dim
    kv_heads = _number(row, "kv_heads")
    # A latent cache is written as one head whose keys hold the values too.
    latent = kv_heads == 1 and head_dim > 256
    cache = _number(row, "kv_bytes_per_token", "kv_bytes_per_token_bf16")
    if cache is None and latent:
        cache = 2 * layers * head_dim
    given = {
        "hidden_dim": _number(row, "hidden_dim", "hidden"),
        "kv_bytes_per_token": cache,
        "num_experts": _number(row, "num_experts", "experts"),
        "num_experts_per_token": _number(row, "num_experts_per_token", "experts_per_token"),
        "sliding_window": _number(row, "sliding_window"),
        "num_sliding_layers": _number(row, "num_sliding_layers"),
    }
    usual = {
        **dict.fromkeys(given),
        "hidden_dim": bare.hidden_dim if latent else heads * head_dim,
        # A dense model leaves no more of itself unused than its input embedding.
        "num_experts": None if total > DENSE_RATIO * active else 0,
        "num_experts_per_token": 0,
    }
    filled = {
        name: value if value is not None else getattr(known, name, None) or usual[name]
        for name, value in given.items()
    }
    try:
        return ModelProfile(
            name=architecture,
            num_active_params=active,
            num_total_params=max(total, active),
            num_layers=layers,
            num_attn_heads=heads,
            attn_head_dim=known.attn_head_dim if known and latent else head_dim,
            num_kv_heads=kv_heads,
            grade="A",
            state_bytes_per_sequence=known.state_bytes_per_sequence if known else None,
            **filled,  # type: ignore[arg-type]
        )
    except EnergyTrackingError as error:
        raise Unusable(f"{architecture}: {error}") from error


def _gpu(label: str) -> GpuProfile:
    catalogue = load_catalogue()
    try:
        gpu = catalogue.corrected_gpu(catalogue.gpu(label))
    except EnergyTrackingError:
        raise Unusable(f"GPU {label!r} has no profile") from None
    if gpu.memory_bandwidth is None:
        raise Unusable(f"GPU {label!r} has no memory bandwidth in its profile")
    return gpu
