"""Samples of workflows, of frameworks' own objects, and of further stores of traces."""

from __future__ import annotations

import json
from typing import Any

from log_samples.common import COMPLETION, Documents, Right, right

AT = "2026-03-04T05:06:07.123Z"
LATER = "2026-03-04T05:06:09.123Z"
TIME, LATER_TIME = "2026-03-04T05:06:07.123000+00:00", "2026-03-04T05:06:09.123000+00:00"
MILLISECONDS = 1_772_600_767_123
USAGE = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30}
CHAT_ID = "chatcmpl-AAAAAAAAAAAAAAAAAAAAAAAAAAAA"


def of_elastic(operation: str, **place: str) -> dict[str, Any]:
    """A document of Elastic APM's, whose labels have no dots."""
    return {"_index": "traces-apm", "_source": {
        "@timestamp": AT, "timestamp": {"us": 1_772_600_767_123_456}, "trace": {"id": "t1"},
        **{name: {"id": value} for name, value in place.items()},
        "labels": {"gen_ai_operation_name": operation, "gen_ai_response_model": "gpt-4o",
                   "gen_ai_provider_name": "openai"},
        "numeric_labels": {"gen_ai_usage_input_tokens": 10.0,
                           "gen_ai_usage_output_tokens": 20.0}}}  # fmt: skip


def event(kind: str, **body: Any) -> dict[str, Any]:
    """An event that a client of Langfuse's sends."""
    return {"id": f"e-{kind}", "timestamp": AT, "type": kind, "body": body}


def node(**output: Any) -> dict[str, Any]:
    """A run of a node of n8n's that is a model."""
    asked = {"json": {"messages": ["x"], "estimatedTokens": 9, "options": {"model": "gpt-4o"}}}
    answered = {"json": {"response": {"generations": []}, **output}}
    return {"startTime": MILLISECONDS, "executionTime": 2000, "executionStatus": "success",
            "data": {"ai_languageModel": [[answered]]},
            "inputOverride": {"ai_languageModel": [[asked]]}}  # fmt: skip


COUNTED = {"completionTokens": 20, "promptTokens": 10, "totalTokens": 30}
RUN_DATA = {
    "OpenAI Chat Model": [
        node(tokenUsage=COUNTED),
        node(tokenUsageEstimate={"completionTokens": 2, "promptTokens": 1}),
    ],
    "AI Agent": [{"startTime": MILLISECONDS, "data": {"main": [[{"json": {"output": "x"}}]]}}],
    "HTTP Request": [{"startTime": MILLISECONDS, "data": {"main": [[{"json": COMPLETION}]]}}],
    "Edit Fields": [{"startTime": MILLISECONDS, "data": {"main": [[{"json": COMPLETION}]]}}],
}


def flatten(value: Any) -> str:
    """A value as n8n's database has it: https://github.com/WebReflection/flatted."""
    values: list[Any] = []

    def put(one: Any) -> Any:
        if not isinstance(one, dict | list | str):
            return one
        place = len(values)
        values.append(None)
        if isinstance(one, dict):
            values[place] = {name: put(inner) for name, inner in one.items()}
        else:
            values[place] = one if isinstance(one, str) else [put(inner) for inner in one]
        return str(place)

    put(value)
    return json.dumps(values)


DIFY_NODE = {
    "id": "n1", "node_id": "llm1", "node_type": "llm", "status": "succeeded",
    "process_data": {"model_mode": "chat", "model_provider": "langgenius/openai/openai",
                     "model_name": "gpt-4o", "usage": USAGE},
    "outputs": {"text": "x", "usage": USAGE, "finish_reason": "stop"},
    "created_at": 1_772_600_767, "finished_at": 1_772_600_769,
}  # fmt: skip
SMOL_STEP = {
    "step_number": 1, "timing": {"start_time": 1_772_600_767.0, "end_time": 1_772_600_769.0},
    "model_output_message": {"role": "assistant", "content": "x",
                             "token_usage": {"input_tokens": 10, "output_tokens": 20}},
    "token_usage": {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30},
}  # fmt: skip

