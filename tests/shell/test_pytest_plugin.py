"""The pytest plugin reports the energy of a run and holds it to a budget, if it is asked to."""

from __future__ import annotations

import os
import re
import sys
from argparse import ArgumentTypeError
from collections import Counter
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
# Five calls, none of them in the context that the test runs in.
ELSEWHERE = """
import asyncio, unittest
from concurrent.futures import ThreadPoolExecutor

def test_thread():
    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()

def test_executor():
    with ThreadPoolExecutor() as pool:
        pool.submit(ask).result()

def test_to_thread():
    asyncio.run(asyncio.to_thread(ask))

class TestCase(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        ask()

    async def test_async(self):
        ask()
"""
# Three calls over three attempts, and four over two, half of them in a fixture.
FLAKY = """
attempts = []

def test_fails_twice():
    ask()
    attempts.append(1)
    assert len(attempts) == 3

def test_fails_once(asked):
    attempts.append(1)
    assert len(attempts) == 5
"""
# As plugins that isolate tests do: each test in a forked child, its reports through a pipe.
FORKING_CONFTEST = """
import os, pickle
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    reader, writer = os.pipe()
    if os.fork() == 0:
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        dumps = [item.config.hook.pytest_report_to_serializable(config=item.config, report=each)
                 for each in reports]
        os.write(writer, pickle.dumps(dumps))
        os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        for data in pickle.load(pipe):
            item.ihook.pytest_runtest_logreport(
                report=item.config.hook.pytest_report_from_serializable(
                    config=item.config, data=data
                )
            )
    os.wait()
    return True
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


def calls_by_row(result: pytest.RunResult) -> dict[str, int]:
    """Calls in each row of the table."""
    rows = re.findall(
        r"^(\S+::\S+|\(.*\)) +(\d+) +[\d.]+ [mµ]?Wh ", result.stdout.str(), re.MULTILINE
    )
    assert len(dict(rows)) == len(rows)
    return {name: int(calls) for name, calls in rows}


def junit_properties() -> list[tuple[str, dict[str, str]]]:
    """Name and properties of each testcase of the JUnit file."""
    read = []
    for case in ElementTree.parse("junit.xml").iter("testcase"):
        pairs = [(each.get("name", ""), each.get("value", "")) for each in case.iter("property")]
        assert len(dict(pairs)) == len(pairs), "a property is repeated"
        read.append((case.get("name", ""), dict(pairs)))
    return read


def junit_calls() -> Counter[str]:
    """Calls by name of the testcase, added up over its attempts."""
    counted: Counter[str] = Counter()
    for name, properties in junit_properties():
        counted[name] += int(properties.get("energy_tracking.calls", 0))
    return counted


WITHOUT_XDIST: list[str] = []
needs_xdist = pytest.mark.skipif(find_spec("xdist") is None, reason="pytest-xdist is not installed")
ALONE_AND_WITH_WORKERS = [
    pytest.param(WITHOUT_XDIST, id="alone"),
    pytest.param(["-p", "xdist", "-n", "2"], id="workers", marks=needs_xdist),
    pytest.param(
        ["-p", "xdist", "-n", "2", "--dist", "loadfile"], id="loadfile", marks=needs_xdist
    ),
]


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
    ("budget", "status", "word"),
    [("5Wh", 0, "within"), ("1uWh", 1, "over"), ("0J", 1, "over")],
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


def test_the_report_states_grams_where_the_zone_is_named(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_REGION", "Germany")
    result = ran(run, "--energy-report", "--junit-xml=junit.xml", "-k", "one")
    result.stdout.re_match_lines([r".*1 LLM call, .* calibrated\), \S+ g CO2e.*"])
    (properties,) = (named for _, named in junit_properties() if named)
    grams = float(properties["energy_tracking.total_carbon_grams"])
    wh = float(properties["energy_tracking.total_energy_wh"])
    assert grams == pytest.approx(wh / 1000 * 381, rel=1e-3)


def test_failed_tests_and_calls_outside_of_any_test_count_too(run: pytest.Pytester) -> None:
    run.makepyfile(test_it=TESTS + "\nask()\ndef test_fails():\n    ask()\n    assert 0\n")
    result = ran(run, "--energy-report")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.re_match_lines_random([r"6 LLM calls, "])
    assert calls_by_row(result) == {
        "test_it.py::test_three[a|b]": 3,
        "test_it.py::test_one": 1,
        "test_it.py::test_fails": 1,
        "(outside tests)": 1,
    }


@pytest.mark.parametrize("workers", ALONE_AND_WITH_WORKERS)
def test_calls_outside_of_the_tests_context_count_for_the_test(
    run: pytest.Pytester, workers: list[str]
) -> None:
    run.makepyfile(test_it=TESTS + ELSEWHERE)
    result = ran(run, "--energy-report", "--junitxml=junit.xml", *workers)
    result.assert_outcomes(passed=7)
    result.stdout.re_match_lines_random([r"9 LLM calls, "])
    assert calls_by_row(result) == {
        "test_it.py::test_three[a|b]": 3,
        "test_it.py::TestCase::test_async": 2,
        "test_it.py::test_one": 1,
        "test_it.py::test_thread": 1,
        "test_it.py::test_executor": 1,
        "test_it.py::test_to_thread": 1,
    }
    assert junit_calls()["test_async"] == 2


@pytest.mark.skipif(
    find_spec("pytest_rerunfailures") is None, reason="pytest-rerunfailures is not installed"
)
@pytest.mark.parametrize("workers", ALONE_AND_WITH_WORKERS[::2])
def test_attempts_of_a_test_add_up_in_the_table_and_over_junit_testcases(
    run: pytest.Pytester, workers: list[str]
) -> None:
    run.makepyfile(test_it=TESTS + FLAKY)
    result = ran(
        run,
        "-p",
        "pytest_rerunfailures",
        "--reruns=3",
        "--energy-report",
        "--junitxml=junit.xml",
        *workers,
    )
    assert result.ret == 0
    result.stdout.re_match_lines_random([r"11 LLM calls, "])
    expected = {"test_fails_once": 4, "test_three[a|b]": 3, "test_fails_twice": 3, "test_one": 1}
    assert calls_by_row(result) == {f"test_it.py::{name}": n for name, n in expected.items()}
    assert junit_calls() == Counter(expected) + Counter()
    energies = [
        float(each.get("energy_tracking.total_energy_wh", 0)) for _, each in junit_properties()
    ]
    one = next(
        float(p["energy_tracking.total_energy_wh"])
        for n, p in junit_properties()
        if n == "test_one"
    )
    assert sum(energies) == pytest.approx(11 * one, rel=1e-9)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_calls_of_tests_in_forked_children_are_added_up(run: pytest.Pytester) -> None:
    run.makepyfile(test_it=TESTS + "\nask()\n")
    run.makeconftest(FORKING_CONFTEST)
    result = ran(run, "--energy-report")
    result.assert_outcomes(passed=3)
    result.stdout.re_match_lines_random([r"5 LLM calls, "])
    assert calls_by_row(result) == {
        "test_it.py::test_three[a|b]": 3,
        "test_it.py::test_one": 1,
        "(outside tests)": 1,
    }


UNTRACKING = """
from energy_tracking import instrument_openai, uninstrument_openai

