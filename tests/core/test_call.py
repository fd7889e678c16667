"""A call is closed once, by whatever comes first, and knows what it has been shown."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from counts import the_only
from energy_tracking.calls.call import Call
from energy_tracking.calls.record import CallRecord, CallRequest, Outcome
from energy_tracking.estimator import estimate_usage
from energy_tracking.estimator.evidence import ServingEvidence
from energy_tracking.lifecycle import defer, run_deferred
from energy_tracking.usage.token_usage import TokenUsage
from small_profiles import BOARD, DENSE

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def estimate(
    asked: str | None, answered: str | None, usage: TokenUsage, seen: ServingEvidence | None
) -> Outcome:
    return Outcome(estimate_usage(usage, DENSE, BOARD), "exact")


def refuse(
    asked: str | None, answered: str | None, usage: TokenUsage, seen: ServingEvidence | None
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
    return the_only(records)


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


def test_an_abandoned_call_is_never_delivered() -> None:
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
    # 3 before the reply.
    assert (record.usage.input_tokens, record.usage.output_tokens) == (13, 20)
    assert record.usage.estimated == ("input_tokens", "output_tokens")
    assert (record.status, record.reason) == ("partial", "no usage in the stream")


def tool_call_piece(**call: Any) -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": "abcd"}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"function": function} | call]}}]}


@pytest.mark.parametrize("place", [{"index": 0}, {"index": 0, "id": "a"}, {"id": "a"}])
def test_a_tool_name_in_every_piece_of_a_call_is_counted_once(place: dict[str, Any]) -> None:
    record = closed_after(*[tool_call_piece(**place)] * 100)
    # 11 for the call, 11 characters of its name and 400 of its arguments.
    assert record.usage.output_tokens == round(11 + 411 / 4.3)


@pytest.mark.parametrize("places", [({"index": 0}, {"index": 1}), ({"id": "a"}, {"id": "b"}),
                                    ({}, {})])  # fmt: skip
def test_calls_of_the_same_tool_are_counted_each(places: tuple[dict[str, Any], ...]) -> None:
    record = closed_after(*(tool_call_piece(**place) for place in places))
    assert record.usage.output_tokens == round(2 * (11 + 15 / 4.3))


@pytest.mark.parametrize(
    "halves",
    [
        [{"prompt_tokens": 120, "completion_tokens": 0}, {"completion_tokens": 80}],
        [{"prompt_tokens": 120, "total_tokens": 120}, {"completion_tokens": 80}],
        [{"completion_tokens": 80}, {"prompt_tokens": 120}],
        [{"prompt_tokens": 120, "completion_tokens": None}, {"completion_tokens": 80}],
        [{"input_tokens": 120}, {"input_tokens": None, "output_tokens": 80}],
    ],
)
def test_a_usage_that_comes_in_two_halves_is_one(halves: list[dict[str, Any]]) -> None:
    record = closed_after(*({"choices": [], "usage": half} for half in halves))
    usage = record.usage
    assert (usage.input_tokens, usage.output_tokens, usage.repairs) == (120, 80, ())


def test_an_output_of_zero_is_not_believed_beside_text() -> None:
    record = closed_after(text("x" * 43), {"usage": USAGE | {"completion_tokens": 0,
                                                            "total_tokens": 10}})  # fmt: skip
    assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 10)
    assert (record.usage.estimated, record.status) == (("output_tokens",), "partial")


ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "empty",
    [
        ZEROS,
        {"prompt_tokens": 0, "completion_tokens": 0},
        {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0},
        {"prompt_tokens": -1, "completion_tokens": -1, "total_tokens": -1},
        {"prompt_tokens": None, "completion_tokens": None},
        {},
    ],
)
def test_a_usage_of_nothing_at_the_end_takes_nothing_away(empty: dict[str, Any]) -> None:
    record = closed_after({"usage": USAGE}, text("x"), {"usage": empty})
    assert (record.usage.input_tokens, record.usage.output_tokens) == (10, 5)
    assert (record.status, record.reason) == ("estimated", None)


GOOD = {"prompt_tokens": 120, "completion_tokens": 80, "total_tokens": 200}


@pytest.mark.parametrize(
    "less",
    [
        {"prompt_tokens": 120, "completion_tokens": 0, "total_tokens": 120},
        {"prompt_tokens": 120, "completion_tokens": None, "total_tokens": None},
        {"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1},
        {"prompt": 0, "completion": 1, "total_tokens": 200},
        {"prompt_tokens": 120, "completions_tokens": 80},
        {"promt_tokens": 120, "completion_tokens": 80, "total_tokens": 200},
        {"completion_tokens": 80},
        {"prompt_tokens": "1", "completion_tokens": "2"},
        {"cost": 0.1},
        GOOD,
    ],
)
def test_a_usage_with_less_in_it_does_not_replace_a_better_one(less: dict[str, Any]) -> None:
    cached = GOOD | {"prompt_tokens_details": {"cached_tokens": 64}}
    record = closed_after({"usage": cached}, text("x"), {"usage": less})
    usage = record.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cached_input_tokens) == (120, 80, 64)
    assert (record.status, record.reason) == ("estimated", None)


def test_the_same_counts_with_more_details_replace_those_with_fewer() -> None:
    details = {"prompt_tokens_details": {"cached_tokens": 64}}
    record = closed_after({"usage": GOOD}, {"usage": GOOD | details})
    assert record.usage.cached_input_tokens == 64


def test_sums_so_far_grow_to_the_last_one() -> None:
    events = [
        {"usage": {"prompt_tokens": 120, "completion_tokens": n, "total_tokens": 120 + n}}
        for n in range(50)
    ]
    assert closed_after(*events).usage.output_tokens == 49


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("empty", [{}, ZEROS, {"cost": 0.1}, None])
@pytest.mark.parametrize(
    ("beside", "counts"),
    [
        ({"x_groq": {"usage": GOOD}}, (120, 80)),
        ({"choices": [{"delta": {}, "usage": GOOD}]}, (120, 80)),
        ({"choices": [{"delta": {}}, {"delta": {}, "usage": GOOD}]}, (120, 80)),
        ({"choices": [{"delta": {}, "usage": ZEROS}, {"usage": GOOD}]}, (120, 80)),
        ({"timings": {"cache_n": 90, "prompt_n": 10, "predicted_n": 33}}, (100, 33)),
    ],
)
def test_a_usage_without_tokens_hides_none_that_has_some(
    beside: dict[str, Any], counts: tuple[int, int], empty: dict[str, Any] | None, stream: bool
) -> None:
    record = closed_after(text("x"), {"usage": empty} | beside, stream=stream)
    assert (record.usage.input_tokens, record.usage.output_tokens) == counts
    assert (record.status, record.reason) == ("estimated", None)


def choice(index: int, outputs: int) -> dict[str, Any]:
    """A choice with a usage of its own, as in Moonshot's streams."""
    usage = {"prompt_tokens": 120, "completion_tokens": outputs, "total_tokens": 120 + outputs}
    return {"index": index, "delta": {}, "finish_reason": "stop", "usage": usage}


