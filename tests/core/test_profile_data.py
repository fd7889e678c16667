"""The profiles that come with the library: their numbers, their sources, their names."""

from __future__ import annotations

import ast
import csv
import json
import math
import re
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from energy_tracking.demo.screen import PUBLIC_SOURCE
from energy_tracking.errors import ConfigurationError, ProfileError, UnknownGpuError
from energy_tracking.profiles import files
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.entry import Entry
from energy_tracking.profiles.files import (
    load_catalogue,
    load_sources,
    read_profiles,
    register_gpu_profile,
    register_model_profile,
)
from energy_tracking.profiles.model_names import find_readings, fold_name, unify_spelling
from energy_tracking.profiles.profile import (
    GPU_BOUNDS,
    GRADES,
    MODEL_BOUNDS,
    GpuProfile,
    ModelProfile,
    Profile,
)
from profiles_json import PROFILES as PROFILES_JSON
from profiles_json import make_json

CATALOGUE = load_catalogue()
PROFILES: tuple[Profile, ...] = (*CATALOGUE.models, *CATALOGUE.gpus)
SURVEY = Path(__file__).parents[3] / "shared" / "accuracy"


def survey(name: str) -> list[dict[str, str]]:
    path = SURVEY / name
    if not path.exists():
        pytest.skip(f"needs ../shared/accuracy/{name}, which is not part of the repository")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# ---------- the seed --------------------------------------------------------------------

SEED_MODEL_FIELDS = (
    "num_active_params",
    "num_layers",
    "num_attn_heads",
    "attn_head_dim",
    "hidden_dim",
    "flops_per_tkn_factor",
    "flops_per_tkn_factor_attn",
    "reasoning_factor",
)
SEED_MODELS = {
    "gpt-4o": (100e9, 77, 57, 150.1, 8448.42, 2, 4, 1.0),
    "o1": (70e9, 80, 64, 128, 8192, 2, 4, 3.0),
    "o3-mini": (7.3e9, 32, 32, 128, 4096, 2, 4, 2.0),
}
SEED_GPU_FIELDS = (
    "peak_flops",
    "gpu_prefill_util",
    "gpu_decoding_util",
    "power_rating",
    "power_prefill_util",
    "power_decoding_util",
)
SEED_GPUS = {
    "A100": (624e12, 0.5, 0.1, 400, 1.0, 0.75),
    "H100": (989e12, 0.5, 0.1, 700, 1.0, 0.75),
    "GB200": (10000e12, 0.5, 0.1, 1200, 1.0, 0.75),
}


def test_the_seeds_models_are_the_seeds_to_the_last_digit() -> None:
    rows = [profile for profile in CATALOGUE.models if profile.family == "seed"]
    found = {row.name: tuple(getattr(row, field) for field in SEED_MODEL_FIELDS) for row in rows}
    assert found == SEED_MODELS
    for row in rows:
        assert row.num_total_params is None
        assert row.samples == 1
        assert {number.source for number in row.provenance.values()} == {"minions-2025"}


def test_the_seeds_gpus_are_the_seeds_to_the_last_digit() -> None:
    rows = [profile for profile in CATALOGUE.gpus if profile.family == "seed"]
    found = {row.name: tuple(getattr(row, field) for field in SEED_GPU_FIELDS) for row in rows}
    assert found == SEED_GPUS
    for row in rows:
        assert {number.source for number in row.provenance.values()} == {"minions-2025"}


@pytest.mark.parametrize(
    ("seed", "corrected"),
    [("gpt-4o", "gpt-4o@registry"), ("o1", "o1@registry"), ("o3-mini", "o3-mini@registry")],
)
def test_the_seeds_models_point_to_their_registry_rows(seed: str, corrected: str) -> None:
    assert CATALOGUE.corrected_model(CATALOGUE.model(seed)).name == corrected


@pytest.mark.parametrize(
    ("seed", "corrected", "dense_bf16"),
    [
        ("A100", "A100-80GB", 312e12),
        ("H100", "H100-SXM", 989.4e12),
        ("GB200", "GB200-NVL72", 2.5e15),
    ],
)
def test_the_seeds_gpus_point_to_rows_with_dense_peaks(
    seed: str, corrected: str, dense_bf16: float
) -> None:
    row = CATALOGUE.corrected_gpu(CATALOGUE.gpu(seed))
    assert (row.name, row.peak_flops) == (corrected, dense_bf16)
    assert row.power_rating == CATALOGUE.gpu(seed).power_rating


# ---------- provenance ------------------------------------------------------------------


def numbers_of(profile: Profile) -> dict[str, float]:
    """The numbers a profile states, the defaults of a model nobody sampled left out."""
    bounds = MODEL_BOUNDS if isinstance(profile, ModelProfile) else GPU_BOUNDS
    silent = {"num_active_params_low", "num_active_params_high"}
    unstated = {"num_experts_per_token": 0, "samples": 1}
    return {
        name: value
        for name in bounds
        if name not in silent
        and (value := getattr(profile, name)) is not None
        and value != unstated.get(name)
    }


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_every_number_has_a_grade_and_a_listed_source(profile: Profile) -> None:
    numbers = numbers_of(profile)
    assert {key: number.value for key, number in profile.provenance.items()} == numbers
    for number in profile.provenance.values():
        assert number.grade in GRADES[:-1]
        assert number.source in load_sources()
    assert profile.source in load_sources()


def test_every_source_is_used_and_states_what_where_and_when() -> None:
    used = {number.source for profile in PROFILES for number in profile.provenance.values()}
    assert set(load_sources()) == used | {PUBLIC_SOURCE}
    for source in load_sources().values():
        assert source.title
        assert source.where.startswith("https://") or " = " in source.where
        assert source.read > date(2025, 1, 1)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_a_profile_is_graded_no_better_than_its_size_or_peak(profile: Profile) -> None:
    main = "num_active_params" if isinstance(profile, ModelProfile) else "power_rating"
    assert profile.grade >= profile.provenance[main].grade


