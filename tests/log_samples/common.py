"""Samples of every format, each with what is right for it.

``SAMPLES`` are documents written after the schema that the format's row names; ``FILES`` lie in
``data``, most of them real ones cut down; ``SHARED`` lie beside a checkout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parents[1] / "logs" / "data"
SHARED = Path(__file__).parents[3] / "shared"

Documents = list[dict[str, Any]]


@dataclass(frozen=True)
class Right:
    """What a sample holds.

    Attributes:
        calls: Number of calls.
        tokens: Input and output of all calls [tokens].
        cached: Cached input of all calls [tokens].
        models: Models of the calls.
        sums: Requests, input and output of each sum.
        hits: Answers from a cache.
        reasoning: Reasoning tokens of all calls.
        first: When the first call ran.
        provider: Provider of the first call.
    """

    calls: int
    tokens: tuple[int, int] = (0, 0)
    cached: int = 0
    models: frozenset[str | None] = frozenset()
    sums: tuple[tuple[int | None, int, int], ...] = ()
    hits: int = 0
    reasoning: int = 0
    first: str | None = None
    provider: str | None = None


def right(calls: int, tokens: tuple[int, int] = (0, 0), *models: str | None, **more: Any) -> Right:
    return Right(calls, tokens, models=frozenset(models), **more)


SONNET = "claude-sonnet-4-20250514"
OPUS = "claude-opus-4-20250514"

# File -> what is right for it, by the people whose file it is, or counted by hand.
FILES: dict[str, Right] = {
    "claude_code_transcript.jsonl": right(
        6, (883, 328), "claude-sonnet-4", first="2025-06-14T10:00:05+00:00", provider="anthropic"
    ),
    "claude_code_repeats.jsonl": right(1, (24_425, 310), "claude-opus-4-6", cached=22_137),
    "ccusage_claude.jsonl": right(3, (745, 250), SONNET, OPUS, cached=70),
    "codex_rollout.jsonl": right(
        *(2, (3500, 425), "gpt-5.2-codex", "gpt-5.3-codex"),
        cached=750, reasoning=275, first="2026-05-13T09:01:00+00:00",
    ),
    "codex_exec.jsonl": right(0, sums=((None, 24_763, 122),)),
    "claude_stream_json.jsonl": right(2, (22_408, 100), "claude-sonnet-4-5", cached=20_000),
    "otlp_collector_line.jsonl": right(1, (10, 20), "gpt-4o"),
    "inspect_log.json": right(3, (192, 6), "openai/gpt-4o-mini", provider="openai"),
    "litellm_spend_logs.jsonl": right(
        1, (10, 20), "gpt-4o", first="2025-01-24T09:20:46.851954+00:00", provider="openai"
    ),
    "openai_usage_page.json": right(0, sums=((470, 141_201, 9756),)),
    "openai_activity.csv": right(0, sums=((12, 48_211, 3120),)),
    "openai_batch_object.jsonl": right(0, sums=((200, 816_040, 33_045),)),
    "usage_aggregate.jsonl": right(1, (10, 20), "gpt-4o", sums=((None, 50_000_000, 2_000_000),)),
    "swe_agent.traj": right(0, sums=((12, 122_612, 1369),)),
    "langsmith_run.jsonl": right(1, (9, 9), "gpt-4o"),
    "azure_trace.csv": right(
        20, (54_393, 289), None, first="2023-11-16T18:17:03.979960+00:00",
        provider="azure.ai.openai",
    ),
    "mooncake_trace.jsonl": right(3, (5217, 1025), None, cached=1024),
    "langfuse_blob.jsonl": right(1, (10, 20), "gpt-4o", first="2025-01-01T00:00:00+00:00"),
    "helicone.jsonl": right(1, (10, 20), "gpt-4o", provider="openai"),
    "simple.jsonl": right(1, (10, 20), "gpt-4o"),
    "bedrock_batch.jsonl": right(3, (27, 51), None, "claude-3-5-sonnet-20240620"),
    "pretty.json": right(1, (10, 20), "gpt-4o", first="2025-03-24T22:25:51+00:00"),
    "responses.jsonl.gz": right(3, (178, 2091), "llama-3.1-8b-instant", provider="groq"),
}  # fmt: skip

# Whose licence is not known to allow a copy here.
SHARED_FILES: dict[str, Right] = {
    "opencode_message.json": right(1, (1300, 500), "claude-3-5-sonnet-20241022", cached=200),
    "otlp_github_copilot.json": right(
        4, (322_638, 1128), "claude-opus-4.6-1m", cached=240_601, provider="github"
    ),
    "promptfoo_results.json": right(3, (126, 3), "gpt-4o-mini", provider="openai"),
    "aider_history.md": right(12, (73_600, 4303), "openrouter/openai/gpt-4o-mini"),
    "mooncake_trace.jsonl": right(20, (289_844, 7832), None, cached=9728),
}

UUID = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
RUN = "b52f7a1e-4e2a-4f10-9c1f-3d9f6f6b7a10"


def span(name: str, span_id: str, parent: str | None = None, **attributes: Any) -> dict[str, Any]:
    """A span of OTLP's in JSON; counts are text there."""
    listed = [
        {
            "key": key,
            "value": {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value},
        }
        for key, value in attributes.items()
    ]
    found = {"name": name, "traceId": "t1", "spanId": span_id, "attributes": listed}
    return found if parent is None else {**found, "parentSpanId": parent}


