"""The measurement of a GPU, on the loopback: no GPU is there."""

from __future__ import annotations

import csv
from itertools import count
from pathlib import Path

import gpu_measure
import pytest

from loopback import Loopback, chat_completion, json_reply
from metrics_pages import answer_with, metrics_server

pytest.importorskip("prometheus_client", reason="metrics pages are read by an extra")


def test_each_point_of_the_grid_has_the_meter_s_joules(
    loopback: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_measure, "SHAPES", ((10, 1), (16, 5)))
    usage = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
    # For each shape and each batch one to warm up, and two rounds.
    loopback.serve(*[json_reply(chat_completion("Hi", usage=usage))] * 2 * 3 * (1 + 2))
    readings, path = count(), tmp_path / "rows.csv"

    def page() -> bytes:
        joules = 60.0 * next(readings)
        return f'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{UUID="G"}} {joules * 1e3}\n'.encode()

    with metrics_server(lambda request: answer_with(request, page())) as meter:
        typed = f"--base-url {loopback.base_url} --energy {meter.url} --rest 0 --csv {path}"
        typed += " --model Qwen/Qwen3-8B --batches 1 2 --rounds 2"
        gpu_measure.main(typed.split())
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["batch"] for row in rows] == ["1", "2"] * 2
    # 60 J from one reading to the next, for 2 or 4 requests.
    assert [float(row["energy_J_per_request"]) for row in rows] == pytest.approx([30, 15] * 2)
    assert {row["mean_output_tokens"] for row in rows} == {"50.0"}
    assert all(float(row["measured_over_estimated"]) > 0 for row in rows)
