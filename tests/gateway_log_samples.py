"""Samples of traces, gateways and usage pages in less common dialects, each with what is right.

``log_samples`` has the common ones; a row here has the same three parts.
"""

from __future__ import annotations

from typing import Any

from log_samples import Documents, exported, genai, right, span

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


COUNTED = genai(100, 20, **{"gen_ai.response.model": MODEL})
AGENT = genai(300, 50, **{"gen_ai.operation.name": "invoke_agent"})
AS_TEXT = {name: str(value) for name, value in COUNTED.items()}

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
]  # fmt: skip
