"""The house: floors, imports and what importing the library loads."""

from __future__ import annotations

import subprocess
import sys
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


def test_the_only_3600_is_in_units() -> None:
    holders = {path.name for path in PACKAGE.rglob("*.py") if "3600" in path.read_text("utf-8")}
    assert holders == {"units.py"}


@pytest.mark.parametrize("name", energy_tracking.__all__)
def test_public_names_are_documented(name: str) -> None:
    if name != "__version__":
        assert getattr(energy_tracking, name).__doc__
