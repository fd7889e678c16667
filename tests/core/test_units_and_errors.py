"""Units convert exactly; errors are one tree and help."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking import errors
from energy_tracking.errors import (
    ConfigurationError,
    EnergyTrackingError,
    EnergyTrackingWarning,
    TokenCountError,
    not_one_of,
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
MANY = [f"model-{number}" for number in range(20)]


@pytest.mark.parametrize(
    ("value", "choices", "message"),
    [
        ("H1000", GPUS, "unknown GPU 'H1000'; did you mean 'H100' or 'A100'?"),
        ("gb-200", GPUS, "unknown GPU 'gb-200'; did you mean 'GB200'?"),
        ("TPU", GPUS, "unknown GPU 'TPU'; known: 'A100', 'H100', 'GB200'."),
        (None, ["a"], "unknown GPU None; known: 'a'."),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_ones(
    value: object, choices: list[str], message: str
) -> None:
    assert not_one_of("GPU", value, choices) == message


def test_of_many_names_a_dozen_are_told() -> None:
    message = not_one_of("model", "zzz", MANY)
    assert message.startswith("unknown model 'zzz'; known: 'model-0', 'model-1'")
    assert message.endswith("'model-11' and 8 more.")