WHOLE = {"choices": [], "usage": GOOD | {"completion_tokens": 150, "total_tokens": 270}}


@pytest.mark.parametrize(
    ("events", "outputs"),
    [
        ([[choice(0, 80)]], 80),
        ([[choice(0, 80), choice(1, 70)]], 150),
        ([[choice(0, 80)], [choice(1, 70)]], 150),
        ([[choice(1, 70)], [choice(0, 80)]], 150),
        ([[choice(0, 70)], [choice(1, 70)], [choice(2, 70)]], 210),
        # Sums so far, which grow.
        ([[choice(0, 8)], [choice(1, 7)], [choice(0, 80)], [choice(1, 70)]], 150),
    ],
)
def test_choices_with_a_usage_each_are_added_up_and_their_prompt_counts_once(
    events: list[list[dict[str, Any]]], outputs: int
) -> None:
    usage = closed_after(text("x"), *({"choices": choices} for choices in events)).usage
    assert (usage.input_tokens, usage.output_tokens) == (120, outputs)
    number = len({each["index"] for choices in events for each in choices})
    said = f"{number} choices have a usage each; their outputs are added, their prompt is one."
    assert usage.repairs == ((said,) if number > 1 else ())


def test_a_usage_of_all_choices_stands_before_those_of_each() -> None:
    # Here each of them repeats the whole one.
    events: list[dict[str, Any]] = [{"choices": [choice(0, 150), choice(1, 150)]}, WHOLE]
    usage = closed_after(text("x"), *events).usage
    assert (usage.output_tokens, usage.repairs) == (150, ())
    assert closed_after(text("x"), *reversed(events)).usage.output_tokens == 150
    assert closed_after({"usage": ZEROS}, events[0]).usage.output_tokens == 300
    assert closed_after(text("x"), events[0] | WHOLE).usage.output_tokens == 150