WORKFLOW_SAMPLES: list[tuple[str, Documents, Right]] = [
    (
        "span-record",
        # A span, and the transaction around it, which has the same counts.
        [of_elastic("chat", span="s1", parent="p1", transaction="p1"),
         of_elastic("invoke_agent", transaction="p1")],
        right(1, (10, 20), "gpt-4o", first=TIME, provider="openai"),
    ),
    (
        "span-record",
        [{"@timestamp": AT, "trace": {"id": "t1"}, "span": {"id": "s1"}, "gen_ai": {
            "operation": {"name": "chat"}, "response": {"model": "gpt-4o"},
            "usage": {"input_tokens": 10, "output_tokens": 20}}}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "printed-span",
        # A row of MLflow's database.
        [{"trace_id": "tr-1", "experiment_id": 0, "span_id": "s1", "name": "Completions",
          "type": "CHAT_MODEL", "content": json.dumps({
              "name": "Completions", "context": {"span_id": "s1", "trace_id": "t"},
              "end_time": AT, "attributes": {
                  "mlflow.spanType": '"CHAT_MODEL"', "mlflow.llm.model": '"gpt-4o"',
                  "mlflow.chat.tokenUsage": '{"input_tokens": 10, "output_tokens": 20}'}})}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "span-table",
        # As Kibana exports it.
        [{"@timestamp": "Mar 4, 2026 @ 05:06:07.123", "trace.id": "t1", "span.id": "s1",
          "labels.gen_ai_response_model": "gpt-4o",
          "numeric_labels.gen_ai_usage_input_tokens": 10,
          "numeric_labels.gen_ai_usage_output_tokens": 20}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "span-record",
        # Source: https://signoz.io/docs/userguide/writing-clickhouse-traces-query
        [{"timestamp": AT, "trace_id": "t", "span_id": "s", "parent_span_id": "p", "name": "chat",
          "attributes_string": {"gen_ai.response.model": "gpt-4o"},
          "attributes_number": {"gen_ai.usage.input_tokens": 10,
                                "gen_ai.usage.output_tokens": 20}}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "span-table",
        # Source: https://openobserve.ai/docs (columns without dots, as in BigQuery)
        [{"_timestamp": 1_772_600_767_123_456, "trace_id": "t", "span_id": "s",
          "end_time": 1_772_600_769_123_000_000, "gen_ai_operation_name": "chat",
          "gen_ai_response_model": "gpt-4o", "gen_ai_usage_input_tokens": 10,
          "gen_ai_usage_output_tokens": 20}],
        right(1, (10, 20), "gpt-4o", first=LATER_TIME),
    ),
    (
        "table",
        # Source: https://docs.newrelic.com/docs/ai-monitoring (LlmChatCompletionSummary)
        [{"results": [{"events": [
            {"timestamp": MILLISECONDS, "id": "u", "request.model": "gpt-4o",
             "response.model": "gpt-4o-2024-08-06", "response.usage.prompt_tokens": 10,
             "response.usage.completion_tokens": 20, "vendor": "openai"}]}]}],
        right(1, (10, 20), "gpt-4o-2024-08-06", first=TIME),
    ),
    (
        "logged-response",
        # Source: https://docs.anythingllm.com (workspace_chats)
        [{"id": 1, "workspaceId": 1, "prompt": "x", "createdAt": AT, "response": json.dumps(
            {"text": "x", "type": "chat", "metrics": {
                "prompt_tokens": 10, "completion_tokens": 20, "outputTps": 50.1, "duration": 1.2,
                "model": "gpt-4o"}})}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "response",
        # Source: https://docs.chainlit.io/data-layers (steps)
        [{"id": "s1", "threadId": "t", "type": "llm", "createdAt": AT, "output": "x",
          "generation": {"type": "CHAT", "provider": "openai", "model": "gpt-4o",
                         "inputTokenCount": 10, "outputTokenCount": 20}}],
        right(1, (10, 20), "gpt-4o", first=TIME),
    ),
    (
        "langfuse-batch",
        [
            {"batch": [event("trace-create", id="t1", name="x"),
                       event("generation-create", id="g1", traceId="t1", model="gpt-4o")]},
            {"batch": [event("generation-update", id="g1", endTime=LATER,
                             usage={"input": 10, "output": 20, "unit": "TOKENS"})]},
        ],
        right(1, (10, 20), "gpt-4o", first=LATER_TIME),
    ),
    (
        "langfuse-events",
        [
            event("generation-create", id="g1", traceId="t1", model="gpt-4o", startTime=AT,
                  usageDetails={"input": 6, "input_cached_tokens": 4, "output": 2}),
            event("generation-update", id="g1", usageDetails={
                "input": 6, "input_cached_tokens": 4, "output": 20}, endTime=LATER),
            event("span-create", id="s1", traceId="t1"),
            event("observation-create", id="g2", traceId="t1", type="GENERATION",
                  model="gpt-4o", usage={"promptTokens": 1, "completionTokens": 2}),
        ],
        right(2, (11, 22), "gpt-4o", cached=4, first=LATER_TIME),
    ),
    (
        "lunary",
        [
            {"total": 2, "page": 0, "limit": 50, "data": [
                {"id": "r1", "type": "llm", "name": "gpt-4o", "createdAt": AT, "endedAt": LATER,
                 "tokens": {"completion": 20, "prompt": 10, "total": 30}, "status": "success"},
                {"id": "r0", "type": "agent", "name": "a", "createdAt": AT,
                 "tokens": {"completion": 20, "prompt": 10, "total": 30}}]},
            {"id": "r2", "type": "llm", "name": "gpt-4o", "createdAt": AT, "promptTokens": 5,
             "completionTokens": 6, "cachedPromptTokens": 4, "cost": 0.1},
        ],
        right(2, (15, 26), "gpt-4o", cached=4, first=LATER_TIME),
    ),
    (
        "n8n",
        [{"id": "7", "finished": True, "workflowId": "w", "startedAt": AT,
          "data": {"resultData": {"runData": RUN_DATA}}}],
        # The response that another node hands on is the same call.
        right(3, (30, 32), "gpt-4o", "gpt-4o-2024-08-06", cached=4, reasoning=6,
              first=LATER_TIME),
    ),
    (
        "n8n",
        # A row of its database.
        [{"executionId": 7, "workflowData": "{}",
          "data": flatten({"resultData": {"runData": RUN_DATA}})}],
        right(3, (30, 32), "gpt-4o", "gpt-4o-2024-08-06", cached=4, reasoning=6,
              first=LATER_TIME),
    ),
    (
        "dify-event",
        [
            {"event": "node_finished", "task_id": "k", "workflow_run_id": "w", "data": DIFY_NODE},
            {"event": "workflow_finished", "task_id": "k", "workflow_run_id": "w",
             "data": {"id": "w", "total_tokens": 30}},
            # The sum of the nodes.
            {"event": "message_end", "task_id": "k", "workflow_run_id": "w", "message_id": "m1",
             "metadata": {"usage": USAGE}},
        ],
        right(1, (10, 20), "gpt-4o", first="2026-03-04T05:06:09+00:00", provider="openai"),
    ),
    (
        "dify-event",
        [
            {"event": "message", "message_id": "m1", "mode": "chat", "answer": "x",
             "conversation_id": "c", "created_at": 1_772_600_767, "metadata": {"usage": USAGE}},
            {"event": "message", "message_id": "m2", "mode": "agent-chat", "answer": "x",
             "conversation_id": "c", "created_at": 1_772_600_767, "metadata": {"usage": USAGE}},
            {"event": "agent_thought", "message_id": "m3", "thought": "x"},
            {"event": "message_end", "message_id": "m3", "metadata": {"usage": USAGE}},
        ],
        right(1, (10, 20), None, sums=((None, 10, 20), (None, 10, 20)),
              first="2026-03-04T05:06:07+00:00"),
    ),
    (
        "dify-node",
        [DIFY_NODE | {name: json.dumps(DIFY_NODE[name]) for name in ("process_data", "outputs")}
         | {"workflow_run_id": "w"}],
        right(1, (10, 20), "gpt-4o", provider="openai"),
    ),
    (
        "dify-message",
        [
            {"id": "m1", "conversation_id": "c", "model_provider": "openai", "model_id": "gpt-4o",
             "message_tokens": 10, "answer_tokens": 20, "agent_based": "f", "created_at": AT},
            {"id": "m2", "conversation_id": "c", "workflow_run_id": "w", "message_tokens": 1,
             "answer_tokens": 2, "created_at": AT},
        ],
        right(1, (10, 20), "gpt-4o", sums=((None, 1, 2),), first=TIME),
    ),
    (
        "smolagents",
        [{"output": "x", "state": "success", "steps": [{"task": "x"}, SMOL_STEP],
          "token_usage": {"input_tokens": 10, "output_tokens": 20},
          "timing": {"start_time": 1_772_600_767.0, "end_time": 1_772_600_769.0}}],
        right(1, (10, 20), None, first="2026-03-04T05:06:09+00:00"),
    ),
    (
        "smolagents-step", [SMOL_STEP],
        right(1, (10, 20), None, first="2026-03-04T05:06:09+00:00"),
    ),
    (
        "tau2-bench",
        [{"timestamp": AT, "info": {"agent_info": {"llm": "gpt-4.1"},
                                    "user_info": {"llm": "gpt-4.1-mini"}},
          "simulations": [{"id": "s1", "end_time": LATER, "messages": [
              {"role": "assistant", "content": "hi", "usage": None},
              {"role": "user", "content": "x", "timestamp": AT,
               "usage": {"completion_tokens": 2, "prompt_tokens": 1}},
              {"role": "assistant", "content": "x", "timestamp": LATER, "usage": USAGE}]}]}],
        right(2, (11, 22), "gpt-4.1", "gpt-4.1-mini", first=TIME),
    ),
    (
        "terminal-bench",
        [{"id": "x", "results": [{"trial_name": "a.1", "task_id": "a", "is_resolved": True,
                                  "total_input_tokens": 1000, "total_output_tokens": 200,
                                  "trial_ended_at": AT}], "accuracy": 1.0}],
        right(0, sums=((None, 1000, 200),)),
    ),
    (
        "response",
        [
            # Source: https://learn.microsoft.com/dotnet/ai/microsoft-extensions-ai (ChatResponse)
            {"messages": [], "responseId": CHAT_ID, "modelId": "gpt-4o", "createdAt": AT,
             "usage": {"inputTokenCount": 10, "outputTokenCount": 20, "totalTokenCount": 30,
                       "cachedInputTokenCount": 4, "reasoningTokenCount": 5}},
            # Source: https://learn.microsoft.com/semantic-kernel (ChatMessageContent)
            {"Role": {"Label": "assistant"}, "ModelId": "gpt-4o", "Metadata": {
                "Id": CHAT_ID.replace("A", "B"), "CreatedAt": AT, "Usage": {
                    "InputTokenCount": 10, "OutputTokenCount": 20,
                    "OutputTokenDetails": {"ReasoningTokenCount": 5},
                    "InputTokenDetails": {"CachedTokenCount": 4}}}},
            # Source: https://docs.spring.io/spring-ai/reference/api/chatmodel.html
            {"result": {}, "metadata": {"id": CHAT_ID.replace("A", "C"), "model": "gpt-4o",
                                        "usage": {"promptTokens": 10, "completionTokens": 20}}},
            # Source: https://docs.langchain4j.dev/tutorials/chat-and-language-models
            {"aiMessage": {"text": "x"}, "metadata": {
                "id": CHAT_ID.replace("A", "D"), "modelName": "gpt-4o",
                "tokenUsage": {"inputTokenCount": 10, "outputTokenCount": 20}}},
        ],
        right(4, (40, 80), "gpt-4o", cached=8, reasoning=10, first=TIME),
    ),
    (
        "response",
        # Source: https://microsoft.github.io/autogen/stable/reference (messages)
        [{"source": "assistant", "models_usage": {"prompt_tokens": 10, "completion_tokens": 20},
          "created_at": AT, "content": "x", "type": "TextMessage"}],
        right(1, (10, 20), None, first=TIME),
    ),
    (
        "response",
        # Events of LangGraph, which repeat a message; only the last ones name its model.
        [
            {"event": "on_chat_model_stream", "run_id": "r1", "data": {"chunk": {
                "content": "", "id": "run--11111111-2222-3333-4444-555555555555-0",
                "usage_metadata": {"input_tokens": 10, "output_tokens": 20}}}},
            {"event": "on_chat_model_end", "run_id": "r1", "data": {"output": {
                "content": "x", "id": "run--11111111-2222-3333-4444-555555555555-0",
                "response_metadata": {"model_name": "gpt-4o"},
                "usage_metadata": {"input_tokens": 10, "output_tokens": 20}}}},
        ],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "table",
        [
            # Source: https://higress.cn/en/docs/latest/plugins/ai/api-o11y/ai-statistics
            {"ai_log": json.dumps({"model": "qwen-turbo", "input_token": "10",
                                   "output_token": "20", "llm_service_duration": "1955"}),
             "start_time": AT, "response_code": 200},
            # Source: https://apisix.apache.org/docs/apisix/plugins/ai-proxy (access log)
            {"llm_model": "gpt-4o", "llm_prompt_tokens": "1", "llm_completion_tokens": "2",
             "time_iso8601": AT},
            # Source: https://docs.continue.dev/customize/telemetry (tokensGenerated)
            {"model": "gpt-4o", "promptTokens": 100, "generatedTokens": 200, "timestamp": AT,
             "eventName": "tokensGenerated"},
        ],
        right(3, (111, 222), "gpt-4o", "qwen-turbo", first=TIME),
    ),
]  # fmt: skip