def genai(inputs: int, outputs: int, **more: Any) -> dict[str, Any]:
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.response.model": "gpt-4o",
        "gen_ai.usage.input_tokens": inputs,
        "gen_ai.usage.output_tokens": outputs,
    } | more


def exported(*spans: dict[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"resource": {}, "scopeSpans": [{"spans": list(spans)}]}]}


def chunk(content: str, usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1_741_569_952,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}],
        "usage": usage,
    } | more


COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
    "object": "chat.completion",
    "created": 1_741_569_952,
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello!"}}],
    "usage": {
        "prompt_tokens": 19,
        "completion_tokens": 10,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 6},
    },
}
GEMINI_COUNTS = {
    "promptTokenCount": 120,
    "candidatesTokenCount": 48,
    "thoughtsTokenCount": 32,
    "totalTokenCount": 200,
}

# Row of the table -> documents of one file, and what is right for them.
SAMPLES: list[tuple[str, Documents, Right]] = [
    (
        "energy-tracking",
        [
            {
                "ledger": 1, "timestamp": "2026-01-02T03:04:05+00:00", "pid": 7,
                "session": "nightly", "tags": {"team": "a"}, "model": "gpt-4o",
                "request": {"operation": "chat", "provider": "openai", "model": "gpt-4o"},
                "status": "estimated", "response_id": "chatcmpl-1",
                "usage": {"input_tokens": 10, "output_tokens": 20, "cached_input_tokens": 4,
                          "reasoning_tokens": 5, "total_tokens": 30, "dialect": "openai-chat"},
            }
        ],
        right(1, (10, 20), "gpt-4o", cached=4, reasoning=5, first="2026-01-02T03:04:05+00:00",
              provider="openai"),
    ),
    (
        "otlp",
        [
            exported(
                span("invoke_agent", "a",
                     **genai(30, 50) | {"gen_ai.operation.name": "invoke_agent"}),
                span("chat", "b", "a", **genai(10, 20)),
                span("chat", "c", "a", **genai(20, 30)),
            ),
            # The SDK inside of a gateway's client: the same call on two spans.
            exported(span("chat", "e", "d", **genai(5, 6))),
            exported(span("litellm_request", "d", **genai(5, 6))),
        ],
        right(3, (35, 56), "gpt-4o"),
    ),
    (
        "otlp",
        [exported(span("ChatOpenAI", "a", None, **{
            "openinference.span.kind": "LLM", "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 10, "llm.token_count.completion": 20,
            "llm.token_count.prompt_details.cache_read": 3, "llm.provider": "openai"}))],
        right(1, (10, 20), "gpt-4o", cached=3, provider="openai"),
    ),
    (
        "otlp-span",
        [span("chat", "a", **genai(10, 20)) | {"endTimeUnixNano": "1774459425985551800"}],
        right(1, (10, 20), "gpt-4o", first="2026-03-25T17:23:45.985552+00:00"),
    ),
    (
        "printed-span",
        [
            {
                "name": "chat gpt-4o",
                "context": {"trace_id": "0x1", "span_id": "0x2", "trace_state": "[]"},
                "kind": "SpanKind.CLIENT", "parent_id": None,
                "start_time": "2026-01-02T03:04:05.000000Z",
                "end_time": "2026-01-02T03:04:06.000000Z",
                "attributes": genai(10, 20) | {"gen_ai.provider.name": "openai"},
            }
        ],
        right(1, (10, 20), "gpt-4o", first="2026-01-02T03:04:06+00:00", provider="openai"),
    ),
    (
        "printed-span",
        [
            {
                "name": "ChatCompletion", "span_kind": "LLM",
                "context": {"trace_id": "1", "span_id": "2"},
                "attributes": {"llm": {"model_name": "gpt-4o",
                                       "token_count": {"prompt": 10, "completion": 20}}},
            }
        ],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "span-table",
        [
            {
                "context.span_id": "2", "context.trace_id": "1", "span_kind": "LLM",
                "attributes.llm.token_count.prompt": 10,
                "attributes.llm.token_count.completion": 20,
                "attributes.llm.model_name": "gpt-4o",
            }
        ],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "burst-gpt",
        [
            {"Timestamp": 5, "Model": "ChatGPT", "Request tokens": 472, "Response tokens": 18,
             "Total tokens": 490, "Log Type": "Conversation log"},
            {"Timestamp": 45, "Model": "GPT-4", "Request tokens": 1087, "Response tokens": 230,
             "Total tokens": 1317, "Log Type": "API log"},
        ],
        right(2, (1559, 248), "ChatGPT", "GPT-4"),
    ),
    (
        "mooncake-trace",
        [
            # Qwen-Bailian's blocks are of 16 tokens.
            {"chat_id": 1, "parent_chat_id": -1, "timestamp": 0.1, "input_length": 40,
             "output_length": 5, "type": "text", "turn": 1, "hash_ids": [1, 2, 3]},
            {"chat_id": 2, "parent_chat_id": 1, "timestamp": 0.2, "input_length": 60,
             "output_length": 7, "type": "text", "turn": 2, "hash_ids": [1, 2, 9, 3]},
        ],
        right(2, (100, 12), None, cached=32),
    ),
    (
        "usage-page",
        [
            {
                "data": [{"starting_at": "2026-01-01T00:00:00Z",
                          "ending_at": "2026-01-02T00:00:00Z",
                          "results": [{
                              "uncached_input_tokens": 1500, "cache_read_input_tokens": 200,
                              "cache_creation": {"ephemeral_1h_input_tokens": 1000,
                                                 "ephemeral_5m_input_tokens": 500},
                              "output_tokens": 500, "model": "claude-opus-4-20250514"}]}],
                "has_more": False, "next_page": None,
            }
        ],
        right(0, sums=((None, 3200, 500),)),
    ),
    (
        "usage-bucket",
        [
            {
                "object": "bucket", "start_time": 1_736_616_660, "end_time": 1_736_640_000,
                "results": [{"object": "organization.usage.embeddings.result",
                             "input_tokens": 1000, "num_model_requests": 10,
                             "model": "text-embedding-3-small"}],
            }
        ],
        right(0, sums=((10, 1000, 0),)),
    ),
    (
        "litellm",
        [
            # A standard logging payload: seconds since 1970.
            {
                "id": "chatcmpl-one", "trace_id": UUID, "call_type": "acompletion",
                "cache_hit": False, "stream": True, "status": "success",
                "custom_llm_provider": "anthropic", "startTime": 1_741_569_950.5,
                "endTime": 1_741_569_952.5, "model": "claude-sonnet-4-5",
                "prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
                "request_tags": ["prod"], "metadata": {"usage_object": None}, "response": {},
            },
            # Its own cache answered: no model ran.
            {
                "request_id": "chatcmpl-two", "call_type": "acompletion", "cache_hit": "True",
                "startTime": "2025-01-24 09:20:46", "endTime": "2025-01-24 09:20:46",
                "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 20,
                "metadata": "{}", "custom_llm_provider": "openai", "status": "success",
            },
        ],
        right(1, (19, 10), "claude-sonnet-4-5", hits=1, first="2025-03-10T01:25:52.500000+00:00",
              provider="anthropic"),
    ),
    (
        "helicone",
        [
            {
                "request_id": UUID, "request_created_at": "2026-01-02T03:04:05Z",
                "response_status": 200, "response_body": None, "request_model": "gpt-4o",
                "provider": "OPENAI", "prompt_tokens": 10, "completion_tokens": 20,
                "prompt_cache_read_tokens": 4,
                "request_properties": {"Helicone-Session-Id": "s1"},
                "cache_reference_id": "00000000-0000-0000-0000-000000000000",
            },
            {
                "request_id": RUN, "request_created_at": "2026-01-02T03:04:05Z",
                "response_status": 200, "response_body": None, "request_model": "gpt-4o",
                "prompt_tokens": 10, "completion_tokens": 20, "cache_reference_id": UUID,
            },
        ],
        right(1, (10, 20), "gpt-4o", cached=4, hits=1, first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "langfuse",
        [
            # Counts by what they are of are apart from each other.
            {
                "id": "o1", "traceId": "t", "type": "GENERATION", "model": "gpt-4o",
                "startTime": "2026-01-02T03:04:05.000Z", "endTime": "2026-01-02T03:04:06.000Z",
                "usageDetails": {"input": 6, "input_cached_tokens": 4, "output": 15,
                                 "output_reasoning_tokens": 5, "total": 30},
            },
            {"id": "o2", "traceId": "t", "type": "SPAN", "startTime": "2026-01-02T03:04:05Z",
             "usageDetails": {}},
            {
                "id": "o3", "traceId": "t", "type": "GENERATION", "model": "gpt-4o",
                "usage": {"input": 1, "output": 2, "total": 3, "unit": "TOKENS"},
            },
        ],
        right(2, (11, 22), "gpt-4o", cached=4, reasoning=5, first="2026-01-02T03:04:06+00:00"),
    ),
    (
        "langfuse-trace",
        [
            {
                "id": "t", "name": "chat", "timestamp": "2026-01-02T03:04:05Z",
                "observations": [
                    {"id": "o1", "type": "GENERATION", "model": "gpt-4o",
                     "usageDetails": {"input": 10, "output": 20}},
                ],
            }
        ],
        right(1, (10, 20), "gpt-4o"),
    ),
    (
        "langsmith",
        [
            {
                "id": RUN, "run_type": "chain", "total_tokens": 30, "prompt_tokens": 10,
                "completion_tokens": 20,
                "child_runs": [
                    {
                        "id": UUID, "run_type": "llm", "end_time": "2026-01-02T03:04:05.5",
                        "extra": {"metadata": {"ls_model_name": "gpt-4o", "ls_provider": "openai"}},
                        "outputs": {"generations": [[{"message": {"kwargs": {"usage_metadata": {
                            "input_tokens": 10, "output_tokens": 20, "total_tokens": 30,
                            "input_token_details": {"cache_read": 4},
                            "output_token_details": {"reasoning": 5}}}}}]]},
                    }
                ],
            }
        ],
        right(1, (10, 20), "gpt-4o", cached=4, reasoning=5, provider="openai",
              first="2026-01-02T03:04:05.500000+00:00"),
    ),
    (
        "inspect",
        [
            {
                "version": 2, "status": "success",
                "eval": {"model": "anthropic/claude-sonnet-4-5", "run_id": "r"},
                "samples": [{"id": 1, "epoch": 1, "events": [
                    # Anthropic's input leaves the cache out, as the total shows.
                    {"event": "model", "uuid": "e1", "model": "anthropic/claude-sonnet-4-5",
                     "timestamp": "2026-01-02T03:04:05+00:00",
                     "output": {"usage": {"input_tokens": 10, "output_tokens": 20,
                                          "total_tokens": 1030, "input_tokens_cache_read": 1000}}},
                    # OpenAI's has it.
                    {"event": "model", "uuid": "e2", "model": "openai/gpt-4o",
                     "output": {"usage": {"input_tokens": 100, "output_tokens": 20,
                                          "total_tokens": 120, "input_tokens_cache_read": 64}}},
                    # inspect's own cache answered.
                    {"event": "model", "uuid": "e3", "model": "openai/gpt-4o", "cache": "read",
                     "output": {"usage": {"input_tokens": 100, "output_tokens": 20,
                                          "total_tokens": 120}}},
                    {"event": "tool", "uuid": "e4"},
                ]}],
            }
        ],
        right(2, (1110, 40), "anthropic/claude-sonnet-4-5", "openai/gpt-4o", cached=1064, hits=1,
              first="2026-01-02T03:04:05+00:00", provider="anthropic"),
    ),
    (
        "inspect",
        [
            {
                "version": 2, "status": "success", "eval": {"run_id": "r"},
                "stats": {"model_usage": {"openai/gpt-4o": {
                    "input_tokens": 100, "output_tokens": 20, "total_tokens": 120}}},
            }
        ],
        right(0, sums=((None, 100, 20),)),
    ),
    (
        "inspect-sample",
        [
            {
                "id": 1, "epoch": 1, "uuid": "u", "events": [
                    {"event": "model", "uuid": "e1", "model": "openai/gpt-4o",
                     "output": {"usage": {"input_tokens": 100, "output_tokens": 20,
                                          "total_tokens": 120}}}],
                "model_usage": {"openai/gpt-4o": {"input_tokens": 100, "output_tokens": 20}},
            }
        ],
        right(1, (100, 20), "openai/gpt-4o"),
    ),
    (
        "promptfoo",
        [
            {
                "evalId": "eval-1",
                "results": {
                    "version": 3, "timestamp": "2026-01-02T03:04:05.000Z",
                    "results": [
                        {"id": "p1", "provider": {"id": "openai:chat:gpt-4o-mini"},
                         "response": {"tokenUsage": {"total": 44, "prompt": 43, "completion": 1,
                                                     "numRequests": 1}, "cached": False}},
                        {"id": "p2", "provider": {"id": "openai:chat:gpt-4o-mini"},
                         "response": {"tokenUsage": {"total": 44, "cached": 44}, "cached": True}},
                    ],
                    "stats": {"tokenUsage": {"total": 88, "prompt": 43, "completion": 1}},
                },
            }
        ],
        right(1, (43, 1), "gpt-4o-mini", hits=1, first="2026-01-02T03:04:05+00:00",
              provider="openai"),
    ),
    (
        "promptfoo-line",
        [
            {"promptIdx": 0, "testIdx": 0, "provider": {"id": name},
             "response": {"tokenUsage": {"total": 44, "prompt": 43, "completion": 1}},
             "success": True}
            for name in ("openai:chat:gpt-4o-mini", "ollama:chat:llama3.1:8b",
                         "bedrock:amazon.nova-pro-v1:0")
        ],
        right(3, (129, 3), "gpt-4o-mini", "llama3.1:8b", "amazon.nova-pro-v1:0"),
    ),
    (
        "swe-agent",
        [
            # mini-SWE-agent keeps every response.
            {
                "trajectory_format": "mini-swe-agent-1.1",
                "info": {"model_stats": {"instance_cost": 0.1, "api_calls": 2},
                         "config": {"model": {"model_name": "gpt-4o"}}},
                "messages": [
                    {"role": "user", "content": "…"},
                    {"role": "assistant", "extra": {"response": COMPLETION}},
                    {"role": "assistant", "extra": {"response": COMPLETION | {
                        "id": "chatcmpl-C0000000000000000000000000000"}}},
                ],
            }
        ],
        right(2, (38, 20), "gpt-4o-2024-08-06", cached=8, reasoning=12),
    ),
    (
        "swe-agent",
        [
            {
                "trajectory": [], "replay_config": '{"agent": {"model": {"name": "gpt-4o"}}}',
                "info": {"model_stats": {"tokens_sent": 1000, "tokens_received": 50,
                                         "api_calls": 4}},
            }
        ],
        right(0, sums=((4, 1000, 50),)),
    ),
    (
        "openai-chunks",
        [
            # A usage in every chunk is the sum so far.
            chunk("Hel", {"prompt_tokens": 19, "completion_tokens": 1, "total_tokens": 20}),
            chunk("lo", {"prompt_tokens": 19, "completion_tokens": 2, "total_tokens": 21}),
            chunk("", {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}),
            # Another stream, whose usage comes at the end alone, with an id that is not unique.
            chunk("a", id="chatcmpl-7"),
            chunk("", {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
                  id="chatcmpl-7", choices=[]),
        ],
        right(2, (20, 12), "gpt-4o-2024-08-06", first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "openai-response-events",
        [
            {"type": "response.created", "response": {"id": "resp_1", "object": "response",
             "status": "in_progress", "model": "gpt-4o", "created_at": 1_741_569_952,
             "usage": None}},
            {"type": "response.output_text.delta", "item_id": "msg_1", "delta": "Hello"},
            {"type": "response.completed", "response": {"id": "resp_1", "object": "response",
             "status": "completed", "model": "gpt-4o", "created_at": 1_741_569_952,
             "usage": {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 8},
                       "output_tokens": 87, "output_tokens_details": {"reasoning_tokens": 11},
                       "total_tokens": 123}}},
        ],
        right(1, (36, 87), "gpt-4o", cached=8, reasoning=11, provider="openai",
              first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "anthropic-events",
        [
            {"type": "message_start", "message": {
                "id": "msg_01FFFFFFFFFFFFFFFFFFFFFF", "type": "message", "role": "assistant",
                "content": [], "model": "claude-sonnet-4-5",
                "usage": {"input_tokens": 25, "cache_read_input_tokens": 75,
                          "cache_creation_input_tokens": 0, "output_tokens": 1}}},
            {"type": "content_block_start", "index": 0},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"text": "Hello"}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 15}},
            {"type": "message_stop"},
            # Cut off: what the server said last stands.
            {"type": "message_start", "message": {
                "id": "msg_2", "type": "message", "model": "claude-sonnet-4-5",
                "usage": {"input_tokens": 5, "output_tokens": 2}}},
        ],
        right(2, (105, 17), "claude-sonnet-4-5", cached=75, provider="anthropic"),
    ),
    (
        "bedrock-converse-events",
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "Hello"}, "contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 20, "totalTokens": 30},
                          "metrics": {"latencyMs": 500}}},
        ],
        right(1, (10, 20), None, provider="aws.bedrock"),
    ),
    (
        "gemini-response",
        [
            {"candidates": [{}], "modelVersion": "gemini-2.5-flash", "responseId": "g1",
             "usageMetadata": {"promptTokenCount": 120, "totalTokenCount": 120}},
            {"candidates": [{}], "modelVersion": "gemini-2.5-flash", "responseId": "g1",
             "usageMetadata": GEMINI_COUNTS},
        ],
        right(1, (120, 80), "gemini-2.5-flash", reasoning=32),
    ),
    (
        "claude-code",
        [
            {"type": "summary", "summary": "…", "leafUuid": UUID},
            {"type": "user", "sessionId": "s", "uuid": UUID, "message": {"role": "user"}},
            {"type": "assistant", "sessionId": "s", "uuid": UUID, "requestId": "req_1",
             "timestamp": "2026-01-02T03:04:05Z",
             "message": {"id": "msg_1", "model": "claude-opus-4-6", "role": "assistant",
                         "usage": {"input_tokens": 3, "output_tokens": 5}}},
            # Claude Code itself, in the place of a model.
            {"type": "assistant", "sessionId": "s", "uuid": UUID, "isApiErrorMessage": True,
             "message": {"id": "x", "model": "<synthetic>", "role": "assistant",
                         "usage": {"input_tokens": 0, "output_tokens": 0}}},
            # What a subagent said, repeated as progress of the tool that it is.
            {"type": "progress", "sessionId": "s", "uuid": UUID, "data": {"message": {
                "type": "assistant", "requestId": "req_2", "timestamp": "2026-01-02T03:04:06Z",
                "message": {"id": "msg_2", "model": "claude-haiku-4-5", "role": "assistant",
                            "usage": {"input_tokens": 7, "output_tokens": 11}}}}},
        ],
        right(2, (10, 16), "claude-opus-4-6", "claude-haiku-4-5", provider="anthropic",
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "claude-code-line",
        [
            {"type": "result", "subtype": "success", "session_id": "s", "num_turns": 2,
             "usage": {"input_tokens": 8, "output_tokens": 100},
             "modelUsage": {"claude-sonnet-4-5": {
                 "inputTokens": 8, "outputTokens": 100, "cacheReadInputTokens": 20_000,
                 "cacheCreationInputTokens": 2400}}}
        ],
        right(0, sums=((None, 22_408, 100),)),
    ),
    (
        "codex",
        [
            {"timestamp": "2026-01-02T03:04:00Z", "type": "session_meta",
             "payload": {"id": "s1", "cwd": "/"}},
            {"timestamp": "2026-01-02T03:04:01Z", "type": "turn_context",
             "payload": {"model": "gpt-5.2-codex"}},
            {"timestamp": "2026-01-02T03:04:02Z", "type": "event_msg",
             "payload": {"type": "token_count", "info": None, "rate_limits": {}}},
            {"timestamp": "2026-01-02T03:04:05Z", "type": "event_msg", "payload": {
                "type": "token_count", "info": {"total_token_usage": {
                    "input_tokens": 100, "cached_input_tokens": 10, "output_tokens": 5,
                    "reasoning_output_tokens": 2, "total_tokens": 105}}}},
            # The same again: no call.
            {"timestamp": "2026-01-02T03:04:06Z", "type": "event_msg", "payload": {
                "type": "token_count", "info": {"total_token_usage": {
                    "input_tokens": 100, "cached_input_tokens": 10, "output_tokens": 5,
                    "reasoning_output_tokens": 2, "total_tokens": 105}}}},
            # Totals alone: what they advanced by.
            {"timestamp": "2026-01-02T03:04:07Z", "type": "event_msg", "payload": {
                "type": "token_count", "info": {"total_token_usage": {
                    "input_tokens": 250, "cached_input_tokens": 90, "output_tokens": 9,
                    "reasoning_output_tokens": 2, "total_tokens": 259}}}},
        ],
        right(2, (250, 9), "gpt-5.2-codex", cached=90, reasoning=2, provider="openai",
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "codex-exec",
        [
            {"type": "thread.started", "thread_id": "t"},
            {"type": "turn.completed", "usage": {"input_tokens": 10, "cached_input_tokens": 4,
                                                 "output_tokens": 2}},
            {"type": "turn.completed", "usage": {"input_tokens": 10, "cached_input_tokens": 4,
                                                 "output_tokens": 2}},
        ],
        right(0, sums=((None, 10, 2), (None, 10, 2))),
    ),
    (
        "gemini-cli",
        [
            {
                "sessionId": "s", "projectHash": "h", "startTime": "2026-01-02T03:04:00Z",
                "lastUpdated": "2026-01-02T03:05:00Z",
                "messages": [
                    {"id": "1", "type": "user", "timestamp": "2026-01-02T03:04:00Z",
                     "content": "…"},
                    {"id": "2", "type": "gemini", "timestamp": "2026-01-02T03:04:05Z",
                     "model": "gemini-2.5-pro", "content": "…",
                     "tokens": {"input": 100, "output": 10, "cached": 40, "thoughts": 5,
                                "tool": 20, "total": 135}},
                ],
            }
        ],
        right(1, (120, 15), "gemini-2.5-pro", cached=40, reasoning=5, provider="gcp.gemini",
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "gemini-cli-line",
        [
            {"sessionId": "s", "projectHash": "h", "startTime": "2026-01-02T03:04:00Z"},
            {"id": "1", "type": "user", "timestamp": "2026-01-02T03:04:00Z", "content": "…"},
            {"id": "2", "type": "gemini", "timestamp": "2026-01-02T03:04:05Z",
             "model": "gemini-2.5-pro", "tokens": None},
            # The same message, now that it is done.
            {"id": "2", "type": "gemini", "timestamp": "2026-01-02T03:04:05Z",
             "model": "gemini-2.5-pro",
             "tokens": {"input": 100, "output": 10, "cached": 40, "total": 110}},
            {"$set": {"lastUpdated": "2026-01-02T03:05:00Z"}},
        ],
        right(1, (100, 10), "gemini-2.5-pro", cached=40),
    ),
    (
        "gemini-cli-result",
        [
            {"response": "…", "stats": {"models": {"gemini-2.5-pro": {
                "api": {"totalRequests": 2, "totalErrors": 0},
                "tokens": {"prompt": 24_939, "candidates": 20, "total": 25_113, "cached": 21_263,
                           "thoughts": 154, "tool": 0}}}}}
        ],
        right(0, sums=((2, 24_939, 174),)),
    ),
    (
        "opencode",
        [
            {"id": "msg_0", "sessionID": "ses_1", "role": "user", "time": {"created": 1}},
            {"id": "msg_1", "sessionID": "ses_1", "role": "assistant", "modelID": "claude-x",
             "providerID": "anthropic", "time": {"created": 1_733_011_200_000,
                                                 "completed": 1_733_011_260_000},
             "tokens": {"input": 1000, "output": 500, "reasoning": 50,
                        "cache": {"read": 200, "write": 100}}},
            # Still empty: not yet sent.
            {"id": "msg_2", "sessionID": "ses_1", "role": "assistant", "modelID": "claude-x",
             "tokens": {"input": 0, "output": 0, "reasoning": 0, "cache": {"read": 0, "write": 0}}},
        ],
        right(1, (1300, 550), "claude-x", cached=200, reasoning=50, provider="anthropic",
              first="2024-12-01T00:01:00+00:00"),
    ),
    (
        "opencode-part",
        [
            {"type": "step_start", "timestamp": 1_733_011_200_000, "sessionID": "ses_1",
             "part": {"type": "step-start", "messageID": "msg_1"}},
            {"type": "step_finish", "timestamp": 1_733_011_260_000, "sessionID": "ses_1",
             "part": {"type": "step-finish", "id": "prt_1", "messageID": "msg_1",
                      "sessionID": "ses_1", "tokens": {"input": 10, "output": 20, "reasoning": 0,
                                                       "cache": {"read": 5, "write": 0}}}},
        ],
        right(1, (15, 20), None, cached=5, first="2024-12-01T00:01:00+00:00"),
    ),
    (
        "opencode-export",
        [
            {
                "info": {"id": "ses_1", "title": "…"},
                "messages": [
                    {"info": {"id": "msg_0", "role": "user"}, "parts": []},
                    # One message of two requests: its own counts are of the last.
                    {"info": {"id": "msg_1", "role": "assistant", "modelID": "gpt-4o",
                              "providerID": "openai", "tokens": {"input": 7, "output": 8}},
                     "parts": [
                         {"type": "step-finish", "id": "prt_1",
                          "tokens": {"input": 5, "output": 6}},
                         {"type": "text", "text": "…"},
                         {"type": "step-finish", "id": "prt_2",
                          "tokens": {"input": 7, "output": 8}}]},
                ],
            }
        ],
        right(2, (12, 14), "gpt-4o", provider="openai"),
    ),
    (
        "aider-analytics",
        [
            {"event": "launched", "properties": {}, "user_id": UUID, "time": 1_741_569_950},
            {"event": "message_send", "user_id": UUID, "time": 1_741_569_952,
             "properties": {"main_model": "gpt-4o", "edit_format": "diff", "prompt_tokens": 10,
                            "completion_tokens": 20, "total_tokens": 30, "cost": 0.1}},
        ],
        right(1, (10, 20), "gpt-4o", first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "openai-batch",
        [{"id": "b1", "custom_id": "1", "error": None, "response": {
            "status_code": 200, "body": COMPLETION | {"model": "mistral-small-2503"}}}],
        right(1, (19, 10), "mistral-small-2503", cached=4, reasoning=6, provider="mistral_ai"),
    ),
    (
        "bedrock-invocation-log",
        [
            {
                "schemaType": "ModelInvocationLog", "schemaVersion": "1.0",
                "timestamp": "2026-01-02T03:04:05Z", "accountId": "1", "region": "us-east-1",
                "requestId": UUID, "operation": "Converse",
                "modelId": "arn:aws:bedrock:us-east-1:1:inference-profile/us.amazon.nova-pro-v1:0",
                "input": {"inputContentType": "application/json", "inputTokenCount": 10},
                "output": {"outputContentType": "application/json", "outputTokenCount": 20},
            }
        ],
        right(1, (10, 20), "us.amazon.nova-pro-v1:0", provider="aws.bedrock",
              first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "logged-response",
        [{"ts": "2026-01-02T03:04:05Z", "request": {"model": "gpt-4o"},
          "response": {"usage": {"prompt_tokens": 10, "completion_tokens": 20}}}],
        right(1, (10, 20), "gpt-4o", first="2026-01-02T03:04:05+00:00"),
    ),
    (
        "response",
        [
            # Ollama's own: only the last line of an answer has counts.
            {"model": "llama3.2", "created_at": "2026-01-02T03:04:05Z", "done": False,
             "message": {"role": "assistant", "content": "He"}},
            {"model": "llama3.2", "created_at": "2026-01-02T03:04:06Z", "done": True,
             "message": {"role": "assistant", "content": ""}, "total_duration": 1,
             "prompt_eval_count": 26, "eval_count": 298},
        ],
        right(1, (26, 298), "llama3.2", first="2026-01-02T03:04:06+00:00"),
    ),
    (
        "response",
        # Stored completions and pages of responses, as lists.
        [{"object": "list", "data": [COMPLETION, COMPLETION | {"id": "chatcmpl-short"}],
          "has_more": False}],
        right(2, (38, 20), "gpt-4o-2024-08-06", cached=8, reasoning=12,
              first="2025-03-10T01:25:52+00:00"),
    ),
    (
        "table",
        [
            {"date": "2026-01-02", "model": "gpt-4o", "requests": 3, "prompt_tokens": 30,
             "completion_tokens": 60},
            {"date": "2026-01-02", "model": "gpt-4o", "requests": 1, "prompt_tokens": 10,
             "completion_tokens": 20, "reasoning_tokens": 5},
            {"date": "2026-01-02", "model": "gpt-4o", "cache_hit": True, "prompt_tokens": 10,
             "completion_tokens": 20},
        ],
        right(1, (10, 20), "gpt-4o", reasoning=5, sums=((3, 30, 60),), hits=1,
              first="2026-01-02T00:00:00+00:00"),
    ),
]  # fmt: skip
