"""Samples reduced from files in public repositories, each with its source and its licence."""

from __future__ import annotations

from typing import Any

from log_samples.common import Documents, Right, right


def _copilot(kind: str, hour: int, usage: tuple[int, int, int] | None = None) -> dict[str, Any]:
    """An event of a session of Copilot's command line, at its end with what its process took."""
    data: dict[str, Any] = {}
    if usage is not None:
        names = ("inputTokens", "outputTokens", "cacheReadTokens")
        data["modelMetrics"] = {"gpt-5": {"usage": dict(zip(names, usage, strict=True))}}
    return {"type": f"session.{kind}", "timestamp": f"2026-03-10T{hour:02}:00:00.000Z",
            "data": data}  # fmt: skip


def _gemini(inputs: int, outputs: int | None, thoughts: int | None, **more: Any) -> dict[str, Any]:
    """A chunk of a stream of Gemini's; the last one has a reason to finish."""
    counts = {"promptTokenCount": inputs, "candidatesTokenCount": outputs,
              "thoughtsTokenCount": thoughts, **more}  # fmt: skip
    candidate = {"content": {"role": "model"}, **({"finishReason": "STOP"} if more else {})}
    return {"candidates": [candidate],
            "usageMetadata": {name: n for name, n in counts.items() if n is not None}}  # fmt: skip


def _raaf(event: str, span: str, around: str | None, counts: tuple[int, int] | None = None) -> Any:
    """A span of RAAF's, when it starts and when it ends."""
    attributes: dict[str, Any] = {"llm.model": "gpt-4"}
    if counts is not None:
        names = ("llm.usage.prompt_tokens", "llm.usage.completion_tokens")
        attributes |= zip(names, counts, strict=True)
    return {
        "event": event, "timestamp": "2025-06-23T19:05:33Z",
        "span": {"span_id": span, "trace_id": "t", "parent_id": around, "name": "llm.completion",
                 "kind": "llm", "start_time": "2025-06-23T19:05:33Z",
                 "end_time": None if counts is None else "2025-06-23T19:05:34Z",
                 "attributes": attributes},
    }  # fmt: skip


def _answer(usage: dict[str, int]) -> dict[str, Any]:
    return {"type": "message", "model": "gpt-5", "usage": usage}


def _attributes(named: dict[str, object]) -> list[dict[str, object]]:
    return [
        {"key": key, "value": {"intValue" if type(value) is int else "stringValue": str(value)}}
        for key, value in named.items()
    ]


def _observation(
    name: str, parent: str | None, usage: object, kind: str | None = None, **more: object
) -> dict[str, object]:
    kind = kind or ("GENERATION" if usage else "SPAN")
    return {
        "id": name,
        "traceId": "t",
        "type": kind,
        "parentObservationId": parent,
        "startTime": "2026-03-09T10:15:00.100Z",
        "endTime": "2026-03-09T10:15:02.850Z",
        "model": None if kind == "SPAN" else "gpt-4o-mini",
        "usageDetails": usage or {},
        "output": {"usage_metadata": {"prompt_token_count": 39, "candidates_token_count": 6}},
        **more,
    }


