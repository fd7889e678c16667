"""A pytest plugin: the energy of a test run's LLM calls, and a budget for it.

Inert unless one of its options is given. Then every OpenAI client of the run is tracked and
the process that the user started, alone, reports.

Order of events:

1. ``pytest_configure`` tracks every client, unless the program does, and reads the process
   totals. A test that calls ``uninstrument_openai`` ends that: the next test begins by tracking
   them again with the settings from before (``_TrackingOfTests``), and the report names the first
   one that ended it. ``pytest_unconfigure`` leaves the clients as the plugin has found them.
2. A test's energy is what the process totals grow by from the start of its protocol to the end
   of its teardown, in whatever thread or event loop its calls are made. Fixtures count with
   it; one that several tests share counts with the test that sets it up and with the one that
   tears it down. Calls outside of all tests (imports at collection, say) have a row of their
   own.
3. Each attempt of a test ends with a teardown report that carries its energy, and the totals of
   its process so far: over pytest-xdist's channel, out of a forked child, or within one process.
   Attempts of one test add up in its row. In a JUnit file, the testcases add up.
4. ``pytest_runtest_logreport`` adds reports up. A worker sends its final totals when it ends;
   one that crashed, or was not waited for, is named with the report.
5. ``pytest_runtestloop`` holds the sum to the budget; the report is written at the end.

A further number per test is a field of ``_Spending``; it then needs a column in ``COLUMNS`` and
``_list_rows``, and a row in ``PROPERTIES`` to be in JUnit files.
"""

from __future__ import annotations

import os
import secrets
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Generator, Iterator
from dataclasses import astuple, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.calls.accounts import process_account
from energy_tracking.calls.amounts import choose_unit, energy_text, format_count, two_digits
from energy_tracking.calls.budget import read_energy_wh
from energy_tracking.calls.carbon import NANOGRAMS_PER_GRAM
from energy_tracking.calls.report import table
from energy_tracking.calls.session import Session, process_session
from energy_tracking.errors import ConfigurationError, amounts_apart
from energy_tracking.openai_client.client import track_all, uninstrument_openai
from energy_tracking.openai_client.tracked import tracker_of_all
from energy_tracking.settings import Settings
from energy_tracking.settings.names import variable
from energy_tracking.terminal import with_known_signs
from energy_tracking.tracker import Tracker
from energy_tracking.units import joules_from_nanojoules, wh_from_joules

NAME = "energy_tracking_of_tests"
TESTS_SHOWN = 10
COLUMNS = ("test", "calls", "energy", "calibrated")
OUTSIDE_TESTS = "(outside tests)"


