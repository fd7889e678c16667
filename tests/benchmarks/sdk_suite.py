"""openai-python's own tests, with and without instrumentation: the same ones pass.

    python tests/benchmarks/sdk_suite.py PATH [pytest arguments]

PATH is an unpacked source release of openai (any version supported here), which has its
tests. What they need beside openai's own dependencies is to be installed: pytest,
pytest-asyncio, inline-snapshot, rich, trio, numpy, griffe; up to 2.x also respx,
dirty-equals, time-machine, nest_asyncio. What is missing fails alike with and without.

Run are all tests but those of ``tests/api_resources``, which need a mock server made from
OpenAI's specification. The settings are the defaults, or those of the environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

Outcomes = dict[str, str]

NEED_A_MOCK_SERVER = "tests/api_resources"
REPORT = "SDK_SUITE_REPORT"
INSTRUMENT = "SDK_SUITE_INSTRUMENT"
NOT_COLLECTED = "not collected"
SHOWN = 40
"""Differences shown at most."""


class Plugin:
    """Notes the outcome of every test and, where asked to, instruments the SDK."""

    def __init__(self, report: Path, instrument: bool) -> None:
        self._report = report
        self._outcomes: Outcomes = {}
        self._records = 0
        self._errors: Counter[str] = Counter()
        if instrument:
            from energy_tracking import instrument_openai

            instrument_openai(on_record=self._count, on_error=self._note)

    def _count(self, record: object) -> None:
        self._records += 1

    def _note(self, where: str, error: Exception) -> None:
        self._errors[f"{where}: {error!r}"] += 1

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that cannot be imported."""
        if report.failed:
            self._outcomes[report.nodeid] = NOT_COLLECTED

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the worst of set-up, test and tear-down."""
        if report.when == "call" or not report.passed:
            expected = "xfail" if hasattr(report, "wasxfail") else ""
            if self._outcomes.get(report.nodeid) != "failed":
                self._outcomes[report.nodeid] = expected or report.outcome

    def pytest_sessionfinish(self) -> None:
        """Write everything noted."""
        outcome = {"outcomes": self._outcomes, "records": self._records, "errors": self._errors}
        self._report.write_text(json.dumps(outcome), "utf-8")


def pytest_configure(config: pytest.Config) -> None:
    """Take part in a run of the SDK's tests, with ``-p sdk_suite``."""
    report = Path(os.environ[REPORT])
    config.pluginmanager.register(Plugin(report, bool(os.environ[INSTRUMENT])))


def run_suite(tree: Path, arguments: list[str], *, instrument: bool) -> dict[str, Outcomes]:
    """Run the tests of an openai source tree in a process of their own.

    Args:
        tree: The source tree.
        arguments: Further arguments of pytest.
        instrument: Whether to call ``instrument_openai`` first.

    Returns:
        ``outcomes`` by test, ``records`` made, and our own ``errors`` with their number.
    """
    here = Path(__file__).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(
                map(str, (tree / "src", here.parents[2] / "src", here.parent))
            ),
            REPORT: str(report),
            INSTRUMENT: "yes" if instrument else "",
        }
        command = [sys.executable, "-m", "pytest", "-p", "sdk_suite", "-o", "addopts=", "-q"]
        command += ["-p", "no:cacheprovider", "--tb=no", "--continue-on-collection-errors"]
        command += ["--ignore", NEED_A_MOCK_SERVER, *(arguments or ["tests"])]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True)
        if not report.exists():
            raise SystemExit(f"pytest did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        outcome: dict[str, Outcomes] = json.loads(report.read_text("utf-8"))
        return outcome


def main(path: str, *arguments: str) -> int:
    """Run the suite without and with instrumentation; 1 if any outcome differs."""
    tree = Path(path).resolve()
    without = run_suite(tree, list(arguments), instrument=False)["outcomes"]
    suite = run_suite(tree, list(arguments), instrument=True)
    tracked = suite["outcomes"]
    suspects = differing = difference(without, tracked)
    if suspects:
        # Some tests of the SDK depend on timing: what differs must do so again, alone.
        again = [run_suite(tree, suspects, instrument=on)["outcomes"] for on in (False, True)]
        differing = difference(*again)
    for name, outcomes in (("without", without), ("with", tracked)):
        counted = ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(outcomes.values()).items()))
        print(f"{name:8} {len(outcomes)} tests: {counted}")
    print(
        f"{suite['records']} calls recorded, {sum(map(int, suite['errors'].values()))} own errors"
    )
    for error, times in suite["errors"].items():
        print(f"  {times} x {error}")
    not_passed = Counter(
        test.partition("::")[0]
        for test, outcome in without.items()
        if outcome in ("failed", NOT_COLLECTED)
    )
    print("not passed without, by file:", dict(not_passed))
    print(f"{len(suspects)} tests differ, {len(differing)} of them again when run alone")
    for test in suspects[:SHOWN]:
        print(f"  {test}: {without.get(test)} without, {tracked.get(test)} with")
    return bool(differing)


def difference(some: Outcomes, others: Outcomes) -> list[str]:
    """The tests whose outcomes differ."""
    return [test for test in some | others if some.get(test) != others.get(test)]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