PUBLIC_SAMPLES: list[tuple[str, Documents, Right]] = [
    # ccusage/ccusage rust/adapters/copilot/tests/fixtures (MIT): what one process says later has
    # what it said before; what was taken before a session was resumed, it does not know.
    (
        "copilot",
        [
            _copilot("start", 1), _copilot("shutdown", 2, (100, 50, 10)),
            _copilot("shutdown", 3, (200, 80, 20)), _copilot("resume", 4),
            _copilot("shutdown", 5, (60, 7, 0)),
        ],
        right(0, sums=((None, 200, 80), (None, 60, 7))),
    ),
    # The same (MIT): a span as JavaScript has it, in seconds and nanoseconds.
    (
        "otlp-span",
        [{"type": "span", "traceId": "t", "spanId": "s", "name": "chat gpt-5.4",
          "endTime": [1_769_995_200, 0], "attributes": {
              "gen_ai.operation.name": "chat", "gen_ai.response.model": "gpt-5.4",
              "gen_ai.usage.input_tokens": 7, "gen_ai.usage.output_tokens": 8}}],
        right(1, (7, 8), "gpt-5.4", first="2026-02-02T01:20:00+00:00"),
    ),
    # google-gemini/gemini-cli integration-tests/hooks-system.block-tool.responses (Apache-2.0):
    # one stream, whose input grew with its last chunk.
    (
        "gemini-response",
        [{"method": "generateContentStream", "response": [
            _gemini(13_182, None, None), _gemini(13_182, 16, 85),
            _gemini(13_442, 16, 85, cachedContentTokenCount=12_212, totalTokenCount=13_543)]}],
        right(1, (13_442, 101), None, cached=12_212, reasoning=85),
    ),
    # getagentseal/codeburn tests/fixtures/command-code (MIT): the usage lies beside the message.
    (
        "pi",
        [
            {"type": "session", "version": 3, "id": "s", "timestamp": "2026-09-29T12:05:07.804Z",
             "cwd": "/work"},
            {"type": "message", "id": "2", "parentId": "1",
             "timestamp": "2026-09-29T12:05:13.619Z",
             "message": {"role": "assistant", "content": []},
             "usage": {"inputTokens": 16_589, "outputTokens": 3, "cacheReadTokens": 5792,
                       "cacheWriteTokens": 0, "costUsd": 0},
             "model": "poolside/laguna-s-2.1-free"},
        ],
        right(1, (22_381, 3), "poolside/laguna-s-2.1-free", cached=5792,
              first="2026-09-29T12:05:13.619000+00:00"),
    ),
    # getagentseal/codeburn tests/fixtures/dsh (MIT), and others with parts by their names: the
    # total says whether the cache lies beside the input.
    (
        "response",
        [
            _answer({"inputTokens": 100, "outputTokens": 20, "cacheReadTokens": 30,
                     "cacheWriteTokens": 5, "reasoningTokens": 8, "totalTokens": 155}),
            _answer({"inputTokens": 100, "outputTokens": 20, "cacheReadTokens": 30,
                     "cacheWriteTokens": 5, "totalTokens": 120}),
            _answer({"inputTokens": 100, "outputTokens": 20, "cachedInputTokens": 30,
                     "reasoningTokens": 8, "totalTokens": 120}),
            _answer({"input_tokens": 100, "output_tokens": 20, "cache_read_tokens": 30,
                     "cache_write_tokens": 5}),
            _answer({"input": 100, "output": 20, "cacheRead": 30, "cacheWrite": 5,
                     "totalTokens": 155}),
        ],
        right(5, (605, 100), "gpt-5", cached=150, reasoning=16),
    ),
    # Arize-ai/openinference openinference-instrumentation-harbor (Apache-2.0): no version of ATIF.
    (
        "harbor",
        [{"session_id": "s", "agent": {"name": "research_agent", "model_name": "gpt-4o"}, "steps": [
            {"role": "user", "message": "…", "timestamp": "2024-01-15T10:00:01Z"},
            {"role": "assistant", "step_id": "step_1", "timestamp": "2024-01-15T10:00:02Z",
             "metrics": {"prompt_tokens": 150, "completion_tokens": 25, "cached_tokens": 50}},
            {"role": "assistant", "step_id": "step_2", "timestamp": "2024-01-15T10:00:04Z",
             "metrics": {"prompt_tokens": 200, "completion_tokens": 50}}],
          "final_metrics": {"total_prompt_tokens": 350, "total_completion_tokens": 75}}],
        right(2, (350, 75), "gpt-4o", cached=50, first="2024-01-15T10:00:02+00:00"),
    ),
    # ponchotitlan/packet-panic-agntcy (names and counts only): OpenLLMetry's span of LangChain
    # says "unknown" where it does not know the model, and has LangChain's name of it further on.
    (
        "jaeger",
        [{"data": [{"traceID": "t", "processes": {}, "spans": [
            {"traceID": "t", "spanID": "b", "operationName": "ChatLiteLLM.chat", "references": [],
             "startTime": 1_782_053_761_943_843, "duration": 8_314_813, "tags": [
                 {"key": key, "type": "string", "value": value} for key, value in (
                     ("gen_ai.operation.name", "chat"),
                     ("traceloop.association.properties.ls_model_name", "claude-opus-4-5"),
                     ("gen_ai.request.model", "unknown"), ("gen_ai.response.model", "unknown"),
                     ("gen_ai.usage.input_tokens", 805), ("gen_ai.usage.output_tokens", 77))]},
        ]}]}],
        right(1, (805, 77), "claude-opus-4-5"),
    ),
    # raaf-ai/raaf traces.jsonl (names and counts only): each span when it starts and when it
    # ends.
    (
        "span-record",
        [
            _raaf("start", "1", "0"), _raaf("end", "1", "0", (90, 21)),
            _raaf("start", "2", "tool"), _raaf("end", "2", "tool", (120, 15)),
        ],
        right(2, (210, 36), "gpt-4", first="2025-06-23T19:05:34+00:00"),
    ),
    # langfuse/langfuse packages/shared/scripts/seeder/utils/framework-traces (names and counts
    # only; MIT): what its own page exports; an agent around its calls repeats their sum, or the
    # last of their responses.
    (
        "langfuse",
        [
            {"trace": {"id": "t", "input": None, "output": None}, "observations": [
                _observation("c", None, None, inputUsage=186, outputUsage=74),
                _observation("e", "c", {"input": 82, "output": 24, "total": 106}),
                _observation("f", "c", {"input": 104, "output": 50, "total": 154}),
                _observation("g", "c", {
                    "input": 13, "prompt_details.cache_read": 5, "output": 81,
                    "completion_details.reasoning": 7, "total": 94,
                }),
            ]},
            {"traces": [{"id": "v", "name": "t", "timestamp": "2025-09-19T21:59:59.005Z"}],
             "observations": [_observation("v", None, None, "GENERATION", inputUsage=1200,
                                           outputUsage=15)]},
        ],
        right(4, (1399, 170), "gpt-4o-mini", cached=5, reasoning=7,
              first="2026-03-09T10:15:02.850000+00:00"),
    ),
    # nijave/otel-agent-trace-connector testdata (names and counts only; Apache-2.0): spans of
    # Claude Code, whose event says the same request again; Cursor's events; and a Copilot Chat
    # whose events have no trace but the id of the response.
    (
        "otlp",
        [
            {"resourceSpans": [{"scopeSpans": [{"spans": [
                {"traceId": "7d68", "spanId": "9d2f", "name": "claude_code.interaction",
                 "attributes": _attributes({"span.type": "interaction"})},
                *(
                    {"traceId": "7d68", "spanId": name, "parentSpanId": "9d2f",
                     "name": "claude_code.llm_request",
                     "endTimeUnixNano": "1783991876214939804",
                     "attributes": _attributes({
                         "span.type": "llm_request", "model": "glm-4.7",
                         "gen_ai.system": "anthropic", "gen_ai.request.model": "glm-4.7",
                         "input_tokens": 216, "output_tokens": 116, "cache_read_tokens": 384,
                         "cache_creation_tokens": 0, **more})}
                    for name, more in (("e346", {"request_id": "req_1"}), ("ff22", {}))
                ),
            ]}]}]},
            {"resourceLogs": [{"scopeLogs": [{"logRecords": [
                {"timeUnixNano": "1783991876214939804",
                 "body": {"stringValue": "claude_code.api_request"},
                 "attributes": _attributes({
                     "model": "glm-4.7", "input_tokens": 216, "output_tokens": 116,
                     "cache_read_tokens": 384, "cache_creation_tokens": 0,
                     "request_id": "req_1"})},
                {"timeUnixNano": "1787306400000000000", "body": {"stringValue": "api_request"},
                 "attributes": _attributes({
                     "cursor.event.id": "customer-telemetry:v1:ev-1",
                     "cursor.model.name": "glm-4.7",
                     "cursor.api.request.input_tokens": 100,
                     "cursor.api.request.output_tokens": 200,
                     "cursor.api.request.cache_read_tokens": 50,
                     "cursor.api.request.cache_creation_tokens": 10})},
            ]}]}]},
        ],
        right(3, (1360, 432), "glm-4.7", cached=818,
              first="2026-07-14T01:17:56.214940+00:00"),
    ),
    # zsfd1997-glitch/token-usage-universal examples (names and counts only; MIT): Codex's name of
    # a part that is beside the output.
    (
        "response",
        [{"timestamp": "2026-03-25T09:03:00-07:00", "model": "glm-4.5", "usage": {
            "input_tokens": 980, "cached_input_tokens": 0, "output_tokens": 220,
            "reasoning_output_tokens": 30, "total_tokens": 1230}}],
        right(1, (980, 250), "glm-4.5", reasoning=30, first="2026-03-25T09:03:00-07:00"),
    ),
    # jonathanngiroux-star/proofspan testdata (names and counts only): a run of LangSmith with its
    # counts beside its parameters; and made by the same names, with the counts at its top.
    (
        "langsmith",
        [
            {"id": "run-0001", "run_type": "tool", "start_time": "2024-09-27T16:00:00.100Z"},
            {"id": "run-0002", "run_type": "llm", "parent_run_id": "run-0001",
             "end_time": "2024-09-27T16:00:02.100Z", "outputs": {"answer": "x"},
             "extra": {"invocation_params": {"model_name": "gpt-4o-2024-08-06"},
                       "token_usage": {"prompt_tokens": 412, "completion_tokens": 87}}},
            {"run_id": "r", "run_type": "llm", "timestamp": "2026-09-24T12:35:10.122Z",
             "model": "gpt-4o-2024-08-06", "input_tokens": 812, "output_tokens": 236,
             "total_tokens": 1048},
            {"id": "run-uuid", "run_type": "llm", "end_time": "2026-07-29T10:00:02Z",
             "extra": {"metadata": {"ls_model_name": "gpt-4o-2024-08-06"}},
             "usage_metadata": {"input_tokens": 20, "output_tokens": 5, "total_tokens": 25,
                                "input_token_details": {"cache_read": 4},
                                "output_token_details": {"reasoning": 2}}},
        ],
        right(3, (1244, 328), "gpt-4o-2024-08-06", cached=4, reasoning=2,
              first="2024-09-27T16:00:02.100000+00:00"),
    ),
]  # fmt: skip