@pytest.mark.parametrize("at_last", [True, False])
def test_zeros_are_not_believed_beside_text(at_last: bool) -> None:
    events = [text("x" * 43), {"usage": ZEROS}]
    record = closed_after(*(events if at_last else reversed(events)))
    assert (record.usage.input_tokens, record.usage.output_tokens) == (13, 10)
    assert record.usage.estimated == ("input_tokens", "output_tokens")
    assert record.status == "partial"
    assert record.reason == "usage reports no tokens although text was generated"


def test_zeros_are_believed_where_nothing_was_generated() -> None:
    record = closed_after({"usage": ZEROS})
    assert (record.usage.input_tokens, record.usage.output_tokens) == (0, 0)
    assert record.usage.estimated == ()


@pytest.mark.parametrize("usage", [{"promt_tokens": 10, "completion_tokens": 5},
                                   {"prompt_tokens": "ten", "completion_tokens": 5},
                                   {"prompt_tokens": -10, "completion_tokens": 5},
                                   {"prompt_tokens": 1e30, "completion_tokens": 5},
                                   {"prompt_tokens": float("nan"), "completion_tokens": 5},
                                   {"prompt_tokens": True, "completion_tokens": 5},
                                   {"prompt_tokens": [10], "completion_tokens": 5}])  # fmt: skip
def test_an_input_without_a_count_is_counted_from_the_prompt(usage: dict[str, Any]) -> None:
    record = closed_after(text("x" * 43), {"usage": usage})
    assert (record.usage.input_tokens, record.usage.output_tokens) == (13, 5)
    assert (record.usage.estimated, record.status) == (("input_tokens",), "partial")
    assert "The input count is missing; read as 0." in record.reason


def test_a_missing_count_is_reported_where_no_prompt_is_known() -> None:
    call, records = new_call()
    call.raw_usage = {"promt_tokens": 10, "completion_tokens": 5}
    call.close()
    assert records[0].status == "estimated"
    assert records[0].reason == "usage: The input count is missing; read as 0."


@pytest.mark.parametrize(
    ("usage", "counts", "said"),
    [
        ({"prompt_tokens": 100, "completions": 10, "total_tokens": 110}, (100, 10),
         "usage: The output count is missing; read as 10."),
        ({"prompt_tokens": 100, "completions": 10}, (100, 0),
         "usage: The output count is missing; read as 0."),
        ({"prompts": 100, "completions": 10, "total_tokens": 110}, (110, 0),
         "usage: only a total of 110 can be read; taken for the input"),
    ],
)  # fmt: skip
def test_a_misspelt_output_count_is_reported(
    usage: dict[str, Any], counts: tuple[int, int], said: str
) -> None:
    record = closed_after({"usage": usage})
    assert (record.usage.input_tokens, record.usage.output_tokens) == counts
    assert (record.status, record.reason) == ("estimated", said)


@pytest.mark.parametrize("usage", [{"prompt_tokens": 7, "total_tokens": 7}, {"prompt_tokens": 7},
                                   {"total_tokens": 7}])  # fmt: skip
def test_embeddings_lack_no_output(usage: dict[str, Any]) -> None:
    records: list[CallRecord] = []
    request = CallRequest(operation="embeddings", provider="openai", model="m")
    call = Call(request, lambda call: records.append(call.record(estimate)))
    call.observe({"usage": usage})
    call.close()
    record = the_only(records)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.output_tokens) == (7, 0)
    assert (record.status, record.reason) == ("estimated", None)


