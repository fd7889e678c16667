"""Langfuse, MLflow and ddtrace, installed for real: tokens once in every pipeline.

Each wants the process to itself, and its own environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from loopback import Loopback, chat_completion, json_reply

pytestmark = pytest.mark.instrumentations

SOURCE = Path(__file__).parents[2] / "src"
ENERGY = "energy_tracking.total_energy_joules"
INPUT = "gen_ai.usage.input_tokens"

# What all programs begin and end with; each makes one call.
BEGIN = """
import json, logging, os, sys, warnings
warnings.simplefilter("ignore")
logging.disable(logging.ERROR)
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
exporter, theirs = InMemorySpanExporter(), InMemorySpanExporter()
provider, other = TracerProvider(), TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
other.add_span_processor(SimpleSpanProcessor(theirs))
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}]}
"""
END = """
import energy_tracking, openai
energy_tracking.instrument_openai(**ours)
client = openai.OpenAI(max_retries=0)
call = ask if "ask" in globals() else client.chat.completions.create
call(**CHAT)
spans = exporter.get_finished_spans() + theirs.get_finished_spans()
kept = [[span.instrumentation_scope.name, dict(span.attributes)] for span in spans]
for span in globals().get("written", ()):
    tags = {**span.get_tags(), **span.get_metrics()}
    kept.append(["energy_tracking" if "energy_tracking.status" in tags else "ddtrace", tags])
result = {
    "calls": energy_tracking.process_session().totals.calls,
    "spans": kept,
}
print("RESULT", json.dumps(result, default=str), flush=True)
os._exit(0)
"""

LANGFUSE = """
from langfuse import Langfuse, observe
trace.set_tracer_provider(provider)
Langfuse(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:1", **given)
ours = {}
"""
LANGFUSE_OPENAI = LANGFUSE + "import langfuse.openai\n"
OBSERVE = (
    LANGFUSE
    + """
@observe(as_type="generation", name="theirs")
def ask(**request):
    return client.chat.completions.create(**request)
"""
)
MLFLOW = """
import mlflow, mlflow.openai
mlflow.set_tracking_uri("sqlite:///" + os.path.join(os.environ["FOLDER"], "mlflow.db"))
# Setting the URI takes the global provider away.
trace.set_tracer_provider(provider)
mlflow.openai.autolog()
ours = {}
"""
DDTRACE = """
import ddtrace
ddtrace.patch(openai=True)
written = []
class Keep(ddtrace.trace.TraceFilter):
    def process_trace(self, spans):
        written.extend(spans)
        return None
ddtrace.tracer.configure(trace_processors=[Keep()])
"""
DDTRACE_OTEL = (
    DDTRACE
    + """
from ddtrace.opentelemetry import TracerProvider as DatadogProvider
trace.set_tracer_provider(DatadogProvider())
ours = {}
"""
)
DDTRACE_ALONE = DDTRACE + "ours = {'tracer_provider': provider}\n"


def run(loopback: Loopback, folder: Path, package: str, program: str, **more: str) -> Any:
    """Run a program beside a package; returns the calls counted and the spans exported."""
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    loopback.serve(json_reply(chat_completion()))
    environ = {
        "PYTHONPATH": str(SOURCE),
        "OPENAI_API_KEY": "none",
        "OPENAI_BASE_URL": loopback.base_url,
        "DD_TRACE_AGENT_URL": "http://127.0.0.1:1",
        "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false",
        "FOLDER": str(folder),
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + program + END],
        env=os.environ | environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("RESULT")] or [""]
    assert line, done.stderr
    result = json.loads(line.removeprefix("RESULT "))
    assert result["calls"] == 1, result
    return result


def of_ours(result: Any) -> list[dict[str, Any]]:
    """The attributes of our own spans."""
    return [attributes for scope, attributes in result["spans"] if scope == "energy_tracking"]


@pytest.mark.parametrize("given", ["", "tracer_provider=other"], ids=["shared", "own"])
def test_langfuse_openai_has_the_tokens_of_its_pipeline(
    loopback: Loopback, tmp_path: Path, given: str
) -> None:
    program = f"given = dict({given})\n{LANGFUSE_OPENAI}"
    (ours,) = of_ours(run(loopback, tmp_path, "langfuse", program))
    assert ENERGY in ours
    assert (INPUT in ours) is bool(given)


@pytest.mark.parametrize("given", ["", "tracer_provider=other"], ids=["shared", "own"])
def test_an_observed_generation_of_langfuse_has_the_tokens_of_its_pipeline(
    loopback: Loopback, tmp_path: Path, given: str
) -> None:
    result = run(loopback, tmp_path, "langfuse", f"given = dict({given})\n{OBSERVE}")
    ours = of_ours(result)
    theirs = [each for scope, each in result["spans"] if scope.startswith("langfuse")]
    assert [ENERGY in each for each in theirs] == [True]
    # In a pipeline of its own it cannot speak for our backend.
    assert [INPUT in each for each in ours] == ([True] if given else [])


@pytest.mark.parametrize("default", ["false", "true"], ids=["shared", "own"])
def test_mlflow_has_the_tokens_of_its_pipeline(
    loopback: Loopback, tmp_path: Path, default: str
) -> None:
    environ = {"MLFLOW_USE_DEFAULT_TRACER_PROVIDER": default}
    (ours,) = of_ours(run(loopback, tmp_path, "mlflow", MLFLOW, **environ))
    assert ENERGY in ours
    assert (INPUT in ours) is (default == "true")


def test_ddtrace_alone_leaves_our_pipeline_its_tokens(loopback: Loopback, tmp_path: Path) -> None:
    (ours,) = of_ours(run(loopback, tmp_path, "ddtrace", DDTRACE_ALONE))
    assert {ENERGY, INPUT} <= set(ours)


def test_ddtrace_as_our_provider_has_the_tokens(loopback: Loopback, tmp_path: Path) -> None:
    environ = {"DD_TRACE_OTEL_ENABLED": "true"}
    (ours,) = of_ours(run(loopback, tmp_path, "ddtrace", DDTRACE_OTEL, **environ))
    assert ENERGY in ours
    assert INPUT not in ours
