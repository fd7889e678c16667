"""Of a call that lies around another, one counts; a sum without its calls is said."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.formats import nesting
from energy_tracking.logs.formats.nesting import NO_CALLS, NO_ID
from energy_tracking.logs.formats.telemetry.span_calls import UNKNOWN_COUNTS
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import exported, genai, span


def read(*paths: Path) -> tuple[list[LoggedCall], ReadReport]:
    report = ReadReport()
    return list(read_logs(paths, report=report)), report


def write(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), "utf-8")
    return path


def counts(calls: list[LoggedCall]) -> list[tuple[int, int]]:
    return [(one.counts.input_tokens, one.counts.output_tokens) for one in calls if one.counts]


def run(kind: str, own: str, parent: str | None = None, **more: Any) -> dict[str, Any]:
    tokens = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
    return {"id": own, "run_type": kind, "parent_run_id": parent, "trace_id": "t",
            "extra": {"metadata": {"ls_model_name": "gpt-4o"}}} | tokens | more  # fmt: skip


RUNS = [run("chain", "a"), run("llm", "b", "a"), run("chain", "c", "b"), run("llm", "d", "c")]


# The entry that links two calls comes before one of them.
RUN_ORDERS = [
    order
    for order in itertools.permutations(range(4))
    if order.index(2) < max(order.index(1), order.index(3))
]


@pytest.mark.parametrize("order", RUN_ORDERS)
def test_a_run_inside_of_a_run_counts_once_in_any_order(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "runs.jsonl", *(RUNS[place] for place in order)))
    assert (counts(calls), report.unread) == ([(10, 20)], {})


def test_a_run_inside_of_a_run_counts_once_where_it_is_a_child(tmp_path: Path) -> None:
    chain, outer, tool, inner = RUNS
    tree = chain | {"child_runs": [outer | {"child_runs": [tool | {"child_runs": [inner]}]}]}
    calls, report = read(write(tmp_path / "runs.json", tree))
    assert (counts(calls), report.unread) == ([(10, 20)], {})


def test_a_failed_attempt_inside_of_a_run_does_not_hide_its_tokens(tmp_path: Path) -> None:
    none = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    failed = run("llm", "b", "a", error="RateLimitError: wait") | none
    calls, _ = read(write(tmp_path / "runs.json", run("llm", "a", child_runs=[failed])))
    assert (len(calls), counts(calls)) == (2, [(10, 20)])


# The outer call, one that is none, and the inner call, all of which end at once.
SPANS = [
    span("outer", "a", "", **genai(10, 3)),
    span("tool", "b", "a"),
    span("inner", "c", "b", **genai(10, 3)),
]


@pytest.mark.parametrize("ends", [("9", "9", "9"), ("7", "8", "9"), ("9", "8", "7")])
@pytest.mark.parametrize(
    ("layout", "order"),
    [
        (layout, order)
        for layout in ("document", "lines", "files")
        for order in itertools.permutations(range(3))
        # As for runs, but for a document, which is read as a whole.
        if layout == "document" or order[-1] != 1
    ],
)
def test_a_call_span_around_a_call_span_counts_once_in_any_order(
    layout: str, order: tuple[int, ...], ends: tuple[str, ...], tmp_path: Path
) -> None:
    spans = [SPANS[place] | {"endTimeUnixNano": ends[place]} for place in order]
    if layout == "document":
        paths = [write(tmp_path / "spans.json", exported(*spans))]
    elif layout == "lines":
        paths = [write(tmp_path / "spans.jsonl", *map(exported, spans))]
    else:
        paths = [write(tmp_path / f"{n}.json", exported(one)) for n, one in enumerate(spans)]
    calls, report = read(*paths)
    assert (counts(calls), report.unread) == ([(10, 3)], {})


@pytest.mark.parametrize("turn", [1, -1])
def test_inside_of_a_document_the_inner_calls_count(turn: int, tmp_path: Path) -> None:
    spans = [
        span("outer", "a", "", **genai(30, 50)),
        span("one", "b", "a", **genai(10, 20)),
        span("two", "c", "a", **genai(20, 30)),
    ]
    calls, _ = read(write(tmp_path / "spans.json", exported(*spans[::turn])))
    assert sorted(counts(calls)) == [(10, 20), (20, 30)]


def test_the_memory_of_spans_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nesting, "REMEMBERED", 5)
    spans = [exported(span("chat", f"s{n}", f"p{n}", **genai(10, 3))) for n in range(50)]
    assert len(read(write(tmp_path / "spans.jsonl", *spans))[0]) == 50


AGENT = genai(30, 7) | {"gen_ai.operation.name": "invoke_agent"}


@pytest.mark.parametrize(
    "document",
    [exported(span("invoke_agent", "a", "", **AGENT)), run("chain", "a")],
    ids=["span", "run"],
)
def test_a_sum_without_its_calls_is_reported(document: dict[str, Any], tmp_path: Path) -> None:
    calls, report = read(write(tmp_path / "log.jsonl", document))
    assert calls == []
    assert {reason: unread.line for reason, unread in report.unread.items()} == {
        "the sum of an agent or chain, without its calls": 1
    }


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("is_folder", [False, True])
def test_a_sum_with_its_calls_is_not_reported(turn: int, is_folder: bool, tmp_path: Path) -> None:
    spans = [span("invoke_agent", "a", "", **AGENT), span("chat", "b", "a", **genai(30, 7))]
    entries = [exported(one) for one in spans[::turn]]
    paths = (
        [write(tmp_path / f"{number}.json", one) for number, one in enumerate(entries)]
        if is_folder
        else [write(tmp_path / "log.jsonl", *entries)]
    )
    calls, report = read(*paths)
    assert (counts(calls), report.unread) == ([(30, 7)], {})


@pytest.mark.parametrize("has_call", [False, True])
def test_a_span_that_counts_tokens_by_unknown_names_is_reported_unless_a_call_is_there(
    has_call: bool, tmp_path: Path
) -> None:
    unknown = {"my.llm.input_tokens": 100, "my.llm.output_tokens": 20, "my.max_output_tokens": 9}
    spans = [
        span("own", "s1", None, **unknown),
        span("tool", "s2", "s1", **{"my.max_output_tokens": 9}),
    ]
    if has_call:
        spans.append(span("chat", "s3", "s2", **genai(100, 20)))
    calls, report = read(write(tmp_path / "log.jsonl", *map(exported, spans)))
    assert len(calls) == has_call
    said = [one.partition(": ")[2] for one in report.omissions()]
    assert [one for one in said if "names of attributes" in one] == [
        "1 entry left out: a span that counts tokens by names of attributes that are not known "
        "(first: line 1)"
    ] * (not has_call)


UNKNOWN = {"my.tokens_in": 100, "my.tokens_out": 20}
NAMES = {"gen_ai.system": "x", "gen_ai.request.model": "gpt-4o"}
WITHOUT_IDS: dict[str, dict[str, Any]] = {
    "otlp": {
        "resourceSpans": [
            {
                "scopeSpans": [
                    {
                        "spans": [
                            {
                                "name": "chat",
                                "attributes": [{"key": "my.tokens_in", "value": {"intValue": "5"}}],
                            }
                        ]
                    }
                ]
            }
        ]
    },
    "printed": {"name": "chat", "context": {}, "attributes": NAMES | UNKNOWN},
    "nested": {"name": "chat", "context": {}, "attributes": {"my": {"input_tokens": 5}}},
    "jaeger": {
        "traceID": "t",
        "spans": [{"operationName": "chat", "tags": [{"key": "my.tokens_in", "value": 5}]}],
    },
    "zipkin": {"traceId": None, "id": None, "timestamp": 1, "duration": 1, "tags": UNKNOWN},
}


@pytest.mark.parametrize("form", WITHOUT_IDS)
def test_a_span_without_an_id_that_counts_tokens_by_unknown_names_is_reported(
    form: str, tmp_path: Path
) -> None:
    calls, report = read(write(tmp_path / "log.jsonl", WITHOUT_IDS[form]))
    assert (calls, list(report.unread)) == ([], [UNKNOWN_COUNTS + NO_ID])


def test_a_sum_of_an_agent_without_an_id_is_reported(tmp_path: Path) -> None:
    agent = genai(100, 20) | {"gen_ai.operation.name": "invoke_agent"}
    document = {"name": "agent", "context": {}, "attributes": agent}
    calls, report = read(write(tmp_path / "log.jsonl", document))
    assert (calls, list(report.unread)) == ([], [NO_CALLS + NO_ID])


UNCALLED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # A span of another kind that counts tokens, and the call inside of it.
    "datadog": (
        {"span_id": "1", "trace_id": "t", "span_kind": "agent", "metrics": {"input_tokens": 9}},
        {"span_id": "2", "parent_id": "1", "trace_id": "t", "span_kind": "llm",
         "metrics": {"input_tokens": 9, "output_tokens": 1}},
    ),
    "braintrust": (
        {"id": "1", "span_id": "1", "root_span_id": "1", "span_attributes": {"type": "task"},
         "metrics": {"prompt_tokens": 9, "completion_tokens": 1}},
        {"id": "2", "span_id": "2", "root_span_id": "1", "span_parents": ["1"],
         "span_attributes": {"type": "llm"},
         "metrics": {"prompt_tokens": 9, "completion_tokens": 1}},
    ),
    "opik": (
        {"id": "1", "trace_id": "t", "type": "general", "start_time": "2025-09-24T18:20:48Z",
         "usage": {"prompt_tokens": 9, "completion_tokens": 1}},
        {"id": "2", "parent_span_id": "1", "trace_id": "t", "type": "llm",
         "start_time": "2025-09-24T18:20:48Z",
         "usage": {"prompt_tokens": 9, "completion_tokens": 1}},
    ),
    "langfuse": (
        {"id": "1", "traceId": "t", "type": "AGENT", "usageDetails": {"input": 9, "output": 1}},
        {"id": "2", "traceId": "t", "type": "GENERATION", "parentObservationId": "1",
         "usageDetails": {"input": 9, "output": 1}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("tool", UNCALLED)
def test_counts_of_a_span_that_is_no_call_are_reported_unless_its_calls_are_there(
    tool: str, turn: int, tmp_path: Path
) -> None:
    around, call = UNCALLED[tool]
    calls, report = read(write(tmp_path / "a.jsonl", *(around, call)[::turn]))
    assert counts(calls) == [(9, 1)]
    assert not report.unread
    calls, report = read(write(tmp_path / "b.jsonl", around))
    assert not calls
    (said,) = report.omissions()
    assert "the sum of an agent or chain, without its calls" in said


@pytest.mark.parametrize("name", ["steps", "messages", "made so far"])
def test_usages_in_a_list_count_in_place_of_their_sum(name: str, tmp_path: Path) -> None:
    made = [{"usage": {"prompt_tokens": 10 * n, "completion_tokens": n}} for n in (1, 2)]
    document = {"model": "gpt-4o", "usage": {"prompt_tokens": 30, "completion_tokens": 3},
                "at": "2026-01-02T03:04:05Z", name: [{"role": "user"}, *made]}  # fmt: skip
    calls, report = read(write(tmp_path / "run.json", document))
    assert counts(calls) == [(10, 1), (20, 2)]
    assert {(call.model, call.time is None) for call in calls} == {("gpt-4o", False)}
    assert not report.unread


def test_a_usage_beside_others_that_are_no_parts_of_it_is_a_call(tmp_path: Path) -> None:
    said = [{"role": "assistant", "usage": {"prompt_tokens": 10, "completion_tokens": 1}}] * 2
    document = {"usage": {"prompt_tokens": 30, "completion_tokens": 3}, "messages": said}
    assert counts(read(write(tmp_path / "run.json", document))[0]) == [(30, 3)]
