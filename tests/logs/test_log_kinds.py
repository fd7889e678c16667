"""What logs say in ways of their own: units, steps, streams, sums beside their calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs import reading
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs


def read(*paths: Path, strict: bool = False) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report, strict=strict)), report


def write(path: Path, *documents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return path


def counts(calls: list[LoggedCall]) -> list[tuple[int, int]]:
    return [(one.counts.input_tokens, one.counts.output_tokens) for one in calls if one.counts]


# Gateways.

DETAILED = {
    "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
    "prompt_tokens_details": {"cached_tokens": 6},
    "completion_tokens_details": {"reasoning_tokens": 4},
}  # fmt: skip


@pytest.mark.parametrize("is_text", [False, True])
def test_litellm_counts_come_with_what_the_response_states_of_them(
    is_text: bool, tmp_path: Path
) -> None:
    response = {"id": "x", "usage": DETAILED}
    payload = {
        "id": "x", "call_type": "completion", "status": "success", "model": "gpt-4o",
        "startTime": 1_700_000_000.1, "endTime": 1_700_000_001.2, "metadata": {},
        "prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30,
        "response": json.dumps(response) if is_text else response,
    }  # fmt: skip
    ((call,), _) = read(write(tmp_path / "log.jsonl", payload))
    usage = call.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 20)
    assert (usage.cached_input_tokens, usage.reasoning_tokens) == (6, 4)


@pytest.mark.parametrize("unit", ["CHARACTERS", "MILLISECONDS", "SECONDS", "IMAGES", "REQUESTS"])
@pytest.mark.parametrize("place", ["usage", "column"])
def test_a_generation_in_another_unit_than_tokens_is_left_out(
    unit: str, place: str, tmp_path: Path
) -> None:
    usage: dict[str, Any] = {"input": 5000, "output": 3000, "total": 8000}
    entry: dict[str, Any] = {"id": "o", "traceId": "t", "type": "GENERATION", "model": "gpt-4o"}
    entry |= (
        {"usage": usage | {"unit": unit}, "usageDetails": usage}
        if place == "usage"
        else {"unit": unit, "usageDetails": usage}
    )
    calls, report = read(write(tmp_path / "log.jsonl", entry))
    assert calls == []
    assert list(report.unread) == ["a generation counted in another unit than tokens"]


# opencode: a message of two requests, whose own counts are those of the last.


def step(number: int, inputs: int, outputs: int) -> dict[str, Any]:
    return {"id": f"prt_{number}", "messageID": "msg_1", "sessionID": "ses_1",
            "type": "step-finish", "tokens": {"input": inputs, "output": outputs}}  # fmt: skip


MESSAGE = {
    "id": "msg_1", "sessionID": "ses_1", "role": "assistant", "modelID": "gpt-4o",
    "providerID": "openai", "tokens": {"input": 200, "output": 30},
}  # fmt: skip
STEPS = [step(1, 100, 20), step(2, 200, 30)]
EVENTS = [{"type": "step_finish", "sessionID": "ses_1", "part": part} for part in STEPS]
EXPORT = {"info": {"id": "ses_1"}, "messages": [{"info": MESSAGE, "parts": STEPS}]}


@pytest.mark.parametrize(
    "documents",
    [STEPS, EVENTS, [EXPORT], [MESSAGE, *STEPS], [*STEPS, MESSAGE], [MESSAGE, EXPORT],
     [EXPORT, MESSAGE, *STEPS], [*STEPS, *STEPS], [STEPS[0], MESSAGE, STEPS[1]]],
    ids=["parts", "events", "export", "message first", "message last", "export last",
         "everything", "copies", "message between"],
)  # fmt: skip
@pytest.mark.parametrize("is_folder", [False, True])
def test_each_step_of_a_message_is_a_call(
    documents: list[Any], is_folder: bool, tmp_path: Path
) -> None:
    paths = (
        [write(tmp_path / f"{n}" / "entry.json", one) for n, one in enumerate(documents)]
        if is_folder
        else [write(tmp_path / "log.jsonl", *documents)]
    )
    calls, _ = read(*paths)
    assert sorted(counts(calls)) == [(100, 20), (200, 30)]
    if documents[0] == MESSAGE:
        assert {(call.model, call.provider) for call in calls} == {("gpt-4o", "openai")}


def test_a_message_that_sums_its_steps_up_is_no_call_beside_them(tmp_path: Path) -> None:
    message = MESSAGE | {"tokens": {"input": 300, "output": 50}}
    for entries in ([message, *STEPS], [*STEPS, message]):
        calls, _ = read(write(tmp_path / "log.jsonl", *entries))
        assert sorted(counts(calls)) == [(100, 20), (200, 30)]


def test_a_message_that_did_not_wait_for_its_steps_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SUMS_HELD", 0)
    calls, _ = read(write(tmp_path / "log.jsonl", MESSAGE, *STEPS))
    assert sorted(counts(calls)) == [(100, 20), (200, 30)]


def test_steps_of_equal_counts_are_calls_of_their_own(tmp_path: Path) -> None:
    steps = [step(number, 200, 30) for number in (1, 2)]
    for entries in ([MESSAGE, *steps], [*steps, MESSAGE], steps):
        assert counts(read(write(tmp_path / "log.jsonl", *entries))[0]) == [(200, 30)] * 2


def test_a_message_without_its_steps_is_a_call(tmp_path: Path) -> None:
    assert counts(read(write(tmp_path / "log.json", MESSAGE))[0]) == [(200, 30)]


# Sums beside their calls.

USAGE = {"prompt_tokens": 123, "completion_tokens": 456, "total_tokens": 579}
RUN = {"id": "run_1", "object": "thread.run", "created_at": 1_699_075_072, "model": "gpt-4o",
       "thread_id": "t", "status": "completed", "usage": USAGE}  # fmt: skip
RUN_STEP = {"id": "step_1", "object": "thread.run.step", "created_at": 1_699_075_072,
            "run_id": "run_1", "thread_id": "t", "usage": USAGE}  # fmt: skip


def test_a_run_of_assistants_is_a_sum_and_its_step_a_call(tmp_path: Path) -> None:
    page = write(tmp_path / "runs.json", {"object": "list", "data": [RUN], "has_more": False})
    ((entry,), _) = read(page)
    assert (entry.requests, counts([entry])) == (None, [(123, 456)])
    steps = write(tmp_path / "steps.json", {"object": "list", "data": [RUN_STEP]})
    for paths in ((page, steps), (steps, page)):
        ((entry,), _) = read(*paths)
        assert (entry.requests, counts([entry])) == (1, [(123, 456)])


CLAUDE = (
    {"type": "assistant", "sessionId": "s", "timestamp": "2026-01-02T03:04:05Z",
     "message": {"id": "msg_01XFDUDYJgAACzvnptvVoYEL", "model": "claude-sonnet-4-5",
                 "usage": {"input_tokens": 9, "output_tokens": 210}}},
    {"type": "result", "session_id": "s", "usage": {"input_tokens": 9, "output_tokens": 210}},
)  # fmt: skip
CODEX = (
    {"type": "session_meta", "payload": {"id": "s"}},
    {"type": "event_msg", "timestamp": "2026-01-02T03:04:05Z", "payload": {
        "type": "token_count", "info": {"total_token_usage": {
            "input_tokens": 9, "output_tokens": 210}}}},
    {"type": "thread.started", "thread_id": "s"},
    {"type": "turn.completed", "usage": {"input_tokens": 9, "output_tokens": 210}},
)  # fmt: skip
GEMINI = (
    {"sessionId": "s", "projectHash": "h", "messages": [
        {"id": "2", "type": "gemini", "model": "gemini-2.5-pro",
         "tokens": {"input": 9, "output": 210, "total": 219}}]},
    {"session_id": "s", "response": "…", "stats": {"models": {"gemini-2.5-pro": {
        "api": {"totalRequests": 1}, "tokens": {"prompt": 9, "candidates": 210}}}}},
)  # fmt: skip

INSPECT = (
    {"eval": {"run_id": "r"}, "status": "success", "samples": [{"id": 1, "epoch": 1, "events": [
        {"event": "model", "model": "openai/gpt-4o", "uuid": "e",
         "output": {"usage": {"input_tokens": 9, "output_tokens": 210}}}]}]},
    {"eval": {"run_id": "r"}, "status": "success", "stats": {"model_usage": {
        "openai/gpt-4o": {"input_tokens": 9, "output_tokens": 210}}}},
)  # fmt: skip
BATCH = (
    {"id": "batch_req_1", "custom_id": "a", "error": None, "response": {
        "status_code": 200, "body": {
            "id": "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAA", "object": "chat.completion",
            "model": "gpt-4o", "usage": {"prompt_tokens": 9, "completion_tokens": 210}}}},
    {"id": "batch_1", "object": "batch", "request_counts": {"total": 2, "completed": 1},
     "usage": {"input_tokens": 9, "output_tokens": 210, "total_tokens": 219}},
)  # fmt: skip


@pytest.mark.parametrize(
    ("transcript", "printed"),
    [(each[:-1], each[-1:]) for each in (CLAUDE, GEMINI, INSPECT, BATCH)]
    + [(CODEX[:2], CODEX[2:])],
    ids=["claude", "gemini", "inspect", "batch", "codex"],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_transcript_and_the_sum_that_its_command_printed_count_once(
    transcript: tuple[Any, ...], printed: tuple[Any, ...], turn: int, tmp_path: Path
) -> None:
    paths = [write(tmp_path / "a.jsonl", *transcript), write(tmp_path / "b.jsonl", *printed)]
    ((entry,), _) = read(*paths[::turn])
    assert (entry.requests, counts([entry])) == (1, [(9, 210)])
    assert counts(read(paths[1])[0]) == [(9, 210)]


@pytest.mark.parametrize("has_id", [True, False])
def test_a_copy_of_an_answer_from_a_cache_counts_once(has_id: bool, tmp_path: Path) -> None:
    usage = {"input_tokens": 10, "output_tokens": 5}
    event: dict[str, Any] = {"event": "model", "timestamp": "2026-01-02T03:04:05Z", "cache": "read"}
    event |= {"model": "openai/gpt-4o", "output": {"usage": usage}}
    events = [event | ({"uuid": f"e{number}"} if has_id else {}) for number in range(2)]
    sample = {"id": 1, "epoch": 1, "uuid": "s", "events": events}
    paths = [write(tmp_path / name, sample) for name in ("a.json", "b.json")]
    calls, report = read(*paths)
    assert (calls, report.cache_hits, report.repeated) == ([], 2, 2)


# Streams.


def gemini_chunk(inputs: int, outputs: int, reason: str | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {}}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": inputs, "candidatesTokenCount": outputs}
    return {"candidates": [candidate], "modelVersion": "gemini-2.0-flash", "usageMetadata": usage}


@pytest.mark.parametrize("is_array", [True, False])
@pytest.mark.parametrize("reason", [None, "STOP"])
def test_chunks_of_gemini_without_an_id_count_once(
    reason: str | None, is_array: bool, tmp_path: Path
) -> None:
    stream = [gemini_chunk(9, 1), gemini_chunk(9, 5), gemini_chunk(9, 8, reason)]
    chunks = [*stream, gemini_chunk(12, 3), gemini_chunk(12, 4, reason)]
    calls, _ = read(write(tmp_path / "log.json", *([chunks] if is_array else chunks)))
    assert counts(calls) == [(9, 8), (12, 4)]


def test_responses_of_gemini_that_finished_are_calls_of_their_own(tmp_path: Path) -> None:
    whole = gemini_chunk(9, 8, "STOP")
    assert len(read(write(tmp_path / "log.jsonl", whole, whole, whole))[0]) == 3


@pytest.mark.parametrize("text", [{"response": "The"}, {"message": {"content": "The"}}])
def test_a_stream_of_ollama_is_read_strictly_unless_it_was_cut(
    text: dict[str, Any], tmp_path: Path
) -> None:
    part = {"model": "llama3.2", "created_at": "2026-01-02T03:04:05Z", "done": False} | text
    last = part | {"done": True, "prompt_eval_count": 26, "eval_count": 290}
    calls, report = read(write(tmp_path / "log.jsonl", part, part, last), strict=True)
    assert (counts(calls), report.unread) == ([(26, 290)], {})
    calls, report = read(write(tmp_path / "cut.jsonl", part, last, part, part))
    assert counts(calls) == [(26, 290)]
    assert [(reason, one.count, one.line) for reason, one in report.unread.items()] == [
        ("a stream without token counts", 1, 3)
    ]


def test_a_stream_of_responses_that_was_cut_is_reported(tmp_path: Path) -> None:
    body = {"id": "resp_1", "object": "response", "model": "gpt-4.1", "usage": None}
    start = {"type": "response.created", "response": body}
    end = {"type": "response.completed",
           "response": body | {"usage": {"input_tokens": 5, "output_tokens": 7}}}  # fmt: skip
    calls, report = read(write(tmp_path / "whole.jsonl", start, end))
    assert (counts(calls), report.unread) == ([(5, 7)], {})
    calls, report = read(write(tmp_path / "cut.jsonl", start))
    assert (calls, list(report.unread)) == ([], ["a stream without token counts"])


# What is no call, and no tokens.


def test_usage_that_is_not_in_tokens_is_reported(tmp_path: Path) -> None:
    results = [
        {"object": "organization.usage.images.result", "images": 2, "num_model_requests": 2},
        {"object": "organization.usage.audio_speeches.result", "characters": 45},
    ]
    bucket = {"object": "bucket", "start_time": 1_736_616_660, "results": results}
    page = {"object": "page", "data": [bucket], "has_more": False}
    calls, report = read(write(tmp_path / "page.json", page))
    assert calls == []
    assert {reason: one.count for reason, one in report.unread.items()} == {
        "usage or costs without token counts": 2
    }


def test_the_tokens_of_a_grading_model_are_a_sum(tmp_path: Path) -> None:
    result = {
        "id": "r", "promptIdx": 0, "provider": {"id": "openai:chat:gpt-4o-mini"},
        "response": {"tokenUsage": {"total": 43, "prompt": 42, "completion": 1}},
        "gradingResult": {"pass": True, "tokensUsed": {
            "total": 1000, "prompt": 900, "completion": 100}},
    }  # fmt: skip
    document = {"evalId": "e", "results": {"version": 3, "results": [result]}}
    for entry in (document, result):
        entries, _ = read(write(tmp_path / "log.json", entry))
        assert [entry.requests for entry in entries] == [1, None]
        assert counts(entries) == [(42, 1), (900, 100)]


@pytest.mark.parametrize("in_one", [True, False])
@pytest.mark.parametrize("has_whole", [True, False])
def test_choices_of_a_stream_with_a_usage_each_are_added_up(
    has_whole: bool, in_one: bool, tmp_path: Path
) -> None:
    """As Moonshot's, whose prompt is the same for all."""
    choices: list[dict[str, Any]] = [
        {"index": index, "delta": {}, "finish_reason": "stop",
         "usage": {"prompt_tokens": 120, "completion_tokens": outputs}}
        for index, outputs in enumerate((80, 70))
    ]  # fmt: skip
    head = {"id": "cmpl-1305b94c570f447fbde3180560736287", "object": "chat.completion.chunk",
            "created": 1_698_999_575, "model": "moonshot-v1-8k"}  # fmt: skip
    parts = [choices] if in_one else [[choice] for choice in choices]
    chunks = [head | {"choices": part} for part in parts]
    whole = head | {"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": 150}}
    calls, _ = read(write(tmp_path / "log.jsonl", *chunks, *[whole] * has_whole))
    assert [call.counts and (call.counts.input_tokens, call.counts.output_tokens)
            for call in calls] == [(120, 150)]  # fmt: skip
