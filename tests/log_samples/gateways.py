"""Samples of traces, gateways and usage pages in less common dialects, each with what is right.

``common`` has the common ones; a row here has the same three parts.
"""

from __future__ import annotations

import json
from typing import Any

from log_samples.common import Documents, exported, genai, right, span

MODEL = "gpt-4o-2024-08-06"
STARTED, ENDED = "2024-06-10T06:13:20+00:00", "2024-06-10T06:13:22+00:00"
MICROSECONDS = {"timestamp": 1_718_000_000_000_000, "duration": 2_000_000}


def by_go(span_id: str, parent: str, **attributes: Any) -> dict[str, Any]:
    """A span as Go's exporter prints it."""
    listed = [
        {
            "Key": name,
            "Value": {"Type": "INT64" if isinstance(value, int) else "STRING", "Value": value},
        }
        for name, value in attributes.items()
    ]
    return {"Name": "chat", "SpanContext": {"TraceID": "0a", "SpanID": span_id},
            "Parent": {"TraceID": "0a", "SpanID": parent}, "SpanKind": 3, "StartTime": STARTED,
            "EndTime": ENDED, "Attributes": listed, "Events": None}  # fmt: skip


def alone(own: str, parent: str | None, **attributes: Any) -> dict[str, Any]:
    """A span that was exported by itself."""
    return exported(span("any", own, parent, **attributes))


def transaction(number: int, kind: str, amount: int, **more: Any) -> dict[str, Any]:
    """A transaction of LibreChat's, as ``mongoexport`` writes it."""
    return {"_id": {"$oid": f"{number:024}"}, "user": {"$oid": "b" * 24}, "conversationId": "c1",
            "tokenType": kind, "model": "gpt-4o", "context": "message", "rawAmount": -amount,
            "rate": 2.5, "tokenValue": -2.5 * amount,
            "createdAt": {"$date": f"2025-05-01T10:00:{number:02}Z"}, **more}  # fmt: skip


def datadog(own: str, parent: str, kind: str) -> dict[str, Any]:
    return {"span_id": own, "parent_id": parent, "trace_id": "t", "start_ns": 1_718 * 10**15,
            "duration": 2 * 10**9, "meta": {"kind": kind, "model_name": MODEL},
            "metrics": {"input_tokens": 100, "output_tokens": 20}}  # fmt: skip


def braintrust(own: str, parent: str | None, kind: str) -> dict[str, Any]:
    return {"id": own, "span_id": own, "root_span_id": "r", "span_attributes": {"type": kind},
            "span_parents": parent and [parent], "metadata": {"model": MODEL},
            "metrics": {"end": 1_718_000_002.0, "prompt_tokens": 100,
                        "completion_tokens": 20}}  # fmt: skip


COUNTED = genai(100, 20, **{"gen_ai.response.model": MODEL})
AGENT = genai(300, 50, **{"gen_ai.operation.name": "invoke_agent"})
AS_TEXT = {name: str(value) for name, value in COUNTED.items()}

USED = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
KONG = {"meta": {"request_model": "gpt-4o", "response_model": MODEL, "provider_name": "openai"},
        "usage": USED}  # fmt: skip
AZURE_REQUEST = {"time": ENDED, "category": "RequestResponse", "resultSignature": "200",
                 "operationName": "ChatCompletions_Create", "correlationId": "c1"}  # fmt: skip
OBSERVED = {"id": "o1", "traceId": "t1", "type": "GENERATION", "model": MODEL, "endTime": ENDED,
            "usageDetails": {"input": 36, "input_cached_tokens": 64, "output": 20}}  # fmt: skip
SPENT = {"request_id": "r1", "call_type": "acompletion", "model": MODEL, "startTime": STARTED,
         "endTime": ENDED, "prompt_tokens": 100, "completion_tokens": 20, "cache_hit": "",
         "status": "success", "custom_llm_provider": "openai"}  # fmt: skip
OPIK = {"id": "s1", "trace_id": "t1", "type": "llm", "start_time": STARTED, "end_time": ENDED,
        "model": MODEL, "provider": "openai",
        "usage": USED | {"original_usage.prompt_tokens_details.cached_tokens": 64}}  # fmt: skip
DAY = "2025-05-01T00:00:00+00:00"

