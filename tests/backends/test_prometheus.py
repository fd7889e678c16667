"""Prometheus scrapes real calls, and its answers are the session's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider

from backends.backend_processes import eventually, free_port, get_json, running
from backends.example_files import SHIPPED, panel_expressions, prometheus
from energy_tracking import Session, energy_session, wrap_openai
from loopback import Loopback

pytestmark = pytest.mark.backend

COUNTER = "energy_tracking_client_energy_joules_total"
TOTAL = f"sum({COUNTER})"
HISTOGRAMS = (
    "energy_tracking_client_operation_energy_joules",
    "gen_ai_client_token_usage",
    "gen_ai_client_operation_duration_seconds",
)
COUNTERS = {
    COUNTER,
    "energy_tracking_client_energy_low_joules_total",
    "energy_tracking_client_energy_high_joules_total",
    "energy_tracking_client_energy_calibrated_joules_total",
    "energy_tracking_client_carbon_grams_total",
    "energy_tracking_client_unestimated_operations_total",
}
NAMES = COUNTERS | {
    f"{histogram}_{part}" for histogram in HISTOGRAMS for part in ("bucket", "count", "sum")
}
RECORDED = (
    "job_model:energy_tracking_client_energy_watts:rate5m",
    "job:energy_tracking_client_energy_watthours:increase1d",
    "job_model:energy_tracking_client_operation_energy_joules:mean1h",
    "job:energy_tracking_client_unestimated_operations:ratio_rate1h",
)


class Exposition:
    """An application's metrics, exposed for scraping."""

    def __init__(self) -> None:
        reason = "needs opentelemetry-exporter-prometheus"
        exporter = pytest.importorskip("opentelemetry.exporter.prometheus", reason=reason)
        client = pytest.importorskip("prometheus_client", reason=reason)
        registry = client.CollectorRegistry()
        self.meter_provider = MeterProvider([exporter.PrometheusMetricReader(registry=registry)])
        self._server, self._thread = client.start_http_server(0, "127.0.0.1", registry)
        self.address = f"127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it, as if the process had ended; once is enough."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self.meter_provider.shutdown()


@dataclass(frozen=True, slots=True)
class Scraped:
    """Prometheus, what it scrapes, and the session of the calls made."""

    url: str
    exposition: Exposition
    session: Session

    def query(self, expression: str) -> list[Any]:
        """The vector it answers with."""
        answer: list[Any] = get_json(f"{self.url}/api/v1/query", query=expression)["data"]["result"]
        return answer

    def value(self, expression: str) -> float | None:
        """The one number it answers with."""
        results = self.query(expression)
        return float(results[0]["value"][1]) if results else None

    @property
    def total(self) -> Any:
        """The session's total, as it compares with a sum over calls [J]."""
        totals = self.session.totals
        # A session adds up whole nanojoules: prefill and decode of each call are rounded.
        return pytest.approx(totals.total_energy_joules, rel=0, abs=1e-9 * totals.calls)


@contextmanager
def scraping() -> Iterator[Scraped]:
    """Prometheus with the shipped configuration, scraping two rounds of calls."""
    program = prometheus()
    exposition = Exposition()
    try:
        with TemporaryDirectory() as folder, Loopback() as loopback:
            client = openai.OpenAI(base_url=loopback.base_url, api_key="none", max_retries=0)
            with (
                _prometheus(program, Path(folder), exposition.address) as url,
                client,
                energy_session("scraped") as session,
            ):
                wrap_openai(client, region="DE", meter_provider=exposition.meter_provider)
                scraped = Scraped(url, exposition, session)
                # A rate needs two scrapes that differ.
                for _ in range(2):
                    _make_calls(client)
                    eventually(lambda: scraped.value(TOTAL) == scraped.total)
                yield scraped
    finally:
        exposition.close()


@contextmanager
def _prometheus(program: str, folder: Path, target: str) -> Iterator[str]:
    config = (SHIPPED / "prometheus.yml").read_text("utf-8")
    for shipped, here in (
        ("127.0.0.1:9464", target),
        ("energy_rules.yml", str(SHIPPED / "energy_rules.yml")),
        ("15s", "200ms"),
    ):
        assert shipped in config
        config = config.replace(shipped, here)
    (folder / "prometheus.yml").write_text(config, "utf-8")
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with running(command, f"http://{address}/-/ready", folder / "log", {}):
        yield f"http://{address}"


