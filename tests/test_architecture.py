"""The house: floors, imports and what importing the library loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import energy_tracking

PACKAGE = Path(energy_tracking.__file__).parent


def test_importing_the_library_loads_nothing_heavy() -> None:
    code = (
        "import sys, energy_tracking; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), "
        "*[name for name in sys.modules if name.startswith('opentelemetry.sdk')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "energy_tracking" in loaded
    assert not loaded & {"openai", "numpy", "httpx", "httpx2", "opentelemetry.sdk"}


def test_a_main_door_that_needs_the_sdk_loads_it_when_it_is_opened() -> None:
    code = (
        "import sys, energy_tracking\n"
        "assert 'EnergySpanProcessor' in energy_tracking.__all__\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
        "from energy_tracking import EnergyCompletionHook, EnergySpanProcessor\n"
        "from opentelemetry.sdk.trace import SpanProcessor\n"
        "assert issubclass(EnergySpanProcessor, SpanProcessor)\n"
        "print(hasattr(energy_tracking, 'EnergySpanProcesor'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("False\n", "")


MAY_IMPORT = {
    # What runs inside other people's processes stays light: who else may load what.
    "openai": {"openai_client", "demo"},
    "opentelemetry": {"contexts", "telemetry", "otel", "demo"},
    "wrapt": {"openai_client", "function_wrappers"},
    "tomllib": {"profiles"},
    "pytest": {"pytest_plugin"},
    "orjson": {"logs"},
    "compression": {"logs"},
    "duckdb": {"logs"},
    "zstandard": {"logs"},
}
"""Packages and modules of ours that may import a library; all others may not."""


def imported_by(path: Path) -> Iterator[str]:
    """Top names of everything a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def test_libraries_are_imported_where_they_belong_and_by_nobody_else() -> None:
    importers: dict[str, set[str]] = {}
    for path in PACKAGE.rglob("*.py"):
        home = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for name in imported_by(path):
            if name not in sys.stdlib_module_names or name in MAY_IMPORT:
                importers.setdefault(name, set()).add(home)
    importers.pop("energy_tracking")
    assert importers == MAY_IMPORT


def test_packages_import_from_floors_below_their_own() -> None:
    pytest.importorskip("importlinter", reason="the floors are held by import-linter")
    root = PACKAGE.parents[1]
    if not (root / "pyproject.toml").exists():
        pytest.skip("the floors are listed in pyproject.toml, which is not installed")
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", command], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_only_3600_is_in_units() -> None:
    holders = {path.name for path in PACKAGE.rglob("*.py") if "3600" in path.read_text("utf-8")}
    assert holders == {"units.py"}


@pytest.mark.parametrize("name", energy_tracking.__all__)
def test_public_names_are_documented(name: str) -> None:
    if name != "__version__":
        assert getattr(energy_tracking, name).__doc__
