"""The files in `examples/backends/`, as the tests read them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

SHIPPED = Path(__file__).parents[2] / "examples" / "backends"
DASHBOARD: dict[str, Any] = json.loads((SHIPPED / "grafana_dashboard.json").read_text("utf-8"))

# What Grafana puts there for a window of an hour.
GRAFANA_VARIABLES = {"$__range": "1h", "$__rate_interval": "5m", "$job": ".*", "$model": ".*"}


def promtool() -> str:
    """The program; without it the test is skipped."""
    return _program("promtool")


def prometheus() -> str:
    """The program; without it the test is skipped."""
    return _program("prometheus")


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed (Debian's package prometheus has it)")
    return path


def panel_expressions(**variables: str) -> dict[str, str]:
    """PromQL of the dashboard's panels by title and target, variables filled in."""
    filling = GRAFANA_VARIABLES | {f"${name}": value for name, value in variables.items()}
    return {
        f"{panel['title']} ({panel['type']}) {target['refId']}": _filled(target["expr"], filling)
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", ())  # words have none
    }


def _filled(expression: str, filling: dict[str, str]) -> str:
    for variable, value in filling.items():
        expression = expression.replace(variable, value)
    return expression
