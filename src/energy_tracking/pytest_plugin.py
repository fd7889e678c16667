"""A pytest plugin: the energy of a test run's LLM calls, and a budget for it.

Inert unless one of its options is given. Then every OpenAI client of the run is tracked,
every test has a session of its own, and the energy is told at the end.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from collections.abc import Generator, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from energy_tracking.calls.report import energy_text, table
from energy_tracking.calls.session import Session, process_session
from energy_tracking.openai_client.client import instrument_openai, uninstrument_openai
from energy_tracking.units import joules_from_nanojoules, wh_from_joules

NAME = "energy_tracking_of_tests"
CALLS_PROPERTY = "energy_tracking.calls"
ENERGY_PROPERTY = "energy_tracking.total_energy_wh"
CALIBRATED_PROPERTY = "energy_tracking.calibrated_energy_wh"
TESTS_SHOWN = 10
COLUMNS = ("test", "calls", "energy", "calibrated")

# Watt-hours per unit.
UNITS = {"kWh": 1e3, "Wh": 1.0, "mWh": 1e-3, "µWh": 1e-6, "uWh": 1e-6, "J": wh_from_joules(1.0)}
_ENERGY = re.compile(rf"(\d+(?:\.\d*)?|\.\d+)\s*({'|'.join(UNITS)})")

_session = pytest.StashKey[Session]()


def energy_wh(text: str) -> float:
    """An energy as people write it, e.g. ``5Wh``, in watt-hours [Wh]."""
    found = _ENERGY.fullmatch(text.strip())
    if found is None:
        raise ArgumentTypeError(f"{text!r} is no energy; write 5Wh, 200 mWh or 1.5kWh")
    return float(found[1]) * UNITS[found[2]]


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
    """Start, if that is asked for."""
    option = config.option
    if option.energy_report or option.energy_budget is not None or option.energy_markdown:
        config.pluginmanager.register(EnergyOfTests(config), NAME)


class EnergyOfTests:
    """Sums up one run; under pytest-xdist, one in each worker and one over them all."""

    def __init__(self, config: pytest.Config) -> None:
        """Track every OpenAI client from now on."""
        self._config = config
        self._budget_wh: float | None = config.option.energy_budget
        self._markdown: str | None = config.option.energy_markdown
        # Calls, energy and calibrated energy [Wh] by test.
        self._tests: dict[str, tuple[int, float, float]] = {}
        self._before = _spent()
        self._workers = [0, 0, 0]
        self._instrumented = find_spec("openai") is not None
        if self._instrumented:
            instrument_openai()

    def pytest_unconfigure(self) -> None:
        """Leave the clients as they were."""
        if self._instrumented:
            uninstrument_openai()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Give each test a session, its fixtures included."""
        with Session(item.nodeid) as session:
            item.stash[_session] = session
            return (yield)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
        """Put a test's energy where workers, JUnit files and others read it."""
        if call.when != "teardown":
            return
        totals = item.stash[_session].totals
        # A test that is run again has told before.
        ours = (CALLS_PROPERTY, ENERGY_PROPERTY, CALIBRATED_PROPERTY)
        item.user_properties[:] = [each for each in item.user_properties if each[0] not in ours]
        if totals.calls:
            item.user_properties.append((CALLS_PROPERTY, totals.calls))
            item.user_properties.append((ENERGY_PROPERTY, totals.total_energy_wh))
            item.user_properties.append((CALIBRATED_PROPERTY, totals.calibrated_energy_wh))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a test's energy, from this process or a worker's."""
        told: dict[str, Any] = dict(report.user_properties)
        if report.when == "teardown" and CALLS_PROPERTY in told:
            self._tests[report.nodeid] = (
                told[CALLS_PROPERTY],
                told[ENERGY_PROPERTY],
                told[CALIBRATED_PROPERTY],
            )

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Fail a run that has used more than its budget."""
        result = yield
        if self._exceeded:
            session.testsfailed += 1
        return result

    def pytest_sessionfinish(self) -> None:
        """Tell the process that started this worker, if it is one."""
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[NAME] = self._total

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Add up what a worker tells when it ends."""
        told = getattr(node, "workeroutput", {}).get(NAME, (0, 0, 0))
        self._workers = [ours + theirs for ours, theirs in zip(self._workers, told, strict=True)]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the report."""
        terminalreporter.section("energy")
        terminalreporter.write_line(self._verdict, red=self._exceeded)
        if self._tests:
            terminalreporter.write_line(table(COLUMNS, list(self._rows())))
        if self._markdown is not None:
            try:
                with open(self._markdown, "a", encoding="utf-8") as file:
                    file.write(self._as_markdown())
            except OSError as error:
                terminalreporter.write_line(f"{self._markdown}: {error.strerror}", red=True)

    @property
    def _total(self) -> list[int]:
        """Calls, energy and calibrated energy [nJ] of the run, calls of no test included."""
        here = (now - before for now, before in zip(_spent(), self._before, strict=True))
        return [ours + theirs for ours, theirs in zip(here, self._workers, strict=True)]

    @property
    def _total_wh(self) -> float:
        return wh_from_joules(joules_from_nanojoules(self._total[1]))

    @property
    def _exceeded(self) -> bool:
        # A worker knows of its own tests alone.
        is_worker = hasattr(self._config, "workeroutput")
        return not is_worker and self._budget_wh is not None and self._total_wh > self._budget_wh

    @property
    def _verdict(self) -> str:
        calls = self._total[0]
        said = f"{calls:,} LLM call{'' if calls == 1 else 's'}, {energy_text(self._total_wh)}"
        if self._total[2]:
            calibrated_wh = wh_from_joules(joules_from_nanojoules(self._total[2]))
            said += f" ({energy_text(calibrated_wh)} calibrated)"
        if self._budget_wh is None:
            return said
        return (
            f"{said}: {'over' if self._exceeded else 'within'} the budget of "
            f"{energy_text(self._budget_wh)}"
        )

    def _rows(self) -> Iterator[tuple[str, str, str, str]]:
        """The most expensive tests."""
        ranked = sorted(self._tests.items(), key=lambda test: (-test[1][1], test[0]))
        shown = ranked[:TESTS_SHOWN]
        if rest := ranked[TESTS_SHOWN:]:
            calls, used_wh, calibrated_wh = (
                sum(column) for column in zip(*dict(rest).values(), strict=True)
            )
            shown.append((f"{len(rest)} more", (int(calls), used_wh, calibrated_wh)))
        for name, (calls, used_wh, calibrated_wh) in shown:
            calibrated = energy_text(calibrated_wh) if calibrated_wh else "-"
            yield name, f"{calls:,}", energy_text(used_wh), calibrated

    def _as_markdown(self) -> str:
        lines = ["### Energy of the tests", "", f"{'❌ ' * self._exceeded}{self._verdict}", ""]
        if self._tests:
            lines += [f"| {' | '.join(COLUMNS)} |", "|---|---:|---:|---:|"]
            for nodeid, *cells in self._rows():
                name = nodeid.replace("|", "\\|").replace("`", "'")
                lines.append(f"| `{name}` | {' | '.join(cells)} |")
            lines.append("")
        return "\n".join(lines) + "\n"


def _spent() -> tuple[int, int, int]:
    totals = process_session().totals
    return totals.calls, totals.total_energy_nanojoules, totals.calibrated_energy_nanojoules
