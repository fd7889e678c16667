"""Samples of agents, servers and tools beside the most common ones, each with what is right.

``common`` has those; a row here has the same three parts.
"""

from __future__ import annotations

import json
from typing import Any

from log_samples.common import COMPLETION, Documents, Right, right

SONNET = "claude-sonnet-4-5"


def cline(ts: int, said: str, **counted: Any) -> dict[str, Any]:
    """A message of ``ui_messages.json``."""
    return {"ts": ts, "type": "say", "say": said, "text": json.dumps(counted)}


def counted_by_ccusage(inputs: int, outputs: int, **more: int) -> dict[str, Any]:
    return {"inputTokens": inputs, "outputTokens": outputs, "cacheCreationTokens": 5,
            "cacheReadTokens": 40, "totalTokens": inputs + outputs + 45, **more}  # fmt: skip


def open_hands(number: int, inputs: int, outputs: int) -> dict[str, Any]:
    """An event, with the running total of its conversation."""
    total = {"model": "gpt-5", "prompt_tokens": inputs, "completion_tokens": outputs,
             "cache_read_tokens": 0, "cache_write_tokens": 0}  # fmt: skip
    return {"id": number, "timestamp": f"2026-01-02T03:04:{number:02}", "source": "agent",
            "action": "run", "llm_metrics": {"accumulated_cost": 0.1,
                                             "accumulated_token_usage": total}}  # fmt: skip


def weave(own: str, parent: str | None, output: Any) -> dict[str, Any]:
    counts = {"requests": 1, "prompt_tokens": 19, "completion_tokens": 10}
    return {"id": own, "op_name": "weave:///a/b/op/x:1", "trace_id": "t", "parent_id": parent,
            "started_at": "2026-01-02T03:04:05Z", "ended_at": "2026-01-02T03:04:06Z",
            "inputs": {"model": "gpt-4o"}, "output": output,
            "summary": {"usage": {"gpt-4o": counts}}}  # fmt: skip


def datadog(kind: str, span: str, parent: str, **counts: int) -> dict[str, Any]:
    return {"span_id": span, "trace_id": "t", "parent_id": parent, "name": kind,
            "start_ns": 1_741_569_952_000_000_000, "duration": 1.5e9, "status": "ok",
            "meta": {"kind": kind, "model_name": "gpt-4o", "model_provider": "openai"},
            "metrics": counts}  # fmt: skip