def test_names_and_aliases_are_unique() -> None:
    models = Counter(
        name.casefold()
        for names in (
            *((model.name, *model.aliases) for model in CATALOGUE.models),
            CATALOGUE.without_profile,
        )
        for name in names
    )
    assert [name for name, count in models.items() if count > 1] == []
    gpus = [name for gpu in CATALOGUE.gpus for name in (gpu.name, *gpu.aliases)]
    assert len({re.sub(r"[\s_]", "-", name.casefold()) for name in gpus}) == len(gpus)
    for gpu in CATALOGUE.gpus:
        assert all(CATALOGUE.gpu(name) is gpu for name in (gpu.name, *gpu.aliases))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.name)
def test_what_a_profile_refers_to_exists(profile: Profile) -> None:
    if profile.corrected and isinstance(profile, ModelProfile):
        assert CATALOGUE.model(profile.corrected) is not profile
    elif profile.corrected:
        assert CATALOGUE.gpu(profile.corrected) is not profile
    assert bool(profile.corrected) == (profile.family == "seed")


# ---------- plausibility ----------------------------------------------------------------


def follows_from_size(model: ModelProfile) -> bool:
    """Whether only the size of a model is known, and its shape is a guess."""
    return model.provenance["num_layers"].source == "layer-rule"


OPEN = [model for model in CATALOGUE.models if model.family == "open"]
# Encoders read a text once and keep no keys and values.
DECODERS = [m for m in OPEN if m.kv_bytes_per_token and not follows_from_size(m)]


@pytest.mark.parametrize("model", CATALOGUE.models, ids=lambda model: model.name)
def test_a_models_numbers_fit_together(model: ModelProfile) -> None:
    # Open models reach from an encoder of 22 million parameters to Kimi K3; Grok 3 and 4 have
    # 3e12, their maker says, and no other closed model is put above 2e12.
    is_open = model.family == "open"
    smallest = 10e6 if is_open else 1e9
    total = model.num_total_params or model.num_active_params
    assert smallest <= model.num_active_params <= total <= 3e12
    # Heads of DeepSeek-V4 are as wide as the one latent key that they share.
    widest = 10 if model.num_kv_heads == 1 else 3.3
    assert 0.75 <= model.num_attn_heads * model.attn_head_dim / model.hidden_dim <= widest
    assert (6 if is_open else 12) <= model.num_layers <= 165
    if total > model.num_active_params and not model.num_experts:
        share = model.num_active_params / total
        if not is_open:
            # A mixture, or halfway between that and a dense one.
            assert share < 0.6
        elif not follows_from_size(model):
            # A dense model looks its input up in a table, with a row per token of its vocabulary.
            rows = (total - model.num_active_params) / model.hidden_dim
            assert 30e3 < rows < 280e3 or "embeddings per layer" in model.notes
        else:
            share = model.num_active_params / total
            assert share < 0.6 or share > 0.95
    assert bool(model.num_experts) == bool(model.num_experts_per_token)
    if model.num_kv_heads and model.kv_bytes_per_token:
        all_layers = 4 * model.num_layers * model.num_kv_heads * model.attn_head_dim
        assert model.kv_bytes_per_token <= all_layers
    if model.sliding_window:
        assert model.num_sliding_layers


FLOP_PER_BYTE = {
    # Its compute was cut for export, its memory was not.
    "H20": (30, 50),
    # Shader units alone, under memory as wide as a graphics card's.
    **{f"M{chip}": (20, 40) for chip in ("1-Max", "1-Ultra", "2-Max", "2-Ultra", "3-Max")},
    **{f"M{chip}": (20, 40) for chip in ("3-Ultra", "4-Max")},
    # A card for games has half the tensor rate of a card for work.
    "RTX-3090": (70, 100),
    # Much compute over little memory: a chip for training, and one over a laptop's memory.
    "Gaudi3": (450, 600),
    "TPU-v6e": (450, 600),
    "Jetson-AGX-Thor": (450, 1000),
}
"""Work per byte at which decode turns from memory-bound to compute-bound, where it is not 100
to 450 [FLOP/byte]: lowest and highest."""

WIDENS_FP8 = {"TPU-v5p", "TPU-v6e", "Trainium1", "Inferentia2", "Gaudi3"}
"""Accelerators that multiply FP8 no faster than BF16."""


@pytest.mark.parametrize(
    "model",
    [
        model
        for model in DECODERS
        if model.num_total_params
        and not model.num_experts
        and model.flops_per_tkn_factor_attn == 4
        and "embeddings per layer" not in model.notes
        and "without its output head" not in model.notes
    ],
    ids=lambda model: model.name,
)
def test_the_parameters_of_a_dense_model_are_those_of_its_shape(model: ModelProfile) -> None:
    """What attention and output head leave is a feed-forward network of a usual width.

    Only where the output head is a table of its own, as large as that of the input: its size is
    then what is not active.
    """
    assert model.num_total_params
    assert model.num_kv_heads
    head = model.num_total_params - model.num_active_params
    heads = 2 * (model.num_attn_heads + model.num_kv_heads)
    attention = model.num_layers * model.hidden_dim * heads * model.attn_head_dim
    forward = (model.num_active_params - head - attention) / model.num_layers
    # Two matrices of 3 or 4 times the width, or three of 1.6 to 7.5 times.
    assert 4.7 < forward / model.hidden_dim**2 < 23


def test_open_models_state_in_what_their_weights_are_shipped() -> None:
    unknown = {model.name for model in OPEN if not model.weight_format}
    assert unknown == {"CohereLabs/command-a-plus-05-2026"}
    shipped = {model.name: model.weight_format for model in OPEN}
    for name, weight_format in (
        ("openai/gpt-oss-120b", "mxfp4"),
        ("deepseek-ai/DeepSeek-V3", "fp8"),
        ("deepseek-ai/DeepSeek-V4-Pro", "w4a8"),
        ("moonshotai/Kimi-K2-Instruct", "fp8"),
        ("moonshotai/Kimi-K2.5", "int4"),
        ("MiniMaxAI/MiniMax-M2", "fp8"),
        ("Qwen/Qwen3-235B-A22B", "bf16"),
        ("meta-llama/Llama-2-70b", "fp16"),
    ):
        assert shipped[name] == weight_format