@dataclass(frozen=True, slots=True)
class _Spending:
    """Sums over calls, in whole numbers, so that they add up exactly across processes."""

    calls: int = 0
    unestimated_calls: int = 0
    total_energy_nanojoules: int = 0
    calibrated_energy_nanojoules: int = 0
    carbon_nanograms: int = 0

    def __add__(self, other: _Spending) -> _Spending:
        return _Spending(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: _Spending) -> _Spending:
        return _Spending(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def total_energy_wh(self) -> float:
        return wh_from_joules(joules_from_nanojoules(self.total_energy_nanojoules))

    @property
    def calibrated_energy_wh(self) -> float:
        return wh_from_joules(joules_from_nanojoules(self.calibrated_energy_nanojoules))

    @property
    def total_carbon_grams(self) -> float:
        return self.carbon_nanograms / NANOGRAMS_PER_GRAM


PROPERTIES: tuple[tuple[str, Callable[[_Spending], int | float | None]], ...] = (
    ("energy_tracking.calls", lambda spent: spent.calls),
    ("energy_tracking.total_energy_wh", lambda spent: spent.total_energy_wh),
    ("energy_tracking.calibrated_energy_wh", lambda spent: spent.calibrated_energy_wh),
    ("energy_tracking.total_carbon_grams", lambda spent: spent.total_carbon_grams or None),
)
"""Properties of a testcase in a JUnit file, and how each is read; None: it is left out."""


class _Meter:
    """What this process spends from now on; in the child of a fork, from the fork on."""

    def __init__(self) -> None:
        self._pid, self._start = os.getpid(), _read_process_totals()

    def read(self) -> _Spending:
        """What was spent so far."""
        now = _read_process_totals()
        return now - self._start if os.getpid() == self._pid else now

    def subtract(self, spent: _Spending) -> None:
        """Count this no longer."""
        self._start += spent


class _TrackingOfTests:
    """Sees to it that every test begins with clients that are tracked, by the right settings.

    A test may end tracking, and what then holds again depends on what it has ended:

    ==================================  ====================================================
    tracking ends                       the next test begins with
    ==================================  ====================================================
    in a test's body, or while its      the settings that the test began with
    fixtures start
    in its teardown, where the test     those, too
    had set others before
    in its teardown, else               those that hold outside of tests: a fixture of
                                        several tests has ended its own
    ==================================  ====================================================
    """

    def __init__(self) -> None:
        """Track every client, unless the program does, with settings of its own.

        Raises:
            ConfigurationError: A setting in the environment is wrong.
        """
        self._found = tracker_of_all()
        self._outside = self._found or Tracker()
        self._at_start = self._after_call = self._at_end = self._found
        self.begin_test()

    @property
    def is_on(self) -> bool:
        """Whether every client is tracked."""
        return tracker_of_all() is not None

    def begin_test(self) -> None:
        """Track all clients again if they are not."""
        now = tracker_of_all()
        if now is None:
            has_ended_another = self._after_call is not self._at_start
            track_all((self._at_start if has_ended_another else None) or self._outside)
        elif now is not self._at_end:
            self._outside = now  # set between tests
        self._at_start = self._after_call = self._at_end = tracker_of_all()

    def note_phase(self, phase: str) -> None:
        """Note who tracks after a phase of a test: its setup, its call or its teardown."""
        self._at_end = tracker_of_all()
        if phase != "teardown":
            self._after_call = self._at_end

    def end(self) -> None:
        """Leave the clients as they were found."""
        if self._found is None:
            uninstrument_openai()
        else:
            track_all(self._found)


def energy_wh(text: str) -> float:
    """An energy as people write it, e.g. ``5Wh``, in watt-hours [Wh].

    Raises:
        ArgumentTypeError: The text is not a number with a unit, or no budget.
    """
    try:
        return read_energy_wh("", text)
    except ConfigurationError as error:
        raise ArgumentTypeError(str(error)) from None


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("energy", "energy of LLM calls (energy-tracking)")
    group.addoption(
        "--energy-report",
        action="store_true",
        help="Show the energy of the run's LLM calls and its most expensive tests.",
    )
    group.addoption(
        "--energy-budget",
        metavar="ENERGY",
        type=energy_wh,
        help="Fail the run if its LLM calls use more, e.g. 5Wh; implies --energy-report.",
    )
    group.addoption(
        "--energy-markdown",
        metavar="PATH",
        help="Append the report to a file as Markdown, e.g. to $GITHUB_STEP_SUMMARY.",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Start, if one of the options is given."""
    option = config.option
    if option.energy_report or option.energy_budget is not None or option.energy_markdown:
        config.pluginmanager.register(EnergyOfTests(config), NAME)


class EnergyOfTests:
    """Adds up one run. Each worker of pytest-xdist has one too, which only sends its energy."""

    def __init__(self, config: pytest.Config) -> None:
        """Track every OpenAI client from now on.

        Raises:
            pytest.UsageError: A setting in the environment is wrong.
        """
        self._config = config
        self._is_worker = hasattr(config, "workerinput")
        self._budget_wh: float | None = config.option.energy_budget
        markdown: str | None = config.option.energy_markdown
        # A test may change the directory.
        self._markdown = None if markdown is None else Path(markdown).absolute()
        self._failed_write: OSError | None = None
        self._token = secrets.token_hex(4)
        self._run = _Meter()
        self._test = _Meter()
        self._tests: dict[str, _Spending] = {}
        # By process, the last totals that it has sent.
        self._elsewhere: dict[str, _Spending] = {}
        self._workers_not_heard: dict[str, None] = {}
        # Tests after which clients were not tracked any more.
        self._untracked_after: dict[str, None] = {}
        self._has_openai = find_spec("openai") is not None
        try:
            self._is_disabled = Settings.load({}).disabled
            # None: there is nothing to track, or nothing is to be.
            can_track = self._has_openai and not self._is_disabled
            self._tracking = _TrackingOfTests() if can_track else None
        except ConfigurationError as error:
            raise pytest.UsageError(str(error)) from None

    @property
    def _is_tracking(self) -> bool:
        """Whether all is as it should be; where nothing can be tracked, it is."""
        return self._tracking is None or self._tracking.is_on

    def pytest_unconfigure(self) -> None:
        """Leave the clients as they were."""
        if self._tracking is not None:
            self._tracking.end()

    @pytest.hookimpl(trylast=True)
    def pytest_sessionstart(self) -> None:
        """Say at once what would be found out only at the end: a file that cannot be written."""
        if self._markdown is None or self._is_worker:
            return
        try:
            is_new = not self._markdown.exists()
            self._markdown.open("a", encoding="utf-8").close()
            if is_new:
                self._markdown.unlink()
        except OSError as error:
            path = self._config.option.energy_markdown
            message = f"--energy-markdown: {path} cannot be written: {error.strerror}"
            terminal = self._config.pluginmanager.get_plugin("terminalreporter")
            if terminal is None:
                sys.stderr.write(f"{message}\n")
            else:
                terminal.ensure_newline()
                terminal.write_line(message, red=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Measure each test from here; its session names it on the spans of its calls."""
        self._test = _Meter()
        if self._tracking is not None:
            self._tracking.begin_test()
        with Session(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Put an attempt's energy where the controller, JUnit files and others read it."""
        report = yield
        if self._tracking is not None:
            self._tracking.note_phase(call.when)
        if call.when == "teardown":
            spent = self._test.read()
            report.energy_tracking = {  # type: ignore[attr-defined]
                "process": self._process_name,
                "test": list(astuple(spent)),
                "total": list(astuple(self._run.read())),
                "is_tracking": self._is_tracking,
            }
            if spent.calls:
                named = [(name, read(spent)) for name, read in PROPERTIES]
                properties = [pair for pair in named if pair[1] is not None]
                report.user_properties = [*report.user_properties, *properties]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add an attempt's energy, from this process or another one."""
        sent: dict[str, Any] | None = getattr(report, "energy_tracking", None)
        if sent is None:
            return
        if not sent["is_tracking"]:
            self._untracked_after[report.nodeid] = None
        spent = _Spending(*sent["test"])
        if spent.calls:
            self._tests[report.nodeid] = self._tests.get(report.nodeid, _Spending()) + spent
        if sent["process"] == self._process_name:
            # Not where the report is made: what reruns tests may drop that of an attempt, and
            # the next one then carries the energy of both.
            self._test.subtract(spent)
        else:
            self._elsewhere[sent["process"]] = _Spending(*sent["total"])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Fail a run that has used more than its budget."""
        result = yield
        if self._is_exceeded:
            session.testsfailed += 1
        return result

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        """Send a worker's final totals, or write the Markdown, after all fixtures have ended."""
        if self._is_worker:
            total = list(astuple(self._run.read()))
            self._config.workeroutput[NAME] = [self._process_name, total]  # type: ignore[attr-defined]
        elif self._markdown is not None:
            try:
                with self._markdown.open("a", encoding="utf-8") as file:
                    file.write(self._render_markdown())
            except OSError as error:
                self._failed_write = error

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodeready(self, node: Any) -> None:
        """Expect the totals of a worker of pytest-xdist."""
        self._workers_not_heard[node.gateway.id] = None

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take the final totals of a worker; one that has crashed sends none."""
        sent = getattr(node, "workeroutput", {}).get(NAME)
        if sent is not None:
            self._elsewhere[sent[0]] = _Spending(*sent[1])
            self._workers_not_heard.pop(node.gateway.id, None)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the report."""
        if self._is_worker:
            return
        terminalreporter.section("energy")
        terminalreporter.write_line(with_known_signs(self._verdict_line), red=self._is_exceeded)
        for note in self._list_notes():
            terminalreporter.write_line(with_known_signs(note), yellow=True)
        if rows := list(self._list_rows()):
            terminalreporter.write_line(with_known_signs(table(COLUMNS, rows)))
        if self._failed_write is not None:
            terminalreporter.write_line(
                f"{self._config.option.energy_markdown}: {self._failed_write.strerror}", red=True
            )

    @property
    def _process_name(self) -> str:
        """A name of this process that no other one of the run has."""
        return f"{self._token}-{os.getpid()}"

    @property
    def _total_spending(self) -> _Spending:
        """The whole run, calls outside of tests included."""
        return sum(self._elsewhere.values(), self._run.read())

    @property
    def _is_exceeded(self) -> bool:
        # A worker knows of its own tests alone.
        return (
            not self._is_worker
            and self._budget_wh is not None
            and self._total_spending.total_energy_wh > self._budget_wh
        )

    @property
    def _verdict_line(self) -> str:
        total = self._total_spending
        text = format_count(total.calls, "LLM call")
        text += f", {energy_text(total.total_energy_wh)}"
        if total.calibrated_energy_nanojoules:
            text += f" ({energy_text(total.calibrated_energy_wh)} calibrated)"
        if total.carbon_nanograms:
            text += f", {two_digits(total.total_carbon_grams)} g CO2e"
        if self._budget_wh is None:
            return text
        if not self._is_exceeded:
            return f"{text}: within the budget of {energy_text(self._budget_wh)}"
        unit, size = choose_unit(self._budget_wh)
        used, budget = amounts_apart(total.total_energy_wh / size, self._budget_wh / size)
        return f"{text}: over the budget of {budget} {unit} (used {used} {unit})"

    def _list_notes(self) -> Iterator[str]:
        """Reasons why the energy of the run is not complete."""
        if not self._has_openai:
            yield "the openai package is not installed here: no client could be tracked"
        elif self._is_disabled:
            yield f"{variable('disabled')} is set: no client was tracked; unset it"
        if unestimated := self._total_spending.unestimated_calls:
            yield f"the energy of {unestimated:,} of these calls is unknown and counts as 0"
        if self._untracked_after:
            first, *others = self._untracked_after
            yield (
                f"uninstrument_openai() was called in {first}"
                f"{' and ' + format_count(len(others), 'more test') if others else ''}: "
                "calls after it, until the next test, are not counted; leave it out"
            )
        if self._workers_not_heard:
            yield (
                f"no final report from {', '.join(self._workers_not_heard)}: calls after the last "
                "test that ended there are not counted"
            )

    def _list_rows(self) -> Iterator[tuple[str, str, str, str]]:
        """The most expensive tests, the other ones in sum, and calls of no test."""
        ranked = sorted(
            self._tests.items(), key=lambda test: (-test[1].total_energy_nanojoules, test[0])
        )
        shown, rest = ranked[:TESTS_SHOWN], dict(ranked[TESTS_SHOWN:])
        if rest:
            shown.append((f"{len(rest)} more", sum(rest.values(), _Spending())))
        outside = self._total_spending - sum(self._tests.values(), _Spending())
        if outside.calls:
            shown.append((OUTSIDE_TESTS, outside))
        for name, spent in shown:
            calibrated = spent.calibrated_energy_nanojoules
            yield (
                name,
                f"{spent.calls:,}",
                energy_text(spent.total_energy_wh),
                energy_text(spent.calibrated_energy_wh) if calibrated else "-",
            )

    def _render_markdown(self) -> str:
        lines = [
            "### Energy of the tests",
            "",
            f"{'❌ ' * self._is_exceeded}{self._verdict_line}",
            "",
        ]
        for note in self._list_notes():
            lines += [f"⚠️ {note}", ""]
        if rows := list(self._list_rows()):
            lines += [f"| {' | '.join(COLUMNS)} |", "|---|---:|---:|---:|"]
            for nodeid, *cells in rows:
                name = nodeid.replace("|", "\\|").replace("`", "'")
                lines.append(f"| `{name}` | {' | '.join(cells)} |")
            lines.append("")
        return "\n".join(lines) + "\n"


def _read_process_totals() -> _Spending:
    totals = process_session().totals
    emissions = process_account.find_emissions()
    return _Spending(
        totals.calls,
        totals.unestimated_calls,
        totals.total_energy_nanojoules,
        totals.calibrated_energy_nanojoules,
        0 if emissions is None else emissions.nanograms[0],
    )