def _make_calls(client: openai.OpenAI) -> None:
    for model in ("gpt-4o", "o3-mini"):
        client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Capital of Mexico?"}]
        )
    client.embeddings.create(model="text-embedding-3-small", input="Mexico")


@pytest.fixture(scope="module")
def scraped() -> Iterator[Scraped]:
    """One Prometheus for the tests that only ask."""
    with scraping() as started:
        yield started


def test_the_sum_of_the_counter_is_the_session_total(scraped: Scraped) -> None:
    answer = scraped.value(TOTAL)
    print(f"{TOTAL} = {answer} J, session {scraped.session.totals.total_energy_joules} J")
    assert answer == scraped.total


def test_its_sum_by_model_is_the_session_by_model(scraped: Scraped) -> None:
    answers = scraped.query(f"sum by (gen_ai_response_model) ({COUNTER})")
    by_model = {item["metric"]["gen_ai_response_model"]: item["value"][1] for item in answers}
    assert {model: float(value) for model, value in by_model.items()} == {
        model: pytest.approx(totals.total_energy_joules)
        for model, totals in scraped.session.by_model.items()
        if totals.total_energy_joules
    }


def test_metrics_arrive_under_these_names(scraped: Scraped) -> None:
    values = get_json(f"{scraped.url}/api/v1/label/__name__/values")["data"]
    ours = ("energy_tracking_", "gen_ai_")
    assert {name for name in values if name.startswith(ours)} == NAMES


@pytest.mark.parametrize("panel", panel_expressions())
def test_every_panel_of_the_dashboard_has_an_answer(scraped: Scraped, panel: str) -> None:
    expression = panel_expressions()[panel]
    for item in eventually(lambda: scraped.query(expression)):
        assert float(item["value"][1]) > 0


def test_calls_without_a_known_energy_are_none_where_all_are_known(scraped: Scraped) -> None:
    title = "Calls without a known energy (stat) A"
    assert scraped.value(panel_expressions(model="gpt-4o.*")[title]) == 0
    assert scraped.value(panel_expressions(model="nobody calls it")[title]) == 0
    assert eventually(lambda: scraped.value(panel_expressions()[title])) == pytest.approx(1 / 3)


def test_the_95th_percentile_is_near_the_dearest_call(scraped: Scraped) -> None:
    dearest = max(
        totals.total_energy_joules / totals.calls for totals in scraped.session.by_model.values()
    )
    name = "Energy per call (timeseries) B"
    # Not a number while there is no rate yet.
    eventually(lambda: (scraped.value(panel_expressions()[name]) or 0) > 0)
    quantile = scraped.value(panel_expressions()[name]) or 0
    assert dearest / 2 < quantile <= dearest * 5 / 3


def test_the_range_and_the_calibrated_number_are_those_of_the_session(scraped: Scraped) -> None:
    totals = scraped.session.totals
    for part, joules in (
        ("low", totals.total_energy_low_joules),
        ("high", totals.total_energy_high_joules),
        ("calibrated", totals.calibrated_energy_joules),
    ):
        counted = scraped.value(f"sum(energy_tracking_client_energy_{part}_joules_total)")
        assert counted == pytest.approx(joules)


def test_every_panel_can_be_filtered_by_model(scraped: Scraped) -> None:
    for name, expression in panel_expressions(model="nobody calls it").items():
        answers = [float(item["value"][1]) for item in scraped.query(expression)]
        assert set(answers) <= {0.0}, name


@pytest.mark.parametrize("name", RECORDED)
def test_every_recording_rule_has_an_answer(scraped: Scraped, name: str) -> None:
    assert eventually(lambda: scraped.query(name))


def test_all_rules_evaluate(scraped: Scraped) -> None:
    def evaluated() -> list[Any]:
        groups = get_json(f"{scraped.url}/api/v1/rules")["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        return [] if any(rule["health"] == "unknown" for rule in rules) else rules

    rules = eventually(evaluated)
    assert {rule["name"] for rule in rules if rule["type"] == "recording"} == set(RECORDED)
    assert {rule["health"] for rule in rules} == {"ok"}


def test_the_total_outlives_the_process() -> None:
    with scraping() as scraped:
        scraped.exposition.close()
        eventually(lambda: not scraped.query(TOTAL))
        # Counters of one process only grow: their largest value is their last.
        lasting = scraped.value(f"sum(max_over_time({COUNTER}[1h]))")
        assert lasting == scraped.total