@pytest.fixture
def tracked():
    instrument_openai(gpu="A100")
    yield
    uninstrument_openai()

def test_its_own(tracked):
    ask()

def test_after():
    ask()
"""


@pytest.mark.parametrize(
    "workers",
    [[], pytest.param(["-p", "xdist", "-n", "1"], marks=needs_xdist)],
    ids=["one process", "a worker"],
)
def test_calls_after_a_test_that_ends_tracking_count_and_the_report_names_it(
    run: pytest.Pytester, workers: list[str]
) -> None:
    run.makepyfile(test_it=TESTS.partition("def test_one")[0] + UNTRACKING)
    result = ran(run, "--energy-report", *workers)
    assert calls_by_row(result) == {"test_it.py::test_its_own": 1, "test_it.py::test_after": 1}
    result.stdout.fnmatch_lines(["*uninstrument_openai() was called in test_it.py::test_its_own:*"])


ENDED = """
import pytest
from conftest import gpus
from energy_tracking import instrument_openai, uninstrument_openai

def track(gpu):
    instrument_openai(gpu=gpu, on_record=lambda record: gpus.append(record.estimate.gpu))

def gpu_of_a_call():
    ask()
    return gpus[-1]

@pytest.fixture(scope="module")
def for_several_tests():
    track("H200")
    yield
    uninstrument_openai()

@pytest.fixture
def for_one_test():
    track("B200")
    yield
    uninstrument_openai()

def test_ends_it():
    uninstrument_openai()
    ask()
    assert gpus == []

def test_has_the_programs_settings_again():
    assert "A100" in gpu_of_a_call()

def test_sets_its_own(for_one_test):
    assert "B200" in gpu_of_a_call()

def test_has_the_programs_settings_after_those_of_a_test():
    assert "A100" in gpu_of_a_call()

def test_first_of_several(for_several_tests):
    assert "H200" in gpu_of_a_call()

def test_ends_it_among_several(for_several_tests):
    uninstrument_openai()

def test_has_the_settings_of_several_again(for_several_tests):
    assert "H200" in gpu_of_a_call()

