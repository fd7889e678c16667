"""The pytest plugin tells the energy of a run and holds it to a budget, if it is asked to."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentTypeError
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import pytest

from energy_tracking.pytest_plugin import energy_wh
from loopback import Loopback, chat_completion, json_reply

# One call; three calls, of which two in a fixture; none.
TESTS = """
import os, threading
import pytest
from openai import OpenAI

def ask():
    with OpenAI(api_key="none", base_url=os.environ["LOOPBACK"]) as client:
        messages = [{"role": "user", "content": "Capital of Mexico?"}]
        client.chat.completions.create(model="gpt-4o", messages=messages)

@pytest.fixture
def asked():
    ask()
    yield
    ask()

def test_one():
    ask()

@pytest.mark.parametrize("bar", ["a|b"])
def test_three(asked, bar):
    ask()

def test_none():
    pass
"""
THREAD = """
def test_in_a_thread_of_no_session():
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
"""


@pytest.fixture
def run(
    pytester: pytest.Pytester, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """A directory with tests that ask the loopback server."""
    loopback.serve(json_reply(chat_completion()))
    monkeypatch.setenv("LOOPBACK", loopback.base_url)
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))
    # Whether or not the library is installed, with its entry point.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(test_it=TESTS)
    return pytester


def ran(run: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return run.runpytest_subprocess(
        "-p", "energy_tracking.pytest_plugin", "-p", "no:cacheprovider", *arguments
    )


def test_unasked_it_does_nothing(run: pytest.Pytester) -> None:
    run.makepyfile(
        test_it=TESTS
        + """
def test_nothing_is_tracked():
    from energy_tracking import process_session
    ask()
    assert process_session().totals.calls == 0
"""
    )
    result = ran(run, "--junitxml=junit.xml")
    result.assert_outcomes(passed=4)
    assert "energy" not in result.stdout.str()
    assert "energy" not in Path("junit.xml").read_text()


def test_the_report_names_the_most_expensive_tests_first(run: pytest.Pytester) -> None:
    result = ran(run, "--energy-report", "--junitxml=junit.xml")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines_random(
        [r"4 LLM calls, [\d.]+ [mµ]Wh \([\d.]+ [mµ]Wh calibrated\)$"]
    )
    shown = result.stdout.str()
    row = r"^(test_it\.py::\S+) +(\d+) +([\d.]+) mWh +([\d.]+) mWh$"
    rows = re.findall(row, shown, flags=re.MULTILINE)
    assert [row[:2] for row in rows] == [
        ("test_it.py::test_three[a|b]", "3"),
        ("test_it.py::test_one", "1"),
    ]
    for column in (2, 3):
        assert float(rows[0][column]) == pytest.approx(3 * float(rows[1][column]), rel=0.1)
    properties = [
        (each.get("name"), each.get("value"))
        for each in ElementTree.parse("junit.xml").iter("property")
    ]
    assert ("energy_tracking.calls", "3") in properties
    assert {name for name, _ in properties} == {
        "energy_tracking.calls",
        "energy_tracking.total_energy_wh",
        "energy_tracking.calibrated_energy_wh",
    }
    assert len(properties) == 6


@pytest.mark.parametrize(
    ("budget", "status", "word"), [("5Wh", 0, "within"), ("1uWh", 1, "over"), ("0J", 1, "over")]
)
def test_a_run_over_its_budget_fails(
    run: pytest.Pytester, budget: str, status: int, word: str
) -> None:
    result = ran(run, "--energy-budget", budget, "--energy-markdown=summary.md")
    assert result.ret == status
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines_random([rf"4 LLM calls, .* {word} the budget of "])
    markdown = Path("summary.md").read_text("utf-8")
    assert (f"{word} the budget" in markdown, "❌" in markdown) == (True, status == 1)
    assert "| `test_it.py::test_three[a\\|b]` | 3 | " in markdown


def test_failed_tests_and_calls_outside_of_any_test_count_too(run: pytest.Pytester) -> None:
    run.makepyfile(test_it=TESTS + THREAD + "\ndef test_fails():\n    ask()\n    assert 0\n")
    result = ran(run, "--energy-report")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.re_match_lines_random([r"6 LLM calls, "])
    assert "test_fails  " in result.stdout.str()
    assert "no_session  " not in result.stdout.str()


def test_markdown_is_appended_and_a_failing_file_fails_no_run(run: pytest.Pytester) -> None:
    Path("summary.md").write_text("# CI\n\n")
    assert ran(run, "--energy-markdown=summary.md").ret == 0
    assert Path("summary.md").read_text("utf-8").startswith("# CI\n\n### Energy of the tests\n")
    result = ran(run, "--energy-markdown=missing/summary.md")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["missing/summary.md: No such file or directory"])


def test_a_run_without_calls_is_within_every_budget(run: pytest.Pytester) -> None:
    result = ran(run, "--energy-budget=0Wh", "-k", "test_none")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["0 LLM calls, 0 Wh: within the budget of 0 Wh"])


def test_a_wrong_budget_is_refused(run: pytest.Pytester) -> None:
    result = ran(run, "--energy-budget=5kg")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*'5kg' is no energy; write 5Wh, 200 mWh or 1.5kWh*"])


@pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
@pytest.mark.parametrize(("budget", "status"), [("5Wh", 0), ("1uWh", 1)])
def test_workers_are_added_up(run: pytest.Pytester, budget: str, status: int) -> None:
    run.makepyfile(test_it=TESTS + THREAD)
    result = ran(run, "-p", "xdist", "-n", "2", "--energy-budget", budget)
    assert result.ret == status
    result.assert_outcomes(passed=4)
    result.stdout.re_match_lines_random([r"5 LLM calls, ", r"test_it.py::test_three\S+ +3 +"])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5Wh", 5),
        (" 200 mWh", 0.2),
        ("1.5kWh", 1500),
        (".5Wh", 0.5),
        ("3µWh", 3e-6),
        ("3uWh", 3e-6),
        ("7200J", 2),
    ],
)
def test_energies_are_read_as_people_write_them(text: str, value: float) -> None:
    assert energy_wh(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "Wh", "-5Wh", "5 wh", "5MWh", "1,5Wh", "nanWh"])
def test_what_is_no_energy_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="no energy"):
        energy_wh(text)