def test_what_is_left_of_the_total_is_a_count_and_reported() -> None:
    usage = {"promt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    record = closed_after({"usage": usage})
    assert (record.usage.input_tokens, record.status) == (10, "estimated")
    assert record.reason == "usage: The input count is missing; read as 10."


TIMINGS = {"cache_n": 236, "prompt_n": 1, "prompt_ms": 31.0, "predicted_n": 35, "predicted_ms": 661}


def test_the_timings_of_llama_cpp_are_exact_counts() -> None:
    record = closed_after(text("x" * 43), {"choices": [], "timings": TIMINGS})
    counts = (record.usage.input_tokens, record.usage.cached_input_tokens)
    assert counts == (237, 236)
    assert (record.usage.output_tokens, record.usage.estimated) == (35, ())
    assert (record.status, record.reason) == ("estimated", None)


def test_a_usage_comes_before_timings() -> None:
    record = closed_after({"usage": USAGE, "timings": TIMINGS})
    assert record.usage.input_tokens == 10


def test_timings_without_counts_are_no_usage() -> None:
    record = closed_after(text("x" * 43), {"timings": {"queue": 0.5, "predicted_n": None}})
    assert record.reason == "no usage in the stream"


def test_what_a_prompt_holds_beside_text_is_reported_where_it_had_to_be_counted() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://localhost/1.png"}}
    call, records = new_call(prompt={"messages": [{"role": "user", "content": [image]}]})
    call.observe({"choices": [{"message": {"content": "x" * 43}}]})
    call.close()
    record = the_only(records)
    assert record.usage is not None
    assert (record.usage.input_tokens, record.usage.input_image_tokens) == (772, 765)
    assert record.reason == "no usage in the response; an image is taken for 765 tokens"


def test_a_prompt_of_any_depth_loses_no_call() -> None:
    content: object = "x" * 43
    for _ in range(5000):
        content = [{"content": content}]
    call, records = new_call(prompt={"messages": [{"role": "user", "content": content}]})
    call.observe({"choices": [{"message": {"content": "x" * 43}}]})
    call.close()
    assert records[0].usage is not None
    assert records[0].usage.input_tokens == 4 + 10 + 3


class Unreadable(dict[str, Any]):
    """A body that raises where it is looked into."""

    def get(self, *args: Any) -> Any:
        raise RuntimeError


def test_a_prompt_that_cannot_be_read_loses_no_call() -> None:
    call, records = new_call(prompt=Unreadable())
    call.observe({"choices": [{"message": {"content": "x" * 43}}]})
    call.close()
    record = the_only(records)
    assert (record.status, record.usage) == ("unestimated", None)
    assert record.reason == "the tokens cannot be read: RuntimeError"


@pytest.mark.parametrize(
    ("details", "rate"),
    [
        ({}, 40.0),
        ({"completion_tokens_details": {"reasoning_tokens": 60}}, 10.0),
        ({"completion_tokens_details": {"reasoning_tokens": 80}}, None),
    ],
)
def test_the_rate_of_a_stream_is_that_of_its_visible_tokens(
    details: dict[str, Any], rate: float | None
) -> None:
    # 81 tokens: the first is there when the clock starts, hidden reasoning was before that.
    rates: list[float | None] = []

    def keep_rate(
        asked: str | None, answered: str | None, usage: TokenUsage, seen: ServingEvidence | None
    ) -> Outcome:
        rates.append(None if seen is None else seen.tokens_per_second)
        return Outcome()

    call, _ = new_call(stream=True)
    call.observe({"usage": {"prompt_tokens": 10, "completion_tokens": 81} | details})
    call.first_chunk_at, call.ended_at = 100.0, 102.0
    call.record(keep_rate)
    assert rates == [rate]


WRONG_USAGES: list[tuple[object, str]] = [
    ("many", "a string"),
    ("", "a string"),
    ([1], "a list"),
    ([], "a list"),
    (5, "a number"),
    (0.5, "a number"),
    (True, "a boolean"),
    (False, "a boolean"),
]
REASONS: list[tuple[tuple[object, ...], BaseException | None, str]] = [
    ((), None, "nothing was read"),
    ((None,), None, "no usage in the response"),
    (({"choices": []},), None, "no usage in the response"),
    (({"usage": {"seconds": 3}},), None, "no token counts in the usage"),
    (({"usage": {}},), None, "no token counts in the usage"),
    *(
        (({"usage": usage},), None, f"usage is {what}, not an object")
        for usage, what in WRONG_USAGES
    ),
    ((), TimeoutError(), "failed with TimeoutError"),
    (({"choices": []},), ValueError(), "failed with ValueError"),
]


@pytest.mark.parametrize(("data", "error", "reason"), REASONS)
def test_a_call_without_tokens_states_why(
    data: tuple[object, ...], error: BaseException | None, reason: str
) -> None:
    record = closed_after(*data, error=error)
    assert (record.status, record.usage, record.estimate) == ("unestimated", None, None)
    assert record.reason == reason


@pytest.mark.parametrize(("usage", "what"), WRONG_USAGES)
@pytest.mark.parametrize("place", ["usage", "response"])
def test_a_usage_of_a_wrong_kind_beside_text_is_named(usage: object, what: str, place: str) -> None:
    body = {"usage": usage}
    record = closed_after(text("x" * 43), body if place == "usage" else {"response": body})
    assert (record.status, record.reason) == ("partial", f"usage is {what}, not an object")


def test_a_usage_of_a_wrong_kind_gives_way_to_a_right_one() -> None:
    for bodies in ([{"usage": [1]}, {"usage": USAGE}], [{"usage": USAGE}, {"usage": "many"}]):
        record = closed_after(text("x"), *bodies)
        assert (record.usage.output_tokens, record.reason) == (5, None)


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