@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [
        # The sizes of the files that are published.
        ("openai/gpt-oss-20b", 13.8),
        ("openai/gpt-oss-120b", 65.3),
        ("moonshotai/Kimi-K2-Thinking", 594),
        ("moonshotai/Kimi-K3", 1560),
    ],
)
def test_weights_of_mixed_formats_are_as_large_as_their_files(name: str, gigabytes: float) -> None:
    model = CATALOGUE.model(name)
    assert model.weight_bytes
    assert model.num_total_params
    assert model.weight_bytes * model.num_total_params == pytest.approx(gigabytes * 1e9, rel=0.01)


@pytest.mark.parametrize("gpu", CATALOGUE.gpus, ids=lambda gpu: gpu.name)
def test_a_gpus_numbers_fit_together(gpu: GpuProfile) -> None:
    if gpu.family == "seed":
        return
    assert gpu.memory_bytes
    assert gpu.memory_bandwidth
    assert 10e9 <= gpu.memory_bytes <= 300e9 or gpu.name == "M3-Ultra"
    assert 0.2e12 <= gpu.memory_bandwidth <= 8e12
    assert 1.9 <= (gpu.peak_flops_sparse or 2 * gpu.peak_flops) / gpu.peak_flops <= 2.1
    if gpu.name in WIDENS_FP8:
        assert gpu.peak_flops_fp8 == gpu.peak_flops
    else:
        assert 1.9 <= (gpu.peak_flops_fp8 or 2 * gpu.peak_flops) / gpu.peak_flops <= 2.1
    if gpu.peak_flops_fp4:
        # Blackwell Ultra gave up other formats for half as much FP4 again.
        assert 1.9 <= gpu.peak_flops_fp4 / (gpu.peak_flops_fp8 or 0) <= 4.1
    # Chips without matrix units need most energy per FLOP, chips of nothing else least.
    assert 0.1e12 < gpu.peak_flops / gpu.power_rating < 3.1e12
    lowest, highest = FLOP_PER_BYTE.get(gpu.name, (100, 450))
    assert lowest < gpu.peak_flops / gpu.memory_bandwidth < highest


@pytest.mark.parametrize("gpu", CATALOGUE.gpus, ids=lambda gpu: gpu.name)
def test_a_gpu_states_every_number_that_the_calibrated_method_would_else_assume(
    gpu: GpuProfile,
) -> None:
    # Without its own link a card in a slot would get that of an NVLink board.
    assert gpu.family == "seed" or gpu.link_bandwidth


@pytest.mark.parametrize("name", ["T4", "V100", "V100-SXM2-16GB", "V100-PCIe", "V100-PCIe-32GB"])
def test_a_gpu_without_bf16_states_that_its_peak_is_of_fp16(name: str) -> None:
    assert "FP16" in CATALOGUE.gpu(name).notes


@pytest.mark.parametrize(
    ("name", "sms", "clock", "rate"),
    [
        ("A10", 72, 1695e6, 1024),
        ("A40", 84, 1740e6, 1024),
        ("L40S", 142, 2520e6, 1024),
        ("RTX-3090", 82, 1695e6, 512),
        ("RTX-4090", 128, 2520e6, 512),
        ("RTX-5090", 170, 2407e6, 512),
        ("A30", 56, 1440e6, 2048),
        ("RTX-A6000", 84, 1800e6, 1024),
        ("RTX-6000-Ada", 142, 2505e6, 1024),
        ("RTX-PRO-6000-Blackwell", 188, 2430e6, 1024),
    ],
)
def test_a_peak_is_the_dense_one_that_units_clock_and_rate_give(
    name: str, sms: int, clock: float, rate: int
) -> None:
    assert CATALOGUE.gpu(name).peak_flops == pytest.approx(sms * clock * rate, rel=0.02)


