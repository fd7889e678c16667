"""Phoenix gets the spans of real calls, gives their energy back, and shows it.

Phoenix is a large application: it is looked for in an environment of its own, the one whose
`phoenix` program PHOENIX_PROGRAM names or is on the path.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from backends.backend_processes import (
    eventually,
    free_port,
    get_json,
    listening_addresses,
    post_json,
    running,
)
from energy_tracking import energy_session, track_energy, wrap_openai
from energy_tracking.demo.server import EXCHANGE_HEADER
from loopback import Loopback

pytestmark = pytest.mark.backend

PROJECT = "nightly-eval"
# 127.0.0.1, plain and mapped into IPv6.
LOOPBACK_ADDRESSES = {"0100007F", "0000000000000000FFFF00000100007F"}
IN_THE_PICTURE = tuple(
    f"energy_tracking.{name}"
    for name in (
        *("total_energy_wh", "total_energy_joules"),
        *("total_energy_low_joules", "total_energy_high_joules"),
        *("calibrated_energy_joules", "calibrated_energy_low_joules"),
        *("calibrated_energy_high_joules", "status", "method", "scope", "gpu", "model_profile"),
        *("grade", "session.name"),
    )
)
# The rows of energy first, the others left out, two digits: of the picture alone.
ENERGY_AT_A_GLANCE = """
names => {
  const rows = [...document.querySelectorAll("tr")].filter(row => row.cells.length > 1);
  const nameOf = row => row.cells[0].innerText.trim();
  const body = rows.find(row => nameOf(row) === names[0]).parentElement;
  const found = rows.filter(row => row.parentElement === body);
  found.filter(row => !names.includes(nameOf(row))).forEach(row => row.remove());
  for (const name of names) {
    const row = found.find(one => nameOf(one) === name);
    body.append(row);
    row.cells[0].innerText = name;  // not cut
    row.cells[0].style.fontFamily = "monospace";
    const number = Number(row.cells[1].innerText);
    if (row.cells[1].innerText.trim() !== "" && !Number.isNaN(number)) {
      row.cells[1].innerText = Number(number.toPrecision(2));
    }
  }
  body.parentElement.scrollIntoView();
}
"""
SPANS_OVER = """
query ($project: ID!, $condition: String!) {
  node(id: $project) {
    ... on Project {
      spans(first: 100, filterCondition: $condition) { edges { node { name attributes } } }
    }
  }
}
"""


@dataclass(frozen=True, slots=True)
class Phoenix:
    """A running Phoenix, and the spans it was sent."""

    url: str
    pid: int
    sent: tuple[ReadableSpan, ...]

    @property
    def project(self) -> str:
        """The project the spans are in."""
        projects = get_json(f"{self.url}/v1/projects")["data"]
        (id,) = [project["id"] for project in projects if project["name"] == PROJECT]
        return str(id)

    def spans(self) -> dict[str, Mapping[str, Any]]:
        """Attributes by span id, as the REST API gives them."""
        answer = get_json(f"{self.url}/v1/projects/{PROJECT}/spans", limit="100")
        return {span["context"]["span_id"]: span["attributes"] for span in answer["data"]}

    def spans_where(self, condition: str) -> list[Mapping[str, Any]]:
        """Attributes of those that meet a condition, nested as they are stored."""
        variables = {"project": self.project, "condition": condition}
        answer = post_json(f"{self.url}/graphql", {"query": SPANS_OVER, "variables": variables})
        edges = answer["data"]["node"]["spans"]["edges"]
        return [json.loads(edge["node"]["attributes"]) for edge in edges]


@pytest.fixture(scope="module")
def phoenix() -> Iterator[Phoenix]:
    """Phoenix with the spans of three calls, two of them in a decorated function."""
    program = shutil.which(os.environ.get("PHOENIX_PROGRAM", "phoenix"))
    if program is None:
        pytest.skip("Phoenix is not installed (arize-phoenix; PHOENIX_PROGRAM names its program)")
    python = Path(program).resolve().with_name("python")
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with TemporaryDirectory() as folder:
        environment = {
            "HOME": folder,
            "PHOENIX_WORKING_DIR": folder,
            "PHOENIX_HOST": "127.0.0.1",
            "PHOENIX_PORT": str(port),
            "PHOENIX_GRPC_PORT": str(free_port()),
            "PHOENIX_TELEMETRY_ENABLED": "false",
            "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        }
        command: list[str | Path] = [
            python,
            Path(__file__).with_name("phoenix_on_loopback.py"),
            "serve",
        ]
        log = Path(folder) / "log"
        with running(command, f"{url}/healthz", log, environment) as process:
            sent = _send_spans(url)
            phoenix = Phoenix(url, process.pid, sent)
            eventually(lambda: len(_known(phoenix)) == len(sent), while_running=process)
            yield phoenix


def _known(phoenix: Phoenix) -> Mapping[str, Any]:
    projects = get_json(f"{phoenix.url}/v1/projects")["data"]
    return phoenix.spans() if PROJECT in {project["name"] for project in projects} else {}


def _send_spans(url: str) -> tuple[ReadableSpan, ...]:
    kept = InMemorySpanExporter()
    tracers = TracerProvider(resource=Resource.create({"openinference.project.name": PROJECT}))
    tracers.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{url}/v1/traces")))
    tracers.add_span_processor(SimpleSpanProcessor(kept))
    with Loopback() as loopback:
        client = openai.OpenAI(base_url=loopback.base_url, api_key="none", max_retries=0)
        with client, energy_session("nightly-eval"):
            wrap_openai(client, tracer_provider=tracers)

            @track_energy(name="answer with sources", tracer_provider=tracers)
            def answer() -> None:
                client.chat.completions.create(model="gpt-4o", messages=_asking())
                client.responses.create(
                    model="gpt-4o",
                    input="Shorter, please.",
                    extra_headers={EXCHANGE_HEADER: "responses-cached-gpt-4o"},
                )

            answer()
            client.chat.completions.create(model="o3-mini", messages=_asking())
    tracers.shutdown()
    return kept.get_finished_spans()


def _asking() -> Any:
    return [{"role": "user", "content": "Capital of Mexico?"}]


def _span_id(span: ReadableSpan) -> str:
    assert span.context is not None
    return f"{span.context.span_id:016x}"


def test_the_attributes_come_back_as_they_were_sent(phoenix: Phoenix) -> None:
    returned = phoenix.spans()
    for span in phoenix.sent:
        sent = dict(span.attributes or {})
        assert any(name.startswith("energy_tracking.") for name in sent)
        assert {name: returned[_span_id(span)].get(name) for name in sent} == sent


def test_nested_no_name_hides_another(phoenix: Phoenix) -> None:
    nested = phoenix.spans_where("")
    for span in phoenix.sent:
        sent = dict(span.attributes or {})
        assert any(
            all(_at(attributes, name) == value for name, value in sent.items())
            for attributes in nested
        )


def _at(attributes: Mapping[str, Any], name: str) -> Any:
    at: Any = attributes
    for key in name.split("."):
        at = at.get(key) if isinstance(at, Mapping) else None
    return at


def test_spans_are_found_by_their_energy(phoenix: Phoenix) -> None:
    name = "energy_tracking.total_energy_joules"
    energies = sorted(
        float(str(span.attributes[name]))
        for span in phoenix.sent
        if span.attributes and name in span.attributes
    )
    limit = energies[0] + 1e-6
    found = phoenix.spans_where(f"attributes['energy_tracking']['total_energy_joules'] > {limit}")
    assert sorted(_at(attributes, name) for attributes in found) == energies[1:]


def test_phoenix_knows_the_calls_for_llm_calls(phoenix: Phoenix) -> None:
    tokens = [
        (attributes["gen_ai.usage.input_tokens"], attributes["llm.token_count.prompt"])
        for attributes in phoenix.spans().values()
        if "gen_ai.usage.input_tokens" in attributes
    ]
    assert len(tokens) == 3
    assert all(ours == theirs for ours, theirs in tokens)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads the sockets of Linux")
def test_it_listens_on_the_loopback_alone(phoenix: Phoenix) -> None:
    addresses = listening_addresses(phoenix.pid)
    assert addresses
    assert addresses <= LOOPBACK_ADDRESSES


def test_its_page_shows_the_energy(phoenix: Phoenix, tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("Chromium is not installed")
    # PHOENIX_SCREENSHOT: where to keep the picture that the documentation shows.
    picture = Path(os.environ.get("PHOENIX_SCREENSHOT", tmp_path / "phoenix.png"))
    span = next(span for span in phoenix.sent if span.name == "chat gpt-4o")
    hosts = set()
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        try:
            page = chromium.new_page(viewport={"width": 1900, "height": 900})
            page.set_default_timeout(180_000)
            page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
            page.goto(f"{phoenix.url}/redirects/spans/{_span_id(span)}")
            page.get_by_role("tab", name="Attributes").click()
            rows = page.get_by_role("row")
            rows.filter(has_text="energy_tracking.total_energy_joules").wait_for()
            cells = [row.split("\t") for row in rows.all_inner_texts()]
            shown = {key.strip(): value.strip() for key, value, *_ in cells}
            page.evaluate(ENERGY_AT_A_GLANCE, list(IN_THE_PICTURE))
            table = page.get_by_role("table").filter(has_text=IN_THE_PICTURE[0]).bounding_box()
            assert table is not None
            page.screenshot(
                path=picture,
                clip={
                    "x": table["x"] - 440,
                    "y": table["y"] - 172,
                    "width": 1000,
                    "height": table["height"] + 184,
                },
            )
        finally:
            chromium.close()
    energies = {
        name: value
        for name, value in (span.attributes or {}).items()
        if name.startswith("energy_tracking.") and isinstance(value, float)
    }
    assert len(energies) > 5
    assert {name: float(shown[name]) for name in energies} == energies
    assert f"127.0.0.1:{urlsplit(phoenix.url).port}" in hosts
    assert all(host.startswith("127.0.0.1:") for host in hosts)
    assert picture.stat().st_size < 300_000
