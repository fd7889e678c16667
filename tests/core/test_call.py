"""A call is closed once, by whatever comes first, and knows what it has been shown."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from energy_tracking.calls.call import Call, tokens_in
from energy_tracking.calls.record import CallRecord, CallRequest, Outcome
from energy_tracking.estimator import estimate_usage
from energy_tracking.lifecycle import defer, run_deferred
from energy_tracking.usage.dialects import TokenUsage
from small_profiles import BOARD, DENSE

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def estimate(
    asked: str | None, answered: str | None, usage: TokenUsage, rate: float | None
) -> Outcome:
    return Outcome(estimate_usage(usage, DENSE, BOARD), "exact")


def refuse(
    asked: str | None, answered: str | None, usage: TokenUsage, rate: float | None
) -> Outcome:
    return Outcome(reason=f"no profile for {answered or asked}")


def new_call(stream: bool = False, prompt: object = None) -> tuple[Call, list[CallRecord]]:
    records: list[CallRecord] = []
    request = CallRequest(operation="chat", provider="openai", model="m", stream=stream)
    return Call(request, lambda call: records.append(call.record(estimate)), prompt), records


def closed_after(*data: object, stream: bool = True, error: BaseException | None = None) -> Any:
    call, records = new_call(stream, {"messages": [{"content": "x" * 43}]})
    for each in data:
        call.observe(each)
    call.close(error)
    (record,) = records
    return record


def text(content: str) -> dict[str, Any]:
    return {"choices": [{"delta": {"content": content}}]}


# --- once ------------------------------------------------------------------------------


def test_only_the_first_close_counts() -> None:
    call, records = new_call()
    call.close(ValueError("first"))
    call.close()
    call.close(KeyError("third"))
    call.abandon()
    assert [record.error_type for record in records] == ["ValueError"]
    assert call.closed


def test_closing_from_many_threads_counts_once() -> None:
    for _ in range(50):
        call, records = new_call()
        start = threading.Barrier(8)

        def close(call: Call = call, start: threading.Barrier = start) -> None:
            start.wait()
            call.close()

        threads = [threading.Thread(target=close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(records) == 1


def test_an_abandoned_call_is_never_told_of() -> None:
    call, records = new_call()
    call.abandon()
    call.close()
    assert records == []


def test_what_is_deferred_is_settled_by_whoever_comes_next() -> None:
    call, records = new_call()
    defer(call.close)
    assert records == []
    run_deferred()
    run_deferred()
    assert len(records) == 1


def test_settling_may_defer_more() -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        defer(lambda: seen.append("second"))

    defer(first)
    run_deferred()
    assert seen == ["first", "second"]


# --- what is known at the end ----------------------------------------------------------


def test_the_last_usage_stands() -> None:
    record = closed_after({"usage": USAGE}, {"usage": USAGE | {"completion_tokens": 7}})
    assert record.usage.output_tokens == 7


def test_a_null_usage_takes_nothing_away() -> None:
    record = closed_after({"usage": USAGE}, {"usage": None})
    assert (record.usage.output_tokens, record.status) == (5, "estimated")


def test_usage_comes_before_text() -> None:
    record = closed_after(text("x" * 1000), {"usage": USAGE})
    assert (record.usage.output_tokens, record.usage.estimated) == (5, ())


def test_text_stands_in_for_a_usage_that_never_came() -> None:
    record = closed_after(text("x" * 43), text("x" * 43))
    assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 20)
    assert record.usage.estimated == ("input_tokens", "output_tokens")
    assert (record.status, record.reason) == ("partial", "no usage in the stream")


def test_an_output_of_zero_is_not_believed_beside_text() -> None:
    record = closed_after(text("x" * 43), {"usage": USAGE | {"completion_tokens": 0,
                                                            "total_tokens": 10}})  # fmt: skip
    assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 10)
    assert (record.usage.estimated, record.status) == (("output_tokens",), "partial")


REASONS: list[tuple[tuple[object, ...], BaseException | None, str]] = [
    ((), None, "nothing was read"),
    ((None,), None, "no usage in the response"),
    (({"choices": []},), None, "no usage in the response"),
    (({"usage": {"seconds": 3}},), None, "no token counts in the usage"),
    (({"usage": "many"},), None, "no token counts in the usage"),
    ((), TimeoutError(), "failed with TimeoutError"),
    (({"choices": []},), ValueError(), "failed with ValueError"),
]


@pytest.mark.parametrize(("data", "error", "reason"), REASONS)
def test_a_call_without_tokens_says_why(
    data: tuple[object, ...], error: BaseException | None, reason: str
) -> None:
    record = closed_after(*data, error=error)
    assert (record.status, record.usage, record.estimate) == ("unestimated", None, None)
    assert record.reason == reason


def test_tokens_outlive_the_error_that_came_after_them() -> None:
    record = closed_after({"usage": USAGE}, error=ValueError())
    assert (record.status, record.error_type) == ("estimated", "ValueError")


def test_tokens_without_a_profile_are_kept() -> None:
    call, _ = new_call()
    call.observe({"usage": USAGE, "model": "other"})
    record = call.record(refuse)
    assert (record.status, record.reason) == ("unestimated", "no profile for other")
    assert record.usage is not None


def test_empty_names_do_not_replace_known_ones() -> None:
    record = closed_after(
        {"id": "", "model": "", "choices": []},
        {"id": "a", "model": "m-1", "choices": []},
        {"id": "a", "model": "", "usage": USAGE},
    )
    assert (record.response_id, record.response_model, record.model) == ("a", "m-1", "m-1")


def test_a_whole_response_shown_again_is_not_measured_twice() -> None:
    body = {"object": "response", "status": "in_progress", "output": [{"text": "x" * 43}]}
    longer = body | {"output": [{"text": "x" * 86}]}
    record = closed_after(body, body, longer, body)
    assert record.usage.output_tokens == 20


@pytest.mark.parametrize("stream", [True, False])
def test_the_time_to_the_first_chunk_is_a_streams(stream: bool) -> None:
    record = closed_after({"usage": USAGE}, stream=stream)
    assert (record.first_chunk_seconds is not None) == stream
    if stream:
        assert 0 <= record.first_chunk_seconds <= record.duration_seconds


@pytest.mark.parametrize(("characters", "tokens"), [(0, 0), (1, 1), (43, 10), (430, 100)])
def test_a_token_is_about_four_characters(characters: int, tokens: int) -> None:
    assert tokens_in(characters) == tokens
