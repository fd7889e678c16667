"""What is computed once for many calls never serves a profile, a GPU or a setting of before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from energy_tracking import estimation
from energy_tracking.estimation import Estimation
from energy_tracking.estimator import (
    METHODS,
    Assumptions,
    ServingProfile,
    estimate_usage,
)
from energy_tracking.profiles.catalogue import Catalogue
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.settings import Settings
from energy_tracking.usage.token_usage import TokenUsage
from small_profiles import BOARD, DENSE, H100

USAGE = TokenUsage(input_tokens=1000, output_tokens=500, cached_input_tokens=100)
TWICE = replace(DENSE, num_active_params=2 * DENSE.num_active_params)
SLOWER = replace(BOARD, peak_flops=BOARD.peak_flops / 2)
each_method = pytest.mark.parametrize("method", METHODS)


def start(catalogue: Catalogue | None = None, **settings: Any) -> Estimation:
    loaded = Settings.load(settings, {})  # type: ignore[arg-type]
    return Estimation(loaded, catalogue or small_catalogue())


def small_catalogue() -> Catalogue:
    return Catalogue([DENSE], [BOARD])


@each_method
@pytest.mark.parametrize("changed", [TWICE, SLOWER], ids=["model", "GPU"])
@pytest.mark.parametrize("where", ["in its catalogue", "below it"])
def test_a_profile_registered_again_counts_from_the_next_call(
    method: str, changed: Any, where: str
) -> None:
    below = small_catalogue()
    catalogue = below.extended() if where == "below it" else below
    by = start(catalogue, method=method, gpu=BOARD.name)
    before = by.estimate(DENSE.name, None, USAGE)
    assert by.estimate(DENSE.name, None, USAGE) == before
    register = below.register_model if changed is TWICE else below.register_gpu
    register(changed)
    after = by.estimate(DENSE.name, None, USAGE)
    assert after == start(catalogue, method=method, gpu=BOARD.name).estimate(
        DENSE.name, None, USAGE
    )
    assert after.estimate
    assert before.estimate
    assert after.estimate.total_energy_joules > 1.1 * before.estimate.total_energy_joules
    if method == "reference":
        assert after.calibrated
        assert before.calibrated
        assert after.calibrated != before.calibrated


def test_a_name_that_was_unknown_is_found_once_it_is_registered() -> None:
    catalogue = Catalogue([], [BOARD])
    by = start(catalogue, gpu=BOARD.name)
    assert by.estimate(DENSE.name, None, USAGE).estimate is None
    catalogue.register_model(DENSE)
    assert by.estimate(DENSE.name, None, USAGE).estimate is not None


def test_a_better_profile_of_the_same_model_counts_from_the_next_call() -> None:
    catalogue = Catalogue([replace(DENSE, corrected="better")], [BOARD])
    by = start(catalogue, gpu=BOARD.name)
    before = by.estimate(DENSE.name, None, USAGE).calibrated
    catalogue.register_model(replace(TWICE, name="better"))
    after = by.estimate(DENSE.name, None, USAGE).calibrated
    assert before
    assert after
    assert (before.model_profile, after.model_profile) == (DENSE.name, "better")


@pytest.mark.parametrize(
    "settings",
    [
        {"method": "roofline"},
        {"gpu": "A100"},
        {"attention_mode": "linear"},
        {"sequences": 3},
        {"model_mapping": {"gpt-4o": "o1"}},
        {"method": "roofline", "scope": "facility"},
    ],
    ids=str,
)
def test_one_tracker_s_settings_are_no_other_s(settings: dict[str, Any]) -> None:
    plain, other = start(get_catalogue()), start(get_catalogue(), **settings)
    first = plain.estimate("gpt-4o", None, USAGE)
    assert other.estimate("gpt-4o", None, USAGE) != first
    assert plain.estimate("gpt-4o", None, USAGE) == first


def test_the_names_of_the_request_and_of_the_response_are_kept_apart() -> None:
    by = start(get_catalogue(), default_model="o1")
    names = [("gpt-4o", None), (None, "gpt-4o"), ("gpt-4o", "o3-mini"), ("o3-mini", "gpt-4o")]
    names += [("my-own", "gpt-4o"), ("my-own", None), (None, None)]
    expected = ["gpt-4o", "gpt-4o", "o3-mini", "gpt-4o", "gpt-4o", "o1", "o1"]
    for _ in range(2):
        found = [by.estimate(asked, answered, USAGE).estimate for asked, answered in names]
        assert [one and one.model_profile for one in found] == expected


def test_no_more_names_are_kept_than_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimation, "MAX_NAMES", 3)
    by = start(get_catalogue(), default_model="gpt-4o")
    names = [*map(str, range(10)), "x" * 10_000]
    for name in names:
        by.estimate(name, None, USAGE)
    kept = by._prepared.models
    assert 0 < len(kept) <= 3
    assert ("x" * 10_000, None) not in kept


CHANGES: dict[str, dict[str, Any]] = {
    "model": {"model": TWICE},
    "GPU": {"gpu": SLOWER},
    "serving": {"assumptions": Assumptions(serving=ServingProfile(sequences=2))},
    "scope": {"assumptions": Assumptions(scope="facility")},
    "attention mode": {"assumptions": Assumptions(attention_mode="linear")},
    "rule": {"rule": "default"},
    "said of timing": {"assumptions": Assumptions(timing_evidence="not used")},
    "said of the batch": {"assumptions": Assumptions(concurrency_source="a page")},
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_is_computed_once_is_of_these_profiles_and_assumptions(what: str) -> None:
    given: dict[str, Any] = {"model": DENSE, "gpu": BOARD}
    changed = given | CHANGES[what]
    different = 0
    for method in METHODS:
        first = estimate_usage(USAGE, **given, method=method)
        different += estimate_usage(USAGE, **changed, method=method) != first
        assert estimate_usage(USAGE, **given, method=method) == first
        on_other = estimate_usage(USAGE, **changed | {"gpu": H100}, method=method)
        assert on_other.gpu == H100.name
    assert different