def test_sets_its_own_among_several(for_several_tests, for_one_test):
    assert "B200" in gpu_of_a_call()

def test_last_of_several(for_several_tests):
    assert "H200" in gpu_of_a_call()
"""
ENDED_LATER = """
def test_in_another_module():
    assert "A100" in gpu_of_a_call()
"""


@pytest.mark.parametrize(
    "workers",
    [[], pytest.param(["-p", "xdist", "-n", "1"], marks=needs_xdist)],
    ids=["one process", "a worker"],
)
def test_what_a_test_ends_holds_again_with_the_settings_of_before(
    run: pytest.Pytester, workers: list[str]
) -> None:
    run.makeconftest(OWN_SETTINGS)
    asks = TESTS.partition("@pytest.fixture")[0]
    imports = ENDED.partition("@pytest.fixture")[0]
    run.makepyfile(test_it=asks + ENDED, test_later=asks + imports + ENDED_LATER)
    result = ran(run, "--energy-report", *workers)
    result.assert_outcomes(passed=10)
    result.stdout.fnmatch_lines(["*uninstrument_openai() was called in test_it.py::test_ends_it *"])


IN_PROCESS = """
import pytest
from energy_tracking import instrument_openai
from energy_tracking.openai_client.tracked import tracker_of_all

instrument_openai(gpu="A100")
before = tracker_of_all()
assert pytest.main(["-p", "energy_tracking.pytest_plugin", "--energy-report", "-q"]) == 0
assert tracker_of_all() is before
"""


def test_a_program_that_runs_tests_is_tracked_afterwards_as_before(run: pytest.Pytester) -> None:
    program = run.makepyfile(program=IN_PROCESS)
    assert run.runpython(program).ret == 0


OWN_SETTINGS = """
from energy_tracking import instrument_openai

