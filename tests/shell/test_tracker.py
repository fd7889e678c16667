"""The composition root: what it keeps together, and what it keeps away from the caller."""

from __future__ import annotations

import gc
import math
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from counts import the_only
from energy_tracking import (
    CallRecord,
    ConfigurationError,
    Session,
    Tracker,
    UnknownGpuError,
    process_session,
    register_model_profile,
)
from energy_tracking.estimator import EnergyEstimate
from energy_tracking.estimator.reference import PricedModel
from energy_tracking.lifecycle import defer, run_deferred
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.usage.token_usage import TokenUsage
from small_profiles import unchecked

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def test_a_sink_that_reads_totals_loses_nothing_of_what_finalisers_left() -> None:
    seen: list[float] = []

    def sink(record: CallRecord) -> None:
        seen.append(process_session().total_energy_wh)

    tracker = Tracker(on_record=sink)
    calls = [
        tracker.start(operation="chat", provider="openai", model="gpt-4o") for _ in range(1500)
    ]
    for call in calls:
        call.raw_usage = USAGE
        defer(call.close)
    run_deferred()
    # The timer's thread may have taken one of them, and be at it still.
    until = time.monotonic() + 30
    while len(seen) < 1500 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(seen) == 1500


def test_a_call_nobody_named_a_model_for_takes_the_default() -> None:
    record = Tracker(default_model="gpt-4o").record(model=None, usage=USAGE)
    assert (record.status, record.model_match) == ("estimated", "default")
    assert Tracker().record(model=None, usage=USAGE).reason == "the model is not named"


NOT_FINITE = "the estimate is not a finite number"


def test_an_infinite_estimate_is_no_estimate() -> None:
    catalogue = get_catalogue().copy()
    endless = unchecked(catalogue.model("gpt-4o"), "endless", num_active_params=1e308)
    catalogue.register_model(endless)
    with Session() as session:
        record = Tracker(catalogue=catalogue).record(model="endless", usage=USAGE)
    assert (record.status, record.reason) == ("unestimated", NOT_FINITE)
    assert (session.totals.unestimated_calls, session.totals.input_tokens) == (1, 10)


@pytest.mark.parametrize("joules", [math.nan, math.inf, -math.inf])
def test_an_estimate_that_is_not_finite_is_logged_once(
    joules: float, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    estimate = PricedModel.estimate

    def broken(priced: PricedModel, usage: TokenUsage) -> EnergyEstimate:
        return replace(estimate(priced, usage), decode_energy_joules=joules)

    monkeypatch.setattr(PricedModel, "estimate", broken)
    tracker = Tracker()
    with Session() as session:
        reasons = {tracker.record(model="gpt-4o", usage=USAGE).reason for _ in range(3)}
    assert reasons == {NOT_FINITE}
    assert (session.totals.unestimated_calls, session.total_energy_joules) == (3, 0.0)
    logged = the_only(caplog.records)
    assert logged.exc_info is not None
    assert f"{joules} J for model 'gpt-4o' on GPU 'H100'" in str(logged.exc_info[1])


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        (
            "gpu",
            "H10O",
            "gpu (ENERGY_TRACKING_GPU) must be the name of a GPU profile, got 'H10O'",
        ),
        (
            "default_model",
            "gpt4o",
            "default_model (ENERGY_TRACKING_DEFAULT_MODEL) must be the",
        ),
        (
            "model_mapping",
            {"a": "b"},
            "model_mapping (ENERGY_TRACKING_MODEL_MAPPING)['a'] must be",
        ),
        ("gpus", "H100", "setting must be a known name, got 'gpus'; did you mean 'gpu'"),
    ],
)
def test_a_wrong_setting_is_named_with_its_variable(setting: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Tracker(**{setting: value})
    assert words in str(caught.value)
    if setting == "gpu":
        assert isinstance(caught.value, UnknownGpuError)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_what_finalisers_left_is_settled_by_the_parent_alone() -> None:
    gc.collect()
    run_deferred()
    read, write = os.pipe()

    def settle() -> None:
        os.write(write, b"settled")

    defer(settle)
    if os.fork() == 0:
        try:
            run_deferred()
        finally:
            os._exit(0)
    os.wait()
    run_deferred()
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        assert pipe.read() == b"settled"


def test_a_recorded_call_has_every_number() -> None:
    record = Tracker().record(model="gpt-4o", usage=USAGE, response_id="one")
    assert record.estimate is not None
    numbers = (
        record.total_energy_joules,
        record.estimate.total_energy_low_joules,
        record.estimate.total_energy_high_joules,
    )
    assert all(number is not None and math.isfinite(number) for number in numbers)


@pytest.mark.parametrize(
    "joules", [math.nan, math.inf, -math.inf, -5.0, 1.1e12, 10**400, "25", True, [25.0]]
)
def test_a_measured_energy_that_cannot_be_is_refused_and_nothing_counted(joules: Any) -> None:
    tracker = Tracker()
    with Session(budget_wh=1) as session:
        with pytest.raises(ConfigurationError, match=r"measured_energy_joules .*0 to 1e\+12.*got"):
            tracker.record(model="gpt-4o", usage=USAGE, measured_energy_joules=joules)
        assert session.totals.calls == 0
        record = tracker.record(model="gpt-4o", usage=USAGE, measured_energy_joules=0)
    assert (record.status, session.total_energy_joules) == ("measured", 0.0)


MINE = """
[models.of-the-file]
aliases = ["of-the-file-too", "gpt-4o"]
like = "gpt-4o-mini"
"""


def test_a_tracker_with_profiles_of_its_own_sees_what_is_registered_later(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    trackers = [Tracker(), Tracker(profiles=tmp_path / "mine.toml")]
    like = get_catalogue().model("gpt-4o-mini")
    name = "registered-after-the-tracker"
    register_model_profile(replace(like, name=name, aliases=("of-the-file-too",)))
    for tracker in trackers:
        record = tracker.record(model=name, usage=USAGE)
        assert (record.status, record.model_match) == ("estimated", "exact")
    profiles = []
    for tracker in trackers:
        record = tracker.record(model="of-the-file-too", usage=USAGE)
        assert record.estimate is not None
        profiles.append(record.estimate.model_profile)
    # Of two that claim a name, the one nearer to the tracker has it.
    assert profiles == [name, "of-the-file"]


def test_an_alias_of_a_users_profile_wins_over_a_shipped_name(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    record = Tracker(profiles=tmp_path / "mine.toml").record(model="gpt-4o", usage=USAGE)
    assert record.estimate is not None
    assert (record.estimate.model_profile, record.model_match) == ("of-the-file", "alias")
