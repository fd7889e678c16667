"""Tags and a budget of a whole process, from its environment."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from energy_tracking import (
    ConfigurationError,
    EnergyBudgetExceeded,
    Tracker,
    current_session,
    energy_session,
)
from energy_tracking.calls.accounts import process_account

PREFIX = "ENERGY_TRACKING_"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    tags, budget = process_account.tags, process_account.budget
    yield
    process_account.tags, process_account.budget = tags, budget


def spend(watt_hours: float) -> None:
    Tracker().record(model="x", usage=None, measured_energy_joules=watt_hours * 3600)


def test_tags_of_the_process_are_on_every_call_and_those_of_a_session_win(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(f"{PREFIX}TAGS", "team=search, env=prod")
    usage = {"prompt_tokens": 1, "completion_tokens": 1}
    assert Tracker().record(model="o1", usage=usage).tags == {"team": "search", "env": "prod"}
    with energy_session("a", tags={"env": "test"}):
        assert Tracker().record(model="o1", usage=usage).tags == {"team": "search", "env": "test"}


@pytest.mark.parametrize("budget", ["1e-9", "0.001 mWh"])
def test_a_budget_of_the_process_is_read_with_or_without_its_unit(
    budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}BUDGET_WH", budget)
    monkeypatch.setenv(f"{PREFIX}ON_EXCEED", "raise")
    spend(1)
    with pytest.raises(EnergyBudgetExceeded, match="session 'process' has used "):
        current_session().check_budget()


def test_a_used_up_budget_of_the_process_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(f"{PREFIX}BUDGET_WH", "1e-9")
    spend(1)
    with caplog.at_level(logging.WARNING, "energy_tracking"), energy_session("inner"):
        for _ in range(3):
            Tracker()
            current_session().check_budget()
    assert caplog.text.count("session 'process' has used") == 1


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("TAGS", "team", "TAGS must be tags as name=value,name=value"),
        ("TAGS", "a b=c", "TAGS must be tags as name=value,name=value"),
        ("BUDGET_WH", "-1", "BUDGET_WH must be 0 or a number from 1e-12 .*got -1"),
        ("BUDGET_WH", "1 nothing", "BUDGET_WH must be 0 or a number"),
        ("BUDGET_WH", "3.6mJ", "BUDGET_WH must be 0 or a number"),
        ("ON_EXCEED", "rise", "ON_EXCEED must be one of 'warn', 'raise', got 'rise'; did you mean"),
    ],
)
def test_a_wrong_variable_of_the_process_is_explained(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(ConfigurationError, match=PREFIX + words):
        Tracker()


def test_a_program_that_nobody_edits_has_its_budget_and_tags() -> None:
    program = (
        "from energy_tracking import Tracker, current_session\n"
        "usage = {'prompt_tokens': 1, 'completion_tokens': 1}\n"
        "print(Tracker().record(model='gpt-4o', usage=usage).tags)\n"
        "current_session().check_budget()\n"
    )
    variables = {"TAGS": "team=search", "BUDGET_WH": "1e-9Wh", "ON_EXCEED": "raise"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {PREFIX + name: value for name, value in variables.items()},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{'team': 'search'}\n"
    assert "EnergyBudgetExceeded: session 'process' has used " in done.stderr
