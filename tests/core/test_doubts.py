"""What is doubtful about one call widens its range and lowers its grade, in both methods."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from energy_tracking import EnergyEstimate, ModelProfile, TokenUsage, Tracker
from energy_tracking.estimator import METHODS, estimate_usage
from energy_tracking.estimator.doubts import (
    ALL_TOKENS_FROM_TEXT,
    GRADE_OF_RULE,
    MEDIA_INPUT,
    OUTPUT_TOKENS_FROM_TEXT,
    grade_match,
    list_doubts,
    may_be_doubtful,
)
from energy_tracking.frozen import declared_defaults
from small_profiles import DENSE, H100

REPORTED = TokenUsage(input_tokens=1000, output_tokens=500)
FROM_TEXT = replace(REPORTED, estimated=("input_tokens", "output_tokens"))

both_methods = pytest.mark.parametrize("method", METHODS)


def estimated(
    method: str, usage: TokenUsage = REPORTED, model: ModelProfile = DENSE, rule: str = "exact"
) -> EnergyEstimate:
    return estimate_usage(usage, model, H100, method=method, rule=rule)


def ends(estimate: EnergyEstimate) -> tuple[float, float]:
    """Low and high of the range over the central value [1]."""
    total = estimate.total_energy_joules
    return estimate.total_energy_low_joules / total, estimate.total_energy_high_joules / total


# Parts.


@both_methods
@pytest.mark.parametrize(
    ("change", "rule", "part", "factors"),
    [
        ({"estimated": ("input_tokens", "output_tokens")}, "exact", "tokens", ALL_TOKENS_FROM_TEXT),
        ({"estimated": ("output_tokens",)}, "exact", "tokens", OUTPUT_TOKENS_FROM_TEXT),
        ({"input_image_tokens": 1}, "exact", "media", MEDIA_INPUT),
        ({"input_audio_tokens": 800}, "exact", "media", MEDIA_INPUT),
        # C is off by up to 1.8, E by up to 3.2.
        ({}, "mapping", "model name", (1 / 1.8, 1.8)),
        ({}, "default", "model name", (1 / 3.2, 3.2)),
    ],
)
def test_a_doubt_is_a_part_of_the_range_and_changes_nothing_else(
    method: str, change: dict[str, int], rule: str, part: str, factors: tuple[float, float]
) -> None:
    sure = estimated(method)
    doubtful = estimated(method, replace(REPORTED, **change), rule=rule)  # type: ignore[arg-type]
    assert doubtful.range_parts == {**sure.range_parts, part: pytest.approx(factors)}
    assert doubtful.total_energy_joules == sure.total_energy_joules
    # Relative excesses add in quadrature.
    (low, high), (sure_low, sure_high) = ends(doubtful), ends(sure)
    assert high - 1 == pytest.approx(math.hypot(sure_high - 1, factors[1] - 1))
    assert 1 / low - 1 == pytest.approx(math.hypot(1 / sure_low - 1, 1 / factors[0] - 1))


@both_methods
def test_nothing_is_added_where_nothing_is_doubtful(method: str) -> None:
    sure = estimated(method)
    assert sure.grade == "A"
    assert set(sure.range_parts).isdisjoint({"tokens", "media", "model name"})
    for rule in ("exact", "alias", "date", "suffix"):
        assert estimated(method, rule=rule) == sure


@both_methods
def test_doubts_of_one_call_add_up(method: str) -> None:
    seen = replace(FROM_TEXT, input_image_tokens=100)
    parts = estimated(method, seen, rule="default").range_parts
    assert {"tokens", "media", "model name"} <= set(parts)


def test_generated_media_are_no_doubt_about_the_input() -> None:
    assert list_doubts(replace(REPORTED, output_audio_tokens=100), DENSE, "exact") == {}


@pytest.mark.parametrize("name", [*declared_defaults(TokenUsage)])
@pytest.mark.parametrize("rule", ["exact", "date", *GRADE_OF_RULE])
def test_doubts_are_looked_for_wherever_there_are_any(name: str, rule: str) -> None:
    was = getattr(REPORTED, name)
    stated: dict[str, Any] = {name: ("output_tokens",) if isinstance(was, tuple) else was or 1}
    for usage in (REPORTED, FROM_TEXT, replace(REPORTED, **stated)):
        assert may_be_doubtful(usage, rule) == bool(list_doubts(usage, DENSE, rule))


# Names.


@both_methods
@pytest.mark.parametrize(
    ("grade", "rule", "left"),
    [
        ("A", "exact", "A"),
        ("A", "mapping", "C"),
        ("A", "default", "E"),
        ("B", "mapping", "C"),
        ("D", "mapping", "D"),
        ("D", "default", "E"),
        ("E", "default", "E"),
        ("C", "date", "C"),
    ],
)
def test_the_grade_falls_to_that_of_the_rule(method: str, grade: str, rule: str, left: str) -> None:
    model = replace(DENSE, grade=grade)
    estimate = estimated(method, model=model, rule=rule)
    assert estimate.grade == left == grade_match(model, rule)
    # A wrong name comes on top of a wrong size, whichever grade the size has.
    assert ("model name" in estimate.range_parts) is (rule in GRADE_OF_RULE)


@both_methods
@pytest.mark.parametrize("grade", "ABCDE")
def test_a_profile_of_the_users_own_is_what_the_user_states(method: str, grade: str) -> None:
    own = replace(DENSE, family="user", grade=grade)
    mapped = estimated(method, model=own, rule="mapping")
    assert mapped == estimated(method, model=own)
    assert mapped.grade == grade


def test_a_default_model_is_no_better_known_for_being_the_users_own() -> None:
    own = replace(DENSE, family="user")
    assert grade_match(own, "default") == "E"
    assert "model name" in list_doubts(REPORTED, own, "default")


def test_every_rule_that_is_doubted_is_one_of_the_catalogue() -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 50}
    mapped = Tracker(model_mapping={"mine": "gpt-4o"}).record(model="mine", usage=usage)
    default = Tracker(default_model="gpt-4o").record(model="mine", usage=usage)
    assert {mapped.model_match, default.model_match} == set(GRADE_OF_RULE)


def test_a_tracked_call_shows_its_doubts() -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}
    known = Tracker().record(model="gpt-4o", usage=usage).estimate
    guessed = Tracker(default_model="gpt-4o").record(model="mine", usage=usage).estimate
    assert known is not None
    assert guessed is not None
    assert (known.grade, guessed.grade) == ("C", "E")
    assert guessed.total_energy_joules == known.total_energy_joules
    assert guessed.total_energy_high_joules > known.total_energy_high_joules
    assert guessed.total_energy_low_joules < known.total_energy_low_joules


@both_methods
@pytest.mark.parametrize("by", ["mapping", "default"])
@pytest.mark.parametrize("model", ["gpt-4o", "gpt-4o-mini", "llama-3.1-70b"])
def test_a_name_that_the_user_explained_has_a_wider_range_than_the_models_own(
    method: str, by: str, model: str
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}
    own = Tracker(method=method).record(model=model, usage=usage).estimate
    explaining = (
        Tracker(method=method, model_mapping={"mine": model})
        if by == "mapping"
        else Tracker(method=method, default_model=model)
    )
    explained = explaining.record(model="mine", usage=usage).estimate
    assert own is not None
    assert explained is not None
    assert explained.total_energy_joules == own.total_energy_joules
    assert explained.total_energy_low_joules < own.total_energy_low_joules
    assert explained.total_energy_high_joules > own.total_energy_high_joules
