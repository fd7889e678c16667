"""Arguments over environment over defaults; what is wrong is named."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from energy_tracking import ConfigurationError, EnergyTrackingWarning, Tracker
from energy_tracking.estimator import ATTENTION_MODES, METHODS
from energy_tracking.settings import (
    INCLUDE_USAGE,
    SERVING_SETTINGS,
    SPANS,
    SettingArguments,
    Settings,
    settings_rows,
    variable,
)

NAMES = [setting.name for setting in fields(Settings)]

# Setting, as an argument, as text, the same as read, and another for the argument to win with.
GIVEN: list[tuple[str, Any, str, Any, Any]] = [
    ("gpu", "A100", "A100", "A100", "GB200"),
    ("method", "reference", "reference", "reference", "reference"),
    ("attention_mode", "linear", "linear", "linear", "quadratic"),
    ("scope", "facility", "facility", "facility", "gpu"),
    ("concurrency_per_gpu", 8, "8", 8.0, 16.5),
    ("sequences", 64, "64", 64.0, 1),
    ("num_gpus", 4, "4", 4, 8.5),
    ("weight_bytes", 0.5, "0.5", 0.5, 2),
    ("weight_format", "fp8", "fp8", "fp8", "bf16"),
    ("expert_parallel", 8, "8", 8, 1),
    ("engine_year", 2025, "2025", 2025, 2024),
    ("speculative", True, "yes", True, False),
    ("timing_evidence", True, "on", True, False),
    ("include_usage", "never", "never", "never", "always"),
    ("include_usage_hosts", ["a.b", "c"], "a.b, c", ("a.b", "c"), ("d",)),
    ("default_model", "o1", "o1", "o1", "gpt-4o"),
    ("model_mapping", {"ours": "o1", "x": "y"}, "ours=o1, x = y", {"ours": "o1", "x": "y"}, {}),
    ("profiles", Path("a.toml"), "a.toml", "a.toml", "b.toml"),
    ("spans", "off", "off", "off", "own"),
    ("metrics", "off", "off", "off", "on"),
    ("metric_tags", ["team", "env"], "team, env", ("team", "env"), ("env",)),
    ("ledger", Path("a.jsonl"), "a.jsonl", "a.jsonl", "b.jsonl"),
    ("summary", True, "1", True, False),
    ("disabled", True, "yes", True, False),
]

# What must be given beside a setting for it to have an effect.
NEEDED: dict[str, dict[str, Any]] = {
    "timing_evidence": {"gpu": "H100"},
    "expert_parallel": {"engine_year": 2025},
}

# Setting, a wrong argument, and what the message must say beside its name and the value.
WRONG: list[tuple[str, Any, str]] = [
    ("gpu", 100, "no text"),
    ("method", "referense", "'reference'"),
    ("attention_mode", "Quadratic", "'quadratic'"),
    ("scope", "gpus", "'gpu'"),
    ("concurrency_per_gpu", "many", "no number"),
    ("concurrency_per_gpu", True, "no number"),
    ("concurrency_per_gpu", [8], "no number"),
    ("concurrency_per_gpu", "-1", "above 0"),
    ("concurrency_per_gpu", "nan", "above 0"),
    ("sequences", 0, "above 0"),
    ("num_gpus", 0, "above 0"),
    ("weight_bytes", math.inf, "finite"),
    ("weight_format", "fp9", "'fp8'"),
    ("expert_parallel", 0.5, "whole"),
    ("engine_year", "last year", "no number"),
    ("speculative", "perhaps", "unknown flag"),
    ("timing_evidence", "maybe", "unknown flag"),
    ("include_usage", "allways", "'always'"),
    ("include_usage_hosts", 5, "name,name"),
    ("include_usage_hosts", ["a", 5], "name,name"),
    ("default_model", ("o1",), "no text"),
    ("model_mapping", "gpt-4o", "model=profile"),
    ("model_mapping", "=gpt-4o", "model=profile"),
    ("model_mapping", {"ours": 4}, "model=profile"),
    ("model_mapping", ["ours"], "model=profile"),
    ("profiles", 5, "no text"),
    ("spans", "of", "'off'"),
    ("metrics", "of", "'off'"),
    ("metrics", False, "no text"),
    ("metric_tags", 5, "name,name"),
    ("ledger", 5, "no text"),
    ("summary", "perhaps", "unknown flag"),
    ("disabled", "nope", "'no'"),
    ("disabled", 2, "no text"),
]


def loaded(environ: Mapping[str, str] = MappingProxyType({}), /, **arguments: Any) -> Settings:
    given: SettingArguments = arguments  # type: ignore[assignment]
    return Settings.load(given, environ)


def test_every_setting_is_walked_here() -> None:
    assert [row[0] for row in GIVEN] == NAMES
    assert {row[0] for row in WRONG} == set(NAMES)


def test_arguments_and_settings_have_the_same_names() -> None:
    assert list(SettingArguments.__annotations__) == NAMES


@pytest.mark.parametrize(("name", "argument", "text", "value", "other"), GIVEN)
def test_arguments_win_over_the_environment_over_the_default(
    name: str, argument: Any, text: str, value: Any, other: Any
) -> None:
    needed: dict[str, Any] = NEEDED.get(name, {})
    environ = {variable(name): f" {text} "}
    assert getattr(loaded(**needed, **{name: argument}), name) == value
    assert getattr(loaded(**needed, **{name: text}), name) == value
    assert getattr(loaded(environ, **needed), name) == value
    assert getattr(loaded(environ, **needed, **{name: other}), name) == other
    assert getattr(loaded(environ, **needed, **{name: None}), name) == value


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_given_or_empty_is_the_default(name: str) -> None:
    default = getattr(Settings(), name)
    assert getattr(loaded(), name) == default
    assert getattr(loaded({variable(name): " "}), name) == default


def test_the_defaults_are_those_documented() -> None:
    assert Settings() == Settings(gpu="H100", method="reference", attention_mode="quadratic")
    assert Settings().include_usage == Settings().spans == "auto"
    assert not Settings().disabled


@pytest.mark.parametrize("year", [{}, {"engine_year": 2026}], ids=["usual", "2026"])
def test_expert_parallel_on_an_engine_that_balances_its_experts_is_refused(
    year: dict[str, Any],
) -> None:
    with pytest.raises(ConfigurationError, match=r"expert_parallel has no effect.*2026.*got 8"):
        loaded(expert_parallel=8, **year)
    assert loaded(expert_parallel=8, engine_year=2025).expert_parallel == 8


def test_experts_spread_over_more_gpus_than_hold_the_model_are_refused() -> None:
    environ = {"ENERGY_TRACKING_NUM_GPUS": "2"}
    with pytest.raises(
        ConfigurationError, match="expert_parallel must be at most ENERGY_TRACKING_NUM_GPUS, 2, got"
    ):
        loaded(environ, expert_parallel=4, engine_year=2025)
    assert loaded(environ, expert_parallel=2, engine_year=2025).expert_parallel == 2


@pytest.mark.parametrize(("name", "value", "hint"), WRONG)
def test_a_wrong_argument_is_named(name: str, value: Any, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loaded(**{name: value})
    message = str(raised.value)
    assert message.startswith(f"{name}: ")
    assert repr(value) in message
    assert hint in message


@pytest.mark.parametrize(
    ("name", "value", "hint"), [row for row in WRONG if isinstance(row[1], str)]
)
def test_a_wrong_variable_is_named(name: str, value: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loaded({variable(name): value})
    message = str(raised.value)
    assert message.startswith(f"ENERGY_TRACKING_{name.upper()}: ")
    assert repr(value) in message
    assert hint in message


@pytest.mark.parametrize("mode", ATTENTION_MODES)
def test_an_attention_mode_is_refused_by_the_method_that_has_none(mode: str) -> None:
    with pytest.raises(ConfigurationError) as by_argument:
        loaded(method="roofline", attention_mode=mode)
    assert str(by_argument.value) == (
        f"attention_mode has no effect on method 'roofline', got {mode!r}; leave it unset, or "
        "use method 'reference'"
    )
    with pytest.raises(ConfigurationError, match="ENERGY_TRACKING_ATTENTION_MODE has no effect"):
        loaded({"ENERGY_TRACKING_ATTENTION_MODE": mode}, method="roofline")
    assert loaded(attention_mode=mode, method="reference").attention_mode == mode
    assert loaded({"ENERGY_TRACKING_METHOD": "roofline"}).method == "roofline"


def test_settings_of_serving_say_that_they_are_for_the_calibrated_number() -> None:
    of_serving = {
        "concurrency_per_gpu",
        "sequences",
        "num_gpus",
        "weight_bytes",
        "weight_format",
        "expert_parallel",
        "engine_year",
        "speculative",
    }
    said = {row[0] for row in settings_rows() if row[3].startswith("for the calibrated number")}
    assert said == set(SERVING_SETTINGS) == of_serving


@pytest.mark.parametrize(
    ("text", "flag"),
    [("1", True), ("TRUE", True), ("on", True), ("0", False), ("No", False), ("off", False)],
)
def test_flags_are_read_as_people_write_them(text: str, flag: bool) -> None:
    assert loaded({"ENERGY_TRACKING_DISABLED": text}).disabled is flag
    assert loaded(disabled=text).disabled is flag


def test_an_unknown_variable_warns_with_the_nearest_name() -> None:
    with pytest.warns(EnergyTrackingWarning, match="_GPUS'; did you mean 'ENERGY_TRACKING_GPU'"):
        loaded({"ENERGY_TRACKING_GPUS": "H100", "GPU": "A100"})


def test_the_warning_points_to_whoever_made_the_tracker(monkeypatch: pytest.MonkeyPatch) -> None:
    from energy_tracking import track_energy

    monkeypatch.setenv("ENERGY_TRACKING_GPUS", "H100")
    with pytest.warns(EnergyTrackingWarning) as caught:
        track_energy(name="answer")
    assert caught[0].filename == __file__


def test_a_tracker_reads_the_environment_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_GPU", "A100")
    assert Tracker().settings.gpu == "A100"
    assert Tracker(gpu="GB200").settings.gpu == "GB200"


@pytest.mark.parametrize(
    "choices",
    [
        ("method", METHODS),
        ("attention_mode", ATTENTION_MODES),
        ("include_usage", INCLUDE_USAGE),
        ("spans", SPANS),
    ],
)
def test_every_choice_can_be_chosen(choices: tuple[str, list[str]]) -> None:
    name, values = choices
    for value in values:
        assert getattr(loaded(**{name: value}), name) == value


def test_the_table_documents_every_setting() -> None:
    rows = settings_rows()
    assert [row[0] for row in rows] == NAMES
    for (_, name, _, meaning), setting in zip(rows, NAMES, strict=True):
        assert name == f"ENERGY_TRACKING_{setting.upper()}"
        assert meaning
    defaults = {row[0]: row[2] for row in rows}
    assert (defaults["gpu"], defaults["disabled"], defaults["profiles"]) == ("H100", "False", "")


def test_importing_reads_no_environment_and_nothing_heavy() -> None:
    script = """
import os, sys

class Watched(dict):
    read = []
    def __getitem__(self, key):
        self.read.append(key)
        return super().__getitem__(key)

watched = Watched(os.environ._data)
os.environ._data = watched
import energy_tracking
ours = [key for key in watched.read if b"ENERGY_TRACKING" in os.fsencode(key)]
heavy = {"openai", "numpy", "httpx", "httpx2", "opentelemetry.sdk"} & set(sys.modules)
print(ours, sorted(heavy))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={"ENERGY_TRACKING_GPU": "no such GPU", "ENERGY_TRACKING_TYPO": "1"}
        | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout.strip(), done.stderr) == ("[] []", "")
