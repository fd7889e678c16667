"""The same calls have the same totals however they are counted: live, filled in, or reported."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openai
import pytest

from energy_tracking import energy_session, read_ledger, record_log, wrap_openai
from energy_tracking.calls.totals import Totals
from energy_tracking.cli.main import main
from loopback import Body, Loopback, chat_completion, json_reply

pytest.importorskip("numpy", reason="a report is made of arrays")

MODELS = ("gpt-4o-2024-08-06", "o3-mini", "gpt-4o-mini", "o1", "no-such-model")
CALLS = 60
SUMS = (
    *("calls", "unestimated_calls", "input_tokens", "cached_input_tokens", "output_tokens"),
    *("reasoning_tokens", "total_energy_joules", "total_energy_low_joules"),
    *("total_energy_high_joules", "reasoning_energy_joules", "cache_avoided_energy_joules"),
    *("calibrated_energy_joules", "calibrated_energy_low_joules", "calibrated_energy_high_joules"),
)


def make_responses() -> list[Body]:
    """Responses of several models, with cached and reasoning tokens."""
    source = random.Random(12)
    responses = []
    for number in range(CALLS):
        inputs, outputs = source.randint(500, 60_000), source.randint(50, 4_000)
        usage = {
            "prompt_tokens": inputs,
            "completion_tokens": outputs,
            "total_tokens": inputs + outputs,
            "prompt_tokens_details": {"cached_tokens": source.randint(0, inputs)},
            "completion_tokens_details": {"reasoning_tokens": source.randint(0, outputs)},
        }
        model = MODELS[number % len(MODELS)]
        responses.append(chat_completion(model=model, usage=usage, id=f"chatcmpl-{number:020}"))
    return responses


def write_lines(path: Path, responses: list[Body]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in responses), "utf-8")
    return path


def write_table(path: Path, responses: list[Body]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(
            ("model", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
        )
        for one in responses:
            usage = one["usage"]
            rows.writerow(
                (
                    *(one["model"], usage["prompt_tokens"], usage["completion_tokens"]),
                    usage["prompt_tokens_details"]["cached_tokens"],
                    usage["completion_tokens_details"]["reasoning_tokens"],
                )
            )
    return path


def report(path: Path, method: str, capsys: pytest.CaptureFixture[str]) -> Mapping[str, Any]:
    assert main(["report", str(path), "--json", "--method", method]) == 0
    totals: Mapping[str, Any] = json.loads(capsys.readouterr().out)["totals"]
    return totals


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_live_calls_a_backfill_and_a_report_agree(
    method: str,
    loopback: Loopback,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    responses = make_responses()
    loopback.serve(*map(json_reply, responses))
    with (
        openai.OpenAI(api_key="none", base_url=loopback.base_url) as plain,
        energy_session("live") as session,
    ):
        client = wrap_openai(plain, method=method)
        for one in responses:
            client.chat.completions.create(
                model=one["model"], messages=[{"role": "user", "content": "Hello"}]
            )
    live = session.totals.as_dict()
    assert live["calls"] == CALLS
    assert live["unestimated_calls"] == CALLS // len(MODELS)

    lines = write_lines(tmp_path / "log.jsonl", responses)
    ledger = tmp_path / "ledger.jsonl"
    counted = {"backfill": record_log(lines, ledger=str(ledger), method=method).as_dict()}
    filled = Totals()
    for entry in read_ledger(ledger):
        filled.add(entry.record)
    counted["ledger"] = filled.as_dict()
    counted["report"] = dict(report(lines, method, capsys))
    table = write_table(tmp_path / "table.csv", responses)
    counted["report of a table"] = dict(report(table, method, capsys))
    try:
        import duckdb  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError:
        pass
    else:
        monkeypatch.setattr("energy_tracking.logs.engine.finding.ENGINE_BYTES", 0)
        counted["report by the engine"] = dict(report(table, method, capsys))
    for way, totals in counted.items():
        for sum in SUMS:
            assert totals[sum] == pytest.approx(live[sum], rel=1e-9), (way, sum)