@pytest.mark.parametrize(
    ("name", "profile"),
    [
        # as nvidia-smi prints them
        ("NVIDIA H100 80GB HBM3", "H100-SXM"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA H20", "H20"),
        ("NVIDIA B200", "B200"),
        ("NVIDIA B300 SXM6 AC", "B300"),
        ("NVIDIA GB200", "GB200"),
        ("NVIDIA GB300", "GB300-NVL72"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GH200 144G HBM3e", "GH200-144GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-80GB"),
        ("NVIDIA A100-SXM4-40GB", "A100-40GB"),
        ("NVIDIA A100 80GB PCIe", "A100-PCIe-80GB"),
        ("NVIDIA A100-PCIE-40GB", "A100-PCIe-40GB"),
        ("NVIDIA A10", "A10"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA A30", "A30"),
        ("NVIDIA A40", "A40"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40", "L40"),
        ("NVIDIA L40S", "L40S"),
        ("Tesla T4", "T4"),
        ("Tesla V100-SXM2-16GB", "V100-SXM2-16GB"),
        ("Tesla V100-SXM2-32GB", "V100-SXM2"),
        ("Tesla V100-PCIE-16GB", "V100-PCIe"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX-6000-Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-Blackwell"),
        (
            "NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition",
            "RTX-PRO-6000-Blackwell-Max-Q",
        ),
        ("NVIDIA GeForce RTX 3090", "RTX-3090"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090"),
        ("NVIDIA GeForce RTX 5090", "RTX-5090"),
        ("NVIDIA GB10", "GB10"),
        ("NVIDIA Thor", "Jetson-AGX-Thor"),
        ("Orin (nvgpu)", "Jetson-AGX-Orin"),
        # as others print them
        ("AMD Instinct MI300X", "MI300X"),
        ("AMD Instinct MI355X OAM", "MI355X"),
        ("Apple M2 Ultra", "M2-Ultra"),
        ("TPU v5 lite", "TPU-v5e"),
        ("TPU v6 lite", "TPU-v6e"),
        ("TPU7x", "TPU-v7"),
        # as people write them
        ("RTX 4090", "RTX-4090"),
        ("rtx_4090", "RTX-4090"),
        ("RTX4090", "RTX-4090"),
        ("GeForce RTX5090", "RTX-5090"),
        ("h100sxm", "H100-SXM"),
        ("B200-SXM6", "B200"),
        ("B300-288GB", "B300"),
        ("GB300-288GB", "GB300-NVL72"),
        ("GB200-192GB", "GB200-NVL72"),
        ("HGX H200", "H200"),
        ("V100", "V100-SXM2"),
        ("A6000", "RTX-A6000"),
        ("DGX Spark", "GB10"),
        ("Google Cloud TPU v5e", "TPU-v5e"),
        ("TPU v5p", "TPU-v5p"),
        ("Trillium", "TPU-v6e"),
        ("Ironwood", "TPU-v7"),
        ("Trainium2", "Trainium2"),
        ("AWS Trainium2", "Trainium2"),
        ("trn2", "Trainium2"),
        ("inf2", "Inferentia2"),
        ("Intel Gaudi 3", "Gaudi3"),
        ("M3 Max", "M3-Max"),
        ("apple m4 max", "M4-Max"),
    ],
)
def test_names_of_gpus_that_tools_print_and_people_write_are_found(name: str, profile: str) -> None:
    assert CATALOGUE.gpu(name).name == profile


@pytest.mark.parametrize("name", ["RTX 4090 Mobile", "M2", "TPU", "A100-MIG", "H100-96GB"])
def test_a_gpu_is_never_taken_for_another_with_a_similar_name(name: str) -> None:
    with pytest.raises(UnknownGpuError):
        CATALOGUE.gpu(name)


CLOSED = [m for m in CATALOGUE.models if m.family == "closed"]


@pytest.mark.parametrize("model", CLOSED, ids=lambda model: model.name)
def test_the_shape_of_a_closed_model_follows_from_its_size(model: ModelProfile) -> None:
    layers = round(17 * (model.num_active_params / 1e9) ** 0.36)
    width = math.sqrt(model.num_active_params / (12 * layers))
    heads = round(width / 128)
    assert (model.num_layers, model.num_attn_heads, model.attn_head_dim, model.hidden_dim) == (
        layers,
        heads,
        128,
        128 * heads,
    )
    assert model.kv_bytes_per_token == 4096 * layers == 4 * layers * 8 * 128
    assert model.reasoning_factor == 1
    assert model.provenance["num_layers"].grade == "D"


SHARE = math.sqrt(0.1 * 0.3)
"""Active parameters over all, of a mixture of experts as EcoLogits has them [1]."""


@pytest.mark.parametrize("model", CLOSED, ids=lambda model: model.name)
def test_the_size_of_a_closed_model_follows_the_rule_of_its_family(model: ModelProfile) -> None:
    active, total = model.provenance["num_active_params"], model.num_total_params
    if total is None:
        assert model.notes == "dense, as its maker says"
        return
    assert active.low
    assert active.high
    if active.source == "price-rule":
        price = float(model.notes.split(" USD per million output tokens")[0])
        assert total == pytest.approx(50e9 * price**0.8, rel=6e-3)
        assert active.value == pytest.approx(SHARE * total, rel=6e-3)
        assert active.low == pytest.approx(active.value / 6, rel=6e-3)
        assert active.high == total
        return
    if active.source == "share-rule":
        assert active.value == pytest.approx(SHARE * total, rel=6e-3)
    else:
        assert active.value == pytest.approx(math.sqrt(active.low * active.high), rel=6e-3)
    if active.source == "mixture-rule":
        assert total == pytest.approx(math.sqrt(active.low / SHARE * active.high), rel=6e-3)
    elif active.source == "share-rule":
        assert active.low == pytest.approx(0.1 * total)
        # Where a source says that more of it may be active, that is the high end.
        assert active.high in (pytest.approx(0.3 * total), total)
    else:
        assert 0.095 <= active.low / total < active.high / total <= 0.34


PRICES = {
    # USD per million output tokens, of closed models that have an estimate
    "gpt-6-astra": 50,
    "gpt-6-sol": 10,
    "gpt-6.1-sol": 10,
    "gpt-6-luna": 0.5,
    "gpt-5.6-sol": 20,
    "gpt-5.6-terra": 12,
    "gpt-5.6-luna": 1.2,
    "gpt-5.5": 30,
    "gpt-5.4": 15,
    "gpt-5.4-mini": 4.5,
    "gpt-5.4-nano": 1.25,
    "gpt-5.2": 14,
    "gpt-5.1": 10,
    "gpt-5": 10,
    "gpt-5-mini": 2,
    "gpt-5-nano": 0.4,
    "gpt-4.1": 8,
    "gpt-4.1-mini": 1.6,
    "gpt-4.1-nano": 0.4,
    "gpt-4o@registry": 10,
    "gpt-4o-mini": 0.6,
    "o1@registry": 60,
    "o3-mini@registry": 4.4,
    "o4-mini": 4.4,
    "gpt-4-turbo": 30,
    "gpt-4": 60,
    "gpt-3.5-turbo": 1.5,
    "claude-fable-5": 50,
    "claude-opus-5-5": 20,
    "claude-opus-5": 25,
    "claude-opus-4-6": 25,
    "claude-opus-4": 75,
    "claude-sonnet-5": 10,
    "claude-sonnet-4-6": 15,
    "claude-sonnet-4": 15,
    "claude-3-5-sonnet": 15,
    "claude-haiku-5-5": 0.5,
    "claude-haiku-4-5": 5,
    "claude-3-5-haiku": 4,
    "claude-3-opus": 75,
    "claude-3-sonnet": 15,
    "claude-3-haiku": 1.25,
    "claude-2": 24,
    "gemini-3.6-flash": 3.75,
    "gemini-3.5-flash": 9,
    "gemini-3.5-flash-lite": 2.5,
    "gemini-3.1-pro": 12,
    "gemini-3.1-flash-lite": 1.5,
    "gemini-3-flash": 3,
    "gemini-2.5-pro": 10,
    "gemini-2.5-flash": 2.5,
    "gemini-2.5-flash-lite": 0.4,
    "gemini-2.0-flash": 0.4,
    "gemini-2.0-flash-lite": 0.3,
    "gemini-1.5-pro": 5,
    "gemini-1.5-flash": 0.3,
    "mistral-medium-2508": 2,
    "magistral-medium": 5,
}


def test_the_price_of_a_closed_model_gives_its_size_within_the_stated_factor() -> None:
    errors = sorted(
        abs(math.log((CATALOGUE.model(name).num_total_params or 0) / (50e9 * price**0.8)))
        for name, price in PRICES.items()
    )
    assert math.exp(math.fsum(errors) / len(errors)) == pytest.approx(2.0, abs=0.05)
    assert math.exp(errors[int(0.9 * len(errors))]) == pytest.approx(6.5, abs=0.5)
    notes = load_sources()["price-rule"].notes
    assert "within a factor of 2.0 (geometric mean), nine in ten within 6.5" in notes


@pytest.mark.parametrize(
    ("source", "error"), [("layer-rule", 1.19), ("width-rule", 1.17), ("kv-rule", 2.23)]
)
def test_the_error_of_a_rule_is_the_one_its_source_states(source: str, error: float) -> None:
    def guess(model: ModelProfile) -> float:
        layers: float = 17 * (model.num_active_params / 1e9) ** 0.36
        if source == "layer-rule":
            return layers / model.num_layers
        if source == "width-rule":
            return math.sqrt(model.num_active_params / 12 / layers) / model.hidden_dim
        return 4096 * layers / (model.kv_bytes_per_token or math.nan)

    # The rules are for closed models, of which none is smaller.
    models = [model for model in DECODERS if model.num_active_params >= 1e9]
    factor = math.exp(math.fsum(abs(math.log(guess(m))) for m in models) / len(models))
    assert factor == pytest.approx(error, abs=0.005)
    assert f"factor of {error}" in load_sources()[source].notes


PRO = [
    # profile, base, price of its tokens over the base's
    ("gpt-5.5-pro", "gpt-5.5", 6),
    ("gpt-5.4-pro", "gpt-5.4", 12),
    ("gpt-5.2-pro", "gpt-5.2", 12),
    ("gpt-5-pro", "gpt-5", 12),
    ("o3-pro", "o3", 10),
    ("o1-pro", "o1@registry", 10),
]


@pytest.mark.parametrize(("name", "base", "price_ratio"), PRO)
def test_a_pro_model_is_its_base_sampled_several_times(
    name: str, base: str, price_ratio: float
) -> None:
    pro, one = CATALOGUE.model(name), CATALOGUE.model(base)
    assert pro.num_active_params == one.num_active_params
    assert pro.num_total_params == one.num_total_params
    assert one.samples == 1
    samples = pro.provenance["samples"]
    assert (samples.low, samples.high) == (1, price_ratio)
    assert pro.samples == samples.value == pytest.approx(math.sqrt(price_ratio), abs=0.05)
    assert pro.grade == samples.grade == "D"


def test_no_other_model_is_sampled_several_times() -> None:
    assert {m.name for m in CATALOGUE.models if m.samples != 1} == {name for name, _, _ in PRO}


# ---------- names -----------------------------------------------------------------------


def literal_ids() -> Iterator[str]:
    """Every model id in a type literal of the installed openai package."""
    for path in (Path(openai.__file__).parent / "types").rglob("*.py"):
        # A dated API version and "auto" stand in this field, not ids.
        if path.name == "voice_create_params.py":
            continue
        text = path.read_text(encoding="utf-8")
        if "Literal[" not in text or "odel" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            if not re.search(r"(^|_)model$|Model(s|Param)?$", node.target.id):
                continue
            is_alias = getattr(node.annotation, "id", "") == "TypeAlias"
            yield from _literals(node.value if is_alias and node.value else node.annotation)


def _literals(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
            for item in ast.walk(node.slice):
                if isinstance(item, ast.Constant) and isinstance(item.value, str):
                    yield item.value


LITERAL_IDS = sorted(set(literal_ids()))
SURVEYED = (3, 57)
"""The last openai version whose ids were gone through; later ones may know new models."""


def test_the_openai_package_lists_its_ids_where_we_look() -> None:
    for name in ("gpt-4o", "o3-mini", "text-embedding-3-small", "whisper-1", "tts-1", "dall-e-3"):
        assert name in LITERAL_IDS
    assert len(LITERAL_IDS) > 60


@pytest.mark.parametrize("name", LITERAL_IDS)
def test_every_id_of_the_openai_package_has_a_profile_or_a_reason(name: str) -> None:
    match, reason = CATALOGUE.match(name), CATALOGUE.explain_no_profile(name)
    newer = tuple(map(int, openai.__version__.split(".")[:2])) > SURVEYED
    if newer and match is None and reason is None:
        pytest.skip(f"new in openai {openai.__version__}")
    assert (match is None) == (reason is not None)


@pytest.mark.parametrize(
    ("name", "profile", "rule"),
    [
        ("gpt-4o-2024-11-20", "gpt-4o", "snapshot"),
        ("gpt-4o-audio-preview-2025-06-03", "gpt-4o", "snapshot+alias"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "snapshot"),
        ("o1-2024-12-17", "o1", "snapshot"),
        ("o3-mini-2025-01-31", "o3-mini", "snapshot"),
        ("gpt-5-pro-2025-10-06", "gpt-5-pro", "snapshot"),
        ("gpt-4-0613", "gpt-4", "snapshot"),
        ("gpt-4-1106-preview", "gpt-4-turbo", "alias"),
        ("gpt-35-turbo", "gpt-3.5-turbo", "alias"),
        ("gpt-3.5-turbo-instruct:20230824-v2", "gpt-3.5-turbo", "snapshot+alias"),
        ("ft:gpt-4o-mini-2024-07-18:org::id", "gpt-4o-mini", "fine_tuned+snapshot"),
        ("openai/gpt-5.4-mini-2026-03-17", "gpt-5.4-mini", "provider_prefix+snapshot"),
        ("llama-3.3-70b-versatile", "meta-llama/Llama-3.1-70B", "alias"),
        ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B", "provider_prefix+alias"),
        ("mixtral-8x7b-32768", "mistralai/Mixtral-8x7B", "alias"),
        ("qwen/qwen3-32b", "Qwen/Qwen3-32B", "exact"),
        ("gpt-oss:20b", "openai/gpt-oss-20b", "alias"),
        ("openai.gpt-oss-120b-1:0", "openai/gpt-oss-120b", "alias"),
        (
            "deepseek-ai/DeepSeek-R1-0528",
            "deepseek-ai/DeepSeek-V3",
            "provider_prefix+snapshot+alias",
        ),
        ("Qwen/Qwen3.5-397B-A17B", "Qwen/Qwen3.5-397B-A17B", "exact"),
        ("qwq-32b", "Qwen/Qwen2.5-32B", "alias"),
        ("deepseek-reasoner", "deepseek-chat", "alias"),
        ("mistral-large-latest", "mistralai/Mistral-Large-3-675B-Instruct-2512", "alias"),
        ("magistral-small", "mistralai/Mistral-Small-24B", "alias"),
        ("zai-org/GLM-4.6", "zai-org/GLM-4.5", "provider_prefix+alias"),
        ("kimi-k2.6", "moonshotai/Kimi-K2.5", "alias"),
        (
            "CohereForAI/c4ai-command-r-plus",
            "CohereLabs/c4ai-command-r-plus",
            "provider_prefix+alias",
        ),
        ("gemma-7b", "google/codegemma-7b", "alias"),
        ("nomic-embed-text", "nomic-ai/nomic-embed-text-v1.5", "alias"),
        # Gateways mean the big one, Ollama the small one.
        ("qwen/qwen3-coder", "Qwen/Qwen3-Coder-480B-A35B", "alias"),
        ("openrouter/qwen/qwen3-coder:free", "Qwen/Qwen3-Coder-480B-A35B", "variant+alias"),
        ("qwen3-coder:30b", "Qwen/Qwen3-30B-A3B", "alias"),
        ("openai/gpt-5.1-chat", "gpt-5.1", "provider_prefix+alias"),
        ("azure/eu/gpt-5.2-chat", "gpt-5.2", "provider_prefix+alias"),
        (
            "Qwen/Qwen3-Next-80B-A3B-Thinking",
            "Qwen/Qwen3-Next-80B-A3B",
            "provider_prefix+alias",
        ),
        (
            "deepseek-r1:70b-llama-distill-q4_K_M",
            "meta-llama/Llama-3.1-70B",
            "quantized+alias",
        ),
        ("gemma3:27b-it-qat", "google/gemma-3-27b-it", "quantized+spelling"),
    ],
)
def test_names_that_servers_give_are_matched(name: str, profile: str, rule: str) -> None:
    match = CATALOGUE.match(name)
    assert match is not None
    assert (match.profile.name, match.rule) == (profile, rule)


@pytest.mark.parametrize(
    "name",
    [
        "gpt-4o-banana",
        "gpt-5o",
        "o1-max",
        "llama-3.1-9b",
        "qwen3-9b",
        "mistral-huge-latest",
        "gemini-2.5-max",
        "/opt/ml/model",
    ],
)
def test_names_without_a_public_architecture_are_left_unmatched(name: str) -> None:
    assert CATALOGUE.match(name) is None


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("qwen3-coder", "two models have this name"),
        ("qwen3-coder:latest", "two models have this name"),
        ("zhipu/glm-4", "nothing is public"),
        ("glm-4-0520", "nothing is public"),
        ("dashscope/qwen-plus-latest", "nothing is public"),
    ],
)
def test_names_of_models_of_unknown_size_have_no_profile_and_a_reason(
    name: str, reason: str
) -> None:
    assert CATALOGUE.match(name) is None
    assert reason in str(CATALOGUE.explain_no_profile(name))


@given(
    st.sampled_from([name for m in CATALOGUE.models for name in (m.name, *m.aliases)]),
    st.from_regex(r"\A[-_.]?[a-z]{1,12}\Z"),
)
def test_a_word_added_to_a_known_name_never_matches(name: str, suffix: str) -> None:
    known = {unify_spelling(fold_name(n)) for m in CATALOGUE.models for n in (m.name, *m.aliases)}
    word = fold_name(name + suffix)
    read = list(find_readings(word))
    # A word with a row of its own, such as "-instruct", says that the model is the same.
    assume(not any(reading.rules and word.startswith(reading.name) for reading in read))
    # "meta-llama/llama-3.1-70b" + "-instruct" is an alias behind its provider's name.
    assert CATALOGUE.match(word) is None or any(
        word.endswith(reading.name) and unify_spelling(reading.name) in known for reading in read
    )


AMBIGUOUS = {"glm4", "qwen3-coder"}
"""Spellings without a profile as they are, and known with more around them."""


def test_no_two_models_share_a_spelling() -> None:
    owners: dict[str, set[str]] = {}
    for model in CATALOGUE.models:
        for name in (model.name, *model.aliases):
            folded = fold_name(name)
            for written in (folded, folded.rpartition("/")[2]):
                owners.setdefault(unify_spelling(written), set()).add(model.name)
    for name in CATALOGUE.without_profile:
        owners.setdefault(unify_spelling(name), set()).add(f"without profile: {name}")
    assert {name for name, shared in owners.items() if len(shared) > 1} == AMBIGUOUS
    assert all(len(owners[name]) == 2 for name in AMBIGUOUS)


# ---------- the survey ------------------------------------------------------------------


def test_closed_models_have_the_surveys_numbers() -> None:
    prices = {name: ratio for name, _, ratio in PRO}
    for row in survey("model_registry_openai.csv"):
        name = row["model_id"]
        if row["grade"] == "E":
            assert CATALOGUE.match(name) is None, name
            continue
        match = CATALOGUE.match(name)
        assert match is not None, name
        profile = CATALOGUE.corrected_model(match.profile)
        # The survey gives -pro ids their price in parameters; here it is in the samples.
        as_one = prices.get(profile.name, 1) if float(row["total_central"]) > 2000 else 1
        active = profile.provenance["num_active_params"]
        if active.source == "price-rule":
            # The survey took it as a model that is bigger than its sibling.
            assert (name, row["grade"]) == ("gpt-6.1-terra", "D")
            continue
        low, central, high = (
            1e9 * float(row[f"active_{end}"]) / as_one for end in ("low", "central", "high")
        )
        # The survey has the small ones as dense; here that is the high end, see mixture-rule.
        is_mixture = active.source != "mixture-rule"
        assert row["arch"] == ("moe" if is_mixture else "dense"), name
        assert active.high == pytest.approx(high, rel=1e-3), name
        assert active.low == pytest.approx(low * (1 if is_mixture else SHARE), rel=6e-3), name
        if is_mixture:
            assert active.value == pytest.approx(central, rel=1e-3), name
        assert profile.num_total_params == pytest.approx(
            1e9 * float(row["total_central"]) / as_one, rel=6e-3
        ), name
        made_worse = profile.samples > 1 or not is_mixture
        assert profile.grade == ("D" if made_worse else row["grade"]), name


def test_open_models_have_the_surveys_numbers() -> None:
    fields = {
        "active_B_excl_input_emb": ("num_active_params", 1e9),
        "layers": ("num_layers", 1),
        "hidden": ("hidden_dim", 1),
        "heads": ("num_attn_heads", 1),
        "kv_heads": ("num_kv_heads", 1),
        "head_dim": ("attn_head_dim", 1),
        "experts": ("num_experts", 1),
        "experts_per_token": ("num_experts_per_token", 1),
        "kv_bytes_per_token_bf16": ("kv_bytes_per_token", 1),
    }
    rows = survey("model_registry_open.csv")
    assert len(rows) == 42
    for row in rows:
        profile = CATALOGUE.model(row["model"])
        for column, (field, scale) in fields.items():
            expected = float(row[column]) * scale
            assert getattr(profile, field) == pytest.approx(expected), (profile.name, field)
        total = profile.num_total_params or profile.num_active_params
        assert total == pytest.approx(float(row["total_B"]) * 1e9), profile.name
        assert profile.grade == row["grade"]


def test_gpus_have_the_surveys_numbers() -> None:
    fields = {
        "bf16_dense_TFLOPS": ("peak_flops", 1e12),
        "bf16_sparse_TFLOPS": ("peak_flops_sparse", 1e12),
        "fp8_dense_TFLOPS": ("peak_flops_fp8", 1e12),
        "mem_GB": ("memory_bytes", 1e9),
        "mem_bw_TBps": ("memory_bandwidth", 1e12),
        "tdp_W": ("power_rating", 1),
    }
    # Their power ratings, which the survey lacks, have a source of their own.
    extra = {"B300-SXM", "GB300-NVL72 (per GPU)", "MI325X", "MI355X", "TPU v5e", "TPU v6e"}
    for row in survey("gpu_registry.csv"):
        if not row["tdp_W"] and row["name"] not in extra:
            continue
        profile = CATALOGUE.gpu(row["name"])
        for column, (field, scale) in fields.items():
            if row[column]:
                expected = float(row[column]) * scale
                assert getattr(profile, field) == pytest.approx(expected), (profile.name, field)


# ---------- a user's file ---------------------------------------------------------------

USER_FILE = """
[families.open]
grade = "A"
source = "our own cluster"

[models."acme/lm-7b"]
family = "open"
aliases = ["acme-lm"]
num_active_params = { value = 7e9, low = 6.5e9, high = 7.5e9 }
num_layers = 32
num_attn_heads = 32
attn_head_dim = 128
hidden_dim = { value = 4096, grade = "B", source = "a blog" }
num_experts = 8
num_experts_per_token = 2

[models.assistant]
like = "gpt-4o-mini"
num_active_params = 10e9

[models."assistant-pro"]
like = "Assistant"
grade = "D"
samples = { value = 4, low = 2, high = 8 }

[gpus.RTX-6000]
peak_flops = 252e12
gpu_prefill_util = 0.5
gpu_decoding_util = 0.1
power_rating = 600
power_prefill_util = 1.0
power_decoding_util = 0.75

[gpus."H100 capped"]
like = "H100-SXM"
power_rating = 500
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "profiles.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_users_file_gives_profiles(tmp_path: Path) -> None:
    (acme, assistant, pro), (rtx, capped) = read_profiles(write(tmp_path, USER_FILE))
    assert (acme.name, acme.aliases, acme.family) == ("acme/lm-7b", ("acme-lm",), "open")
    assert (acme.num_active_params_low, acme.num_active_params_high) == (6.5e9, 7.5e9)
    assert (acme.grade, acme.source) == ("A", "our own cluster")
    assert (acme.provenance["hidden_dim"].grade, acme.provenance["hidden_dim"].source) == (
        "B",
        "a blog",
    )
    assert acme.provenance["num_layers"].source == "our own cluster"
    assert type(acme.num_experts) is int
    assert type(acme.num_layers) is float

    mini = CATALOGUE.model("gpt-4o-mini")
    assert (assistant.num_active_params, assistant.num_layers) == (10e9, mini.num_layers)
    assert (assistant.num_active_params_low, assistant.num_active_params_high) == (None, None)
    assert (assistant.family, assistant.grade, assistant.aliases) == ("closed", "D", ())
    assert (pro.samples, pro.num_active_params, pro.grade) == (4, 10e9, "D")
    assert pro.provenance["num_active_params"].grade == "D"

    assert (rtx.name, rtx.family, rtx.grade, rtx.source) == ("RTX-6000", "user", "C", "user")
    assert (capped.power_rating, capped.memory_bandwidth) == (500, 3.35e12)


def test_an_empty_file_gives_nothing(tmp_path: Path) -> None:
    assert read_profiles(write(tmp_path, "")) == ((), ())


GPU = USER_FILE[USER_FILE.index("[gpus.RTX-6000]") : USER_FILE.index('[gpus."H100 capped"]')]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (
            "[model.x]",
            [
                "key must be one of 'families', 'models', 'gpus', got 'model'",
                "did you mean 'models'",
            ],
        ),
        ("models = 3", ["models must be a table, got 3"]),
        ("[models]\nx = 3", ['[models."x"] must be a table, got 3']),
        ("[families]\nmine = 3", ["[families.mine] must be a table, got 3"]),
        ("[families.mine]\nnum_layer = 3", ["[families.mine]", "'num_layer'", "'num_layers'"]),
        (
            "[models.x]\nnum_active_param = 7e9",
            ['[models."x"]', "'num_active_param'", "did you mean 'num_active_params'"],
        ),
        (
            "[models.x]\nnum_active_params = 7e9",
            ['[models."x"]', "num_layers, num_attn_heads"],
        ),
        ('[models.x]\nlike = "gpt-4o-mino"', ["like", "'gpt-4o-mino'", "'gpt-4o-mini'"]),
        ("[models.x]\nlike = 4", ["like must be a string, got 4"]),
        (
            '[models.x]\nlike = "o1"\nnum_layers = 0',
            ["num_layers must be a number from 1 to"],
        ),
        (
            '[models.x]\nlike = "o1"\nnum_layers = "80"',
            ["num_layers must be a number, got '80'"],
        ),
        (
            '[models.x]\nlike = "o1"\nnum_layers = true',
            ["num_layers must be a number, got True"],
        ),
        ('[models.x]\nlike = "o1"\nnum_layers = nan', ["num_layers", "nan"]),
        (
            '[models.x]\nlike = "o1"\nnum_layers = { low = 3 }',
            ["num_layers must be", "a value, got {'low': 3}"],
        ),
        (
            '[models.x]\nlike = "o1"\nnum_layers = { value = 3, low = 4 }',
            ["num_layers: value must be at least low, 4, got 3"],
        ),
        (
            '[models.x]\nlike = "o1"\nnum_layers = { value = 3, hihg = 4 }',
            ["num_layers", "'hihg'", "'high'"],
        ),
        ('[models.x]\nlike = "o1"\ngrade = "Z"', ["grade", "'Z'"]),
        ('[models.x]\nlike = "o1"\nfamily = "opn"', ["'opn'", "'open'"]),
        ('[models.x]\nlike = "o1"\naliases = "y"', ["aliases must be a list of names, got 'y'"]),
        (
            GPU.replace("= 600", "= -600"),
            ['[gpus."RTX-6000"]', "power_rating must be a number from 0.001 to 1e+07 W, got -600"],
        ),
        (GPU.replace("= 600", "= 1e308"), ["power_rating must be a number from 0.001 to 1e+07 W"]),
        (GPU.replace("= 600", f"= 1{'0' * 400}"), ["power_rating must be", "got 1000"]),
        (
            GPU.replace("= 600", "= { value = 600, high = inf }"),
            ["power_rating.high must be a number from 0.001 to 1e+07 W, got inf"],
        ),
        (
            f'{GPU}[gpus."rtx-6000"]\nlike = "H100"',
            [
                '[gpus."rtx-6000"]: name and aliases must be names of this profile alone',
                "'RTX-6000'",
            ],
        ),
        (
            '[models.x]\nlike = "o1"\naliases = ["y"]\n[models.Y]\nlike = "o1"',
            ['[models."Y"]', "and not of 'x', got 'Y'"],
        ),
        ('[models.x]\nlike = "o1"\nnum_layers = 1979-05-27', ["num_layers must be a number, got"]),
        (GPU.replace("0.5", "1.5"), ["gpu_prefill_util must be a number from 1e-06 to 1, got 1.5"]),
    ],
)
def test_a_mistake_in_a_users_file_is_named_with_its_place(
    tmp_path: Path, text: str, parts: list[str]
) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ProfileError) as refused:
        read_profiles(path)
    for part in (str(path), *parts):
        assert part in str(refused.value)


def test_a_file_that_cannot_be_read_is_a_configuration_error(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    with pytest.raises(ConfigurationError) as refused:
        read_profiles(missing)
    assert str(refused.value) == (
        f"profiles must be a TOML file that can be read, got {str(missing)!r}: No such file or "
        "directory"
    )
    with pytest.raises(ConfigurationError, match="nested too deep"):
        read_profiles(write(tmp_path, f"models = {'[' * 100_000}"))
    with pytest.raises(ConfigurationError, match="longer than 16,777,216 bytes"):
        read_profiles(write(tmp_path, "#" * (16 * 2**20 + 1)))
    with pytest.raises(ConfigurationError, match="Expected"):
        read_profiles(write(tmp_path, "[models"))
    broken = tmp_path / "latin.toml"
    broken.write_bytes(b"\xe9")
    with pytest.raises(ConfigurationError, match=r"latin\.toml"):
        read_profiles(broken)


@pytest.mark.parametrize("profile", [None, 5, "gpt-4o", object(), CATALOGUE])
def test_what_is_no_profile_cannot_be_registered(profile: Any) -> None:
    with pytest.raises(ProfileError, match="profile must be a ModelProfile, got"):
        register_model_profile(profile)
    with pytest.raises(ProfileError, match="profile must be a GpuProfile, got"):
        register_gpu_profile(profile)


def test_the_catalogue_is_read_once() -> None:
    assert load_catalogue() is CATALOGUE


def test_a_profile_is_built_when_it_is_asked_for_and_once_for_all_threads() -> None:
    started = threading.Barrier(2)
    built: list[ModelProfile] = []

    def build() -> ModelProfile:
        started.wait(5)
        built.append(replace(CATALOGUE.model("gpt-4o"), notes=str(len(built))))
        return built[-1]

    catalogue = Catalogue([Entry("gpt-4o", ("4o",), build), CATALOGUE.model("o1")])
    assert catalogue.model("o1") is CATALOGUE.model("o1")
    assert built == []
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(catalogue.model, ("gpt-4o", "4o")))
    assert len(built) == 2
    assert found[0] is found[1] is catalogue.models[0]


def test_a_deep_copy_of_a_catalogue_has_its_profiles() -> None:
    copied = deepcopy(load_catalogue())
    register = replace(CATALOGUE.model("gpt-4o"), name="own")
    copied.register_model(register)
    assert copied.models == (*CATALOGUE.models, register)
    assert copied.gpus == CATALOGUE.gpus


def test_the_file_that_is_read_is_what_the_tables_say() -> None:
    """After a change in the tables: ``python tests/profiles_json.py``."""
    assert PROFILES_JSON.read_text(encoding="utf-8") == make_json()


def test_what_is_read_unchecked_passes_the_checks_and_is_what_they_make_of_it() -> None:
    document = json.loads(PROFILES_JSON.read_text(encoding="utf-8"))
    checked = (
        *files._build_profiles(files._MODELS, document["models"], "models"),
        *files._build_profiles(files._GPUS, document["gpus"], "gpus"),
    )
    assert len(checked) == len(PROFILES)
    for profile, shipped in zip(checked, PROFILES, strict=True):
        assert vars(shipped) == vars(profile)
        assert [type(value) for value in vars(shipped).values()] == [
            type(vars(profile)[name]) for name in vars(shipped)
        ]
