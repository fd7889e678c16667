"""The console script, as a user runs it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.cli.main import main
from energy_tracking.demo.screen import PUBLIC_SOURCE
from energy_tracking.demo.server import load_exchanges
from otlp import OtlpReceiver

NOT_ESTIMATED = {"o1-mini", "facebook/opt-125m", "text-embedding-3-small"}
ESTIMATED = {exchange.request["model"] for exchange in load_exchanges()} - NOT_ESTIMATED
ESTIMATED_CALLS = [one for one in load_exchanges() if one.request["model"] in ESTIMATED]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    clean = {name: value for name, value in os.environ.items() if "OPENAI" not in name}
    return subprocess.run(
        [sys.executable, "-m", "energy_tracking", *arguments],
        env=clean | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture(scope="module")
def demo() -> subprocess.CompletedProcess[str]:
    return run("demo")


def test_the_demo_needs_no_key_and_complains_of_nothing(
    demo: subprocess.CompletedProcess[str],
) -> None:
    assert (demo.returncode, demo.stderr) == (0, "")


def test_the_demo_shows_every_call_that_has_an_energy_with_its_recorded_tokens(
    demo: subprocess.CompletedProcess[str],
) -> None:
    for exchange in load_exchanges():
        usage = exchange.usage or {}
        line = next((one for one in demo.stdout.splitlines() if one.startswith(exchange.name)), "")
        assert bool(line) is (exchange.request["model"] in ESTIMATED)
        for names in (("prompt_tokens", "input_tokens"), ("completion_tokens", "output_tokens")):
            count = next((usage[name] for name in names if name in usage), None)
            if line and count is not None:
                assert re.search(rf"\s{count:,}\s", line), line


def test_the_demo_names_each_call_without_an_energy_and_why(
    demo: subprocess.CompletedProcess[str],
) -> None:
    text = " ".join(demo.stdout.split())
    for words in ("o1-mini (BadRequestError)", "opt-125m (no energy profile)", "nothing is public"):
        assert words in text


def test_the_demo_is_twenty_lines_of_80_columns_in_ascii(
    demo: subprocess.CompletedProcess[str],
) -> None:
    lines = demo.stdout.splitlines()
    assert len(lines) == 20
    assert [line for line in lines if len(line) > 80] == []
    assert demo.stdout.isascii()
    assert lines[-3:] == [
        "Now yours:",
        "  energy-tracking run your.py",
        "  client = energy_tracking.wrap_openai(OpenAI())",
    ]


def read_columns(printed: str) -> list[tuple[list[Decimal], Decimal]]:
    """Each column of numbers as it is shown, and its sum."""
    rows = [
        [Decimal(number.replace(",", "")) for number in re.findall(r" ([\d,.]+)(?= |$)", line)]
        for line in printed.splitlines()
        if re.match(r"(chat|responses|sum)[-\w]* ", line)
    ]
    *parts, total = rows
    return [([row[place] for row in parts], total[place]) for place in range(len(total))]


def test_the_columns_of_the_demo_add_up_as_they_are_shown(
    demo: subprocess.CompletedProcess[str],
) -> None:
    printed = {4: demo.stdout, 3: run("demo", "--method", "roofline", "--gpu", "B200").stdout}
    for numbers, text in printed.items():
        columns = read_columns(text)
        assert len(columns) == numbers
        for parts, total in columns:
            assert len(parts) == len(ESTIMATED_CALLS)
            assert sum(parts) == total > 0


def test_the_demo_states_what_is_assumed_left_out_and_public(
    demo: subprocess.CompletedProcess[str],
) -> None:
    for words in ("90 % range", "an assumed H100", "without host, cooling, network, training"):
        assert words in demo.stdout
    (figure,) = (line for line in demo.stdout.splitlines() if PUBLIC_SOURCE in line)
    assert "140 mWh" in figure
    assert "240" in figure
    shown = run("sources", PUBLIC_SOURCE).stdout
    assert "0.24 Wh" in shown
    assert "0.14 Wh" in shown
    assert re.search(r"^CO2e for region='DE': 0\.\d+ g \(", demo.stdout, re.MULTILINE)


def test_the_spans_of_the_demo_are_shown_where_they_are_asked_for(
    demo: subprocess.CompletedProcess[str],
) -> None:
    printed = run("demo", "--spans").stdout
    assert printed.startswith(demo.stdout)
    for words in ("span 'chat o3-mini'", "energy_tracking.rollup.calls", "print(session)"):
        assert words in printed.removeprefix(demo.stdout)
    assert [line for line in printed.splitlines() if len(line) > 80] == []


def test_the_demo_follows_the_gpu(demo: subprocess.CompletedProcess[str]) -> None:
    def energy(printed: str) -> str:
        return next(line for line in printed.splitlines() if line.startswith("chat-gpt-4o "))

    other = run("demo", "--gpu", "GB200")
    by_environment = run("demo", ENERGY_TRACKING_GPU="GB200")
    assert energy(other.stdout) == energy(by_environment.stdout) != energy(demo.stdout)


@pytest.mark.parametrize(
    "environment",
    [
        {
            "ENERGY_TRACKING_DISABLED": "1",
            "ENERGY_TRACKING_SPANS": "annotate",
            "http_proxy": "http://127.0.0.1:9",
        },
        {
            "ENERGY_TRACKING_SPANS": "off",
            "ENERGY_TRACKING_METRICS": "off",
            "ENERGY_TRACKING_BUDGET_WH": "0",
            "ENERGY_TRACKING_ON_EXCEED": "raise",
            "OTEL_TRACES_SAMPLER": "always_off",
        },
    ],
    ids=["disabled", "off"],
)
def test_the_demo_shows_all_of_it_whatever_is_turned_off_elsewhere(
    demo: subprocess.CompletedProcess[str], environment: dict[str, str]
) -> None:
    done = run("demo", **environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == demo.stdout.count("\n")


def test_the_demo_states_in_a_line_that_it_needs_the_sdk() -> None:
    done = run("demo", OTEL_SDK_DISABLED="true")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "energy-tracking: OTEL_SDK_DISABLED must be unset, got 'true'; "
        "the demo shows spans, which it stops\n"
    )


def test_the_demo_sends_spans_and_metrics_over_otlp() -> None:
    with OtlpReceiver() as receiver:
        done = run("demo", "--otlp", receiver.endpoint)
        assert done.returncode == 0, done.stdout + done.stderr
        spans, sums = receiver.spans(), receiver.sums()
    rollup = spans["demo"]
    assert rollup["energy_tracking.rollup.calls"] == len(load_exchanges())
    assert sums["energy_tracking.client.energy"] == pytest.approx(
        rollup["energy_tracking.rollup.total_energy_joules"]
    )


def test_a_receiver_that_is_down_is_reported_and_the_demo_still_shown() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        done = run("demo", "--otlp", f"http://127.0.0.1:{unused.getsockname()[1]}")
    assert done.returncode == 1
    assert "Could not send the telemetry" in done.stdout
    assert "port 4318" in done.stdout
    assert "Now yours:" in done.stdout
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_why_a_receiver_did_not_take_the_telemetry_is_said_once() -> None:
    class Refuses(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = run("demo", "--otlp", f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert done.returncode == 1
    assert done.stdout.count("403") == 1
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("demo", "--gpu", "H1000"), "got 'H1000'; did you mean 'H100'"),
        (("demo", "--method", "referense"), "did you mean 'reference'"),
    ],
)
def test_wrong_options_are_explained(
    arguments: tuple[str, ...], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "table", "like"), [("models", "models", "gpt-4o"), ("gpus", "gpus", "H100")]
)
def test_profiles_of_ones_own_are_listed_too(
    command: str,
    table: str,
    like: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "profiles.toml"
    monkeypatch.setenv("ENERGY_TRACKING_PROFILES", str(path))
    assert main([command]) == 2
    assert "must be a TOML file that can be read" in capsys.readouterr().err
    path.write_text(f'[{table}.our-own]\nlike = "{like}"\n')
    assert main([command]) == 0
    printed = capsys.readouterr().out
    assert "our-own" in printed
    assert like in printed


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("models", ["gpt-4o", "o3-mini", "grade", "source"]),
        ("gpus", ["H100", "GB200", "989", "700"]),
        ("settings", ["ENERGY_TRACKING_GPU", "[H100]"]),
    ],
)
def test_profiles_and_settings_can_be_listed(
    command: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command]) == 0
    printed = capsys.readouterr().out
    assert not [word for word in words if word not in printed]
