"""The lists of models, GPUs, settings and sources: searched, for programs, spelt out."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from typing import Any

import pytest

import energy_tracking
from energy_tracking.cli.main import main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["models", "4o-mini"], ["gpt-4o-mini"]),
        (["models", "NEMOTRON", "ultra"], ["nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B",
                                          "nvidia/Llama-3_1-Nemotron-Ultra-253B-v1"]),
        (["models", "openrouter/openai/o3-mini-2025-01-31"], ["o3-mini"]),
        (["gpus", "gb200"], ["GB200", "GB200-NVL72"]),
    ],
)  # fmt: skip
def test_a_list_is_searched_by_words(
    arguments: list[str], names: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert [profile["name"] for profile in as_json(capsys, *arguments)] == names
    text = printed(capsys, *arguments)
    assert all(name in text for name in names)


def test_models_that_are_named_so_come_before_those_whose_source_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = as_json(capsys, "models", "gpt")
    named = ["gpt" in " ".join((one["name"], *one["aliases"])).casefold() for one in found]
    assert named == sorted(named, reverse=True)
    assert not all(named)


@pytest.mark.parametrize(("command", "word"), [("models", "o3-mini"), ("gpus", "H100-SXM")])
def test_a_profile_has_its_grade_and_source_spelt_out(
    command: str, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = next(one for one in as_json(capsys, command, word) if one["name"] == word)
    assert len(profile["grade_meaning"]) > 5
    assert profile["source"]["where"].startswith("http")
    text = " ".join(printed(capsys, command, word).split())
    assert f"{profile['grade']}: {profile['grade_meaning']}" in text
    assert profile["source"]["where"] in text


def test_the_key_of_a_source_leads_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, "sources", "minions-2025")
    assert "https://github.com/singhh5050/cloud-energy-estimation" in text
    assert as_json(capsys, "sources", "minions-2025")[0]["read"] == "2026-11-23"
    assert len(as_json(capsys, "sources")) > 100


@pytest.mark.parametrize("command", ["models", "gpus", "settings", "sources"])
def test_a_word_that_nothing_has_is_answered_with_the_nearest_or_the_first_names(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "§§§"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "got '§§§'; known are " in shown.err
    assert main(["models", "gpt-4p"]) == 1
    assert "did you mean 'gpt-4' or 'gpt-4o'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("topic", "words"),
    [
        (
            "attributes",
            [
                "energy_tracking.total_energy_joules [J]",
                "gen_ai.request.model",
                "energy_tracking.tag.NAME",
            ],
        ),
        ("metrics", ["energy_tracking.client.energy [J]"]),
        ("settings", ["gpu, ENERGY_TRACKING_GPU [H100]"]),
    ],
)
def test_what_spans_metrics_and_settings_mean_is_explained(
    topic: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    lines = printed(capsys, "help", topic).splitlines()
    assert [line for line in lines if len(line) > 80] == []
    for word in words:
        assert any(line.startswith(word) for line in lines), word
    assert main(["help", "attribute"]) == 2
    assert "did you mean 'attributes'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("asked", "printed_by"), [([], ["--help"]), (["report"], ["report", "--help"])]
)
def test_the_help_of_all_commands_and_of_each_can_be_asked_for_in_words(
    asked: list[str], printed_by: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, "help", *asked) == printed(capsys, *printed_by)


def test_settings_are_searched_too(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "settings", "LEDGER")
    assert [setting["variable"] for setting in found] == ["ENERGY_TRACKING_LEDGER"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["report", "--help"], ["oops"]])
def test_help_and_mistakes_load_nothing_that_they_do_not_need(arguments: list[str]) -> None:
    code = (
        "import sys; from energy_tracking.cli.main import main; main(sys.argv[1:]); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert not loaded & {"rich", "numpy", "duckdb", "openai", "wrapt", "asyncio"}
    if arguments[0] != "report":
        assert not loaded & {"opentelemetry", "energy_tracking.profiles.files"}


@pytest.mark.parametrize("name", ["Tracker", "EnergySpanProcessor"])
def test_help_of_a_class_has_what_the_command_prints(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = inspect.getdoc(getattr(energy_tracking, name)) or ""
    for topic in ("attributes", "metrics", "settings"):
        assert main(["help", topic]) == 0
        lines = capsys.readouterr().out.splitlines()
        named = {re.split(r"[ ,]", line)[0] for line in lines if not line.startswith(" ")}
        missing = {one for one in named if one not in shown and "ENERGY_TRACKING" not in one}
        assert len(named) > 5
        assert not missing, topic
