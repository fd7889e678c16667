"""An estimate is a value with all of its fields, though some are computed when first read."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from copy import copy, deepcopy
from dataclasses import asdict, fields, replace
from typing import Any

import numpy as np
import pytest

from energy_tracking.estimator import (
    CALIBRATED_METHOD,
    METHOD_NAMES,
    METHODS,
    EnergyEstimate,
    estimate_usage,
    reference,
)
from energy_tracking.usage.token_usage import TokenUsage
from small_profiles import BOARD, DENSE, H100

USAGE = TokenUsage(
    input_tokens=1000, cached_input_tokens=100, output_tokens=500, reasoning_tokens=200
)
FROM_TEXT = replace(USAGE, reasoning_tokens=None, estimated=("output_tokens",))
NAMES = [field.name for field in fields(EnergyEstimate)]
each_method = pytest.mark.parametrize("method", METHODS)
each_usage = pytest.mark.parametrize("usage", [USAGE, FROM_TEXT], ids=["reported", "from text"])


def make(method: str, usage: TokenUsage = USAGE) -> EnergyEstimate:
    return estimate_usage(usage, DENSE, H100, method=method)


def test_the_names_that_settings_know_are_those_of_the_methods() -> None:
    """They stand apart from the methods, which are loaded later."""
    assert tuple(METHODS) == METHOD_NAMES
    assert CALIBRATED_METHOD in METHODS


COPIES: dict[str, Callable[[EnergyEstimate], EnergyEstimate]] = {
    "copy": copy,
    "deepcopy": deepcopy,
    "pickle": lambda estimate: pickle.loads(pickle.dumps(estimate)),
    "replace": replace,
    "made of its fields": lambda estimate: EnergyEstimate(
        **{name: getattr(estimate, name) for name in NAMES}
    ),
}


@each_method
@each_usage
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_an_estimate_that_nobody_read_is_equal_to_it(
    method: str, usage: TokenUsage, way: str
) -> None:
    copied = COPIES[way](make(method, usage))
    assert copied == make(method, usage)
    assert list(asdict(copied)) == NAMES
    assert set(vars(copied)) == set(NAMES)


@each_method
@each_usage
@pytest.mark.parametrize("first", NAMES)
def test_every_field_is_the_same_whichever_is_read_first(
    method: str, usage: TokenUsage, first: str
) -> None:
    estimate, whole = make(method, usage), asdict(make(method, usage))
    assert getattr(estimate, first) == whole[first]
    assert asdict(estimate) == whole
    assert repr(estimate) == repr(make(method, usage))


@each_method
def test_what_is_replaced_is_not_computed_again(method: str) -> None:
    changed = replace(make(method), range_parts={}, total_flops=1.0)
    assert (changed.range_parts, changed.total_flops) == ({}, 1.0)
    assert changed.reasoning_energy_joules == make(method).reasoning_energy_joules


@each_method
def test_two_estimates_share_no_table_that_a_reader_could_change(method: str) -> None:
    one, other = make(method), make(method)
    assert one.range_parts is not other.range_parts
    assert one.assumed is not other.assumed


def test_counts_that_change_later_change_no_estimate() -> None:
    counts: list[Any] = [np.array([1000.0, 10.0]), np.array([500.0, 5.0]), np.array([200.0, 2.0])]

    def estimate() -> EnergyEstimate:
        prompt, answer, reasoning = counts
        return reference.estimate_request(
            DENSE, BOARD, input_tokens=prompt, output_tokens=answer, reasoning_tokens=reasoning
        )

    before, expected = estimate(), asdict(estimate())
    for column in counts:
        column[:] = 1.0
    for name in ("reasoning_energy_joules", "total_flops", "total_energy_high_joules"):
        assert getattr(before, name).tolist() == expected[name].tolist()


def test_the_class_has_no_value_of_its_own() -> None:
    assert not any(hasattr(EnergyEstimate, name) for name in NAMES)
