"""Every example runs offline, as a user would start it, and prints or sends real figures."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loopback import Loopback
from otlp import OtlpReceiver

EXAMPLES = Path(__file__).parents[2] / "examples"


def run_example(name: str, loopback: Loopback, **environment: str) -> str:
    """Run an example against the loopback server and return what it prints."""
    environment |= {
        "OPENAI_API_KEY": "none-needed",
        "OPENAI_BASE_URL": loopback.base_url,
        # The stand-in knows `include_usage`, as api.openai.com does.
        "ENERGY_TRACKING_INCLUDE_USAGE_HOSTS": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(EXAMPLES / f"{name}.py")],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_is_tested() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == {
        "wrap_client",
        "decorate_functions",
        "stream_async",
        "export_otlp",
        "record_any_client",
    }


def test_wrapping_a_client_prints_the_session(loopback: Loopback) -> None:
    printed = run_example("wrap_client", loopback)
    assert printed.startswith("the first call: ")
    assert "wrap-client: 3 calls" in printed
    assert "gpt-4o-2024-08-06: 1 calls, 41 output tokens" in printed
    assert "1 call to text-embedding-3-small" in printed


def test_decorated_functions_carry_the_sum(loopback: Loopback) -> None:
    lines = run_example("decorate_functions", loopback).splitlines()
    spans = dict(line.split(": ", 1) for line in lines if "_energy_wh" in line)
    assert set(spans) == {"chat gpt-4o", "chat gpt-5-nano", "summarise", "answer with sources"}
    assert "energy_tracking.rollup.total_energy_wh" in spans["answer with sources"]


def test_async_streams_are_counted_in_full(loopback: Loopback) -> None:
    printed = run_example("stream_async", loopback)
    assert "streams: 2 calls" in printed
    assert "no usage" not in printed


@pytest.mark.parametrize("signal", ["traces", "metrics"])
def test_otlp_export_delivers_the_energy(loopback: Loopback, signal: str) -> None:
    with OtlpReceiver() as receiver:
        run_example("export_otlp", loopback, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
        energy = receiver.spans()["chat gpt-4o"]["energy_tracking.total_energy_joules"]
        assert energy > 0
        if signal == "metrics":
            assert receiver.sums()["energy_tracking.client.energy"] == pytest.approx(energy)


def test_any_client_can_be_recorded(loopback: Loopback) -> None:
    printed = run_example("record_any_client", loopback)
    rows = {line.split()[0]: line.split() for line in printed.splitlines()}
    # Of what is recorded: cached tokens beside the input, thoughts beside the output.
    assert rows["claude-sonnet-4-5"][2:5] == ["1", "1.8k", "310"]
    assert rows["gemini-2.5-flash"][2:5] == ["1", "120", "480"]
    assert "among them 1,800 cached input tokens, 400 reasoning tokens" in printed
