"""Units convert exactly; errors are one tree and help."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking import errors
from energy_tracking.bounds import Bound
from energy_tracking.errors import (
    ConfigurationError,
    EnergyTrackingError,
    EnergyTrackingWarning,
    TokenCountError,
    must_be,
    not_one_of,
    shown,
)
from energy_tracking.units import (
    joules_from_nanojoules,
    joules_from_wh,
    nanojoules_from_joules,
    wh_from_joules,
)


def test_a_watt_hour_is_a_watt_for_an_hour() -> None:
    assert joules_from_wh(1.0) == 60 * 60
    assert wh_from_joules(5400.0) == 1.5
    energies: Any = np.array([0.0, 3600.0])
    np.testing.assert_array_equal(wh_from_joules(energies), [0.0, 1.0])


@given(st.floats(min_value=0, max_value=1e15))
def test_watt_hours_come_back_as_joules(energy_joules: float) -> None:
    back = joules_from_wh(wh_from_joules(energy_joules))
    assert math.isclose(back, energy_joules, rel_tol=1e-15, abs_tol=1e-300)


@given(st.integers(min_value=0, max_value=10**15))
def test_nanojoules_are_kept_to_the_last(energy_nanojoules: int) -> None:
    assert nanojoules_from_joules(joules_from_nanojoules(energy_nanojoules)) == energy_nanojoules


@pytest.mark.parametrize("energy_joules", [math.nan, math.inf])
def test_what_is_no_energy_has_no_nanojoules(energy_joules: float) -> None:
    with pytest.raises((ValueError, OverflowError)):
        nanojoules_from_joules(energy_joules)


ERRORS = [error for _, error in inspect.getmembers(errors, inspect.isclass)]


def test_errors_are_one_tree() -> None:
    own = [error for error in ERRORS if error.__module__ == errors.__name__]
    assert len(own) >= 7
    for error in own:
        assert issubclass(error, (EnergyTrackingError, EnergyTrackingWarning))
    # Wrong values stay what Python calls them.
    assert issubclass(ConfigurationError, ValueError)
    assert issubclass(TokenCountError, ValueError)
    assert issubclass(EnergyTrackingWarning, UserWarning)


GPUS = ["A100", "H100", "GB200"]
GPU_MUST_BE = "gpu must be one of 'A100', 'H100', 'GB200'"
MANY = [f"model-{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("value", "choices", "message"),
    [
        (
            "H1000",
            GPUS,
            f"{GPU_MUST_BE}, got 'H1000'; did you mean 'H100' or 'A100'?",
        ),
        (
            "gb-200",
            GPUS,
            f"{GPU_MUST_BE}, got 'gb-200'; did you mean 'GB200'?",
        ),
        ("TPU", GPUS, f"{GPU_MUST_BE}, got 'TPU'"),
        (None, ["a"], "gpu must be one of 'a', got None"),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_ones(
    value: object, choices: list[str], message: str
) -> None:
    assert not_one_of("gpu", value, choices) == message


def test_of_many_names_a_dozen_are_listed() -> None:
    message = not_one_of("model", "zzz", MANY)
    assert message.startswith("model must be a known name, got 'zzz'; known are 'model-0', ")
    assert message.endswith("'model-11' and 8 more")


class Nameless:
    def __repr__(self) -> str:
        raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (10**5000, "a int"),
        (Nameless(), "a Nameless"),
        ("x" * 1000, f"'{'x' * 116}..."),
    ],
    ids=["text", "digits", "broken", "long"],
)
def test_a_value_is_shown_in_a_line_whatever_it_is(value: object, text: str) -> None:
    assert shown(value) == text
    assert (
        must_be("gpu", "a string", value, "say it") == f"gpu must be a string, got {text}; say it"
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400, True, "5", None, 1j, 0.9])
def test_a_bound_holds_for_no_other_value(value: object) -> None:
    bound = Bound(1, 1e6, "W")
    assert not bound.holds(value)
    with pytest.raises(ConfigurationError, match="power must be a number from 1 to 1e"):
        bound.check("power", value)


def test_a_bound_gives_the_number_back() -> None:
    assert [Bound(1, 9).check("n", value) for value in (1, 2.5, 9, Fraction(7, 2))] == [
        1,
        2.5,
        9,
        3.5,
    ]
    assert type(Bound(1, 9, is_whole=True).check("n", 4.0)) is int
    assert not Bound(1, 9, is_whole=True).holds(4.5)
    assert Bound(1, 9, or_zero=True).holds(0)
