"""What coding agents keep: each request once, of the model that answered it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.logged import LoggedCall, ReadReport
from energy_tracking.logs.reading import read_logs

Line = dict[str, Any]


def write(path: Path, *documents: Line) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in documents), "utf-8")
    return path


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    calls = list(read_logs(paths, report=report))
    return sorted(calls, key=lambda call: (call.time is None, call.time)), report


def counted(calls: list[LoggedCall]) -> list[tuple[str | None, int, int]]:
    """Model, input and output of each."""
    return [
        (call.model, call.usage.input_tokens, call.usage.output_tokens)
        for call in calls
        if call.usage is not None
    ]


# Codex.


def line(second: float, kind: str, **payload: Any) -> Line:
    return {"timestamp": f"2026-09-01T10:00:{second:06.3f}Z", "type": kind, "payload": payload}


def usage(inputs: int, outputs: int) -> Line:
    return {"input_tokens": inputs, "cached_input_tokens": 0, "output_tokens": outputs,
            "reasoning_output_tokens": 0, "total_tokens": inputs + outputs}  # fmt: skip


def count(second: float, total: tuple[int, int], last: tuple[int, int]) -> Line:
    info = {"total_token_usage": usage(*total), "last_token_usage": usage(*last)}
    return line(second, "event_msg", type="token_count", info=info)


def record(second: float, name: str, own: tuple[int, int]) -> Line:
    """Usage of one response, as a rollout has had it since the version 0.154."""
    return line(second, "token_usage_record", thread_id="t", response_id=f"resp_{name * 30}",
                usage=usage(*own), thread_token_usage=usage(10**6, 10**5))  # fmt: skip


PARENT = [
    line(0, "session_meta", id="t"),
    line(0.2, "turn_context", model="gpt-5.5"),
    line(1, "event_msg", type="token_count", info=None, rate_limits={}),
    record(5, "a", (1000, 100)),
    count(5.1, (1000, 100), (1000, 100)),
    count(5.2, (1000, 100), (1000, 100)),
    record(9, "b", (1500, 60)),
    count(9.1, (2500, 160), (1500, 60)),
    # A compaction is not in the total.
    record(20, "c", (90_000, 2000)),
    line(20.1, "compacted", message="", compaction_response_id="resp_" + "c" * 30),
    count(20.2, (2500, 160), (9000, 0)),
    line(30, "turn_context", model="gpt-5.6-sol"),
    record(35, "d", (9000, 70)),
    count(35.1, (11_500, 230), (9000, 70)),
]
OWN = [("gpt-5.5", 1000, 100), ("gpt-5.5", 1500, 60), ("gpt-5.5", 90_000, 2000),
       ("gpt-5.6-sol", 9000, 70)]  # fmt: skip


def test_a_record_of_a_response_and_the_count_after_it_are_one_call(tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "a.jsonl", *PARENT))
    assert counted(calls) == OWN
    assert {call.session for call in calls} == {"t"}
    assert calls[0].response_id == "resp_" + "a" * 30
    assert not list(report.remarks())
    # The last one's count may not have been written yet.
    assert counted(read(write(tmp_path / "b.jsonl", *PARENT[:-1]))[0]) == OWN
    # The count may come first.
    turned = [PARENT[0], PARENT[1], PARENT[4], PARENT[3], PARENT[7], PARENT[6]]
    assert counted(read(write(tmp_path / "c.jsonl", *turned))[0]) == OWN[:2]


def test_the_history_that_a_codex_subagent_begins_with_counts_once(tmp_path: Path) -> None:
    start = line(40, "session_meta", id="child",
                 source={"subagent": {"thread_spawn": {"parent_thread_id": "t"}}})  # fmt: skip
    kept = [each for each in PARENT if each["type"] in ("event_msg", "turn_context")]
    own = [
        line(40.5, "turn_context", model="gpt-5.5"),
        record(48, "e", (5000, 10)),
        count(48.1, (16_500, 240), (5000, 10)),
    ]
    parent = write(tmp_path / "a.jsonl", *PARENT)
    # The times are those of the copying, or as they were.
    for copied in ([line(40.004, each["type"], **each["payload"]) for each in kept], kept):
        child = write(tmp_path / "b.jsonl", start, *copied, *own)
        calls, report = read(parent, child)
        assert counted(calls) == [*OWN, ("gpt-5.5", 5000, 10)]
        assert report.repeated == 3


def test_agents_that_codex_starts_side_by_side_are_apart(tmp_path: Path) -> None:
    # Each with a history of its own, the same prompt and an answer of the same length.
    files = [
        write(
            tmp_path / f"{name}.jsonl",
            line(40, "session_meta", id=name, parent_thread_id="t"),
            line(40.5, "turn_context", model="gpt-5.5"),
            count(48.1, (5000, 10), (5000, 10)),
        )
        for name in ("a", "b")
    ]
    assert counted(read(*files)[0]) == [("gpt-5.5", 5000, 10)] * 2


def test_counts_of_codex_before_there_was_a_total_are_calls(tmp_path: Path) -> None:
    counts = {"type": "token_count", **usage(100, 10)}
    lines: list[Line] = [{"model": "gpt-5", "provider": "openai", "workdir": "/work"},
             {"id": "0", "msg": {"type": "task_started"}},
             {"id": "0", "msg": counts}, {"id": "0", "msg": counts}]  # fmt: skip
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted(calls) == [("gpt-5", 100, 10)] * 2
    assert not report.repeated


# Anthropic's responses that took more than their counts say.

SONNET, OPUS = "claude-sonnet-5", "claude-opus-4-8"


def pass_of(kind: str, counts: tuple[int, int], model: str | None = None, cached: int = 0) -> Line:
    counted = {"input_tokens": counts[0], "output_tokens": counts[1],
               "cache_read_input_tokens": cached, "cache_creation_input_tokens": 0}  # fmt: skip
    return counted | {"type": kind} | ({} if model is None else {"model": model})


def message(counts: tuple[int, int], *passes: Line, cached: int = 0, **more: Any) -> Line:
    own = pass_of("", counts, cached=cached) | {"iterations": list(passes)}
    return {"id": "msg_01AbCdEfGhIjKlMnOpQrStU1", "type": "message", "role": "assistant",
            "model": SONNET, "stop_reason": "end_turn", "usage": own} | more  # fmt: skip


SEVERAL_PASSES = [
    (
        "advisor",
        message(
            (4, 790),
            pass_of("message", (2, 90), cached=100),
            pass_of("advisor_message", (700, 90), OPUS),
            pass_of("message", (2, 700), cached=110),
            cached=210,
        ),
        [(SONNET, 214, 790), (OPUS, 700, 90)],
    ),
    (
        "compaction",
        message(
            (230, 10), pass_of("compaction", (1800, 35)), pass_of("message", (230, 10), SONNET)
        ),
        [(SONNET, 230, 10), (SONNET, 1800, 35)],
    ),
    (
        "declined",
        message(
            (412, 264),
            pass_of("message", (408, 3), OPUS),
            pass_of("fallback_message", (412, 264), SONNET),
        ),
        [(SONNET, 412, 264), (OPUS, 408, 3)],
    ),
    (
        # The models have a name with a date and one without.
        "alone",
        message((10, 5), pass_of("message", (10, 5), "claude-sonnet-5-20260801")),
        [(SONNET, 10, 5)],
    ),
    (
        "no counts",
        message((10, 5), {"type": "message", "model": OPUS}, {"type": "fallback_message"}),
        [(SONNET, 10, 5)],
    ),
]


@pytest.mark.parametrize(("name", "sent", "right"), SEVERAL_PASSES)
def test_what_a_response_took_beside_its_counts_is_counted(
    name: str, sent: Line, right: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    known = {key: value for key, value in sent.items() if key != "usage"}
    started = known | {"usage": {"input_tokens": 1, "output_tokens": 1}}
    files = {
        "body": [sent],
        "batch": [{"custom_id": "a", "result": {"type": "succeeded", "message": sent}}],
        # A message is repeated, and its first copies have only what was known by then.
        "transcript": [
            {"type": "assistant", "sessionId": "s", "message": each}
            for each in (started, sent, sent)
        ],
        "stream": [
            {"type": "message_start", "message": started},
            {"type": "message_delta", "delta": {}, "usage": sent["usage"]},
            {"type": "message_stop"},
        ],
    }
    for kind, lines in files.items():
        calls, _ = read(write(tmp_path / f"{kind}.jsonl", *lines))
        assert counted(calls) == right, kind
    everything = [tmp_path / f"{kind}.jsonl" for kind in files]
    assert counted(read(*everything)[0]) == right