FURTHER_SAMPLES: list[tuple[str, Documents, Right]] = [
    (
        "amp",
        # A message and its entry in the ledger are one call; the last entry's message is gone.
        [{"v": 1, "id": "T-1", "created": 1_741_569_950_000, "messages": [
            {"role": "user", "messageId": 0},
            {"role": "assistant", "messageId": 1, "usage": {
                "model": SONNET, "inputTokens": 10, "outputTokens": 20,
                "cacheCreationInputTokens": 30, "cacheReadInputTokens": 40}},
            {"role": "assistant", "messageId": 3, "usage": {
                "model": SONNET, "inputTokens": 5, "outputTokens": 6}}],
          "usageLedger": {"events": [
              {"timestamp": "2026-01-02T03:04:05Z", "model": SONNET, "toMessageId": 1,
               "tokens": {"input": 10, "output": 20}},
              {"timestamp": "2026-01-02T03:05:05Z", "model": SONNET,
               "tokens": {"input": 5, "output": 6}},
              {"timestamp": "2026-01-02T03:06:05Z", "model": SONNET, "toMessageId": 9,
               "tokens": {"input": 100, "output": 200}}]}}],
        right(3, (185, 226), SONNET, cached=40, first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "cline",
        [
            {"ts": 1_741_569_950_000, "type": "say", "say": "text", "text": "do this"},
            {"ts": 1_741_569_951_000, "type": "say", "say": "api_req_started",
             "text": json.dumps({"request": "<model>gpt-4.1</model>", "tokensIn": 10,
                                 "tokensOut": 20, "cacheWrites": 30, "cacheReads": 40}),
             "modelInfo": {"providerId": "anthropic", "modelId": SONNET}},
            # Not answered yet.
            {"ts": 1_741_569_952_000, "type": "say", "say": "api_req_started",
             "text": json.dumps({"request": "…"})},
            {"ts": 1_741_569_953_000, "type": "ask", "ask": "followup", "text": "{}"},
        ],
        right(1, (80, 20), SONNET, cached=40, first="2025-03-10T01:25:51+00:00",
              provider="anthropic"),
    ),
    (
        "cline",
        # Roo Code: the caches beside the input, later in it; of OpenAI's always in it.
        [
            cline(1_741_569_951_000, "api_req_started", request="<model>x</model>", tokensIn=100,
                  tokensOut=1, cacheReads=40, apiProtocol="anthropic"),
            cline(1_771_569_951_000, "api_req_started", request="<model>x</model>", tokensIn=100,
                  tokensOut=1, cacheReads=40, apiProtocol="anthropic"),
            cline(1_741_569_952_000, "api_req_started", request="<model>x</model>", tokensIn=100,
                  tokensOut=1, cacheReads=40, apiProtocol="openai"),
        ],
        right(3, (340, 3), "x", cached=120),
    ),
    (
        "cline-task",
        [{"id": "1741569950000", "ts": 1_741_569_952_000, "task": "…", "tokensIn": 10,
          "tokensOut": 20, "cacheWrites": 0, "cacheReads": 7, "totalCost": 0.1}],
        right(0, sums=((None, 17, 20),)),
    ),
    (
        "copilot",
        [
            {"type": "session.start", "data": {"sessionId": "s"}, "id": "1"},
            {"type": "user.message", "data": {"content": "…"}, "id": "2"},
            {"type": "session.shutdown", "timestamp": "2026-01-02T03:04:05Z", "id": "3",
             "data": {"modelMetrics": {"gpt-5": {
                 "requests": {"count": 3, "cost": 1}, "usage": {
                     "inputTokens": 300, "outputTokens": 60, "cacheReadTokens": 40,
                     "cacheWriteTokens": 0}}}}},
        ],
        right(0, sums=((3, 300, 60),)),
    ),
    (
        "copilot",
        # What the session sums up in the end counts where its calls are not there.
        [
            {"type": "session.start", "data": {"sessionId": "s"}, "id": "1"},
            {"type": "assistant.usage", "timestamp": "2026-01-02T03:04:05Z", "id": "2",
             "data": {"model": "gpt-5", "inputTokens": 100, "outputTokens": 20,
                      "cacheReadTokens": 40}},
            {"type": "session.shutdown", "timestamp": "2026-01-02T03:04:06Z", "id": "3",
             "data": {"modelMetrics": {"gpt-5": {"requests": {"count": 1}, "usage": {
                 "inputTokens": 100, "outputTokens": 20, "cacheReadTokens": 40}}}}},
        ],
        right(1, (100, 20), "gpt-5", cached=40, first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "kimi",
        [
            {"timestamp": 1_741_569_952.5, "message": {"type": "TurnBegin", "payload": {}}},
            *(
                {"timestamp": 1_741_569_953.5, "message": {"type": "StatusUpdate", "payload": {
                    "message_id": "chatcmpl-1", "token_usage": {
                        "input_other": 10, "output": output, "input_cache_read": 4,
                        "input_cache_creation": 0}}}}
                for output in (1, 20)
            ),
        ],
        right(1, (14, 20), None, cached=4, first="2025-03-10T01:25:53.500000+00:00",
              provider="moonshot_ai"),
    ),
    (
        "kimi-code",
        [
            {"type": "llm.request", "model": "kimi-code/kimi-for-coding"},
            {"type": "usage.record", "model": "__kimi_env_model__", "usageScope": "turn",
             "time": 1_741_569_952_000, "usage": {"inputOther": 10, "output": 20,
                                                  "inputCacheRead": 4, "inputCacheCreation": 1}},
            {"type": "step.end", "usage": {"inputOther": 10, "output": 20}},
        ],
        right(1, (15, 20), "kimi-for-coding", cached=4, first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "pi",
        # OpenClaw's are the same.
        [
            {"type": "session", "version": 3, "id": "s", "timestamp": "2026-01-02T03:04:04.000Z",
             "cwd": "/x"},
            {"type": "model_change", "id": "a", "parentId": None,
             "timestamp": "2026-01-02T03:04:05.000Z", "provider": "anthropic", "modelId": SONNET},
            {"type": "message", "id": "b", "parentId": "a",
             "timestamp": "2026-01-02T03:04:06.000Z", "message": {
                 "role": "assistant", "provider": "anthropic", "model": SONNET,
                 "usage": {"input": 3, "output": 20, "cacheRead": 10, "cacheWrite": 7,
                           "totalTokens": 40, "cost": {"total": 0.1}}}},
        ],
        right(1, (20, 20), SONNET, cached=10, first="2026-01-02T03:04:06+00:00",
              provider="anthropic"),
    ),
    (
        "open-hands",
        # A running total: what it advances by is a call.
        [open_hands(1, 100, 10), open_hands(2, 100, 10), open_hands(3, 250, 30)],
        right(2, (250, 30), "gpt-5", first="2026-01-02T03:04:01+00:00"),
    ),
    (
        "open-hands",
        # The result of an evaluation has each call.
        [{"instance_id": "x", "history": [], "metrics": {
            "accumulated_cost": 0.1, "accumulated_token_usage": {
                "model": "gpt-5", "prompt_tokens": 30, "completion_tokens": 7},
            "token_usages": [
                {"model": "gpt-5", "prompt_tokens": 10, "completion_tokens": 2,
                 "cache_read_tokens": 4, "cache_write_tokens": 0, "response_id": "chatcmpl-1"},
                {"model": "gpt-5", "prompt_tokens": 20, "completion_tokens": 5,
                 "cache_read_tokens": 8, "cache_write_tokens": 0, "response_id": "chatcmpl-2"},
            ]}}],
        right(2, (30, 7), "gpt-5", cached=12),
    ),
    (
        "goose",
        [
            {"working_dir": "/x", "description": "…", "message_count": 2, "total_tokens": 30,
             "input_tokens": 10, "output_tokens": 20, "accumulated_total_tokens": 60,
             "accumulated_input_tokens": 25, "accumulated_output_tokens": 35},
            {"role": "user", "created": 1_741_569_950, "content": []},
            {"role": "assistant", "created": 1_741_569_952, "content": []},
        ],
        right(0, sums=((None, 25, 35),)),
    ),
    (
        "zed",
        [{"version": "0.3.0", "title": "…", "messages": [], "updated_at": "2026-01-02T03:04:05Z",
          "request_token_usage": {"u": {"input_tokens": 100, "output_tokens": 20}},
          "cumulative_token_usage": {"input_tokens": 400, "output_tokens": 60,
                                     "cache_creation_input_tokens": 5,
                                     "cache_read_input_tokens": 30},
          "model": {"provider": "anthropic", "model": SONNET}}],
        right(0, sums=((None, 435, 60),)),
    ),
    (
        "droid",
        [{"model": SONNET, "providerLock": "anthropic", "tokenUsage": {
            "inputTokens": 1234, "outputTokens": 567, "cacheCreationTokens": 89,
            "cacheReadTokens": 12, "thinkingTokens": 34}}],
        right(0, sums=((None, 1335, 567),)),
    ),
    (
        "ccusage",
        [
            {"daily": [{"date": "2026-01-02", "modelsUsed": ["a", "b"], "modelBreakdowns": [
                {"modelName": "a", **counted_by_ccusage(10, 20)},
                {"modelName": "b", **counted_by_ccusage(1, 2)}], **counted_by_ccusage(11, 22)}],
             "totals": counted_by_ccusage(11, 22)},
            {"monthly": [{"month": "2026-01", "models": {"gpt-5": {
                "inputTokens": 100, "cachedInputTokens": 60, "outputTokens": 30,
                "reasoningOutputTokens": 10}}, "inputTokens": 100, "outputTokens": 30}]},
            {"blocks": [{"id": "x", "startTime": "2026-01-02T00:00:00Z", "isGap": False,
                         "entries": 12, "models": ["a"], "tokenCounts": {
                             "inputTokens": 10, "outputTokens": 20,
                             "cacheCreationInputTokens": 5, "cacheReadInputTokens": 7}}]},
        ],
        right(0, sums=((None, 55, 20), (None, 46, 2), (None, 100, 30), (12, 22, 20))),
    ),
    (
        "claude-code-stats",
        [{"version": 1, "lastComputedDate": "2026-01-05", "dailyModelTokens": [
            {"date": "2026-01-04", "tokensByModel": {SONNET: 12_345}}],
          "modelUsage": {SONNET: {
              "inputTokens": 100, "outputTokens": 200, "cacheReadInputTokens": 3000,
              "cacheCreationInputTokens": 400}}, "totalSessions": 3}],
        right(0, sums=((None, 3500, 200),)),
    ),
    (
        "cloudflare",
        [{"success": True, "result_info": {"count": 2}, "result": [
            {"id": "01JADMCQQQBWH3NXZ5GCRN98DP", "created_at": "2026-01-02T03:04:05Z",
             "provider": "openai", "model": "gpt-4o", "tokens_in": 10, "tokens_out": 20,
             "cached": False, "success": True, "status_code": 200, "path": "chat/completions"},
            {"id": "01JADMCQQQBWH3NXZ5GCRN98DQ", "created_at": "2026-01-02T03:04:06Z",
             "provider": "openai", "model": "gpt-4o", "tokens_in": 10, "tokens_out": 20,
             "cached": True, "success": True, "status_code": 200, "path": "chat/completions"}]}],
        right(1, (10, 20), "gpt-4o", hits=1, first="2026-01-02T03:04:05+00:00",
              provider="openai"),
    ),
    (
        "portkey",
        [
            {"id": "a", "created_at": "2026-01-02T03:04:05Z", "ai_org": "openai",
             "ai_model": "gpt-4o", "req_units": 19, "res_units": 10, "cache_status": "MISS",
             "response_status_code": 200, "trace_id": "t", "response": COMPLETION},
            {"id": "b", "created_at": "2026-01-02T03:04:05Z", "ai_org": "openai",
             "ai_model": "gpt-4o", "req_units": 19, "res_units": 10, "cache_status": "HIT",
             "response_status_code": 200, "trace_id": "t"},
        ],
        right(1, (19, 10), str(COMPLETION["model"]), cached=4, reasoning=6, hits=1,
              provider="openai"),
    ),
    (
        "datadog",
        [
            {"data": {"type": "span", "attributes": {"ml_app": "x", "spans": [
                datadog("agent", "a", "undefined", input_tokens=10, output_tokens=20),
                datadog("llm", "b", "a", input_tokens=10, output_tokens=20, total_tokens=30,
                        cache_read_input_tokens=4)]}}},
            # As a search gives them.
            {"data": [{"type": "span", "id": "1", "attributes": {
                "span_kind": "embedding", "model_name": "gpt-4o", "model_provider": "openai",
                "span_id": "c", "trace_id": "t", "start_ms": 1_741_569_952_000,
                "duration": 1_500_000, "metrics": {"input_tokens": 5}}}]},
        ],
        right(2, (15, 20), "gpt-4o", cached=4, first="2025-03-10T01:25:53.500000+00:00",
              provider="openai"),
    ),
    (
        "braintrust",
        [
            {"id": "e", "span_id": kind, "root_span_id": "r", "created": "2026-01-02T03:04:05Z",
             "span_attributes": {"name": "x", "type": kind}, "metadata": {"model": "gpt-4o"},
             "metrics": {"start": 1_741_569_952.0, "end": 1_741_569_953.5, "prompt_tokens": 10,
                         "completion_tokens": 20, "tokens": 30, "prompt_cached_tokens": 4}}
            for kind in ("llm", "task")
        ],
        right(1, (10, 20), "gpt-4o", cached=4, first="2025-03-10T01:25:53.500000+00:00"),
    ),
    (
        "weave",
        [weave("a", None, "done"), weave("b", "a", COMPLETION)],
        right(1, (19, 10), str(COMPLETION["model"]), cached=4, reasoning=6,
              first="2026-01-02T03:04:06+00:00"),
    ),
    (
        "replicate",
        [{"id": "ufawqhfynnddngldkgtslldrkq", "model": "meta/meta-llama-3-70b-instruct",
          "version": "v", "input": {"prompt": "…"}, "output": ["…"], "error": None,
          "status": "succeeded", "created_at": "2026-01-02T03:04:05.123Z",
          "completed_at": "2026-01-02T03:04:07Z",
          "metrics": {"predict_time": 1.6, "input_token_count": 10, "output_token_count": 20}}],
        right(1, (10, 20), "meta/meta-llama-3-70b-instruct", first="2026-01-02T03:04:07+00:00",
              provider="replicate"),
    ),
    (
        "tgi",
        [
            {"index": 1, "token": {"id": 1, "text": "a"}, "generated_text": None, "details": None},
            {"index": 2, "token": {"id": 2, "text": "b"}, "generated_text": "ab", "details": {
                "finish_reason": "length", "generated_tokens": 2, "input_length": 7}},
            {"generated_text": "…", "details": {
                "finish_reason": "length", "generated_tokens": 20, "tokens": [],
                "prefill": [{"id": 1, "text": "a", "logprob": None}] * 3}},
        ],
        right(2, (10, 22), None),
    ),
    (
        "sglang",
        [
            {"text": "…", "meta_info": {"id": "f1", "finish_reason": {"type": "length"},
                                        "prompt_tokens": 10, "completion_tokens": 20,
                                        "cached_tokens": 4}},
            *(
                {"timestamp": "2026-01-02T03:04:05", "event": "request.finished", "rid": "f2",
                 "out": {"meta_info": {"prompt_tokens": 1, "completion_tokens": output}}}
                for output in (1, 2)
            ),
        ],
        right(2, (11, 22), None, cached=4),
    ),
    (
        "server-benchmark",
        [
            {"date": "20260102-030405", "model_id": "llama", "completed": 2,
             "total_input_tokens": 30, "total_output_tokens": 50, "input_lens": [10, 20],
             "output_lens": [20, 30], "errors": ["", ""]},
            {"date": "20260102-030405", "model_id": "llama", "completed": 7,
             "total_input_tokens": 700, "total_output_tokens": 70},
        ],
        right(2, (30, 50), "llama", first="2026-01-02T03:04:05+00:00", sums=((7, 700, 70),)),
    ),
    (
        "response",
        # Open WebUI's export, with the usage of Ollama; the message is there twice.
        [{"id": "c", "title": "…", "chat": {
            "history": {"messages": {"m": {
                "id": "2f6c1d1c-0000-4000-8000-000000000000", "role": "assistant",
                "model": "llama3.1:8b", "timestamp": 1_741_569_952,
                "usage": {"prompt_eval_count": 10, "eval_count": 20}}}},
            "messages": [{
                "id": "2f6c1d1c-0000-4000-8000-000000000000", "role": "assistant",
                "model": "llama3.1:8b", "timestamp": 1_741_569_952,
                "usage": {"prompt_eval_count": 10, "eval_count": 20}}]}}],
        right(1, (10, 20), "llama3.1:8b", first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "table",
        # API Management's log, whose time is beside the counts.
        [{"time": "2026-01-02T03:04:05Z", "category": "GatewayLlmLogs", "properties": {
            "modelName": "gpt-4o", "promptTokens": 10, "completionTokens": 20}}],
        right(1, (10, 20), "gpt-4o", first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "ai-sdk",
        [
            {"text": "…", "finishReason": "stop", "usage": {
                "inputTokens": 10, "outputTokens": 20, "totalTokens": 30, "reasoningTokens": 5,
                "cachedInputTokens": 4}, "response": {
                    "id": "aitxt-1", "modelId": "gpt-4o", "timestamp": "2026-01-02T03:04:05Z"}},
            {"text": "…", "finishReason": "stop", "usage": {
                "promptTokens": 1, "completionTokens": 2, "totalTokens": 3},
             "response": {"id": "b", "modelId": "gpt-4o"}},
            # The usage of the last step beside those of all.
            {"finishReason": "stop", "usage": {"inputTokens": 200, "outputTokens": 2},
             "totalUsage": {"inputTokens": 300, "outputTokens": 3}, "steps": [
                 {"usage": {"inputTokens": 100, "outputTokens": 1},
                  "response": {"id": "c", "modelId": "gpt-4o"}},
                 {"usage": {"inputTokens": 200, "outputTokens": 2},
                  "response": {"id": "d", "modelId": "gpt-4o"}}]},
        ],
        right(4, (311, 25), "gpt-4o", cached=4, reasoning=5, first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "pydantic-ai",
        [
            {"kind": "request", "parts": []},
            {"kind": "response", "parts": [], "model_name": "gpt-4o", "provider_name": "openai",
             "timestamp": "2026-01-02T03:04:05Z", "usage": {
                 "input_tokens": 10, "output_tokens": 20, "cache_read_tokens": 4,
                 "details": {"reasoning_tokens": 5}}},
            {"kind": "response", "parts": [], "model_name": "gpt-4o",
             "timestamp": "2026-01-02T03:04:06Z",
             "usage": {"requests": 1, "request_tokens": 1, "response_tokens": 2}},
        ],
        right(2, (11, 22), "gpt-4o", cached=4, reasoning=5, provider="openai",
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "langchain",
        [{"generations": [[{"text": "…"}]], "run": None, "llm_output": {
            "token_usage": {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 30},
            "model_name": "gpt-4o"}}],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "crew-ai",
        [{"raw": "…", "tasks_output": [], "token_usage": {
            "total_tokens": 30, "prompt_tokens": 10, "cached_prompt_tokens": 0,
            "completion_tokens": 20, "successful_requests": 3}}],
        right(0, sums=((3, 10, 20),)),
    ),
    # LlamaIndex's.
    ("response", [{"raw": COMPLETION, "message": {"role": "assistant", "blocks": []}}],
     right(1, (19, 10), str(COMPLETION["model"]), cached=4, reasoning=6)),
    # Reasonix's usage.jsonl, whose prompt has what a cache had.
    ("table",
     [{"ts": 1_779_677_995_040, "session": "s", "model": "deepseek-v4-pro", "promptTokens": 24_171,
       "completionTokens": 210, "cacheHitTokens": 0, "cacheMissTokens": 24_171, "costUsd": 0.01},
      {"ts": 1_779_677_999_923, "session": "s", "model": "deepseek-v4-pro", "promptTokens": 24_497,
       "completionTokens": 212, "cacheHitTokens": 24_320, "cacheMissTokens": 177, "costUsd": 0.01}],
     right(2, (48_668, 422), "deepseek-v4-pro", cached=24_320,
           first="2026-05-25T02:59:55.040000+00:00")),
    # LangChain4j's: in what holds a usage, parts of the counts lie further in.
    ("response",
     [{"aiMessage": {"text": "..."}, "metadata": {
         "id": "chatcmpl-8", "modelName": "gpt-4o-mini", "finishReason": "STOP",
         "tokenUsage": {"inputTokenCount": 15, "outputTokenCount": 8, "totalTokenCount": 23,
                        "inputTokensDetails": {"cachedTokens": 3},
                        "outputTokensDetails": {"reasoningTokens": 2}}}}],
     right(1, (15, 8), "gpt-4o-mini", cached=3, reasoning=2)),
    # YandexGPT's and Aleph Alpha's.
    ("response",
     [{"result": {"alternatives": [], "modelVersion": "23.10.2024", "usage": {
         "inputTextTokens": "19", "completionTokens": "6", "totalTokens": "25",
         "completionTokensDetails": {"reasoningTokens": "2"}}}}],
     right(1, (19, 6), "23.10.2024", reasoning=2)),
    ("table",
     [{"model_version": "2024-08", "completions": [], "num_tokens_prompt_total": 14,
       "num_tokens_generated": 5}],
     right(1, (14, 5), "2024-08")),
    # Each event of a stream has the counts so far.
    ("dashscope",
     [{"output": {"choices": [{"message": {"content": "."}, "finish_reason": reason}]},
       "usage": {"total_tokens": 22 + outputs, "output_tokens": outputs, "input_tokens": 22},
       "request_id": "bed20b37-6dbb-4a0f-8e2e-5a1f0a5f7d11"}
      for outputs, reason in ((1, "null"), (3, "stop"))],
     right(1, (22, 3), None)),
    ("cohere-events",
     [{"type": "message-start", "id": "29f14a5a-11de-4cae-9800-25e4747408ea",
       "delta": {"message": {"role": "assistant"}}},
      {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {
          "billed_units": {"input_tokens": 3, "output_tokens": 57},
          "tokens": {"input_tokens": 66, "output_tokens": 57}}}}],
     right(1, (66, 57), None, provider="cohere")),
    ("continue",
     [{"sessionId": "s", "title": "...", "workspaceDirectory": "/x", "history": [
         {"message": {"role": "user", "content": "..."}, "contextItems": []},
         {"message": {"role": "assistant", "content": "..."}, "contextItems": []}],
       "usage": {"totalCost": 0.1, "promptTokens": 500, "completionTokens": 50,
                 "promptTokensDetails": {"cachedTokens": 300}}}],
     right(0, sums=((None, 500, 50),))),
    # Of xAI's own SDK, which counts reasoning beside the output.
    ("response",
     [{"model": "grok-4", "usage": {
         "completion_tokens": 69, "prompt_tokens": 701, "total_tokens": 893,
         "reasoning_tokens": 123, "prompt_text_tokens": 701, "cached_prompt_text_tokens": 679}},
      {"model": "grok-4", "usage": {
          "completion_tokens": 5, "prompt_tokens": 10, "total_tokens": 15,
          "prompt_text_tokens": 10, "cached_prompt_text_tokens": 8}}],
     right(2, (711, 197), "grok-4", cached=687, reasoning=123)),
    ("table",
     [{"date": "2026-05-01", "model": "grok-4", "num_requests": 5, "prompt_text_tokens": 1000,
       "cached_prompt_text_tokens": 200, "completion_tokens": 50, "reasoning_tokens": 300}],
     right(0, sums=((5, 1000, 350),))),
    # Counts in what is called tokens need not say so again.
    ("response",
     [{"timestamp": "2026-05-01T10:00:00Z", "model": "gpt-4o", "tokens": counts} for counts in (
         {"prompt": 100, "completion": 20, "total": 120}, {"in": 10, "out": 2},
         {"input": 1000, "output": 200, "cached": 600, "reasoning": 50})],
     right(3, (1110, 222), "gpt-4o", cached=600, reasoning=50,
           first="2026-05-01T10:00:00+00:00")),
    ("new-api",
     [{"id": number, "created_at": 1_770_000_000 + number, "type": kind, "token_name": "k",
       "model_name": model, "quota": 100, "prompt_tokens": inputs, "completion_tokens": outputs,
       "other": other} for number, (kind, model, inputs, outputs, other) in enumerate([
           (2, "gpt-4o", 5000, 200, '{"cache_tokens": 4000, "frt": 900}'),
           (2, "claude-sonnet-4", 4, 50,
            '{"claude": true, "cache_tokens": 1000, "cache_creation_tokens": 96}'),
           (5, "gpt-4o", 0, 0, '{"status_code": 429}'), (1, "", 0, 0, "")])],
     right(3, (6100, 250), "gpt-4o", "claude-sonnet-4", cached=5000,
           first="2026-02-02T02:40:00+00:00")),
    # llama.cpp's own, as it was without timings.
    ("table",
     [{"content": "...", "model": "nemotron-mini-4b", "tokens_predicted": 87,
       "tokens_evaluated": 245, "stop": True}],
     right(1, (245, 87), "nemotron-mini-4b")),
    # Of Gemini, what it thought lies beside the output, as the total says; of OpenAI inside.
    ("promptfoo",
     [{"evalId": "e", "results": {"timestamp": "2026-04-17T11:01:43Z", "results": [
         {"id": str(outputs), "provider": {"id": "google:gemini-2.5-pro"}, "response": {
             "tokenUsage": {"prompt": inputs, "completion": outputs, "total": total,
                            "numRequests": requests, "completionDetails": {
                                "reasoning": reasoning, "cacheReadInputTokens": cached}}}}
         for inputs, outputs, reasoning, cached, total, requests in (
             (402, 25, 698, 0, 1125, 1), (403, 900, 222, 100, 1525, 1),
             (400, 950, 200, 0, 1350, 1), (800, 500, 40, 0, 1340, 3))]}}],
     right(3, (1205, 2795), "gemini-2.5-pro", cached=100, reasoning=1120,
           sums=((3, 800, 540),))),
    ("inspect",
     [{"eval": {"run_id": "r"}, "status": "success", "samples": [{"id": 1, "epoch": 1, "events": [
         {"event": "model", "uuid": str(total), "model": "google/gemini-2.5-pro", "output": {
             "usage": {"input_tokens": 300, "input_tokens_cache_read": cached,
                       "output_tokens": 900, "reasoning_tokens": 222, "total_tokens": total}}}
         for cached, total in ((0, 1422), (100, 1522), (200, 1200))]}]}],
     right(3, (1000, 3144), "google/gemini-2.5-pro", cached=300, reasoning=666)),
    ("posthog",
     [{"event": "$ai_generation", "timestamp": "2026-05-01T10:00:00Z", "properties": {
         "$ai_provider": "gemini", "$ai_model": "gemini-2.5-pro", "$ai_input_tokens": 10,
         "$ai_output_tokens": 100, "$ai_reasoning_tokens": 20}}],
     right(1, (10, 120), "gemini-2.5-pro", reasoning=20)),
    ("cloudflare",
     [{"id": f"01KZ3Y993DV0Z5CAQCA4CJ3GR{number}", "created_at": "2026-05-01T10:00:00Z",
       "provider": provider, "model": "m", "cached": False, "status_code": 200,
       "tokens_in": inputs, "tokens_out": outputs, "usage_metadata": parts}
      for number, (provider, inputs, outputs, parts) in enumerate([
          ("google-ai-studio", 9, 21, {"reasoningTokens": 852}),
          ("anthropic", 10, 4, {"input_cached_tokens": 3429, "input_cache_creation_tokens": 0}),
          ("openai", 100, 50, {"input_cached_tokens": 64}), ("workers-ai", 38, 8, None)])],
     right(4, (3586, 935), "m", cached=3493, reasoning=852)),
]  # fmt: skip
