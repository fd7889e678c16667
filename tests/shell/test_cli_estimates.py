"""``energy-tracking estimate`` and ``compare``: a request by each method, with its range."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from energy_tracking import Tracker, energy_session
from energy_tracking.cli.main import main

O1 = ["--model", "o1", "--input", "1024", "--output", "256"]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    return json.loads(printed(capsys, *arguments, "--json"))


@pytest.mark.parametrize("reasoning", [[], ["--reasoning", "192"]])
@pytest.mark.parametrize("cached", [[], ["--cached", "1000"]])
def test_an_estimate_is_that_of_a_tracked_call(
    reasoning: list[str], cached: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    found = as_json(capsys, "estimate", *O1, *reasoning, *cached, "--gpu", "H100")
    usage: dict[str, Any] = {"prompt_tokens": 1024, "completion_tokens": 256}
    if reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": 192}
    if cached:
        usage["prompt_tokens_details"] = {"cached_tokens": 1000}
    record = Tracker().record(model="o1", usage=usage)
    assert record.estimate is not None
    assert record.calibrated is not None
    expected = {
        ("reference", "gpu"): record.estimate,
        ("roofline", "gpu"): record.calibrated,
        ("roofline", "facility"): Tracker(method="roofline", scope="facility")
        .record(model="o1", usage=usage)
        .estimate,
    }
    assert len(found["estimates"]) == 3
    for one in found["estimates"]:
        estimate = expected[one["method"], one["scope"]]
        assert estimate is not None
        for name in (
            "total_energy_joules",
            "total_energy_low_joules",
            "total_energy_high_joules",
            "prefill_energy_joules",
            "decode_energy_joules",
            "reasoning_energy_joules",
        ):
            assert one[name] == getattr(estimate, name), name
    assert found["cache_avoided_energy_joules"] == record.cache_avoided_energy_joules


def test_an_estimate_states_its_methods_scopes_ranges_and_source(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = printed(capsys, "estimate", *O1, "--region", "DE")
    assert [line for line in text.splitlines() if len(line) > 80] == []
    shown = " ".join(text.split())
    for label in ("reference", "calibrated", "facility"):
        assert re.search(rf"{label} +[\d,.]+ \([\d,.]+-[\d,.]+\)", shown), label
    for words in (
        "scope gpu",
        "scope facility",
        "90 % range",
        "grade D, a proxy or a rule",
        "g/kWh (DE 2023, Ember)",
        "1,000 such requests to o1, calibrated",
        "NIST",
    ):
        assert words in shown, words


def test_emissions_follow_the_energy(capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, "estimate", *O1, "--grams-per-kwh", "100")
    for one in found["estimates"]:
        assert one["total_carbon_grams"] == pytest.approx(one["total_energy_wh"] / 10, rel=1e-6)
        assert one["total_carbon_low_grams"] < one["total_carbon_grams"]


def test_a_method_of_the_environment_changes_no_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = as_json(capsys, "estimate", *O1)
    monkeypatch.setenv("ENERGY_TRACKING_METHOD", "roofline")
    monkeypatch.setenv("ENERGY_TRACKING_SCOPE", "facility")
    assert as_json(capsys, "estimate", *O1) == before


def test_a_name_as_providers_write_it_states_what_it_is_taken_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--model", "openrouter/openai/gpt-4o-2024-08-06", "--input", "9", "--output", "9"]
    assert as_json(capsys, "estimate", *options)["profile"] == "gpt-4o"
    assert "taken for gpt-4o" in printed(capsys, "estimate", *options)


def test_a_comparison_has_a_row_for_each_model_on_each_gpu(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = ["--models", "gpt-4o, gpt-4o-mini,gpt-4o", "--gpus", "H100,B200", "--input", "2000"]
    found = as_json(capsys, "compare", *options)
    assert [(one["model"], one["gpu"]) for one in found] == [
        ("gpt-4o", "H100"),
        ("gpt-4o", "B200"),
        ("gpt-4o-mini", "H100"),
        ("gpt-4o-mini", "B200"),
    ]
    text = printed(capsys, "compare", *options)
    assert [line for line in text.splitlines() if len(line) > 80] == []
    assert len([line for line in text.splitlines() if re.match(r"gpt-4o\S* +[HB]", line)]) == 4
    with energy_session("two") as session:
        usage = {"prompt_tokens": 2000, "completion_tokens": 500}
        Tracker().record(model="gpt-4o", usage=usage)
    assert found[0]["estimates"][0]["total_energy_wh"] == pytest.approx(session.total_energy_wh)


def test_a_comparison_of_one_model_explains_its_columns_and_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = " ".join(printed(capsys, "compare", "--models", "gpt-4o").split())
    assert "times: as much as the first row" in text
    assert "facility" not in text


def test_no_tokens_are_no_energy(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--input", "0", "--output", "0"]
    assert "0 (0-0)" in printed(capsys, "estimate", "--model", "o1", *options)
    assert "o1" in printed(capsys, "compare", "--models", "o1,gpt-4o", *options)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["estimate", "--model", "o11", "--input", "1", "--output", "1"], "did you mean 'o1'"),
        (["estimate", *O1, "--gpu", "H1000"], "did you mean 'H100'"),
        (["estimate", "--model", "o1", "--input", "1"], "--output must be given"),
        (["estimate", *O1, "--cached", "2000"], "--cached must be at most --input, 1024"),
        (["estimate", *O1, "--reasoning", "257"], "--reasoning must be at most --output, 256"),
        (["estimate", *O1, "--input", "-1"], "from 0 to 1e+09 tokens, got -1"),
        (["estimate", *O1, "--input", "many"], "--input must be a whole number from"),
        (["estimate", *O1, "--region", "XX"], "--region must be"),
        (["compare", "--models", ","], "--models must be names with commas"),
        (["compare", "--models", "gpt-4o,gpt-4oo"], "--models must be the name of a model profile"),
        (["compare", "--models", "gpt-4o", "--gpus", "H1000"], "did you mean 'H100'"),
        (["compare", "--model", "gpt-4o"], "did you mean '--models'"),
    ],
)
def test_a_mistake_is_explained(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
