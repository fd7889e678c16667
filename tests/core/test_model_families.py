"""A small model never has a higher central estimate than its bigger siblings."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from energy_tracking.estimator import METHODS, Assumptions, ServingProfile, estimate_usage
from energy_tracking.estimator.deployment import CLOSED_FAMILIES
from energy_tracking.estimator.serving import SERVING
from energy_tracking.profiles.files import load_catalogue
from energy_tracking.profiles.profile import ModelProfile
from energy_tracking.usage.token_usage import TokenUsage

CATALOGUE = load_catalogue()

LADDERS = (
    # Words for sizes, as makers use them, the smallest first; "" is the name without one.
    ("nano", "mini", "", "pro"),
    ("luna", "terra", "sol", "astra"),
    ("haiku", "sonnet", "opus"),
    ("flash-lite", "flash", "pro"),
    ("micro", "lite", "pro", "premier"),
    ("lite", "express", "premier"),
    ("small", "medium", "large"),
    ("fast", ""),
    ("light", ""),
    ("edge", "flash", "core"),
)


def known(name: str) -> ModelProfile | None:
    """The profile that lists this name, none by rule."""
    match = CATALOGUE.match(name)
    return match.profile if match and match.rule in {"exact", "alias"} else None


def siblings() -> Iterator[tuple[str, str]]:
    """Names of one generation that differ in the word for the size alone, the smaller first."""
    names = [name for model in CATALOGUE.models for name in (model.name, *model.aliases)]
    for name in names:
        # What a rolling name means changes, so two of them need not be of one generation; and a
        # name that states the size in billions needs no other word for it.
        if name.endswith("latest") or re.search(r"\db(?![a-z])", name):
            continue
        for ladder in LADDERS:
            for step, word in enumerate(ladder[:-1]):
                for bigger in ladder[step + 1 :] if word else ():
                    other = re.sub(
                        rf"-{word}(?![a-z])(?!-lite)", f"-{bigger}" if bigger else "", name
                    )
                    if other != name and known(other):
                        yield name, other
    # The name without a word is in the middle of its ladder.
    for name in names:
        if known(f"{name}-pro"):
            yield name, f"{name}-pro"


# Small 3 is of January 2025, Large 3 of December: what they share is a number.
NOT_SIBLINGS = {("mistral-small-3", "mistral-large-3")}

PAIRS = sorted(set(siblings()) - NOT_SIBLINGS)

USAGES = {
    "short chat": TokenUsage(input_tokens=100, output_tokens=300),
    "long prompt": TokenUsage(input_tokens=10_000, output_tokens=500),
    "reasoning": TokenUsage(input_tokens=500, output_tokens=8_000, reasoning_tokens=7_000),
    "hidden reasoning": TokenUsage(input_tokens=500, output_tokens=500),
    "prompt alone": TokenUsage(input_tokens=2_000, output_tokens=1),
    "cached prompt": TokenUsage(
        input_tokens=200_000, cached_input_tokens=199_000, output_tokens=8_000, reasoning_tokens=0
    ),
    "long reasoning": TokenUsage(input_tokens=10, output_tokens=100_000, reasoning_tokens=90_000),
}


def joules(
    name: str, usage: TokenUsage, method: str, gpu_name: str, serving: ServingProfile = SERVING
) -> float:
    """The central estimate, with the profiles that a session would take."""
    model, gpu = CATALOGUE.model(name), CATALOGUE.gpu(gpu_name)
    if method == "roofline":
        model, gpu = CATALOGUE.corrected_model(model), CATALOGUE.corrected_gpu(gpu)
    assumptions = Assumptions(serving=serving)
    estimate = estimate_usage(usage, model, gpu, method=method, assumptions=assumptions)
    return estimate.total_energy_joules


@pytest.mark.parametrize(
    "pair",
    [
        ("gpt-4.1-mini", "gpt-4.1"),
        ("gpt-4o-mini", "gpt-4o"),
        ("gpt-5-nano", "gpt-5"),
        ("gpt-5.6-luna", "gpt-5.6-terra"),
        ("gpt-6.1-terra", "gpt-6.1-sol"),
        ("o1-mini", "o1"),
        ("o3-mini", "o3"),
        ("gpt-5.1-codex-mini", "gpt-5.1-codex"),
        ("o3", "o3-pro"),
        ("claude-haiku-4-5", "claude-sonnet-4-5"),
        ("claude-3-5-haiku", "claude-3-5-sonnet"),
        ("claude-sonnet-4", "claude-opus-4"),
        ("gemini-2.5-flash-lite", "gemini-2.5-flash"),
        ("gemini-2.5-flash-lite", "gemini-2.5-pro"),
        ("gemini-3-flash-preview", "gemini-3-pro-preview"),
        ("gemini-1.5-flash-002", "gemini-1.5-pro-002"),
        ("nova-micro", "nova-premier"),
        ("grok-3-mini", "grok-3"),
        ("grok-4-fast", "grok-4"),
        ("command-light", "command"),
    ],
    ids="-".join,
)
def test_siblings_are_found_by_their_names(pair: tuple[str, str]) -> None:
    assert pair in PAIRS


def test_no_two_models_are_each_bigger_than_the_other() -> None:
    assert not {(big, small) for small, big in PAIRS} & set(PAIRS)


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
@pytest.mark.parametrize("gpu", ["A100", "H100"])
@pytest.mark.parametrize("method", METHODS)
def test_a_small_model_never_costs_more_than_its_bigger_sibling(
    method: str, gpu: str, usage: TokenUsage
) -> None:
    wrong = [
        (small, big)
        for small, big in PAIRS
        if joules(small, usage, method, gpu) > joules(big, usage, method, gpu)
    ]
    assert wrong == []


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
@pytest.mark.parametrize(
    "gpu", [gpu.name for gpu in CATALOGUE.gpus if gpu.memory_bandwidth], ids=str
)
def test_nor_on_another_gpu(gpu: str, usage: TokenUsage) -> None:
    wrong = [
        (small, big)
        for small, big in PAIRS
        if joules(small, usage, "roofline", gpu) > joules(big, usage, "roofline", gpu)
    ]
    assert wrong == []


@pytest.mark.parametrize("usage", USAGES.values(), ids=USAGES)
@pytest.mark.parametrize("gpu", ["A100", "H100", "B200", "GB300-NVL72", "TPU-v6e"])
@pytest.mark.parametrize("concurrency", [1, 8, 256])
def test_nor_in_another_batch_where_both_are_closed(
    concurrency: float, gpu: str, usage: TokenUsage
) -> None:
    serving = ServingProfile(concurrency_per_gpu=concurrency).with_known_concurrency()
    wrong = [
        (small, big)
        for small, big in PAIRS
        if {CATALOGUE.model(name).family for name in (small, big)} <= {*CLOSED_FAMILIES}
        and joules(small, usage, "roofline", gpu, serving)
        > joules(big, usage, "roofline", gpu, serving)
    ]
    assert wrong == []
