"""``opentelemetry-instrument python app.py`` with this package installed beside it."""

from __future__ import annotations

import os
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


def start(loopback: Loopback, receiver: OtlpReceiver, folder: Path, **environment: str) -> str:
    """Run a program that knows nothing of energy; returns how many calls were counted."""
    if COMMAND is None:
        pytest.skip("opentelemetry-distro is not installed")
    if not entry_points(group="opentelemetry_instrumentor", name="energy_tracking"):
        pytest.skip("energy_tracking is not installed, only on the path")
    loopback.serve(json_reply(chat_completion()))
    program = folder / "program.py"
    program.write_text(PROGRAM)
    done = subprocess.run(
        [COMMAND, sys.executable, str(program)],
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        | {
            "OPENAI_API_KEY": "none",
            "OPENAI_BASE_URL": loopback.base_url,
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_METRICS_EXPORTER": "otlp",
            "OTEL_LOGS_EXPORTER": "none",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        }
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