GATEWAY_SAMPLES: list[tuple[str, Documents, Any]] = [
    (
        "printed-span-go",
        [by_go("b7", "aa", **COUNTED), by_go("aa", "0000000000000000", **AGENT)],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "zipkin",
        [{"traceId": "0a", "id": "b7", "parentId": "aa", "name": "chat", **MICROSECONDS,
          "kind": "CLIENT", "tags": AS_TEXT},
         {"traceId": "0a", "id": "aa", "name": "invoke_agent", **MICROSECONDS,
          "tags": {name: str(value) for name, value in AGENT.items()}}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "jaeger-span",
        # Out of Elasticsearch, tags in a list and as fields.
        [{"_index": "jaeger-span-2024-06-10", "_source": {
            "traceID": "0a", "spanID": "b7", "startTime": MICROSECONDS["timestamp"],
            "duration": MICROSECONDS["duration"], "references": [],
            "tags": [{"key": name, "type": "string", "value": value}
                     for name, value in AS_TEXT.items()]}},
         {"traceID": "0a", "spanID": "b8", "startTime": MICROSECONDS["timestamp"],
          "duration": MICROSECONDS["duration"], "tags": [],
          "tag": {name.replace(".", "@"): value for name, value in AS_TEXT.items()}}],
        right(2, (200, 40), MODEL, first=ENDED),
    ),
    (
        "span-record",
        # Application Insights out of its workspace.
        [{"TimeGenerated": ENDED, "Id": "b7", "OperationId": "0a", "ParentId": "aa",
          "DurationMs": 2000, "Properties": str(AS_TEXT), "Type": "AppDependencies"}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "otlp",
        # The AI SDK from version 6 on, and OpenLLMetry's early names.
        [alone("s1", None, **{
            "ai.operationId": "ai.generateText.doGenerate", "ai.response.model": MODEL,
            "ai.usage.inputTokens": 100, "ai.usage.inputTokenDetails.cacheReadTokens": 60,
            "ai.usage.inputTokenDetails.cacheWriteTokens": 10, "ai.usage.outputTokens": 20,
            "ai.usage.outputTokenDetails.reasoningTokens": 5}),
         alone("s2", None, **{
             "llm.request.type": "chat", "llm.request.model": "gpt-4o", "llm.response.model": MODEL,
             "llm.usage.prompt_tokens": 100, "llm.usage.completion_tokens": 20})],
        right(2, (200, 40), MODEL, cached=60, reasoning=5),
    ),
    (
        "otlp",
        # Early Semantic Kernel and Langtrace; Sentry.
        [alone("s1", None, **{
            "gen_ai.operation.name": "chat.completions", "gen_ai.request.model": MODEL,
            "gen_ai.response.prompt_tokens": 100, "gen_ai.response.completion_tokens": 20}),
         alone("s2", None, **{
             "langtrace.service.type": "llm", "llm.model": MODEL,
             "llm.token.counts": '{"input_tokens": 100, "output_tokens": 20}'}),
         alone("s3", None, **{
             "gen_ai.operation.name": "chat", "gen_ai.response.model": MODEL,
             "gen_ai.usage.input_tokens": 100, "gen_ai.usage.input_tokens.cached": 64,
             "gen_ai.usage.output_tokens": 20, "gen_ai.usage.output_tokens.reasoning": 5})],
        right(3, (300, 60), MODEL, cached=64, reasoning=5),
    ),
    (
        "otlp",
        # LangSmith's kinds, where a chain comes before its call; a provider in capitals.
        [alone("s1", None, **{
            "langsmith.span.kind": "chain", "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20}),
         alone("s2", "s1", **{
             "langsmith.span.kind": "LLM", "gen_ai.response.model": MODEL,
             "gen_ai.system": "OpenAI", "gen_ai.usage.input_tokens": 100,
             "gen_ai.usage.output_tokens": 20})],
        right(1, (100, 20), MODEL, provider="openai"),
    ),
    (
        "kong",
        [{"ai": {"proxy": KONG}, "started_at": 1_718_000_000_000, "latencies": {"request": 2000},
          "request": {"id": "k1"}, "response": {"status": 200}},
         # An older version; an answer from its cache.
         {"ai": {"ai-proxy": KONG}, "started_at": 1_718_000_000_000, "latencies": {},
          "request": {"id": "k2"}, "response": {"status": 200}},
         {"ai": {"proxy": KONG | {"cache": {"cache_status": "Hit"}}}, "latencies": {},
          "request": {"id": "k3"}, "response": {"status": 200}}],
        right(2, (200, 40), MODEL, hits=1, first=ENDED, provider="openai"),
    ),
    (
        "azure-diagnostics",
        [AZURE_REQUEST | {"properties": {"modelName": "gpt-4o", "backend_response_body": {
            "id": "x", "model": MODEL, "choices": [], "usage": USED}}},
         AZURE_REQUEST | {"correlationId": "c2", "resultSignature": "429", "properties": "{}"}],
        right(2, (100, 20), MODEL, None, first=ENDED, provider="azure.ai.openai"),
    ),
    (
        "azure-api-management",
        # What its messages have beside the first has no tokens.
        [{"TimeGenerated [UTC]": "6/10/2024, 6:13:22.000 AM", "CorrelationId": "c1",
          "PromptTokens": 100, "CompletionTokens": 20, "ModelName": MODEL, "SequenceNumber": 0},
         {"TimeGenerated [UTC]": "6/10/2024, 6:13:22.000 AM", "CorrelationId": "c1",
          "PromptTokens": 0, "CompletionTokens": 0, "ModelName": "", "SequenceNumber": 1}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "librechat",
        # Two calls at a time, one with a cache; what a user was given is no call.
        [transaction(1, "prompt", 100, context="title"),
         transaction(2, "prompt", 2110, inputTokens=-100, writeTokens=-10, readTokens=-2000),
         transaction(3, "completion", 20),
         transaction(4, "completion", 5, context="title"),
         transaction(5, "credits", 1000)],
        right(2, (2210, 25), "gpt-4o", cached=2000, first="2025-05-01T10:00:03+00:00"),
    ),
    (
        "langfuse",
        # Generations inside of another; one of them comes before it.
        [OBSERVED | {"id": "o2", "parentObservationId": "o1"}, OBSERVED,
         OBSERVED | {"id": "o3", "type": "AGENT"},
         OBSERVED | {"id": "o4", "parent_observation_id": "o3"}],
        right(2, (200, 40), MODEL, cached=128, first=ENDED),
    ),
    (
        "litellm",
        # A check of health has no tokens.
        [SPENT, SPENT | {"request_id": "r2", "call_type": "/health", "prompt_tokens": 0,
                         "completion_tokens": 0}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "table",
        # LiteLLM's table of days, whose prompts have what was read from a cache; OpenAI's export,
        # which has the start and the end of a day; Langfuse's of traces.
        [{"date": "2025-05-01", "model": MODEL, "prompt_tokens": 1000, "completion_tokens": 200,
          "cache_read_input_tokens": 100, "cache_creation_input_tokens": 0, "api_requests": 10,
          "created_at": "2025-05-02T01:00:00Z"},
         {"start_time": 1_746_057_600, "end_time": 1_746_144_000, "num_model_requests": 5,
          "model": MODEL, "input_tokens": 500, "output_tokens": 50},
         {"id": "t1", "timestamp": DAY, "observationCount": 4, "inputTokens": 300,
          "outputTokens": 50}],
        right(0, sums=((10, 1000, 200), (5, 500, 50), (None, 300, 50))),
    ),
    (
        "deepseek-amount",
        # Source: https://platform.deepseek.com/usage (export, amount-*.csv)
        [{"utc_date": "2026-06-03", "model": MODEL, "type": kind, "price": "", "amount": amount}
         for kind, amount in (("request_count", 5), ("output_tokens", 70),
                              ("input_cache_hit_tokens", 400), ("input_cache_miss_tokens", 100))],
        right(0, sums=((5, 500, 70),)),
    ),
    (
        "span-table",
        # Honeycomb's, and New Relic's.
        [COUNTED | {"Timestamp": STARTED, "trace.trace_id": "0a", "trace.span_id": "b7",
                    "trace.parent_id": "aa"},
         AGENT | {"Timestamp": STARTED, "trace.trace_id": "0a", "trace.span_id": "aa",
                  "gen_ai.operation.name": None},
         COUNTED | {"timestamp": 1_718_000_000_000, "trace.id": "0b", "id": "b8"}],
        right(2, (200, 40), MODEL, first=STARTED),
    ),
    (
        "span-record",
        # Elasticsearch's answer; CloudWatch's.
        [{"hits": {"total": {"value": 1}, "hits": [{"_index": "traces", "_source": {
            "@timestamp": ENDED, "trace": {"id": "0a"}, "span": {"id": "b7"},
            "attributes": COUNTED}}]}}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "otlp-span",
        [{"results": [[{"field": "@message", "value": json.dumps({
            "traceId": "0a", "spanId": "b7", "attributes": COUNTED,
            "endTimeUnixNano": 1_718_000_002_000_000_000})}, {"field": "@ptr", "value": "x"}]]}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "opik",
        [OPIK, OPIK | {"id": "s2", "type": "general", "usage": None},
         {"id": "t1", "start_time": STARTED, "usage": USED, "llm_span_count": 1}],
        right(1, (100, 20), MODEL, cached=64, first=ENDED, provider="openai"),
    ),
    (
        "opik-trace",
        [{"id": "t1", "start_time": STARTED, "usage": USED, "spans": [OPIK]},
         {"id": "t2", "start_time": STARTED, "usage": USED, "llm_span_count": 3}],
        right(1, (100, 20), MODEL, cached=64, first=ENDED, sums=((3, 100, 20),)),
    ),
    (
        "posthog",
        [{"event": "$ai_generation", "timestamp": ENDED, "uuid": "u1", "properties": {
            "$ai_model": MODEL, "$ai_provider": "anthropic", "$ai_input_tokens": 36,
            "$ai_cache_read_input_tokens": 64, "$ai_output_tokens": 20, "$ai_trace_id": "t"}},
         {"event": "$ai_trace", "timestamp": ENDED, "properties": {"$ai_trace_id": "t"}}],
        right(1, (100, 20), MODEL, cached=64, first=ENDED, provider="anthropic"),
    ),
    (
        "openai-agents",
        [{"object": "trace", "id": "t1", "workflow_name": "any"},
         {"object": "trace.span", "id": "s1", "trace_id": "t1", "parent_id": "s0",
          "ended_at": ENDED, "span_data": {"type": "generation", "model": MODEL, "usage": USED}},
         {"object": "trace.span", "id": "s0", "trace_id": "t1", "ended_at": ENDED,
          "span_data": {"type": "agent", "name": "any", "usage": USED}}],
        right(1, (100, 20), MODEL, first=ENDED, provider="openai"),
    ),
    (
        "vertex-requests",
        # Of a stream it has all chunks.
        [{"logging_time": ENDED, "request_id": 1, "model": "any", "full_request": "{}",
          "full_response": [
              {"modelVersion": "gemini-2.0-flash-001", "usageMetadata": {
                  "promptTokenCount": 100, "candidatesTokenCount": outputs}}
              for outputs in (5, 20)]}],
        right(1, (100, 20), "gemini-2.0-flash-001", first=ENDED, provider="gcp.vertex_ai"),
    ),
    (
        "table",
        # Sums that are named so; one with an id is a request.
        [{"model": MODEL, "total_input_tokens": 1000, "total_output_tokens": 200},
         {"model": MODEL, "SUM(input_tokens)": 500, "SUM(output_tokens)": 50, "COUNT(*)": 4},
         {"request_id": "r1", "model": MODEL, "total_input_tokens": 10, "total_output_tokens": 2}],
        right(1, (10, 2), MODEL, sums=((None, 1000, 200), (4, 500, 50))),
    ),
    (
        "litellm",
        # Among Datadog's logs.
        [{"data": [{"id": "1", "type": "log", "attributes": {"message": json.dumps(SPENT)}}]}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "response",
        # In a line of an application's log, as a collector has read it.
        [{"resourceLogs": [{"scopeLogs": [{"logRecords": [
            {"timeUnixNano": "1718000002000000000", "body": {"stringValue": json.dumps(
                {"model": MODEL, "usage": USED})}},
            {"timeUnixNano": "1718000002000000000", "body": {"stringValue": "ready"}}]}]}]}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "langfuse",
        [{"id": "o1", "traceId": "t1", "type": "GENERATION", "model": MODEL, "endTime": ENDED,
          "usage": {"promptTokens": 100, "completionTokens": 20, "totalTokens": 120}}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "helicone",
        [{"request_id": "q1", "response_created_at": ENDED, "response_status": "200",
          "model": MODEL, "prompt_tokens": 100, "completion_tokens": 20}],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "cloudflare",
        # As its databases and tables of text have it.
        [{"id": str(number), "created_at": ENDED, "model": MODEL, "tokens_in": 100,
          "tokens_out": 20, "cached": cached} for number, cached in enumerate((0, 1, "true"))],
        right(1, (100, 20), MODEL, hits=2, first=ENDED),
    ),
    (
        "litellm",
        # A batch that was fetched.
        [SPENT | {"call_type": "aretrieve_batch", "prompt_tokens": 816_040,
                  "completion_tokens": 33_045}],
        right(0, sums=((None, 816_040, 33_045),)),
    ),
    (
        "datadog",
        # A span of a framework around that of its client, in one request and in two.
        [{"data": {"type": "span", "attributes": {"spans": [
            datadog("a", "undefined", "agent"), datadog("b", "a", "llm"),
            datadog("c", "b", "llm")]}}},
         datadog("e", "d", "llm"), datadog("d", "undefined", "llm")],
        right(2, (200, 40), MODEL, first=ENDED),
    ),
    (
        "braintrust",
        [braintrust("a", None, "task"), braintrust("b", "a", "llm"), braintrust("c", "b", "llm")],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "usage-day",
        # Langfuse's.
        [{"date": "2025-05-01", "countTraces": 5, "countObservations": 10, "usage": [
            {"model": MODEL, "inputUsage": 1000, "outputUsage": 200, "countObservations": 7}]}],
        right(0, sums=((7, 1000, 200),)),
    ),
]  # fmt: skip
