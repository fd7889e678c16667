"""What coding agents keep: each request once, of the model that answered it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
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


def test_a_turn_of_codex_exec_is_what_its_thread_took_more(tmp_path: Path) -> None:
    def run(name: str, *totals: tuple[int, int]) -> Path:
        turns = [{"type": "turn.completed", "usage": usage(*total)} for total in totals]
        return write(tmp_path / name, {"type": "thread.started", "thread_id": "t"}, *turns)

    first = run("a.jsonl", (1000, 10), (2500, 30))
    sums, _ = read(first)
    assert counted(sums) == [(None, 1000, 10), (None, 1500, 20)]
    # The thread goes on in another run.
    resumed = run("b.jsonl", (2600, 90))
    copy = run("c.jsonl", (1000, 10), (2500, 30))
    sums, report = read(first, resumed, copy)
    assert counted(sums) == [(None, 1000, 10), (None, 1500, 20), (None, 100, 60)]
    assert report.repeated == 2


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


# Messages of which a log has the beginning.

UNFINISHED = "of messages that had not ended, counted with the output so far"
SHARED_OUT = "of messages that had not ended, counted with a share of what their session took"


def spoken(name: str, counts: tuple[int, int], stop: str | None = None, **more: Any) -> Line:
    """A line of a transcript."""
    sent = message(counts, id=f"msg_{name * 24}", stop_reason=stop)
    return {"type": "assistant", "sessionId": "s", "message": sent} | more


def printed(name: str, counts: tuple[int, int], **more: Any) -> Line:
    """A line of ``claude -p --output-format stream-json``."""
    line = spoken(name, counts, **more) | {"session_id": "s", "uuid": name}
    del line["sessionId"]
    return line


def result(usage: tuple[int, int], **by_model: tuple[int, int]) -> Line:
    models = {
        {"sonnet": f"{SONNET}[1m]", "haiku": "claude-haiku-4-5"}[name]: {
            "inputTokens": counts[0] - 200, "outputTokens": counts[1],
            "cacheReadInputTokens": 150, "cacheCreationInputTokens": 50}
        for name, counts in by_model.items()
    }  # fmt: skip
    known = {"modelUsage": models} if models else {}
    return {"type": "result", "session_id": "s", "uuid": f"r{usage}",
            "usage": pass_of("", usage)} | known  # fmt: skip


def assumed(report: ReadReport) -> dict[str, int]:
    return {reason: entries.count for reason, entries in report.assumed.items()}


def test_a_message_that_had_not_ended_is_reported(tmp_path: Path) -> None:
    log = write(
        tmp_path / "a.jsonl",
        *(spoken("a", (300, output)) for output in (1, 1, 8)),
        *(spoken("b", (300, output), stop) for output, stop in ((9, None), (70, "end_turn"))),
    )
    calls, report = read(log)
    assert counted(calls) == [(SONNET, 300, 8), (SONNET, 300, 70)]
    assert assumed(report) == {UNFINISHED: 1}
    (remark, *_) = report.remarks()
    assert remark == f"{log}: 1 entry {UNFINISHED} (first: line 3)"
    # A copy that has ended stands, whichever file has it.
    ended = write(tmp_path / "b.jsonl", spoken("a", (300, 4), "end_turn"))
    for files in ((log, ended), (ended, log)):
        calls, report = read(*files)
        assert sorted(counted(calls)) == [(SONNET, 300, 4), (SONNET, 300, 70)]
        assert not report.assumed


ESTIMATED = "of messages that had not ended, whose output is estimated from the text so far"
BLOCKS = [
    {"type": "thinking", "thinking": "h" * 430, "signature": "x" * 900},
    {"type": "text", "text": "a" * 215},
    {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": "b" * 415}},
]
"""What 100, 50 and about 112 tokens are written as."""


@pytest.mark.parametrize("line", [spoken, printed])
def test_the_text_of_a_message_that_had_not_ended_says_how_long_it_is(
    line: Callable[..., Line], tmp_path: Path
) -> None:
    def said(name: str, output: int, *blocks: Any) -> list[Line]:
        lines = [line(name, (300, output)) for _ in blocks]
        for each, block in zip(lines, blocks, strict=True):
            each["message"]["content"] = [block]
        return lines

    beginning = {"type": "text", "text": "a" * 100}
    log = write(
        tmp_path / "a.jsonl",
        # A line may come twice, and a text may have grown.
        *said("a", 8, BLOCKS[0], BLOCKS[0], beginning, *BLOCKS[1:]),
        *said("b", 400, *BLOCKS),
    )
    calls, report = read(log)
    assert [call.counts and call.counts.output_tokens for call in calls] == [262, 400]
    assert calls[0].usage is not None
    assert calls[0].usage.estimated == ("output_tokens",)
    assert assumed(report) == {ESTIMATED: 1, UNFINISHED: 1}
    # A copy that has ended stands.
    ended = write(tmp_path / "b.jsonl", spoken("a", (300, 20), "end_turn"))
    assert (SONNET, 300, 20) in counted(read(log, ended)[0])


def test_a_result_knows_better_than_the_text_of_its_messages(tmp_path: Path) -> None:
    line = printed("a", (300, 8))
    line["message"]["content"] = BLOCKS
    log = write(tmp_path / "log.jsonl", line, result((300, 90), sonnet=(300, 90)))
    calls, report = read(log)
    assert counted(calls) == [(SONNET, 300, 90)]
    assert assumed(report) == {SHARED_OUT: 1}


def test_a_stream_that_breaks_off_is_as_long_as_its_text(tmp_path: Path) -> None:
    piece = {"type": "content_block_delta", "index": 0}
    log = write(
        tmp_path / "log.jsonl",
        {"type": "message_start", "message": message((300, 1))},
        *({**piece, "delta": {"type": "text_delta", "text": "a" * 43}} for _ in range(10)),
    )
    calls, report = read(log)
    assert counted(calls) == [(SONNET, 300, 100)]
    assert assumed(report) == {ESTIMATED: 1}


def test_what_a_result_has_more_is_shared_out_among_messages_that_had_not_ended(
    tmp_path: Path,
) -> None:
    lines = [
        {"type": "system", "subtype": "init", "session_id": "s", "model": SONNET},
        *(printed("a", (300, output)) for output in (1, 8)),
        printed("b", (500, 8)),
        printed("c", (400, 30), stop="end_turn"),
    ]
    for number, last in enumerate(
        (result((1200, 431)), result((1200, 431), sonnet=(1200, 431), haiku=(300, 25)))
    ):
        log = write(tmp_path / f"{number}.jsonl", *lines, last)
        entries, report = read(log)
        calls = [entry for entry in entries if entry.is_call]
        assert counted(calls) == [(SONNET, 300, 200), (SONNET, 500, 201), (SONNET, 400, 30)]
        assert assumed(report) == {SHARED_OUT: 2}
    # The model of requests beside the conversation is in the result alone.
    assert [counted([entry]) for entry in entries if not entry.is_call] == [
        [("claude-haiku-4-5", 300, 25)]
    ]
    # The transcript knows better.
    known = write(tmp_path / "t.jsonl", spoken("a", (300, 170), "tool_use"),
                  spoken("b", (500, 231), "end_turn"))  # fmt: skip
    calls = [entry for entry in read(log, known)[0] if entry.is_call]
    assert sorted(counted(calls)) == [(SONNET, 300, 170), (SONNET, 400, 30), (SONNET, 500, 231)]


@pytest.mark.parametrize(
    "name",
    # The first is that of benchflow-ai/skillsbench-trajectories' runs, the last an alias.
    ["gateway/{}", "us.anthropic.{}-v1:0", "{}[1m]", "opus"],
)
def test_a_result_that_names_the_model_of_its_messages_otherwise_is_their_sum(
    name: str, tmp_path: Path
) -> None:
    last = result((800, 431))
    of_sonnet, of_haiku = (
        result((0, 0), **{model: tokens})["modelUsage"]
        for model, tokens in (("sonnet", (1000, 531)), ("haiku", (300, 25)))
    )
    last["modelUsage"] = {name.format(SONNET): next(iter(of_sonnet.values()))} | of_haiku
    entries, _ = read(
        write(tmp_path / "a.jsonl", printed("a", (300, 0)), printed("b", (500, 0)), last)
    )
    calls = [entry for entry in entries if entry.is_call]
    assert counted(calls) == [(SONNET, 300, 215), (SONNET, 500, 216)]
    assert sorted(counted([entry for entry in entries if not entry.is_call])) == sorted(
        [(name.format(SONNET), 200, 100), ("claude-haiku-4-5", 300, 25)]
    )


def test_a_later_result_of_a_session_has_nothing_more_for_earlier_messages(tmp_path: Path) -> None:
    lines = [
        printed("a", (300, 8)),
        result((300, 100), sonnet=(300, 100)),
        printed("b", (400, 8)),
        result((400, 150), sonnet=(700, 250)),
    ]
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted([call for call in calls if call.is_call]) == [
        (SONNET, 300, 100),
        (SONNET, 400, 150),
    ]
    assert assumed(report) == {SHARED_OUT: 2}


def test_a_result_takes_no_longer_after_many_messages(tmp_path: Path) -> None:
    def count_steps(turns: int) -> int:
        lines: list[dict[str, Any]] = []
        for turn in range(1, turns + 1):
            lines += [
                printed(f"m{turn}", (300, 8)),
                result((300, 8), sonnet=(300 * turn, 8 * turn)),
            ]
        log, steps = write(tmp_path / f"{turns}.jsonl", *lines), 0

        def note(*_: object) -> None:
            nonlocal steps
            steps += 1

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            read(log)
        finally:
            sys.setprofile(before)
        return steps

    assert count_steps(400) < 6 * count_steps(100)


def test_a_result_may_count_a_little_more_input_than_its_messages(tmp_path: Path) -> None:
    lines = [printed("a", (30_000, 8)), result((30_200, 80), sonnet=(30_200, 80))]
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted(calls) == [(SONNET, 30_000, 80)]
    assert assumed(report) == {SHARED_OUT: 1}


def test_messages_printed_without_counts_share_those_of_the_result(tmp_path: Path) -> None:
    lines = [printed("a", (0, 0)), printed("b", (0, 0)), result((900, 80), sonnet=(900, 80))]
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted(calls) == [(SONNET, 450, 40)] * 2
    assert assumed(report) == {SHARED_OUT: 2}


def test_a_result_over_more_than_was_printed_is_not_shared_out(tmp_path: Path) -> None:
    lines = [printed("a", (300, 8)), result((900, 80), sonnet=(900, 80))]
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted(calls) == [(SONNET, 300, 8), (f"{SONNET}[1m]", 600, 72)]
    assert [call.is_call for call in calls] == [True, False]
    assert assumed(report) == {UNFINISHED: 1}


def test_what_the_sums_by_model_have_more_than_the_usage_is_of_further_requests(
    tmp_path: Path,
) -> None:
    # After nicsuzor/academicOps claude_output.json, whose subagent was not printed.
    lines = [printed("a", (300, 8)), result((300, 100), sonnet=(500, 140))]
    for array in (False, True):
        log = write(tmp_path / f"{array}.json", *([lines] if array else lines))
        entries, report = read(log)
        assert counted(entries) == [(SONNET, 300, 100), (f"{SONNET}[1m]", 200, 40)]
        assert assumed(report) == {SHARED_OUT: 1}
    # A later result of the same run is over those of the earlier one, too.
    lines += [printed("b", (400, 8)), result((400, 50), sonnet=(1000, 200))]
    entries, _ = read(write(tmp_path / "later.jsonl", *lines))
    sums = [entry for entry in entries if not entry.is_call]
    assert counted(sums) == [(f"{SONNET}[1m]", 300, 50)]
    # The transcript has them as calls.
    known = write(tmp_path / "t.jsonl", spoken("c", (200, 40), "end_turn"))
    entries, _ = read(log, known)
    assert sorted(counted(entries)) == [(SONNET, 200, 40), (SONNET, 300, 100)]


def test_each_run_of_a_session_that_is_resumed_has_a_result(tmp_path: Path) -> None:
    sums, _ = read(write(tmp_path / "a.jsonl", result((900, 80)), result((700, 20))))
    assert counted(sums) == [(None, 900, 80), (None, 700, 20)]


def test_a_stream_of_anthropics_that_breaks_off_is_reported(tmp_path: Path) -> None:
    start = {"type": "message_start", "message": message((300, 1), stop_reason=None)}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    for last, failed in (({"type": "ping"}, None), (error, "overloaded_error")):
        (call,), report = read(write(tmp_path / "a.jsonl", start, last))
        assert (counted([call]), call.error_type) == ([(SONNET, 300, 1)], failed)
        assert assumed(report) == {UNFINISHED: 1}


def test_a_side_question_repeats_no_message_of_its_session(tmp_path: Path) -> None:
    sent = message((300, 20), id="msg_1")
    asked = message((310, 7), id="msg_2")
    own = write(
        tmp_path / "s.jsonl",
        {"type": "assistant", "sessionId": "s", "requestId": "req_1", "message": sent},
    )
    side = write(tmp_path / "agent-aside.jsonl",
                 *({"type": "assistant", "sessionId": "s", "isSidechain": True,
                    "requestId": f"req_{number}", "message": each}
                   for number, each in enumerate((sent, asked), start=2)))  # fmt: skip
    calls, report = read(own, side)
    assert counted(calls) == [(SONNET, 300, 20), (SONNET, 310, 7)]
    assert report.repeated == 1


# Copilot.


def test_copilot_counts_the_thoughts_of_gemini_beside_its_output(tmp_path: Path) -> None:
    counts = {"inputTokens": 100, "outputTokens": 40, "reasoningTokens": 30}
    models = {name: {"requests": {"count": 2}, "usage": counts}
              for name in ("gemini-2.5-pro", "gpt-5")}  # fmt: skip
    end = {"type": "session.shutdown", "data": {"modelMetrics": models}}
    calls, _ = read(write(tmp_path / "a.jsonl", end))
    assert counted(calls) == [("gemini-2.5-pro", 100, 70), ("gpt-5", 100, 40)]


# Gemini CLI.


def test_a_line_of_gemini_cli_may_set_all_messages(tmp_path: Path) -> None:
    def answer(name: str, output: int) -> Line:
        tokens = {"input": 100, "output": output, "thoughts": 3, "total": 103 + output}
        return {"id": name, "type": "gemini", "model": "gemini-2.5-pro", "tokens": tokens}

    lines = [
        {"sessionId": "s", "projectHash": "h", "kind": "main"},
        answer("a", 10),
        {"$set": {"messages": [{"id": "u", "type": "user"}, answer("a", 10), answer("b", 20)]}},
        {"$set": {"lastUpdated": "2026-01-01T00:00:00Z"}},
    ]
    calls, report = read(write(tmp_path / "a.jsonl", *lines))
    assert counted(calls) == [("gemini-2.5-pro", 100, 13), ("gemini-2.5-pro", 100, 23)]
    assert report.repeated == 1