gpus = []
instrument_openai(gpu="A100", on_record=lambda record: gpus.append(record.estimate.gpu))
"""


def test_settings_that_the_program_tracks_with_stay(run: pytest.Pytester) -> None:
    run.makeconftest(OWN_SETTINGS)
    asks = TESTS.partition("@pytest.fixture")[0]
    run.makepyfile(
        test_it=asks + "from conftest import gpus\n"
        "def test_first():\n    ask()\n    assert 'A100' in gpus[-1]\n"
        "def test_second():\n    ask()\n    assert len(gpus) == 2\n"
    )
    result = ran(run, "--energy-report")
    result.assert_outcomes(passed=2)
    assert "uninstrument_openai" not in result.stdout.str()


def test_markdown_is_appended_and_a_failing_file_fails_no_run(run: pytest.Pytester) -> None:
    Path("summary.md").write_text("# CI\n\n")
    assert ran(run, "--energy-markdown=summary.md").ret == 0
    assert Path("summary.md").read_text("utf-8").startswith("# CI\n\n### Energy of the tests\n")
    assert ran(run, "--energy-markdown=other.md", "-k", "none").ret == 0
    assert Path("other.md").read_text("utf-8").startswith("### Energy of the tests\n")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("missing/summary.md", "No such file or directory"), (".", "Is a directory")],
)
@pytest.mark.parametrize("arguments", [[], ["-q"], ["-p", "no:terminal"]], ids=" ".join)
def test_markdown_that_cannot_be_written_is_reported_before_the_first_test_and_fails_no_run(
    run: pytest.Pytester, path: str, reason: str, arguments: list[str]
) -> None:
    run.makepyfile(test_it="import os\n\ndef test_one():\n    os.write(1, b'first test\\n')\n")
    result = ran(run, f"--energy-markdown={path}", "-s", *arguments)
    assert result.ret == 0
    said = f"--energy-markdown: {path} cannot be written: {reason}"
    if "no:terminal" in arguments:
        assert said in result.stderr.lines
        return
    lines = result.stdout.str()
    assert -1 < lines.find(said) < lines.find("first test")
    result.stdout.fnmatch_lines([f"{path}: {reason}"])


def test_a_run_without_calls_is_within_every_budget(run: pytest.Pytester) -> None:
    result = ran(run, "--energy-budget=0Wh", "-k", "test_none")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["0 LLM calls, 0 Wh: within the budget of 0 Wh"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("5kg", "*, or an energy such as '5Wh', '200 mWh' or '18 kJ', got '5kg'"),
        (f"{'9' * 400}Wh", "must be 0 or a number from 1e-12 to 1e+12 Wh, *, got '999"),
    ],
)
def test_a_wrong_budget_is_refused(run: pytest.Pytester, given: str, message: str) -> None:
    result = ran(run, f"--energy-budget={given}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*--energy-budget: {message}*"])


@needs_xdist
@pytest.mark.parametrize(("budget", "status"), [("5Wh", 0), ("1uWh", 1)])
def test_the_controller_alone_reports_and_adds_its_workers_up(
    run: pytest.Pytester, budget: str, status: int
) -> None:
    run.makepyfile(test_it=TESTS + ELSEWHERE)
    arguments = ["-n", "2", "--energy-budget", budget, "--energy-markdown", "summary.md"]
    result = ran(run, "-p", "xdist", "--junitxml=junit.xml", *arguments)
    assert result.ret == status
    result.assert_outcomes(passed=7)
    result.stdout.re_match_lines_random([r"9 LLM calls, ", r"test_it.py::test_three\S+ +3 +"])
    assert result.stdout.str().count("the budget of") == 1
    markdown = Path("summary.md").read_text("utf-8")
    assert markdown.count("### Energy of the tests") == markdown.count("the budget of") == 1
    assert "9 LLM calls, " in markdown
    assert junit_calls().total() == 9


@needs_xdist
def test_a_crashed_worker_is_named_and_what_it_had_sent_counts(run: pytest.Pytester) -> None:
    run.makepyfile(test_it=TESTS + "\ndef test_crash():\n    ask()\n    os._exit(3)\n")
    result = ran(
        run, "-p", "xdist", "-n", "1", "--max-worker-restart=0", "--energy-markdown=summary.md"
    )
    assert result.ret == 1
    result.stdout.re_match_lines_random([r"4 LLM calls, "])
    note = "no final report from gw0: calls after the last test that ended there are not counted"
    result.stdout.fnmatch_lines([note])
    assert note in Path("summary.md").read_text("utf-8")


@pytest.mark.parametrize("workers", ALONE_AND_WITH_WORKERS[:2])
def test_a_run_that_stops_at_its_first_failure_reports(
    run: pytest.Pytester, workers: list[str]
) -> None:
    run.makepyfile(
        test_it=TESTS.replace("def test_one():\n    ask()", "def test_one():\n    ask(); assert 0")
    )
    result = ran(run, "-x", "--energy-markdown=summary.md", *workers)
    assert result.ret != 0
    markdown = Path("summary.md").read_text("utf-8")
    assert markdown.count("### Energy of the tests") == 1
    assert "| `test_it.py::test_one` | 1 | " in markdown


@pytest.mark.parametrize("workers", ALONE_AND_WITH_WORKERS[:2])
def test_a_run_without_tests_reports_zero(run: pytest.Pytester, workers: list[str]) -> None:
    result = ran(run, "-k", "nothing", "--energy-budget=0Wh", *workers)
    assert result.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    result.stdout.fnmatch_lines(["0 LLM calls, 0 Wh: within the budget of 0 Wh"])


def test_the_report_states_why_its_energy_is_not_complete(
    run: pytest.Pytester, loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    loopback.serve(json_reply(chat_completion(model="nobody-knows-me")))
    run.makepyfile(test_it=TESTS.replace("gpt-4o", "nobody-knows-me"))
    result = ran(run, "--energy-report")
    result.stdout.fnmatch_lines(["the energy of 4 of these calls is unknown and counts as 0"])
    monkeypatch.setenv("ENERGY_TRACKING_DISABLED", "1")
    result = ran(run, "--energy-report")
    result.stdout.fnmatch_lines(
        ["0 LLM calls, 0 Wh", "ENERGY_TRACKING_DISABLED is set: no client was tracked; unset it"]
    )


def test_a_wrong_setting_is_a_usage_error(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_GPU", "H1000")
    result = ran(run, "--energy-report")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *ENERGY_TRACKING_GPU*'H1000'*"])


def test_markdown_is_written_where_the_run_began_and_without_a_terminal(
    run: pytest.Pytester,
) -> None:
    run.makepyfile(test_it=TESTS + "\ndef test_moves(tmp_path):\n    os.chdir(tmp_path)\n")
    result = ran(run, "-p", "no:terminal", "--energy-markdown=summary.md")
    assert result.ret == 0
    assert "4 LLM calls" in Path("summary.md").read_text("utf-8")


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
    with pytest.raises(ArgumentTypeError, match=r"must be .* an energy such as"):
        energy_wh(text)


SMALL = """
from energy_tracking import Tracker

def test_small():
    Tracker().record(model="gpt-4o-mini", usage={"prompt_tokens": 1, "completion_tokens": 0})
"""


def test_the_report_is_shown_in_a_terminal_without_a_micro_sign(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    run.makepyfile(test_small=SMALL)
    result = ran(run, "--energy-report", "test_small.py")
    result.stdout.re_match_lines([r"1 LLM call, [\d.]+ uWh \([\d.]+ uWh calibrated\)$"])
