"""A sum over several requests is no call: it has its requests, its mean and its own range."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking import Tracker
from energy_tracking.calls.aggregates import SPREAD, estimate_sum
from energy_tracking.calls.record import Outcome
from energy_tracking.estimation import Estimation
from energy_tracking.logs.formats import breakdowns
from energy_tracking.logs.formats.breakdowns import OF_CALLS, OF_CONVERSATION, OF_SESSIONS
from energy_tracking.logs.formats.nested_rows import WITHOUT_PARTS
from energy_tracking.logs.logged import LoggedCall, PlainCounts
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from energy_tracking.settings import Settings
from energy_tracking.usage.token_usage import TokenUsage
from log_samples.common import DATA, SHARED


def estimation(method: str = "reference") -> Estimation:
    return Estimation(Settings.load({"method": method}))


def outcome_of(call: LoggedCall, estimation: Estimation) -> Outcome:
    assert call.usage is not None
    return estimate_sum(
        call.usage, call.requests, lambda usage: estimation.estimate(call.model, None, usage)
    )


def one(path: Path) -> LoggedCall:
    (call,) = read_logs([path])
    return call


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), "utf-8")
    return path


def joules(usage: dict[str, int], model: str = "gpt-4o-mini") -> float:
    energy = Tracker().record(model=model, usage=usage).total_energy_joules
    assert energy is not None
    return energy


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 50_000_000, "completion_tokens": 2_000_000},
        {"prompt_tokens": 5_000_000_000, "completion_tokens": 10},
        # A day's sum, which only Llama 4 Scout could take.
        {"prompt_tokens": 2_500_000, "completion_tokens": 10},
        {"prompt_tokens": 10, "completion_tokens": 5_000_000},
        {"input_tokens": 7_000_000_000, "output_tokens": 9_000_000_000},
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_more_tokens_than_any_model_takes_are_no_call(
    usage: dict[str, int], is_nested: bool, tmp_path: Path
) -> None:
    document = {"usage": usage} if is_nested else usage
    call = one(write(tmp_path / "log.json", {"model": "gpt-4o"} | document))
    assert (call.is_call, call.requests) == (False, None)
    assert call.usage is not None
    assert [call.usage.input_tokens, call.usage.output_tokens] == list(usage.values())
    assert outcome_of(call, estimation()).estimate is None


@pytest.mark.parametrize(
    ("row", "requests"),
    [
        ({"usage": {"prompt_tokens": 3000, "completion_tokens": 200}, "requests": 900}, 900),
        ({"input_tokens": 3000, "output_tokens": 200, "num_model_requests": 5}, 5),
        # A count that is wrong: there are tokens.
        ({"input_tokens": 3000, "output_tokens": 200, "num_model_requests": 0}, None),
        ({"prompt_tokens": 3000, "completion_tokens": 200, "api_requests": 12}, 12),
        # Anthropic's console: a row per day and model, whose requests nobody counted.
        ({"usage_date_utc": "2025-08-01", "usage_input_tokens_no_cache": 2900,
          "usage_input_tokens_cache_read": 100, "usage_output_tokens": 200}, None),
        ({"usage_date_utc": "2025-08-01", "usage_input_tokens_no_cache": 1000,
          "usage_input_tokens_cache_write_5m": 500, "usage_input_tokens_cache_write_1h": 1400,
          "usage_input_tokens_cache_read": 100, "usage_output_tokens": 200}, None),
    ],
)  # fmt: skip
def test_a_row_that_counts_its_requests_is_a_sum(
    row: dict[str, Any], requests: int | None, tmp_path: Path
) -> None:
    call = one(write(tmp_path / "log.json", {"model": "gpt-4o"} | row))
    assert (call.is_call, call.requests) == (False, requests)
    assert call.counts is not None
    assert (call.counts.input_tokens, call.counts.output_tokens) == (3000, 200)


def test_of_two_exports_of_a_day_the_later_one_counts(tmp_path: Path) -> None:
    def export(name: str, requests: int) -> Path:
        path = tmp_path / name
        amounts = {"request_count": requests, "input_cache_miss_tokens": 300 * requests}
        row = {"user_id": "u", "utc_date": "2026-06-03", "model": "gpt-4o", "price": ""}
        rows = (row | {"type": kind, "amount": amount} for kind, amount in amounts.items())
        path.write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
        return path

    exports = [export("noon.jsonl", 5), export("evening.jsonl", 8)]
    (call,) = read_logs(exports)
    assert (call.requests, call.tokens) == (8, 2400)


SESSION = {"session_id": "a", "model": "o1", "input_tokens": 90, "output_tokens": 30}
USAGE = {"session_id": "a", "model": "o1", "usage": {"input_tokens": 90, "output_tokens": 30}}
START = {"start_time": "2026-05-01T10:00:03Z"}


@pytest.mark.parametrize("row", [SESSION, USAGE])
@pytest.mark.parametrize(
    "beside",
    [
        *({"message_count": 14}, {"duration_minutes": 3}, {"turns": 7}, {"num_messages": 2}),
        *({"messageCount": 14}, {"user_messages": 7}, {"durationHours": 2}),
    ],
)
def test_a_row_of_a_session_is_a_sum(
    row: dict[str, Any], beside: dict[str, int], tmp_path: Path
) -> None:
    report = ReadReport()
    rows = [row | beside, row | beside | {"session_id": "b"}]
    calls = list(read_logs([write(tmp_path / "log.json", rows)], report=report))
    assert [call.requests for call in calls] == [None, None]
    said = OF_SESSIONS if "turns" not in beside else None
    assert list(report.assumed) == ([said] if said else [])
    assert not report.doubted


@pytest.mark.parametrize("row", [SESSION, USAGE])
@pytest.mark.parametrize("name", ["num_requests", "requestCount", "llm_calls", "totalApiCalls"])
def test_a_usage_beside_the_number_of_its_requests_is_a_sum(
    row: dict[str, Any], name: str, tmp_path: Path
) -> None:
    assert one(write(tmp_path / "log.json", [row | {name: 3}])).requests == 3


@pytest.mark.parametrize("row", [SESSION, USAGE])
def test_rows_of_one_session_are_calls_however_long_their_prompts(
    row: dict[str, Any], tmp_path: Path
) -> None:
    rows = [row | {"num_messages": number} for number in (1, 3, 5)]
    calls = list(read_logs([write(tmp_path / "log.json", rows)]))
    assert [call.requests for call in calls] == [1, 1, 1]


def test_of_a_long_table_the_first_rows_say_whether_they_are_of_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(breakdowns, "HELD", 3)
    path = tmp_path / "log.json"
    rows = [SESSION | {"session_id": str(number), "num_messages": 3} for number in range(9)]
    assert {call.requests for call in read_logs([write(path, rows)])} == {None}
    rows = [SESSION | {"num_messages": number} for number in range(9)]
    assert {call.requests for call in read_logs([write(path, rows)])} == {1}


def test_a_session_that_lasts_longer_than_a_client_waits_is_a_sum(tmp_path: Path) -> None:
    long = SESSION | START | {"end_time": "2026-05-01T10:31:07Z"}
    short = SESSION | START | {"end_time": "2026-05-01T10:00:07Z"}
    assert one(write(tmp_path / "long.json", [long])).requests is None
    assert one(write(tmp_path / "short.json", [short])).requests == 1


def test_rows_with_a_session_and_no_time_are_calls_which_is_said(tmp_path: Path) -> None:
    report = ReadReport()
    (call,) = read_logs([write(tmp_path / "log.json", [SESSION])], report=report)
    (said,) = report.omissions()
    assert call.is_call
    assert "it names a session and no time, whose sum it may be" in said


ROWS = [
    {"model": "o1", "input_tokens": 20, "output_tokens": 2, "requests": 2},
    {"model": "o3", "input_tokens": 10, "output_tokens": 1, "requests": 3},
]
USERS = [{"user": "ann", "input_tokens": 30, "output_tokens": 3, "requests": 5}]
TOTAL = {"input_tokens": 30, "output_tokens": 3, "requests": 5}
BY_NAME = {row["model"]: {k: v for k, v in row.items() if k != "model"} for row in ROWS}
DAY = "2026-05-01"


@pytest.mark.parametrize(
    "document",
    [
        {"total": TOTAL, "by_model": BY_NAME},
        {"by_user": USERS, "by_model": ROWS},
        {"by_model": ROWS, "by_user": USERS},
        TOTAL | {"models": ROWS},
        {
            "by_user": [TOTAL | {"name": "ann"}],
            "by_model": [
                {"name" if k == "model" else k: v for k, v in row.items()} for row in ROWS
            ],
        },
        {"days": [{"date": DAY, "models": ROWS} | TOTAL]},
        {"usage": [{"date": DAY, "by_key": ROWS}]},
        {DAY: BY_NAME},
        {DAY: {"models": ROWS, "total": TOTAL}},
    ],
    ids=repr,
)
def test_a_sum_around_rows_with_the_same_totals_does_not_count(
    document: dict[str, Any], tmp_path: Path
) -> None:
    calls = list(read_logs([write(tmp_path / "log.json", document)]))
    counts = [(call.model, call.requests, call.tokens) for call in calls]
    assert counts == [("o1", 2, 22), ("o3", 3, 11)]
    times = {call.time and call.time.date().isoformat() for call in calls}
    assert times == {DAY if DAY in repr(document) else None}


def _bucket(*results: dict[str, Any]) -> dict[str, Any]:
    common = {"object": "organization.usage.completions.result", "user_id": None, "model": None}
    listed = [
        common | {"input_tokens": 10 * n, "output_tokens": n, "num_model_requests": n} | named
        for named in results
        for n in [named.pop("n")]
    ]
    bucket = {"start_time": 1_746_057_600, "end_time": 1_746_144_000, "results": listed}
    return {"object": "page", "data": [bucket], "has_more": False}


def test_a_usage_page_by_model_counts_in_place_of_one_by_user_or_of_all(tmp_path: Path) -> None:
    pages = [
        _bucket({"n": 30}),
        _bucket({"n": 20, "model": "o1"}, {"n": 10, "model": "o3"}),
        _bucket({"n": 5, "user_id": "a"}, {"n": 25, "user_id": "b"}),
    ]
    paths = [write(tmp_path / f"{n}.json", page) for n, page in enumerate(pages)]
    calls = list(read_logs(paths))
    assert [(call.model, call.requests) for call in calls] == [("o1", 20), ("o3", 10)]


def test_a_page_of_days_counts_in_place_of_its_totals(tmp_path: Path) -> None:
    def metrics(n: int) -> dict[str, Any]:
        return {"metrics": {"prompt_tokens": 10 * n, "completion_tokens": n, "api_requests": n}}

    models = {"o1": metrics(20), "o3": metrics(10)}
    day = {"date": DAY, "breakdown": {"models": models, "api_keys": {"k": metrics(30)}}}
    document = {
        "results": [day | metrics(30)],
        "metadata": {"total_prompt_tokens": 300, "total_completion_tokens": 30,
                     "total_api_requests": 30, "page": 1},
    }  # fmt: skip
    calls = list(read_logs([write(tmp_path / "log.json", document)]))
    assert [(call.model, call.requests) for call in calls] == [("o1", 20), ("o3", 10)]


SUMMARIES: dict[str, str] = {
    "with a number.json": '{"calls": 2, "total_input_tokens": 33, "total_output_tokens": 11}',
    "without one.json": '{"total_input_tokens": 33, "total_output_tokens": 11}',
    "by model.csv": "model,requests,input_tokens,output_tokens\no1,1,20,6\no3,1,13,5\n",
    "a usage.json": json.dumps(
        {"model": "o1", "requests": 2, "usage": {"prompt_tokens": 33, "completion_tokens": 11}}
    ),
    "turns.json": json.dumps(
        {"model": "o1", "num_turns": 2, "usage": {"prompt_tokens": 33, "completion_tokens": 11}}
    ),
}


@pytest.mark.parametrize("name", SUMMARIES)
@pytest.mark.parametrize("first", ["calls", "the sum"])
def test_the_sum_of_calls_in_another_file_does_not_count(
    name: str, first: str, tmp_path: Path
) -> None:
    usages = [{"prompt_tokens": 20, "completion_tokens": 6},
              {"prompt_tokens": 13, "completion_tokens": 5}]  # fmt: skip
    rows = [{"id": f"chatcmpl-{n:024}", "model": "o1", "usage": usages[n]} for n in range(2)]
    paths = [write(tmp_path / "calls.json", rows), tmp_path / name]
    paths[1].write_text(SUMMARIES[name], "utf-8")
    report = ReadReport()
    calls = list(read_logs(paths if first == "calls" else paths[::-1], report=report))
    assert [(call.requests, call.tokens) for call in calls] == [(1, 26), (1, 18)]
    assert list(report.assumed) == [OF_CALLS]


def test_a_sum_of_other_calls_counts_beside_them(tmp_path: Path) -> None:
    rows = [{"model": "o1", "usage": {"prompt_tokens": 20, "completion_tokens": 6}}] * 2
    other = {"num_calls": 3, "total_input_tokens": 40, "total_output_tokens": 12}
    paths = [write(tmp_path / "calls.json", rows), write(tmp_path / "other.json", other)]
    assert sum(call.requests or 0 for call in read_logs(paths)) == 5


def test_of_days_and_months_of_one_file_the_days_count(tmp_path: Path) -> None:
    counts = {"inputTokens": 20, "outputTokens": 2, "modelsUsed": ["o1"]}
    document = {"monthly": [{"month": "2026-05"} | counts], "daily": [{"date": DAY} | counts]}
    assert one(write(tmp_path / "log.json", document)).tokens == 22


def test_months_hold_lists_of_rows(tmp_path: Path) -> None:
    months = {"2026-05": ROWS, "2026-06": [ROWS[0] | {"requests": 9}]}
    calls = list(read_logs([write(tmp_path / "log.json", months)]))
    counts = [(call.model, call.requests, call.time and call.time.month) for call in calls]
    assert counts == [("o1", 2, 5), ("o3", 3, 5), ("o1", 9, 6)]


def test_rows_under_days_are_sums_of_these(tmp_path: Path) -> None:
    days = {DAY: {"input_tokens": 20, "output_tokens": 2}}
    call = one(write(tmp_path / "log.json", days))
    assert (call.requests, call.tokens, call.time and call.time.day) == (None, 22, 1)


def test_usage_by_model_alone_is_a_sum_for_each_with_its_parts(tmp_path: Path) -> None:
    # What a callback of LangChain counts.
    usage = {"input_tokens": 80, "output_tokens": 21, "total_tokens": 101}
    models = {"gpt-4o-mini-2024-07-18": usage | {"input_token_details": {"audio": 0}},
              "claude-3-5-haiku-20241022": usage | {"input_token_details": {"cache_read": 64}},
              }  # fmt: skip
    sums = list(read_logs([write(tmp_path / "usage.json", models)]))
    assert [(total.model, total.requests) for total in sums] == [(name, None) for name in models]
    counts = [(one.input_tokens, one.cached_input_tokens) for s in sums if (one := s.usage)]
    assert counts == [(80, 0), (80, 64)]


def test_a_row_of_several_requests_has_the_parts_in_its_details(tmp_path: Path) -> None:
    day = {"date": "2026-05-01", "model": "gpt-4o", "requests": 3, "prompt_tokens": 300,
           "completion_tokens": 60, "prompt_tokens_details": {"cached_tokens": 100}}  # fmt: skip
    total = one(write(tmp_path / "days.json", [day]))
    assert total.usage is not None
    assert (total.requests, total.usage.cached_input_tokens) == (3, 100)


def test_calls_in_a_list_count_in_place_of_their_sum(tmp_path: Path) -> None:
    listed = [{"model": "o1", "input_tokens": 20, "output_tokens": 2}] * 2
    document = {"total_input_tokens": 40, "total_output_tokens": 4, "calls": listed}
    calls = list(read_logs([write(tmp_path / "log.json", document)]))
    assert [(call.requests, call.tokens) for call in calls] == [(1, 22)] * 2


def test_lists_of_equal_calls_all_count(tmp_path: Path) -> None:
    listed = [{"model": "o1", "input_tokens": 20, "output_tokens": 2}]
    document = {"first agent": listed, "second agent": listed}
    assert len(list(read_logs([write(tmp_path / "log.json", document)]))) == 2


def test_a_sum_of_more_than_lies_inside_counts_itself(tmp_path: Path) -> None:
    document = {"input_tokens": 50, "output_tokens": 5, "requests": 9, "models": ROWS}
    call = one(write(tmp_path / "log.json", document))
    assert (call.requests, call.tokens) == (9, 55)


def test_the_largest_context_there_is_is_a_call(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 10_000_000, "completion_tokens": 128_000}
    assert one(write(tmp_path / "log.json", {"model": "llama-4-scout"} | usage)).is_call


def test_a_sum_has_the_energy_of_its_requests_at_their_mean() -> None:
    # 470 requests, 141,201 and 9,756 tokens: 300.43 and 20.76 each.
    estimate = outcome_of(one(DATA / "openai_usage_page.json"), estimation()).estimate
    assert estimate is not None
    least = 470 * joules({"prompt_tokens": 300, "completion_tokens": 20})
    most = 470 * joules({"prompt_tokens": 301, "completion_tokens": 21})
    assert least < estimate.total_energy_joules < most


def test_a_sum_of_equal_requests_has_the_energy_of_each(tmp_path: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500}
    row = {"model": "gpt-4o-mini", "requests": 7} | {name: 7 * n for name, n in usage.items()}
    estimate = outcome_of(one(write(tmp_path / "log.json", row)), estimation()).estimate
    assert estimate is not None
    assert estimate.total_energy_joules == pytest.approx(7 * joules(usage), rel=1e-12)


def test_the_range_of_a_sum_has_room_for_the_spread_of_lengths() -> None:
    estimate = outcome_of(one(DATA / "openai_usage_page.json"), estimation()).estimate
    assert estimate is not None
    usage = TokenUsage(input_tokens=141_201 // 470, output_tokens=9756 // 470)
    mean = estimation().estimate("gpt-4o-mini", None, usage).estimate
    assert mean is not None
    low = estimate.total_energy_low_joules / estimate.total_energy_joules
    high = estimate.total_energy_high_joules / estimate.total_energy_joules
    own = mean.total_energy_joules
    assert low == pytest.approx(mean.total_energy_low_joules / own * SPREAD[0], rel=0.03)
    assert high == pytest.approx(mean.total_energy_high_joules / own * SPREAD[1], rel=0.03)


TRACES = [
    "azure2023_AzureLLMInferenceTrace_code.csv",
    "azure2023_AzureLLMInferenceTrace_conv.csv",
    "mooncake_conversation_trace.jsonl",
]


@pytest.mark.skipif(
    not (SHARED / "traces").exists(), reason="needs the request traces of ../shared/traces"
)
@pytest.mark.parametrize("method", ["reference", "roofline"])
@pytest.mark.parametrize("trace", TRACES)
def test_real_requests_lie_in_the_spread_around_their_mean(trace: str, method: str) -> None:
    calls = [call for call, _ in zip(read_logs([SHARED / "traces" / trace]), range(500))]  # noqa: B905
    estimator = estimation(method)

    def total(*entries: LoggedCall) -> float:
        found = (estimator.estimate("gpt-4o-mini", None, call.usage) for call in entries)  # type: ignore[arg-type]
        return sum(one.estimate.total_energy_joules for one in found if one.estimate)

    counts = [call.counts for call in calls if isinstance(call.counts, PlainCounts)]
    whole = LoggedCall(
        model="gpt-4o-mini",
        requests=len(counts),
        counts=counts[0]._replace(
            input_tokens=sum(one.input_tokens for one in counts),
            cached_input_tokens=sum(one.cached_input_tokens for one in counts),
            output_tokens=sum(one.output_tokens for one in counts),
        ),
    )
    estimate = outcome_of(whole, estimator).estimate
    assert estimate is not None
    assert SPREAD[0] <= total(*calls) / estimate.total_energy_joules <= SPREAD[1]


@pytest.mark.parametrize("kept", ["ui", "api", "both"])
def test_a_task_of_cline_counts_once_whatever_of_it_is_there(kept: str, tmp_path: Path) -> None:
    asked = {"ts": 1_758_738_048_000, "type": "say", "say": "api_req_started",
             "text": json.dumps({"tokensIn": 100, "tokensOut": 20})}  # fmt: skip
    answered = {"ts": 1_758_738_048_000, "role": "assistant", "content": [], "metrics": {
        "tokens": {"prompt": 100, "completion": 20, "cached": 0}}, "modelInfo": {}}  # fmt: skip
    task = {"id": "1758738048", "ts": 1_758_738_049_000, "task": "x", "tokensIn": 100,
            "tokensOut": 20}  # fmt: skip
    folder = tmp_path / "1758738048"
    folder.mkdir()
    if kept != "api":
        (folder / "ui_messages.json").write_text(json.dumps([asked]), "utf-8")
    if kept != "ui":
        (folder / "api_conversation_history.json").write_text(json.dumps([answered]), "utf-8")
    (tmp_path / "taskHistory.json").write_text(json.dumps([task]), "utf-8")
    calls = list(read_logs([tmp_path]))
    assert [(call.requests, call.tokens) for call in calls] == [(1, 120)]


CONVERSATION = {"id": "a", "model": "o1", "input_tokens": 90, "output_tokens": 30}
COUNTED = {"id": "a", "model": "o1", "usage": {"input_tokens": 90, "output_tokens": 30}}


@pytest.mark.parametrize("row", [CONVERSATION, COUNTED])
@pytest.mark.parametrize(
    ("beside", "is_doubted"),
    [({"message_count": 14}, True), ({"num_messages": 1}, False), ({"session_id": "s"}, False),
     ({"message_count": 14, "session_id": "s"}, False), ({"messages": [{}, {}]}, False),
     ({"messages": 14}, True), ({"messages": "[]"}, False)],
)  # fmt: skip
def test_a_row_with_an_id_that_may_be_a_conversation_is_a_call_which_is_said(
    row: dict[str, Any], beside: dict[str, Any], is_doubted: bool, tmp_path: Path
) -> None:
    report = ReadReport()
    rows = [row | beside, row | beside | {"id": "b"}]
    path = write(tmp_path / "log.json", rows)
    assert [call.requests for call in read_logs([path], report=report)] == [1, 1]
    assert [OF_CONVERSATION in said for said in report.omissions()] == [True] * is_doubted


@pytest.mark.parametrize(
    ("beside", "requests"), [({"requests": 7}, 7), ({"llm_calls": 7}, 7), ({"turns": 7}, None)]
)
def test_a_row_with_an_id_and_several_requests_is_a_sum(
    beside: dict[str, int], requests: int | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "log.json", [CONVERSATION | beside])
    assert [call.requests for call in read_logs([path])] == [requests]


@pytest.mark.parametrize("row", [SESSION, USAGE])
@pytest.mark.parametrize(("messages", "requests"), [(7, None), ([{}], 1), ("hello", 1)])
def test_the_messages_of_a_session_are_a_number_in_a_sum(
    row: dict[str, Any], messages: object, requests: int | None, tmp_path: Path
) -> None:
    path = write(tmp_path / "log.json", [row | {"messages": messages}])
    assert [call.requests for call in read_logs([path])] == [requests]


def test_how_many_requests_a_conversation_has_can_be_said(tmp_path: Path) -> None:
    columns = {"input": "input_tokens", "output": "output_tokens", "requests": "message_count"}
    path = write(tmp_path / "log.json", [CONVERSATION | {"message_count": 14}])
    assert [call.requests for call in read_logs([path], columns=columns)] == [14]


def browser_use(**by_model: tuple[int, int]) -> dict[str, Any]:
    """What browser-use has as the usage of a run.

    Source: https://github.com/browser-use/browser-use/blob/main/browser_use/tokens/views.py (MIT)
    """
    models = {
        model: {"model": model, "prompt_tokens": inputs, "completion_tokens": outputs,
                "total_tokens": inputs + outputs, "cost": 0.1, "invocations": 2,
                "average_tokens_per_invocation": (inputs + outputs) / 2}
        for model, (inputs, outputs) in by_model.items()
    }  # fmt: skip
    inputs, outputs = map(sum, zip(*by_model.values(), strict=True))
    return {
        "total_prompt_tokens": inputs, "total_prompt_cost": 0.1,
        "total_prompt_cached_tokens": 300, "total_prompt_cached_cost": 0.01,
        "total_completion_tokens": outputs, "total_completion_cost": 0.02,
        "total_tokens": inputs + outputs, "total_cost": 0.13, "entry_count": 4,
        "by_model": models,
    }  # fmt: skip


@pytest.mark.parametrize("is_alone", [True, False])
def test_a_usage_of_browser_use_keeps_its_cached_tokens(is_alone: bool, tmp_path: Path) -> None:
    usage = browser_use(o1=(500, 30))
    document = usage if is_alone else {"task": "t", "history": [{"result": []}], "usage": usage}
    call = one(write(tmp_path / "log.json", document))
    assert (call.model, call.requests) == ("o1", 2)
    assert call.usage == TokenUsage(500, 300, 0, 30, dialect="sum")


@pytest.mark.parametrize("is_alone", [True, False])
def test_cached_tokens_of_several_models_together_are_reported(
    is_alone: bool, tmp_path: Path
) -> None:
    usage = browser_use(o1=(500, 30), o3=(100, 10))
    report = ReadReport()
    path = write(tmp_path / "log.json", usage if is_alone else {"task": "t", "usage": usage})
    calls = list(read_logs([path], report=report))
    assert [(call.model, call.tokens) for call in calls] == [("o1", 530), ("o3", 110)]
    assert list(report.assumed) == [WITHOUT_PARTS]


@pytest.mark.parametrize("model", [None, "o1"])
def test_a_usage_by_the_names_of_sums_is_not_taken_for_its_total(
    model: str | None, tmp_path: Path
) -> None:
    usage = {"total_prompt_tokens": 500, "total_completion_tokens": 30, "total_tokens": 530}
    call = one(write(tmp_path / "log.json", {"usage": usage} | ({"model": model} if model else {})))
    assert (call.model, call.requests) == (model, None)
    assert call.counts is not None
    assert (call.counts.input_tokens, call.counts.output_tokens) == (500, 30)


def test_a_usage_by_names_of_columns_is_not_taken_for_its_total(tmp_path: Path) -> None:
    usage = {"tokens_in": 500, "tokens_out": 30, "tokens_cached": 300, "total_tokens": 530}
    call = one(write(tmp_path / "log.json", {"id": "r", "model": "o1", "usage": usage}))
    assert (call.model, call.requests, call.response_id) == ("o1", 1, "r")
    assert call.usage is not None
    assert call.usage.cached_input_tokens == 300
    assert (call.usage.input_tokens, call.usage.output_tokens) == (500, 30)
