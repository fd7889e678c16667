"""Samples of forms that the formats take in rarer or newer programs, each with what is right.

``common`` has the usual form of every format; a row here has the same three parts.
"""

from __future__ import annotations

import json
from typing import Any

from log_samples.common import (
    COMPLETION,
    GEMINI_COUNTS,
    RUN,
    UUID,
    Documents,
    Right,
    exported,
    genai,
    right,
    span,
)

MESSAGE = {
    "id": "msg_01AAAAAAAAAAAAAAAAAAAAAA", "type": "message", "role": "assistant",
    "model": "claude-opus-4-5",
    "usage": {"input_tokens": 3, "cache_creation_input_tokens": 20,
              "cache_read_input_tokens": 10, "output_tokens": 1},
}  # fmt: skip


def claude(kind: str, **more: Any) -> dict[str, Any]:
    """A line of a transcript of Claude Code's."""
    return {"type": kind, "sessionId": "s1", "timestamp": "2026-01-05T10:00:00.000Z"} | more


def streamed(event: dict[str, Any], inside: str | None = None) -> dict[str, Any]:
    """A line of ``claude -p --output-format stream-json --include-partial-messages``."""
    return {"type": "stream_event", "event": event, "session_id": "s9",
            "parent_tool_use_id": inside, "uuid": "u"}  # fmt: skip


FAILED = {
    "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654", "object": "response",
    "created_at": 1_741_487_325, "status": "failed", "model": "gpt-4.1", "usage": None,
    "error": {"code": "server_error", "message": "An error occurred"},
}  # fmt: skip
SUB = MESSAGE | {"id": "msg_01BBBBBBBBBBBBBBBBBBBBBB"}

