"""The README's ``opentelemetry-instrument python app.py``, with this package installed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from loopback import Loopback, chat_completion, json_reply

pytest.importorskip("opentelemetry.proto", reason="the OTLP exporter is not installed")
from otlp import OtlpReceiver

pytestmark = pytest.mark.instrumentations

COMMAND = shutil.which("opentelemetry-instrument", path=str(Path(sys.executable).parent))
ENERGY = "energy_tracking.total_energy_joules"

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
EXPORTED = re.search(r"^export (.+)\n(opentelemetry-instrument) (python) app\.py$", README, re.M)

PROGRAM = """
from openai import OpenAI
from opentelemetry import trace
import energy_tracking
OpenAI().chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
with trace.get_tracer("anthropic").start_as_current_span("chat claude") as span:
    span.set_attributes({
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-4o-mini",
        "gen_ai.usage.input_tokens": 10,
        "gen_ai.usage.output_tokens": 20,
    })
print(energy_tracking.process_session().totals.calls)
"""


# As gunicorn starts its workers, and its `post_fork` what examples/README.md has in it.
FORKING_PROGRAM = """
import os, sys
from openai import OpenAI

workers = []
for _ in range(2):
    pid = os.fork()
    if not pid:
        from opentelemetry.instrumentation.auto_instrumentation import initialize
        initialize()
        message = {"role": "user", "content": "Hi"}
        OpenAI().chat.completions.create(model="gpt-4o", messages=[message])
        sys.exit(0)
    workers.append(pid)
for pid in workers:
    assert os.waitpid(pid, 0)[1] == 0
"""


def documented(receiver: OtlpReceiver) -> dict[str, str]:
    """The variables that the README exports, with the receiver as the endpoint."""
    assert EXPORTED is not None
    variables = dict(word.split("=", 1) for word in shlex.split(EXPORTED[1]))
    assert set(variables) == {"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL"}
    return variables | {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}


def start(
    loopback: Loopback,
    receiver: OtlpReceiver,
    folder: Path,
    text: str = PROGRAM,
    command: str | None = COMMAND,
    **environment: str,
) -> str:
    """Run a program that knows nothing of energy; returns what it prints."""
    if COMMAND is None:
        pytest.skip("opentelemetry-distro is not installed")
    if not entry_points(group="opentelemetry_instrumentor", name="energy_tracking"):
        pytest.skip("energy_tracking is not installed, only on the path")
    loopback.serve(json_reply(chat_completion()))
    program = folder / "program.py"
    program.write_text(text)
    done = subprocess.run(
        [*filter(None, [command]), sys.executable, str(program)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": loopback.base_url,
        }
        | documented(receiver)
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.strip()


def test_a_program_that_knows_nothing_of_energy_is_tracked(
    loopback: Loopback, tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        assert start(loopback, receiver, tmp_path) == "2"
        energies = [
            attributes[ENERGY] for attributes in receiver.spans().values() if ENERGY in attributes
        ]
        assert len(energies) == 2
        # One per model and kind of token: the receiver keeps the last of each name.
        assert receiver.sums()["energy_tracking.client.energy"] == pytest.approx(sum(energies))


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "energy_tracking"},
        {"ENERGY_TRACKING_DISABLED": "1"},
        {"OTEL_SDK_DISABLED": "true"},
        {"ENERGY_TRACKING_GPU": "H1000"},
    ],
)
def test_it_can_be_disabled_and_leaves_the_others_running(
    loopback: Loopback, tmp_path: Path, environment: dict[str, str]
) -> None:
    with OtlpReceiver() as receiver:
        assert start(loopback, receiver, tmp_path, **environment) == "0"
        spans = receiver.spans()
    assert not [name for name, attributes in spans.items() if ENERGY in attributes]
    if "OTEL_SDK_DISABLED" not in environment:
        assert "chat claude" in spans


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forked_workers_that_start_the_sdk_themselves_are_distinguished(
    loopback: Loopback, tmp_path: Path
) -> None:
    with OtlpReceiver() as receiver:
        start(loopback, receiver, tmp_path, FORKING_PROGRAM, command=None)
        instances = [
            item.value.string_value
            for request in receiver.metrics
            for resource in request.resource_metrics
            for item in resource.resource.attributes
            if item.key == "service.instance.id"
        ]
        # Ours, or another instrumentation's that is installed.
        energies = [
            item.key
            for request in receiver.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            for item in span.attributes
        ].count(ENERGY)
    assert energies == 2
    if instances:  # SDKs before 1.45 give no identity
        assert len(set(instances)) == 2
