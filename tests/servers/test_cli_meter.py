"""The command ``meter``, beside a server and a meter that are pages on the loopback."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

pytest.importorskip("prometheus_client", reason="metrics pages are read by an extra")
pytest.importorskip("click", reason="the command is an extra")

from energy_tracking.cli.main import main
from energy_tracking.servers.calibration import load_calibrations
from metrics_pages import Answer, answer_with, metrics_server

MODEL = "Qwen/Qwen3-8B"


def working_server(model: str = MODEL) -> Answer:
    """A server that makes 40 prompt tokens and 80 output tokens from one reading to the next."""
    readings = count()

    def page() -> bytes:
        step, label = next(readings), f'{{model_name="{model}"}}'
        return (
            f"vllm:num_requests_running{label} 16\n"
            f"vllm:prompt_tokens_total{label} {40 * step}\n"
            f"vllm:generation_tokens_total{label} {80 * step}\n"
        ).encode()

    return lambda request: answer_with(request, page())


def meter_of(step_joules: float = 40.0, restarts_at: int = -1) -> Answer:
    readings = count(5)

    def page() -> bytes:
        step = next(readings)
        joules = step_joules * (1 if step == restarts_at else step)
        return f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{UUID="G"}} {joules * 1e3}\n'.encode()

    return lambda request: answer_with(request, page())


def run(*arguments: str, seconds: str = "0.3") -> int:
    return main(["meter", *arguments, "--seconds", seconds, "--every", "0.02"])


def test_the_table_says_what_tokens_take_and_the_file_has_the_factor(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = str(tmp_path / "calibration.toml")
    with metrics_server(working_server()) as server, metrics_server(meter_of()) as meter:
        assert run("--metrics", server.url, "--energy", meter.url, "--write", path) == 0
    shown = capsys.readouterr().out
    assert f"vLLM, {MODEL}: {server.url}" in shown
    assert f"NVIDIA DCGM exporter: {meter.url}" in shown
    assert "16 requests at a time; idle not seen yet" in shown
    (calibration,) = load_calibrations(path)
    assert (calibration.host, calibration.model) == ("127.0.0.1", MODEL)
    assert (calibration.engine, calibration.gpu) == ("vLLM", "H100-SXM")
    # Every window has the same 40 J for the same tokens, so the error is the meter's own.
    assert calibration.factor_error == pytest.approx(1.05, rel=1e-3)
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line}
    prompt, output = (float(rows[name][0].replace(",", "")) for name in ("input", "output"))
    assert output == 2 * prompt
    # 40 J are 40 prompt tokens and 80 output tokens at what each takes.
    each = [float(rows[name][1]) for name in ("input", "output")]
    assert 40 * each[0] + 80 * each[1] == pytest.approx(40.0, rel=0.01)


def test_a_counter_that_starts_anew_is_left_out_and_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    restarted = meter_of(restarts_at=7)
    with metrics_server(working_server()) as server, metrics_server(restarted) as meter:
        assert run("--metrics", server.url, "--energy", meter.url) == 0
    assert "1 more left out, whose counters began anew" in capsys.readouterr().out


def test_an_idle_server_shows_its_idle_watts_and_has_no_factor(
    capsys: pytest.CaptureFixture[str],
) -> None:
    still = 'vllm:num_requests_running{model_name="m"} 0\nvllm:generation_tokens_total 5\n'
    with metrics_server(still) as server, metrics_server(meter_of()) as meter:
        assert run("--metrics", server.url, "--energy", meter.url) == 1
        captured = capsys.readouterr()
        assert "no factor between measured and estimated" in captured.out
        assert run("--metrics", server.url, "--energy", meter.url, "--write", "x.toml") == 2
    assert "nothing is written" in capsys.readouterr().err


def test_a_model_without_a_profile_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_server(working_server("ours")) as server, metrics_server(meter_of()) as meter:
        assert run("--metrics", server.url, "--energy", meter.url) == 0
    assert "no energy profile for this model" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metrics", "energy", "message"),
    [
        ("", "METER", "--metrics must be the address of a page"),
        ("SERVER", "nvm", "--energy must be the address of a page"),
        ("METER", "METER", "has none of the metrics known of an engine"),
        ("SERVER", "SERVER", "shows none of the counters known"),
    ],
)
def test_what_cannot_be_read_is_said_at_once(
    capsys: pytest.CaptureFixture[str], metrics: str, energy: str, message: str
) -> None:
    with metrics_server(working_server()) as server, metrics_server(meter_of()) as meter:
        urls = {"SERVER": server.url, "METER": meter.url}
        found = run("--metrics", urls.get(metrics, metrics), "--energy", urls.get(energy, energy))
    assert found == 2
    assert message in capsys.readouterr().err
