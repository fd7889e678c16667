"""The configuration shipped in `examples/backends/` is what its programs accept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from backends.example_files import DASHBOARD, SHIPPED, panel_expressions, promtool
from energy_tracking.estimator import METHODS, SCOPES

pytestmark = pytest.mark.backend


def read_yaml(path: Path) -> Any:
    """The file's content."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    return yaml.safe_load(path.read_text("utf-8"))


@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "energy_rules.yml"),
        ("test", "rules", "energy_rules_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_it(check: tuple[str, ...]) -> None:
    done = subprocess.run([promtool(), *check], cwd=SHIPPED, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_and_recording_is_tested() -> None:
    groups = read_yaml(SHIPPED / "energy_rules.yml")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    tests = read_yaml(SHIPPED / "energy_rules_test.yml")["tests"]
    asked = {item["expr"].split("{")[0] for test in tests for item in test["promql_expr_test"]}
    alerts = {
        item["alertname"]
        for test in tests
        for item in test.get("alert_rule_test", ())
        if item["exp_alerts"]
    }
    assert {rule["record"] for rule in rules if "record" in rule} == asked
    assert {rule["alert"] for rule in rules if "alert" in rule} == alerts


def test_panel_expressions_are_promql(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(panel_expressions().values())
    ]
    # JSON is YAML.
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    done = subprocess.run([promtool(), "check", "rules", path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    reason = "needs grafana-foundation-sdk"
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason=reason)
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins", reason=reason)
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder", reason=reason)
    plugins.register_default_plugins()
    # Made from Grafana's schemas: reading drops what they do not have.
    known = json.loads(encoder.JSONEncoder().encode(models.Dashboard.from_json(DASHBOARD)))
    assert list(_lost(DASHBOARD, known)) == []


def _lost(ours: Any, known: Any, path: str = "") -> Iterator[str]:
    if isinstance(ours, dict):
        for key, value in ours.items():
            kept = known.get(key) if isinstance(known, dict) else None
            yield from _lost(value, kept, f"{path}/{key}")
    elif isinstance(ours, list) and isinstance(known, list) and len(ours) == len(known):
        for number, pair in enumerate(zip(ours, known, strict=True)):
            yield from _lost(*pair, f"{path}/{number}")
    elif ours != known:
        yield path


def test_the_dashboard_can_be_filtered_and_says_what_its_numbers_are() -> None:
    filters = {one["name"]: one["type"] for one in DASHBOARD["templating"]["list"]}
    assert filters == {"datasource": "datasource", "job": "query", "model": "query", "tag": "adhoc"}
    (words,) = (panel for panel in DASHBOARD["panels"] if panel["type"] == "text")
    for name in (*METHODS, *SCOPES, "90 % range", "energy_tracking_tag_team"):
        assert name in words["options"]["content"]
    mapped = {
        value
        for panel in DASHBOARD["panels"]
        for override in panel.get("fieldConfig", {}).get("overrides", ())
        for setting in override["properties"]
        for value in setting["value"][0]["options"]
    }
    assert mapped >= {*METHODS, *SCOPES}


def test_panels_have_their_own_place_and_id() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)


def test_the_collector_defines_what_its_pipelines_use() -> None:
    config = read_yaml(SHIPPED / "collector.yaml")
    pipelines = config["service"]["pipelines"].values()
    for section in ("receivers", "processors", "exporters"):
        used = {name for pipeline in pipelines for name in pipeline[section]}
        assert used == set(config[section])


def test_every_address_is_of_the_loopback() -> None:
    collector = read_yaml(SHIPPED / "collector.yaml")
    addresses = {
        **collector["receivers"]["otlp"]["protocols"],
        **collector["exporters"],
    }
    assert all("127.0.0.1:" in item["endpoint"] for item in addresses.values())
    scraped = [
        target
        for job in read_yaml(SHIPPED / "prometheus.yml")["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    assert all(target.startswith("127.0.0.1:") for target in scraped)
    # What the Collector exposes is what Prometheus is configured to scrape.
    assert collector["exporters"]["prometheus"]["endpoint"] in scraped