ODD_SAMPLES: list[tuple[str, Documents, Right]] = [
    (
        "claude-code",
        [
            # Types of lines that newer versions write, before and after the first message.
            claude("mode", mode="normal"),
            claude("user", message={"role": "user", "content": "hi"}, uuid="u1"),
            claude("a type of next year", uuid="u2"),
            claude("assistant", message=MESSAGE, uuid="u3"),
        ],
        right(1, (33, 1), "claude-opus-4-5", cached=10),
    ),
    (
        "claude-code-line",
        [
            # The line of a message has the counts of its start; the stream has those of its end.
            # A subagent streams at the same time.
            streamed({"type": "message_start", "message": MESSAGE}),
            streamed({"type": "message_start", "message": SUB}, "toolu_1"),
            {"type": "assistant", "message": MESSAGE, "session_id": "s9", "uuid": "u"},
            streamed({"type": "message_delta", "usage": {"output_tokens": 50}}),
            streamed({"type": "message_delta", "usage": {"output_tokens": 7}}, "toolu_1"),
            streamed({"type": "message_stop"}),
        ],
        right(2, (66, 57), "claude-opus-4-5", cached=20),
    ),
    (
        "gemini-cli-result",
        [
            # Source: https://github.com/google-gemini/gemini-cli (StreamJsonFormatter)
            {"type": "init", "timestamp": "2026-01-05T10:00:00Z", "session_id": "g1",
             "model": "gemini-2.5-pro"},
            {"type": "message", "role": "user", "content": "x",
             "timestamp": "2026-01-05T10:00:00Z"},
            {"type": "tool_use", "tool_name": "ls", "tool_id": "1", "parameters": {},
             "timestamp": "2026-01-05T10:00:01Z"},
            {"type": "result", "timestamp": "2026-01-05T10:00:02Z", "status": "success",
             "stats": {"total_tokens": 190, "input_tokens": 150, "output_tokens": 20,
                       "cached": 50, "models": {"gemini-2.5-pro": {
                           "total_tokens": 190, "input_tokens": 150, "output_tokens": 20,
                           "cached": 50}}}},
        ],
        right(0, sums=((None, 150, 40),)),
    ),
    (
        "gemini-response",
        # Qwen Code's transcript.
        [{"uuid": "2", "sessionId": "q1", "timestamp": "2026-01-05T10:00:01.000Z",
          "type": "assistant", "model": "qwen3-coder-plus",
          "message": {"role": "model", "parts": []}, "usageMetadata": GEMINI_COUNTS}],
        right(1, (120, 80), "qwen3-coder-plus", reasoning=32,
              first="2026-01-05T10:00:01+00:00"),
    ),
    (
        "otlp",
        [
            # Source: https://ai-sdk.dev/docs/ai-sdk-core/telemetry
            exported(
                span("ai.streamText", "a", None, **{
                    "ai.operationId": "ai.streamText", "ai.model.id": "claude-sonnet-4-5",
                    "ai.usage.inputTokens": 10, "ai.usage.outputTokens": 20}),
                span("ai.streamText.doStream", "b", "a", **{
                    "ai.operationId": "ai.streamText.doStream", "ai.model.id": "claude-sonnet-4-5",
                    "ai.usage.inputTokens": 10, "ai.usage.outputTokens": 20,
                    "ai.usage.cachedInputTokens": 3, "ai.usage.reasoningTokens": 4}),
                span("ai.embed.doEmbed", "c", None, **{
                    "ai.operationId": "ai.embed.doEmbed", "ai.model.id": "claude-sonnet-4-5",
                    "ai.usage.tokens": 7}),
            )
        ],
        right(2, (17, 20), "claude-sonnet-4-5", cached=3, reasoning=4),
    ),
    (
        "otlp",
        # Source: https://langfuse.com/integrations/native/opentelemetry
        [exported(span("openai", "a", None, **{
            "langfuse.observation.type": "generation",
            "langfuse.observation.model.name": "gpt-4o",
            "langfuse.observation.usage_details":
                '{"input": 6, "input_cached_tokens": 4, "output": 20, "total": 30}'}))],
        right(1, (10, 20), "gpt-4o", cached=4),
    ),
    (
        "otlp",
        # Source: https://mlflow.org/docs/latest/genai/tracing (token usage)
        [exported(span("Completions", "a", None, **{
            "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-4o"',
            "mlflow.chat.tokenUsage":
                '{"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}'}))],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "jaeger",
        [
            {"data": [{"traceID": "t", "processes": {}, "spans": [
                {"traceID": "t", "spanID": "a", "operationName": "invoke_agent", "references": [],
                 "startTime": 1_741_569_952_000_000, "duration": 2_000_000, "tags": [
                     {"key": "gen_ai.operation.name", "type": "string", "value": "invoke_agent"},
                     {"key": "gen_ai.usage.input_tokens", "type": "int64", "value": 10},
                     {"key": "gen_ai.usage.output_tokens", "type": "int64", "value": 20}]},
                {"traceID": "t", "spanID": "b", "operationName": "chat",
                 "references": [{"refType": "CHILD_OF", "traceID": "t", "spanID": "a"}],
                 "startTime": 1_741_569_952_000_000, "duration": 1_500_000, "tags": [
                     {"key": "gen_ai.operation.name", "type": "string", "value": "chat"},
                     {"key": "gen_ai.response.model", "type": "string", "value": "gpt-4o"},
                     {"key": "gen_ai.usage.input_tokens", "type": "int64", "value": 10},
                     {"key": "gen_ai.usage.output_tokens", "type": "int64", "value": 20}]},
            ]}]}
        ],
        right(1, (10, 20), "gpt-4o", first="2025-03-10T01:25:53.500000+00:00"),
    ),
    (
        "bedrock-manifest",
        [{"totalRecordCount": 10, "processedRecordCount": 10, "successRecordCount": 9,
          "errorRecordCount": 1, "inputTokenCount": 1000, "outputTokenCount": 2000}],
        right(0, sums=((9, 1000, 2000),)),
    ),
    (
        "bedrock-manifest",
        # Beside its records it is their sum again.
        [{"totalRecordCount": 1, "processedRecordCount": 1, "successRecordCount": 1,
          "errorRecordCount": 0, "inputTokenCount": 8, "outputTokenCount": 26},
         {"recordId": "R1", "modelInput": {}, "modelOutput": {
             "inputTextTokenCount": 8, "results": [{"tokenCount": 26}]}}],
        right(1, (8, 26), None),
    ),
    (
        "usage-day",
        [
            {"data": [{"date": "2025-09-01T00:00:00Z", "actor": {"type": "user_actor"},
                       "core_metrics": {"num_sessions": 5}, "model_breakdown": [{
                           "model": "claude-sonnet-4-20250514", "tokens": {
                               "input": 100, "output": 350, "cache_read": 1000,
                               "cache_creation": 50}}]}],
             "has_more": False, "next_page": None},
            {"results": [{"date": "2025-09-02", "metrics": {
                "prompt_tokens": 900, "completion_tokens": 90, "api_requests": 9},
                "breakdown": {"models": {"gpt-4o": {"metrics": {
                    "prompt_tokens": 900, "completion_tokens": 90, "api_requests": 9}}}}}],
             "metadata": {"total_prompt_tokens": 900}},
        ],
        right(0, sums=((None, 1150, 350), (9, 900, 90))),
    ),
    (
        "swe-agent",
        # mini-SWE-agent with the Responses API.
        [{"trajectory_format": "mini-swe-agent-1.1",
          "info": {"model_stats": {"instance_cost": 0.1, "api_calls": 1}},
          "messages": [{"role": "system", "content": "…"}, {
              "object": "response", "id": "resp_0000000000000000000000000001",
              "created_at": 1_741_569_952, "model": "gpt-5", "output": [],
              "usage": {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
                        "output_tokens_details": {"reasoning_tokens": 5}},
              "extra": {"cost": 0.1, "timestamp": 1.0}}]}],
        right(1, (10, 20), "gpt-5", reasoning=5, first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "langsmith",
        [{"id": RUN, "run_type": "llm", "trace_id": UUID, "end_time": "2026-01-02T03:04:05.5",
          "extra": {"metadata": {"ls_model_name": "gpt-4o"}}, "prompt_tokens": 10,
          "completion_tokens": 20, "total_tokens": 30, "prompt_token_details": {"cache_read": 4},
          "completion_token_details": {"reasoning": 5}}],
        right(1, (10, 20), "gpt-4o", cached=4, reasoning=5),
    ),
    (
        "codex",
        # A total alone, of a session under its newer name.
        [
            {"type": "session_meta", "payload": {"session_id": "x"}},
            {"type": "turn_context", "payload": {"model": "gpt-5.3-codex"}},
            *(
                {"type": "event_msg", "timestamp": "2026-05-13T09:01:00Z", "payload": {
                    "type": "token_count", "info": {"last_token_usage": {}, "total_token_usage": {
                        "input_tokens": inputs, "cached_input_tokens": cached,
                        "output_tokens": outputs, "reasoning_output_tokens": reasoning}}}}
                for inputs, cached, outputs, reasoning in (
                    (1000, 0, 100, 50), (3000, 900, 150, 60))
            ),
        ],
        right(2, (3000, 150), "gpt-5.3-codex", cached=900, reasoning=60,
              first="2026-05-13T09:01:00+00:00"),
    ),
    (
        "codex-event",
        [
            {"id": "0", "msg": {"type": "session_configured", "session_id": "x",
                                "model": "gpt-5-codex"}},
            {"id": "0", "msg": {"type": "agent_message", "message": "…"}},
            {"id": "0", "msg": {"type": "token_count", "info": {
                "total_token_usage": {"input_tokens": 1000, "output_tokens": 100},
                "last_token_usage": {"input_tokens": 1000, "output_tokens": 100}}}},
        ],
        right(1, (1000, 100), "gpt-5-codex"),
    ),
    (
        "harbor",
        [{"schema_version": "ATIF-v1.7", "session_id": "s",
          "agent": {"name": "terminus-2", "model_name": "openai/gpt-5.4"},
          "steps": [
              {"step_id": 1, "source": "user", "message": "…"},
              {"step_id": 2, "source": "agent", "is_copied_context": True,
               "metrics": {"prompt_tokens": 9, "completion_tokens": 9}},
              {"step_id": 3, "source": "agent", "timestamp": "2026-01-05T10:00:00Z",
               "metrics": {"prompt_tokens": 520, "completion_tokens": 80, "cached_tokens": 200}},
              {"step_id": 4, "source": "agent", "llm_call_count": 2, "model_name": "o3",
               "metrics": {"prompt_tokens": 600, "completion_tokens": 44}}],
          "final_metrics": {"total_prompt_tokens": 1120, "total_completion_tokens": 124}}],
        right(1, (520, 80), "openai/gpt-5.4", cached=200, sums=((2, 600, 44),),
              first="2026-01-05T10:00:00+00:00"),
    ),
    (
        "harbor",
        [{"schema_version": "ATIF-v1.2", "agent": {"name": "a", "model_name": "gpt-4o"},
          "steps": [{"step_id": 1, "source": "agent"}],
          "final_metrics": {"total_prompt_tokens": 1120, "total_completion_tokens": 124}}],
        right(0, sums=((None, 1120, 124),)),
    ),
    (
        "codebuddy",
        [
            {"id": "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAA", "type": "function_call", "sessionId": "s",
             "timestamp": 1779947694866, "providerData": {
                 "model": "MaaS_Cl_Opus", "requestModelId": "claude-opus-4.7-1m", "rawUsage": {
                     "prompt_tokens": 74_408, "completion_tokens": 281, "total_tokens": 74_689,
                     "cache_creation_input_tokens": 74_402, "cache_read_input_tokens": 0}}},
            {"id": "e", "type": "message", "sessionId": "s", "providerData": {"agent": "cli"}},
        ],
        right(1, (74_408, 281), "claude-opus-4.7-1m", first="2026-05-28T05:54:54.866000+00:00"),
    ),
    (
        "aider-benchmark",
        [{"testdir": "/work", "testcase": "two-fer", "model": "gpt-4o", "cost": 0.1,
          "tests_outcomes": [False, True], "prompt_tokens": 3000, "completion_tokens": 500}],
        right(0, sums=((None, 3000, 500),)),
    ),
    (
        "vertex-embeddings",
        [{"instance": {"content": "…"}, "status": "", "predictions": [
            {"embeddings": {"statistics": {"token_count": 8, "truncated": False},
                            "values": [0.1]}}]}],
        right(1, (8, 0), None, provider="gcp.vertex_ai"),
    ),
    (
        "opencode-export",
        # Messages as its server lists them.
        [
            {"info": {"id": "msg_0", "role": "user", "sessionID": "s"}, "parts": []},
            {"info": {"id": "msg_1", "role": "assistant", "sessionID": "s", "modelID": "gpt-5",
                      "providerID": "openai", "tokens": {"input": 100, "output": 50}},
             "parts": [
                 {"type": "step-start"},
                 {"id": "prt_1", "type": "step-finish", "tokens": {"input": 10, "output": 5}},
                 {"id": "prt_2", "type": "step-finish", "tokens": {"input": 100, "output": 50}}]},
        ],
        right(2, (110, 55), "gpt-5", provider="openai"),
    ),
    (
        "inspect-sample",
        # The call of a tool lies inside of the tool's event.
        [{"id": 1, "epoch": 1, "uuid": "u", "events": [{"event": "tool", "events": [
            {"event": "model", "uuid": "e1", "model": "openai/gpt-4o",
             "output": {"usage": {"input_tokens": 100, "output_tokens": 20}}}]}],
          "model_usage": {"openai/gpt-4o": {"input_tokens": 100, "output_tokens": 20}}}],
        right(1, (100, 20), "openai/gpt-4o"),
    ),
    (
        "span-record",
        [
            # Out of Application Insights, where it may be a text, of ClickHouse and of Logfire.
            {"timestamp": "2026-01-02T03:04:05Z", "operation_Id": "t1", "id": "a",
             "customDimensions": json.dumps(genai(10, 20))},
            {"Timestamp": "2026-01-02 03:04:05.000000000", "TraceId": "t2", "SpanId": "c",
             "ParentSpanId": "b", "SpanAttributes": genai(1, 2)},
            {"Timestamp": "2026-01-02 03:04:05.000000000", "TraceId": "t2", "SpanId": "b",
             "ParentSpanId": "", "SpanAttributes": genai(1, 2)},
            {"end_timestamp": "2026-01-02T03:04:05Z", "trace_id": "t3", "span_id": "d",
             "attributes": genai(100, 200)},
        ],
        right(3, (111, 222), "gpt-4o", first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "response",
        [
            {"lc": 1, "type": "constructor", "kwargs": {
                "content": "…", "response_metadata": {"model_name": "gpt-4o"},
                "usage_metadata": {"input_tokens": 10, "output_tokens": 20}}},
            # llama.cpp's own completion.
            {"content": "…", "model": "gpt-4o", "tokens_predicted": 2, "tokens_evaluated": 1,
             "timings": {"prompt_n": 1, "predicted_n": 2}},
        ],
        right(2, (11, 22), "gpt-4o"),
    ),
    ("response", [FAILED], right(1, (0, 0), "gpt-4.1")),
    (
        "openai-response-events",
        [{"type": "response.created", "response": FAILED | {"error": None}},
         {"type": "response.failed", "response": FAILED}],
        right(1, (0, 0), "gpt-4.1"),
    ),
    (
        "table",
        [
            # Cursor's dashboard: what was written to the cache, what was neither, what was read.
            {"Date": "2025-09-01T10:00:00.000Z", "Model": "claude-4.5-sonnet", "Max Mode": "No",
             "Input (w/ Cache Write)": 200, "Input (w/o Cache Write)": 100, "Cache Read": 3000,
             "Output Tokens": 400, "Total Tokens": 3700},
            # Helicone's, and other names in camel case.
            {"createdAt": "2025-09-01T10:00:00Z", "model": "gpt-4o", "promptTokens": 10,
             "completionTokens": 20, "promptCacheReadTokens": 4},
        ],
        right(2, (3310, 420), "claude-4.5-sonnet", "gpt-4o", cached=3004,
              first="2025-09-01T10:00:00+00:00"),
    ),
    (
        "table",
        [
            # OpenRouter: the model's own count, not that of a tokenizer for all.
            {"data": {"id": "gen-1700000000-abcdefghijkl", "created_at": "2026-01-02T03:04:05Z",
                      "model": "anthropic/claude-sonnet-4", "tokens_prompt": 10,
                      "tokens_completion": 20, "native_tokens_prompt": 11,
                      "native_tokens_completion": 21, "native_tokens_cached": 3}},
            # OpenAI's older usage API.
            {"aggregation_timestamp": 1_715_606_760, "n_requests": 3, "operation": "completion",
             "snapshot_id": "gpt-4o-2024-05-13", "n_context_tokens_total": 5000,
             "n_generated_tokens_total": 700, "n_cached_context_tokens_total": 1000},
        ],
        right(1, (11, 21), "anthropic/claude-sonnet-4", cached=3, sums=((3, 5000, 700),),
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "vertex-batch",
        # Out of BigQuery, where a response is a text.
        [{"request": "{}", "status": "", "processed_time": "2024-11-01T18:13:16.826+00:00",
          "response": '{"modelVersion": "gemini-2.5-flash", "usageMetadata": '
                      '{"promptTokenCount": 10, "candidatesTokenCount": 20}}'}],
        right(1, (10, 20), "gemini-2.5-flash", first="2024-11-01T18:13:16.826000+00:00"),
    ),
    (
        "response",
        # The lines of a recorder of exchanges, of a container's log and of a tracer.
        [{"interactions": [{"request": {"uri": "https://api.openai.com/v1/chat/completions"},
                            "response": {"body": {"string": json.dumps(COMPLETION)}}}],
          "version": 1}],
        right(1, (19, 10), "gpt-4o-2024-08-06", cached=4, reasoning=6),
    ),
]  # fmt: skip
