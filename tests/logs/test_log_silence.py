"""Nothing is left out in silence: what has no counts is reported, whatever it lies in."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.batch_reading import read_batches
from energy_tracking.logs.batches.batch import BatchNames
from energy_tracking.logs.engine import finding
from energy_tracking.logs.files.headers import find_repeated_names
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs

COUNTS = {"input_tokens": 10, "output_tokens": 1, "total_tokens": 11}
MODEL = {"event": "model", "model": "openai/gpt-4o", "output": {"usage": COUNTS}}
NO_COUNTS = {"event": "model", "model": "mockllm/model", "output": {"choices": []}}
NO_ANSWER = "an answer of a model without token counts"
NO_RESULT = "a result without counts of its input and output"
INPUT = "a request in the input of a batch, whose output has the answer"


def read(path: Path, *documents: Any) -> tuple[list[LoggedCall], dict[str, int]]:
    path.write_text("".join(json.dumps(each) + "\n" for each in documents), "utf-8")
    report = ReadReport()
    calls = list(read_logs([path], report=report))
    return calls, {reason: unread.count for reason, unread in report.unread.items()}


def inspected(**sample: Any) -> dict[str, Any]:
    return {"eval": {"task": "t"}, "status": "success", "samples": [{"id": 1, "epoch": 1} | sample]}


def gemini(**message: Any) -> dict[str, Any]:
    return {"type": "gemini", "id": "m", "model": "gemini-2.5-pro"} | message


@pytest.mark.parametrize(
    ("document", "calls", "unread"),
    [
        (inspected(events=[MODEL, NO_COUNTS, NO_COUNTS]), 1, {NO_ANSWER: 2}),
        (inspected(events=[NO_COUNTS]), 0, {NO_ANSWER: 1}),
        # Their sum says it.
        (inspected(events=[NO_COUNTS], model_usage={"m": COUNTS}), 1, {}),
        # As inspect wrote it at first.
        (inspected(transcript={"events": [MODEL], "content": {}}), 1, {}),
        (
            {"evalId": "e", "results": {"results": [
                {"provider": "a", "response": {"tokenUsage": {"total": 5}}},
                {"provider": "a", "response": {"output": "..."}},
                {"provider": "a", "response": {"tokenUsage": {"prompt": 2, "completion": 1}}}]}},
            *(1, {NO_RESULT: 2}),
        ),
        (
            {"sessionId": "s", "projectHash": "h", "messages": [
                gemini(tokens={"input": 10, "output": 1, "total": 11}), gemini(tokens=None)]},
            *(1, {NO_ANSWER: 1}),
        ),
        ({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
          "body": {"model": "gpt-4o", "messages": []}}, 0, {INPUT: 1}),
        ({"custom_id": "a", "params": {"model": "claude-opus-4-5"}}, 0, {INPUT: 1}),
        ({"key": "a", "request": {"contents": []}}, 0, {INPUT: 1}),
        ({"recordId": "a", "modelInput": {"inputText": "..."}}, 0, {INPUT: 1}),
        ({"id": "s", "parent_session_id": None, "message_count": 7, "prompt_tokens": 100,
          "completion_tokens": 2, "cost": 0.5}, 0,
         {"a session of Crush, which keeps the tokens of its last request alone": 1}),
        ({"id": "e", "type": "generation-create", "timestamp": "2026-03-04T05:06:07Z",
          "body": {"id": "g", "model": "gpt-4o"}}, 0, {"a generation without token counts": 1}),
    ],
)  # fmt: skip
def test_what_has_no_counts_is_reported(
    document: Any, calls: int, unread: dict[str, int], tmp_path: Path
) -> None:
    found, reasons = read(tmp_path / "a.json", document)
    assert (len(found), reasons) == (calls, unread)


@pytest.mark.parametrize("name", ["rawAmount", "readTokens", "writeTokens"])
def test_a_count_of_librechat_that_is_none_costs_its_transaction(name: str, tmp_path: Path) -> None:
    prompt = {"_id": "a", "conversationId": "c", "model": "gpt-4o", "tokenType": "prompt",
              "rawAmount": -10}  # fmt: skip
    other = prompt | {"_id": "b", "model": "o1"}
    calls, unread = read(tmp_path / "a.json", prompt | {name: [1]}, other)
    assert [call.tokens for call in calls] == [10]
    assert unread == {f"{name} must be a whole number": 1}


def test_a_prompt_that_ollama_did_not_count_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    answer = {"model": "llama3.2", "done": True, "message": {"content": "..."}, "eval_count": 298}
    embedding = {"model": "all-minilm", "embeddings": [[0.1]], "prompt_eval_count": 8}
    path.write_text(json.dumps(answer) + "\n" + json.dumps(embedding), "utf-8")
    report = ReadReport()
    calls = list(read_logs([path], report=report))
    assert [(call.operation, call.tokens) for call in calls] == [("chat", 298), ("embeddings", 8)]
    assert {why: each.count for why, each in report.assumed.items()} == {
        "with a count that is missing or none, taken as 0 tokens": 1
    }


@pytest.mark.parametrize("name", ["completion_tokens", "outputTokens", "completionTokens"])
def test_an_output_without_an_input_by_a_known_name_is_reported(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"model": "x", "usage": {"asked": 19, name: 6}}), "utf-8")
    report = ReadReport()
    (call,) = read_logs([path], report=report)
    assert call.tokens == 6
    assert list(report.assumed) == ["with a count that is missing or none, taken as 0 tokens"]


def test_events_of_a_realtime_session_beside_its_responses_are_known(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = [
        {"type": "session.created", "session": {"model": "gpt-realtime"}},
        {"type": "conversation.item.created", "item": {}},
        {"type": "rate_limits.updated", "rate_limits": []},
        {"type": "response.done", "response": {"id": "resp_" + "a" * 20, "usage": COUNTS}},
        {"type": "conversation.item.input_audio_transcription.completed", "usage": COUNTS},
    ]
    path = tmp_path / "a.jsonl"
    calls, unread = read(path, *({"event_id": str(n)} | each for n, each in enumerate(events)))
    assert {(call.model, call.tokens) for call in calls} == {("gpt-realtime", 11), (None, 11)}
    assert not unread


def test_a_list_in_the_place_of_a_name_costs_no_call(tmp_path: Path) -> None:
    passes = [{"type": [], "input_tokens": 1, "output_tokens": 1}]
    message = {"id": "msg_" + "a" * 24, "model": "claude-opus-4-5",
               "usage": {"input_tokens": 10, "output_tokens": 1}}  # fmt: skip
    lines = [
        {"type": "message_start", "message": message},
        {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9, "iterations": passes}},
    ]
    (call,), _ = read(tmp_path / "a.jsonl", *lines)
    assert call.tokens == 19
    task = {"id": [], "ts": 1754000000000, "task": "...", "tokensIn": 10, "tokensOut": 1}
    (total,), _ = read(tmp_path / "b.jsonl", task)
    assert total.tokens == 11


@pytest.mark.parametrize("inputs", [10, 50])
def test_two_counts_of_one_thing_in_a_usage_are_reported_where_they_differ(
    inputs: int, tmp_path: Path
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "input_tokens": inputs}
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"model": "gpt-4o", "usage": usage}) + "\n", "utf-8")
    report = ReadReport()
    calls = list(read_logs([path], report=report))
    assert [call.counts and call.counts.input_tokens for call in calls] == [10]
    said = [
        f"{path}: 1 entry with two counts of the same tokens that differ, of which one was "
        "taken; name the right ones: --columns input=NAME,output=NAME,model=NAME,time=NAME "
        "(first: line 1)"
    ]
    assert list(report.omissions()) == (said if inputs == 50 else [])
    right = {"input": "usage.input_tokens", "output": "usage.completion_tokens"}
    calls = list(read_logs([path], columns=right))
    assert [call.counts and call.counts.input_tokens for call in calls] == [inputs]


REPEATED = {
    "two counts": ('{"model": "o1", "input_tokens": 10, "output_tokens": 1, "input_tokens": 50}',
                   "input_tokens"),
    "two usages": ('{"model": "o1", "usage": {"prompt_tokens": 10, "completion_tokens": 1}, '
                   '"usage": {"prompt_tokens": 50, "completion_tokens": 1}}', "usage"),
    "in an array": ('[{"model": "o1", "usage": {"prompt_tokens": 10, "completion_tokens": 1, '
                    '"prompt_tokens": 50}}]', "prompt_tokens"),
    "the same twice": ('{"model": "o1", "input_tokens": 50, "output_tokens": 1, '
                       '"input_tokens": 50}', None),
    "what does not count": ('{"level": "a", "model": "o1", "input_tokens": 50, '
                            '"output_tokens": 1, "level": "b"}', None),
}  # fmt: skip


@pytest.mark.parametrize("form", REPEATED)
@pytest.mark.parametrize("by_engine", [False, True])
@pytest.mark.parametrize("is_packed", [False, True])
def test_two_values_of_one_name_in_an_object_are_reported_and_the_last_counts(
    is_packed: bool, by_engine: bool, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, name = REPEATED[form]
    lines = f"{line}\n".encode() * 2
    path = tmp_path / "log.jsonl"
    path.write_bytes(gzip.compress(lines) if is_packed else lines)
    report = ReadReport()
    if by_engine:
        # Which would read a small table, too.
        monkeypatch.setattr(finding, "ENGINE_BYTES", 0)
        batches = list(read_batches([path], BatchNames(), report=report))
        inputs = [count for batch in batches for count in batch.input_tokens.tolist()]
    else:
        inputs = [call.counts.input_tokens for call in read_logs([path], report=report)
                  if call.counts is not None]  # fmt: skip
    assert inputs == [50, 50]
    assert [repr(name) in said for said in report.omissions()] == [True] * (name is not None)


def test_a_first_entry_of_any_length_or_depth_is_looked_at(tmp_path: Path) -> None:
    long = '{"calls": [{"model": "o1", "model": "o3"}, "' + "x" * (1 << 20) + '"]}'
    for text, said in ((long, 1), ("[" * 100_000, 0), ('{"a":' * 100_000, 0), ("", 0), ("{", 0)):
        path = tmp_path / "log.json"
        path.write_text(text, "utf-8")
        assert len(find_repeated_names([str(path)])) == said
