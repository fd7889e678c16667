"""Samples of what platforms and tools of 2025 and 2026 export, each with what is right.

``common`` has the common ones; a row here has the same three parts. The shapes are those of
the sources that the rows of ``formats`` name; where there is no row of its own, the source is here.
"""

from __future__ import annotations

import json
from typing import Any

from log_samples.common import Documents, Right, genai, right

MODEL = "gpt-4o-2024-08-06"
SONNET = "claude-sonnet-4-5"
STARTED_S, ENDED_S = 1_758_738_048.168, 1_758_738_099.831
ENDED = "2025-09-24T18:21:39.831000+00:00"
TIME = "2025-09-24T18:20:48Z"
READ_TIME = "2025-09-24T18:20:48+00:00"
USED = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}


def honey_hive(own: str, kind: str, parent: str | None, **facts: Any) -> dict[str, Any]:
    return {"project_id": "p", "source": "evaluation", "event_name": kind, "event_type": kind,
            "event_id": own, "session_id": "s1", "parent_id": parent, "children_ids": [],
            "config": {"model": MODEL, "provider": "openai"} if kind == "model" else {},
            "inputs": {}, "outputs": {}, "error": None, "start_time": STARTED_S * 1000,
            "end_time": ENDED_S * 1000, "metadata": facts, "metrics": {}}  # fmt: skip


def segment(own: str, parent: str | None, **more: Any) -> dict[str, Any]:
    return {"id": own, "trace_id": "1-68d4350f-a006649127e371903a2de979", "name": "bedrock",
            "start_time": STARTED_S, "end_time": ENDED_S, "parent_id": parent,
            "annotations": {}, "metadata": {}, **more}  # fmt: skip


def message(number: int, **more: Any) -> dict[str, Any]:
    """A message of LangChain's, as JavaScript's checkpoints have it."""
    kwargs = {"content": "x", "id": f"run-{number:032}", "usage_metadata": {
        "input_tokens": 100 * number, "output_tokens": 20, "total_tokens": 100 * number + 20,
        "input_token_details": {"cache_read": 64}},
        "response_metadata": {"model_name": MODEL}, **more}  # fmt: skip
    return {"lc": 1, "type": "constructor", "id": ["langchain_core", "messages", "AIMessage"],
            "kwargs": kwargs}  # fmt: skip


def checkpoint(number: int, *messages: dict[str, Any]) -> dict[str, Any]:
    state = {"v": 4, "ts": f"2025-09-24T18:20:{number:02}Z",
             "channel_values": {"messages": [{"lc": 1, "type": "constructor", "id": [],
                                              "kwargs": {"content": "?"}}, *messages]}}  # fmt: skip
    return {"thread_id": "a", "checkpoint_ns": "", "checkpoint_id": f"1f1ea2ad-{number}",
            "type": "json", "checkpoint": json.dumps(state), "metadata": "{}"}  # fmt: skip


WRITTEN = {
    # A write of the Python library's, in PostgreSQL: msgpack of [AIMessage(...)], cut down.
    "thread_id": "a", "checkpoint_ns": "", "checkpoint_id": "1f1ea2ad-bf13-6d30-bfff-981ea027fa80",
    "task_id": "t", "idx": 0, "channel": "messages", "type": "msgpack",
    "blob": "\\x91c7b10594ba6c616e67636861696e5f636f72652e6d657373616765732e6169a941494d657373"
            "61676583b1726573706f6e73655f6d6574616461746181aa6d6f64656c5f6e616d65b16770742d"
            "346f2d323032342d30382d3036ae75736167655f6d6574616461746182ac696e7075745f746f6b"
            "656e7364ad6f75747075745f746f6b656e730aa26964b572756e2d303030303030303030303030"
            "3030303031b36d6f64656c5f76616c69646174655f6a736f6e",
}  # fmt: skip


def mastra(own: str, parent: str | None, kind: str, **attributes: Any) -> dict[str, Any]:
    return {"traceId": "t", "spanId": own, "parentSpanId": parent, "name": kind, "spanType": kind,
            "attributes": json.dumps(attributes), "startedAt": TIME, "endedAt": TIME}  # fmt: skip


BY_MASTRA = {"inputTokens": 100, "outputTokens": 20, "inputDetails": {"cacheRead": 64},
             "outputDetails": {"reasoning": 8}}  # fmt: skip
OPEN_HANDS = {"model": "gpt-5", "prompt_tokens": 100, "completion_tokens": 20,
              "cache_read_tokens": 64, "cache_write_tokens": 0, "reasoning_tokens": 8}  # fmt: skip


def spent_on(day: str) -> dict[str, Any]:
    """A row of LiteLLM's sums."""
    return {"date": day, "api_key": "k", "model": "gpt-4o", "custom_llm_provider": "openai",
            "prompt_tokens": 200, "completion_tokens": 40, "cache_read_input_tokens": 0,
            "api_requests": 2, "successful_requests": 2, "failed_requests": 0}  # fmt: skip


# Source: https://docs.haystack.deepset.ai/docs/tracing
BY_HAYSTACK = {
    "replies": [
        {
            "role": "assistant",
            "meta": {
                "model": MODEL,
                "index": index,
                "usage": USED | {"prompt_tokens_details": {"cached_tokens": 64}},
            },
            "content": [{"text": "Hi."}],
        }
        for index in range(2)
    ]
}


def in_haystack(own: str, name: str, **attributes: Any) -> dict[str, Any]:
    """A span of Haystack's inside of that of its pipeline."""
    return {
        "traceId": "c" * 32,
        "spanId": own * 16,
        "parentSpanId": "" if own == "f" else "f" * 16,
        "name": name,
        "endTimeUnixNano": "1758738048000000000",
        "attributes": [
            {"key": f"haystack.{what}".replace("__", "."), "value": {"stringValue": value}}
            for what, value in attributes.items()
        ],
    }


# Source: https://github.com/letta-ai/letta-python (types/provider_trace.py)
LETTA_TRACE = {
    "id": "provider_trace-1",
    "request_json": {"model": SONNET, "messages": []},
    "response_json": {
        "id": "msg_01ABCDEFGHJKLMNPQRSTUV",
        "model": SONNET,
        "usage": {"input_tokens": 36, "output_tokens": 20, "cache_read_input_tokens": 64},
    },
    "step_id": "step-1",
    "created_at": TIME,
}

PLATFORM_SAMPLES: list[tuple[str, Documents, Right]] = [
    (
        "honeyhive",
        [
            {
                "events": [
                    honey_hive("e1", "model", "s1", **USED),
                    honey_hive(
                        "e2",
                        "model",
                        "s1",
                        **{  # by OpenInference
                            "llm.model_name": MODEL,
                            "llm.token_count.prompt": 100,
                            "llm.token_count.completion": 20,
                            "llm.token_count.prompt_details.cache_read": 64,
                        },
                    ),
                    honey_hive("t1", "tool", "s1"),
                    honey_hive("s1", "session", None, prompt_tokens=200, completion_tokens=40),
                ]
            }
        ],
        right(2, (200, 40), MODEL, cached=64, first=ENDED, provider="openai"),
    ),
    (
        "xray",
        # As attributes, and as annotations had to be called once; the same twice.
        [
            {
                "Traces": [
                    {
                        "Id": "1",
                        "Segments": [
                            {
                                "Id": "aa",
                                "Document": json.dumps(
                                    segment(
                                        "aa",
                                        None,
                                        subsegments=[
                                            segment(
                                                "b1", None, metadata={"default": genai(100, 20)}
                                            )
                                        ],
                                    )
                                ),
                            }
                        ],
                    }
                ]
            },
            segment("b1", "aa", metadata={"default": genai(100, 20)}),
            segment(
                "b2",
                "aa",
                annotations={name.replace(".", "_"): value for name, value in genai(10, 2).items()},
            ),
        ],
        right(2, (110, 22), "gpt-4o", first=ENDED),
    ),
    (
        "tempo-span",
        [
            {
                "traces": [
                    {
                        "traceID": "2f",
                        "spanSets": [
                            {
                                "matched": 1,
                                "spans": [
                                    {
                                        "spanID": "56",
                                        "startTimeUnixNano": "1758738048168000000",
                                        "durationNanos": "51663000000",
                                        "attributes": [
                                            {"key": name, "value": {"intValue": str(value)}}
                                            for name, value in (
                                                ("gen_ai.usage.input_tokens", 100),
                                                ("gen_ai.usage.output_tokens", 20),
                                            )
                                        ],
                                    }
                                ],
                            }
                        ],
                    }
                ]
            }
        ],
        right(1, (100, 20), None, first=ENDED),
    ),
    (
        "otlp-span",
        # Source: https://github.com/mastra-ai/mastra (observability, a table of spans)
        [
            mastra("s1", None, "agent_run", agentId="a"),
            mastra(
                "s2", "s1", "model_generation", model="gpt-4o", provider="openai", usage=BY_MASTRA
            ),
            mastra("s3", "s2", "model_step", usage=BY_MASTRA),
        ],
        right(1, (100, 20), "gpt-4o", cached=64, reasoning=8, first=READ_TIME),
    ),
    (
        "span-record",
        # Source: https://www.traceloop.com/docs (export of spans)
        [
            {
                "trace_id": "t",
                "span_id": "s",
                "span_name": "openai.chat",
                "timestamp": TIME,
                "span_attributes": genai(100, 20),
            }
        ],
        right(1, (100, 20), "gpt-4o", first=READ_TIME),
    ),
    (
        "langgraph",
        # Each checkpoint has the messages before it; the third thread's writes are MessagePack.
        [
            checkpoint(1),
            checkpoint(2, message(1)),
            checkpoint(3, message(1), message(2)),
            {
                "thread_id": "a",
                "checkpoint_ns": "",
                "checkpoint_id": "x",
                "type": "json",
                "channel": "messages",
                "value": json.dumps([message(2)]),
            },
            WRITTEN,
            WRITTEN | {"channel": "branch", "type": "null", "blob": ""},
        ],
        right(3, (400, 50), MODEL, cached=128, first="2025-09-24T18:20:02+00:00"),
    ),
    (
        "snowflake",
        [
            {
                "START_TIME": "2025-09-24 18:20:48.000 Z",
                "REQUEST_ID": "r1",
                "MODEL_NAME": SONNET,
                "TOKENS": 120,
                "TOKENS_GRANULAR": '{"input": 100, "output": 20}',
            },
            {
                "USAGE_TIME": "2025-09-24 18:00:00.000 Z",
                "QUERY_ID": "q1",
                "MODEL_NAME": SONNET,
                "TOKENS": 12,
                "TOKENS_GRANULAR": {"input": 10, "output": 2},
            },
        ],
        right(1, (100, 20), SONNET, sums=((None, 10, 2),), first=READ_TIME),
    ),
    (
        "helm",
        [
            {
                "instance_id": "id1",
                "train_trial_index": 0,
                "stats": [
                    {"name": {"name": name, "split": "test"}, "count": 1, "sum": count}
                    for name, count in (("num_prompt_tokens", 100), ("num_output_tokens", 20))
                ],
            }
        ],
        right(1, (100, 20), None),
    ),
    (
        "distilabel",
        [
            {
                "instruction": "?",
                "generation": "x",
                "model_name": MODEL,
                "distilabel_metadata": {
                    "raw_output_text_generation_0": "x",
                    "statistics_text_generation_0": {"input_tokens": 100, "output_tokens": 20},
                },
            }
        ],
        right(1, (100, 20), MODEL),
    ),
    (
        "llm",
        [
            {
                "id": "01",
                "model": "gpt-4o",
                "resolved_model": MODEL,
                "conversation_id": "c",
                "datetime_utc": TIME,
                "input_tokens": 100,
                "output_tokens": 20,
                "token_details": '{"prompt_tokens_details": {"cached_tokens": 64}}',
            },
            {
                "id": "02",
                "model": SONNET,
                "resolved_model": None,
                "datetime_utc": TIME,
                "input_tokens": 36,
                "output_tokens": 20,
                "token_details": '{"cache_read_input_tokens": 64}',
            },
        ],
        right(2, (200, 40), MODEL, SONNET, cached=128, first=READ_TIME),
    ),
    (
        "weave",
        # The answer of Anthropic's client is kept without its usage.
        [
            {
                "id": "c1",
                "op_name": "weave:///e/p/op/anthropic.Messages.create:abc",
                "trace_id": "t",
                "parent_id": None,
                "started_at": TIME,
                "ended_at": TIME,
                "inputs": {"model": SONNET},
                "output": "Hello",
                "summary": {
                    "usage": {SONNET: {"requests": 1, "input_tokens": 100, "output_tokens": 20}}
                },
            }
        ],
        right(1, (100, 20), SONNET, first=READ_TIME),
    ),
    (
        "open-hands",
        # Its first version: a state with each call, and an event with the running totals alone.
        [
            {
                "id": "c",
                "stats": {
                    "usage_to_metrics": {
                        "agent": {
                            "accumulated_token_usage": OPEN_HANDS,
                            "token_usages": [OPEN_HANDS | {"response_id": "chatcmpl-1"}],
                        }
                    }
                },
            },
            *(
                {
                    "id": f"e{number}",
                    "timestamp": TIME,
                    "source": "environment",
                    "key": "stats",
                    "value": {
                        "usage_to_metrics": {
                            of: {
                                "accumulated_token_usage": OPEN_HANDS
                                | {"prompt_tokens": 100 * number, "reasoning_tokens": 0}
                            }
                            for of in ("agent", "condenser")
                        }
                    },
                }
                for number in (1, 2)
            ),
        ],
        right(5, (500, 60), "gpt-5", cached=192, reasoning=8),
    ),
    (
        "crew-ai",
        [
            {
                "usage_metrics": {
                    "total_tokens": 120,
                    "prompt_tokens": 100,
                    "completion_tokens": 20,
                    "cached_prompt_tokens": 64,
                    "successful_requests": 2,
                }
            }
        ],
        right(0, (0, 0), sums=((2, 100, 20),)),
    ),
    (
        "response",
        # What names the model or the time lies around what has the counts: LangWatch, LobeHub,
        # Cursor's admin API, and Galileo.
        # Source: https://docs.langwatch.ai/api-reference/traces
        # Source: https://github.com/lobehub/lobe-chat (types/message)
        # Source: https://cursor.com/docs/account/teams/admin-api
        # Source: https://github.com/rungalileo/galileo-python (LlmMetrics)
        [
            {
                "trace_id": "t",
                "metrics": USED,
                "spans": [
                    {
                        "span_id": "s",
                        "type": "llm",
                        "model": MODEL,
                        "timestamps": {"started_at": 1, "finished_at": ENDED_S * 1000},
                        "metrics": {"prompt_tokens": 100, "completion_tokens": 20},
                    }
                ],
            },
            {
                "messages": [
                    {
                        "id": "m",
                        "role": "assistant",
                        "content": "x",
                        "model": MODEL,
                        "createdAt": ENDED_S * 1000,
                        "metadata": {"totalInputTokens": 100, "totalOutputTokens": 20},
                    }
                ]
            },
            {
                "usageEvents": [
                    {
                        "timestamp": "1758738048168",
                        "model": SONNET,
                        "tokenUsage": {
                            "inputTokens": 26,
                            "outputTokens": 20,
                            "cacheWriteTokens": 10,
                            "cacheReadTokens": 64,
                        },
                    }
                ]
            },
            {
                "type": "llm",
                "id": "g",
                "created_at": TIME,
                "model": MODEL,
                "metrics": {
                    "duration_ns": 1,
                    "num_input_tokens": 100,
                    "num_output_tokens": 20,
                    "num_cached_input_tokens": 64,
                    "num_reasoning_tokens": 8,
                },
            },
        ],
        right(4, (400, 80), MODEL, SONNET, cached=128, reasoning=8, first=ENDED),
    ),
    (
        "logged-response",
        # Source: https://docs.databricks.com/aws/en/ai-gateway/inference-tables
        [
            {
                "databricks_request_id": "d",
                "date": "2025-09-24",
                "timestamp_ms": 1_758_738_099_831,
                "status_code": 200,
                "request": "{}",
                "response": json.dumps({"id": "c1", "model": MODEL, "usage": USED}),
            }
        ],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "table",
        # Rows of counts inside of other things: APISIX, DeepEval; and Envoy's AI Gateway.
        # Source: https://apisix.apache.org/docs/apisix/plugins/ai-proxy (llm_summary)
        # Source: https://github.com/confident-ai/deepeval (test runs)
        # Source: https://aigateway.envoyproxy.io/docs (access logs)
        [
            {
                "start_time": TIME,
                "request": {"id": "x"},
                "llm_request": {},
                "llm_summary": {
                    "model": MODEL,
                    "duration": 9,
                    "prompt_tokens": 100,
                    "completion_tokens": 20,
                },
            },
            {
                "testCases": [
                    {
                        "name": "x",
                        "trace": {
                            "llmSpans": [
                                {
                                    "uuid": "u",
                                    "model": MODEL,
                                    "inputTokenCount": 100,
                                    "outputTokenCount": 20,
                                    "startTime": TIME,
                                }
                            ]
                        },
                    }
                ]
            },
            {
                "start_time": TIME,
                "genai_model_name": MODEL,
                "genai_tokens_input": 100,
                "genai_tokens_output": 20,
                "response_code": 200,
            },
        ],
        right(3, (300, 60), MODEL, first=READ_TIME),
    ),
    (
        "litellm-day",
        # Of one day there is the spend log, of another the sums of each table.
        [
            {"id": "u1", "user_id": "u", **spent_on("2025-09-24")},
            {"id": "u2", "user_id": "u", **spent_on("2025-09-25")},
            {"id": "t1", "team_id": "t", **spent_on("2025-09-25")},
            {"id": "t2", "team_id": "t", **spent_on("2025-09-26")},
            {
                "request_id": "r1",
                "call_type": "acompletion",
                "model": "gpt-4o",
                "startTime": TIME,
                "endTime": TIME,
                "prompt_tokens": 100,
                "completion_tokens": 20,
            },
        ],
        right(1, (100, 20), "gpt-4o", sums=((2, 200, 40), (2, 200, 40)), first=READ_TIME),
    ),
    (
        "lm-studio",
        [
            {
                "name": "x",
                "messages": [
                    {"versions": [{"type": "singleStep", "role": "user"}]},
                    {
                        "versions": [
                            {
                                "type": "multiStep",
                                "role": "assistant",
                                "steps": [
                                    {
                                        "type": "contentBlock",
                                        "stepIdentifier": "1758738048000-0.1",
                                        "genInfo": {
                                            "indexedModelIdentifier": "qwen/qwen3-8b",
                                            "stats": {
                                                "promptTokensCount": 100,
                                                "predictedTokensCount": 20,
                                            },
                                        },
                                    }
                                ],
                            }
                        ]
                    },
                ],
            }
        ],
        right(1, (100, 20), "qwen/qwen3-8b", first=READ_TIME),
    ),
    (
        "aiperf",
        [
            {
                "metadata": {"x_request_id": "r", "request_end_ns": 1_758_738_048 * 10**9},
                "metrics": {
                    "input_sequence_length": {"value": 100, "unit": "tokens"},
                    "output_sequence_length": {"value": 20, "unit": "tokens"},
                    "reasoning_token_count": {"value": 8, "unit": "tokens"},
                },
                "error": None,
            }
        ],
        right(1, (100, 20), None, reasoning=8, first=READ_TIME),
    ),
    (
        "guidellm",
        [
            {
                "benchmarks": [
                    {
                        "requests": {
                            "successful": [
                                {
                                    "prompt_tokens": 100,
                                    "output_tokens": 20,
                                    "end_time": 1_758_738_048,
                                },
                                {
                                    "input_metrics": {"text_tokens": 100},
                                    "output_metrics": {"text_tokens": 20},
                                },
                            ],
                            "errored": [],
                            "incomplete": [],
                        }
                    }
                ]
            }
        ],
        right(2, (200, 40), None, first=READ_TIME),
    ),
    (
        "cline-answer",
        [
            {"role": "user", "content": []},
            {
                "role": "assistant",
                "content": [],
                "ts": 1_758_738_048_000,
                "modelInfo": {"modelId": SONNET, "providerId": "anthropic"},
                "metrics": {"tokens": {"prompt": 100, "completion": 20, "cached": 64}, "cost": 0.1},
            },
        ],
        right(1, (100, 20), SONNET, cached=64, first=READ_TIME, provider="anthropic"),
    ),
    (
        "ai-sdk",
        # Its sixth version: a result, and what a provider gives.
        [
            {
                "finishReason": "stop",
                "response": {"id": "c1", "modelId": MODEL, "timestamp": TIME},
                "usage": {
                    "inputTokens": 100,
                    "inputTokenDetails": {"cacheReadTokens": 64},
                    "outputTokens": 20,
                    "outputTokenDetails": {"reasoningTokens": 8},
                },
            },
            {
                "finishReason": {"unified": "stop"},
                "response": {"id": "c2", "modelId": MODEL},
                "usage": {
                    "inputTokens": {"total": 100, "cacheRead": 64},
                    "outputTokens": {"total": 20, "reasoning": 8},
                },
            },
        ],
        right(2, (200, 40), MODEL, cached=128, reasoning=16, first=READ_TIME),
    ),
    (
        "response",
        # A message of the AI SDK's with what its application put there; Cherry Studio's, whose
        # model is an object; Flowise's agents, by the names of LangChain in JavaScript.
        # Source: https://ai-sdk.dev/docs/ai-sdk-ui/message-metadata
        # Source: https://github.com/CherryHQ/cherry-studio (types/newMessage.ts)
        [
            {
                "id": "m1",
                "role": "assistant",
                "parts": [],
                "metadata": {
                    "model": MODEL,
                    "createdAt": TIME,
                    "usage": {
                        "inputTokens": 100,
                        "outputTokens": 20,
                        "totalTokens": 120,
                        "cachedInputTokens": 64,
                        "reasoningTokens": 8,
                    },
                },
            },
            {
                "id": "m2",
                "role": "assistant",
                "createdAt": TIME,
                "model": {"id": MODEL, "provider": "openai", "name": "GPT-4o"},
                "usage": USED,
            },
        ],
        right(2, (200, 40), MODEL, cached=64, reasoning=8, first=READ_TIME),
    ),
    (
        "gemini-response",
        # Source: https://github.com/FlowiseAI/Flowise (executions of agent flows)
        [
            {
                "id": "e",
                "createdDate": TIME,
                "executionData": json.dumps(
                    [
                        {
                            "data": {
                                "output": {
                                    "content": "x",
                                    "responseMetadata": {"model_name": MODEL},
                                    "usageMetadata": {
                                        "input_tokens": 100,
                                        "output_tokens": 20,
                                        "total_tokens": 120,
                                    },
                                }
                            }
                        }
                    ]
                ),
            }
        ],
        right(1, (100, 20), MODEL),
    ),
    (
        "table",
        # A usage that lies in a line by itself, or at the top of one; LLMPerf's.
        # Source: https://docs.letta.com/api-reference (steps)
        # Source: https://github.com/ray-project/llmperf (individual responses)
        [
            USED
            | {
                "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 8},
            },
            {
                "input_tokens": 100,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens": 20,
                "output_tokens_details": {"reasoning_tokens": 8},
                "total_tokens": 120,
            },
            {"number_input_tokens": 100, "number_output_tokens": 20, "number_total_tokens": 120},
        ],
        right(3, (300, 60), None, cached=128, reasoning=16),
    ),
    (
        "genkit",
        [
            {
                "traceId": "t",
                "displayName": "flow",
                "startTime": 1,
                "endTime": 3,
                "spans": {
                    "a": {
                        "spanId": "a",
                        "startTime": 1_758_738_048_000,
                        "attributes": {"genkit:metadata:subtype": "flow", "genkit:output": '"x"'},
                    },
                    "b": {
                        "spanId": "b",
                        "parentSpanId": "a",
                        "startTime": 1_758_738_048_001,
                        "endTime": 1_758_738_048_000,
                        "attributes": {
                            "genkit:metadata:subtype": "model",
                            "genkit:name": "googleai/gemini-2.5-flash",
                            "genkit:output": json.dumps(
                                {
                                    "message": {},
                                    "usage": {
                                        "inputTokens": 100,
                                        "outputTokens": 20,
                                        "thoughtsTokens": 8,
                                        "totalTokens": 128,
                                    },
                                }
                            ),
                        },
                    },
                },
            }
        ],
        right(1, (100, 28), "googleai/gemini-2.5-flash", reasoning=8, first=READ_TIME),
    ),
    (
        "span-table",
        # A transaction by an early version of Sentry's libraries.
        # Source: https://github.com/getsentry/sentry-python (ai/monitoring.py, before version 2.20)
        [
            {
                "event_id": "e",
                "type": "transaction",
                "spans": [
                    {
                        "span_id": "s",
                        "trace_id": "t",
                        "timestamp": ENDED_S,
                        "data": {
                            "ai.model_id": MODEL,
                            "ai.prompt_tokens.used": 100,
                            "ai.completion_tokens.used": 20,
                            "ai.total_tokens.used": 120,
                        },
                    }
                ],
            }
        ],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "response",
        # Source: https://docs.aws.amazon.com/bedrock/latest/userguide/trace-events.html
        [
            {
                "trace": {
                    "agentId": "a",
                    "trace": {
                        "orchestrationTrace": {
                            "modelInvocationOutput": {
                                "metadata": {
                                    "clientRequestId": "c",
                                    "endTime": TIME,
                                    "usage": {"inputTokens": 100, "outputTokens": 20},
                                }
                            }
                        }
                    },
                }
            }
        ],
        right(1, (100, 20), None, first=READ_TIME),
    ),
    (
        "table",
        # Source: https://cloud.ibm.com/apidocs/watsonx-ai#text-generation
        [
            {
                "model_id": "ibm/granite",
                "created_at": TIME,
                "results": [
                    {"generated_text": "x", "generated_token_count": 20, "input_token_count": 100}
                ],
            }
        ],
        right(1, (100, 20), "ibm/granite", first=READ_TIME),
    ),
    (
        "vs-code",
        [
            {
                "version": 3,
                "responderUsername": "GitHub Copilot",
                "sessionId": "s",
                "requests": [
                    {
                        "requestId": "r1",
                        "timestamp": 1_758_738_048_000,
                        "modelId": "copilot/gpt-4.1",
                        "response": [],
                        "result": {
                            "timings": {},
                            "metadata": {"promptTokens": 100, "outputTokens": 20},
                        },
                    },
                    {
                        "requestId": "r2",
                        "timestamp": 1_758_738_048_000,
                        "modelId": "copilot/auto",
                        "completionTokens": 90,
                        "result": {
                            "resolvedModel": "gpt-5",
                            "metadata": {
                                "promptTokens": 300,
                                "outputTokens": 20,
                                "cachedTokens": 200,
                                "toolCallRounds": [{}, {}],
                            },
                        },
                    },
                ],
            }
        ],
        right(2, (400, 110), "gpt-4.1", "gpt-5", cached=200, first=READ_TIME),
    ),
    (
        "vs-code-line",
        [
            {"kind": 0, "v": {"version": 3, "sessionId": "s", "requests": []}},
            {
                "kind": 2,
                "k": ["requests"],
                "v": [
                    {
                        "requestId": "r1",
                        "timestamp": 1_758_738_048_000,
                        "modelId": "copilot/gpt-4.1",
                    }
                ],
            },
            {"kind": 2, "k": ["requests", 0, "response"], "v": [{"value": "x"}]},
            {"kind": 1, "k": ["requests", 0, "result"], "v": {"metadata": {"promptTokens": 100}}},
            {"kind": 1, "k": ["requests", 0, "completionTokens"], "v": 20},
            {"kind": 1, "k": ["customTitle"], "v": "x"},
        ],
        right(1, (100, 20), "gpt-4.1", first=READ_TIME),
    ),
    (
        "span-record",
        # Snowflake's event table: by the conventions, and by TruLens.
        [
            {
                "TIMESTAMP": TIME,
                "TRACE": json.dumps({"trace_id": "t", "span_id": own}),
                "RECORD": json.dumps({"name": "x", "parent_span_id": parent}),
                "RECORD_TYPE": "SPAN",
                "RECORD_ATTRIBUTES": json.dumps(facts),
            }
            for own, parent, facts in (
                (
                    "a",
                    "",
                    {
                        "ai.observability.cost.num_prompt_tokens": 100,
                        "ai.observability.cost.num_completion_tokens": 20,
                    },
                ),
                (
                    "b",
                    "a",
                    {
                        "ai.observability.cost.model": MODEL,
                        "ai.observability.cost.num_prompt_tokens": 100,
                        "ai.observability.cost.num_completion_tokens": 20,
                    },
                ),
                ("c", "", genai(10, 2)),
            )
        ][::-1],
        right(2, (110, 22), MODEL, "gpt-4o", first=READ_TIME),
    ),
    (
        "open-webui-message",
        [
            {
                "id": "caf77ace-3417-4da4-944d-f4a0688f3c23-7f22137a-6911-4ed3-bc36-110f1dde6b66",
                "chat_id": "caf77ace-3417-4da4-944d-f4a0688f3c23",
                "role": "assistant",
                "model_id": MODEL,
                "created_at": 1_758_738_048,
                "usage": json.dumps(USED),
            },
            {
                "id": "c",
                "chat": json.dumps(
                    {
                        "history": {
                            "messages": {
                                "b": {
                                    "id": "7f22137a-6911-4ed3-bc36-110f1dde6b66",
                                    "role": "assistant",
                                    "model": MODEL,
                                    "usage": USED,
                                    "timestamp": 1_758_738_048,
                                }
                            }
                        }
                    }
                ),
            },
        ],
        right(1, (100, 20), MODEL, first=READ_TIME),
    ),
    (
        "table",
        # The model lies in what the request was configured with.
        # Source: https://humanloop.com/docs/api (logs)
        # Source: https://docs.promptlayer.com/reference (requests)
        [
            {
                "id": "d1",
                "prompt": {"id": "pr_1", "model": MODEL},
                "prompt_tokens": 100,
                "output_tokens": 20,
                "created_at": TIME,
            },
            {
                "id": 1,
                "prompt_blueprint": {"metadata": {"model": {"name": MODEL}}},
                "request_start_time": TIME,
                "input_tokens": 100,
                "output_tokens": 20,
            },
        ],
        right(2, (200, 40), MODEL, first=READ_TIME),
    ),
    (
        "weave",
        # A method of the user's lies around the call, and comes before it.
        [
            {
                "id": "c1",
                "op_name": "weave:///e/p/op/MyModel.predict:abc",
                "trace_id": "t",
                "parent_id": None,
                "ended_at": TIME,
                "output": "Hello",
                "summary": {
                    "usage": {MODEL: {"requests": 1, "prompt_tokens": 100, "completion_tokens": 20}}
                },
            },
            {
                "id": "c2",
                "op_name": "weave:///e/p/op/openai.chat.completions.create:abc",
                "trace_id": "t",
                "parent_id": "c1",
                "ended_at": TIME,
                "inputs": {},
                "summary": {},
                "output": {
                    "id": "x",
                    "model": MODEL,
                    "usage": USED | {"prompt_tokens_details": {"cached_tokens": 64}},
                },
            },
        ],
        right(1, (100, 20), MODEL, cached=64, first=READ_TIME),
    ),
    (
        "honeyhive",
        # As a table, whose columns are paths.
        [
            {
                "event_id": "e1",
                "event_type": "model",
                "session_id": "s",
                "parent_id": "s",
                "end_time": ENDED_S * 1000,
                "config.model": MODEL,
                "metadata.prompt_tokens": 100,
                "metadata.completion_tokens": 20,
            }
        ],
        right(1, (100, 20), MODEL, first=ENDED),
    ),
    (
        "opik",
        [
            {
                "id": "s1",
                "trace_id": "t",
                "type": "llm",
                "start_time": TIME,
                "end_time": TIME,
                "model": MODEL,
                "usage.prompt_tokens": 100,
                "usage.completion_tokens": 20,
            }
        ],
        right(1, (100, 20), MODEL, first=READ_TIME),
    ),
    (
        "laminar",
        [
            {
                "span_id": own,
                "parent_span_id": parent,
                "trace_id": "t",
                "span_type": kind,
                "start_time": TIME,
                "end_time": TIME,
                "input_tokens": inputs,
                "output_tokens": outputs,
                "response_model": model,
                "model": model,
                "provider": "",
                **more,
            }
            for own, parent, kind, inputs, outputs, model, more in (
                ("a", "0", "DEFAULT", 110, 22, "", {"attributes": "{}"}),
                ("b", "a", "LLM", 100, 20, MODEL, {}),
                ("c", "a", "TOOL", 0, 0, "", {}),
                ("d", "a", "LLM", 10, 2, "", {"attributes": json.dumps(genai(10, 2))}),
            )
        ],
        right(2, (110, 22), MODEL, "gpt-4o", first=READ_TIME),
    ),
    (
        "agent-result",
        [
            {"type": "system", "subtype": "init", "session_id": "s", "model": "Auto"},
            {
                "type": "result",
                "subtype": "success",
                "session_id": "s",
                "request_id": "r",
                "result": "x",
                "usage": {
                    "inputTokens": 36,
                    "outputTokens": 20,
                    "cacheReadTokens": 64,
                    "cacheWriteTokens": 0,
                },
            },
        ],
        right(0, (0, 0), sums=((None, 100, 20),)),
    ),
    (
        "strands",
        [
            {
                "message": {"role": "assistant"},
                "metrics": {
                    "cycle_count": 3,
                    "accumulated_usage": {
                        "inputTokens": 100,
                        "outputTokens": 20,
                        "totalTokens": 120,
                    },
                },
            }
        ],
        right(0, (0, 0), sums=((3, 100, 20),)),
    ),
    (
        "junie",
        [
            {
                "timestampMs": 1_758_738_048_000,
                "event": {
                    "agentEvent": {
                        "kind": "LlmResponseMetadataEvent",
                        "modelUsage": [
                            {
                                "model": SONNET,
                                "inputTokens": 30,
                                "outputTokens": 20,
                                "cacheInputTokens": 64,
                                "cacheCreateTokens": 6,
                                "reasoningTokens": 0,
                            }
                        ],
                    }
                },
            },
            {
                "timestampMs": 1_758_738_049_000,
                "event": {"agentEvent": {"kind": "AgentThought", "text": "done"}},
            },
        ],
        right(1, (100, 20), SONNET, cached=64),
    ),
    (
        "otlp",
        [
            {
                "resourceSpans": [
                    {
                        "scopeSpans": [
                            {
                                "spans": [
                                    in_haystack(
                                        "a",
                                        "haystack.component.run",
                                        component__type="OpenAIChatGenerator",
                                        component__output=json.dumps(BY_HAYSTACK),
                                    ),
                                    in_haystack(
                                        "b",
                                        "haystack.component.run",
                                        component__type="OutputAdapter",
                                        component__output=json.dumps(BY_HAYSTACK),
                                    ),
                                    in_haystack(
                                        "c",
                                        "haystack.component.run",
                                        component__type="OpenAITextEmbedder",
                                        component__output=json.dumps(
                                            {
                                                "meta": {
                                                    "model": MODEL,
                                                    "usage": {"prompt_tokens": 5},
                                                }
                                            }
                                        ),
                                    ),
                                    in_haystack(
                                        "d",
                                        "haystack.agent.step.llm",
                                        agent__step__llm__output=json.dumps(BY_HAYSTACK),
                                    ),
                                    in_haystack(
                                        "f",
                                        "haystack.pipeline.run",
                                        pipeline__output_data=json.dumps(BY_HAYSTACK),
                                    ),
                                ]
                            }
                        ]
                    }
                ]
            }
        ],
        right(3, (205, 40), MODEL, cached=128, first=READ_TIME),
    ),
    (
        "letta",
        [
            {
                "id": "step-1",
                "provider_name": "anthropic",
                "model": SONNET,
                "context_window_limit": 32_000,
                "prompt_tokens": 36,
                "completion_tokens": 20,
                "total_tokens": 56,
                "prompt_tokens_details": None,
                "created_at": TIME,
            },
            LETTA_TRACE,
            LETTA_TRACE
            | {
                "id": "provider_trace-2",
                "call_type": "summarization",
                "response_json": {
                    "id": "msg_02ABCDEFGHJKLMNPQRSTUV",
                    "model": SONNET,
                    "usage": {"input_tokens": 7, "output_tokens": 3},
                },
            },
        ],
        right(2, (107, 23), SONNET, cached=64),
    ),
    ("letta-trace", [LETTA_TRACE], right(1, (100, 20), SONNET, cached=64)),
    (
        "mux",
        [
            {
                "version": 1,
                "byModel": {
                    f"anthropic:{SONNET}": {
                        "input": {"tokens": 30, "cost_usd": 0.1},
                        "cached": {"tokens": 64},
                        "cacheCreate": {"tokens": 6},
                        "output": {"tokens": 12},
                        "reasoning": {"tokens": 8},
                    },
                    "openai:gpt-5": {"input": {"tokens": 0}, "output": {"tokens": 0}},
                },
                "lastRequest": {"timestamp": 1_758_738_048_000},
            }
        ],
        right(0, (0, 0), sums=((None, 100, 20),)),
    ),
    (
        "vibe",
        [
            {
                "session_id": "s1",
                "end_time": TIME,
                "config": {"active_model": "codestral-latest"},
                "stats": {
                    "steps": 3,
                    "session_prompt_tokens": 100,
                    "session_completion_tokens": 20,
                    "session_cached_tokens": 64,
                },
            },
            {
                "metadata": {
                    "session_id": "s2",
                    "stats": {"session_prompt_tokens": 10, "session_completion_tokens": 2},
                },
                "messages": [],
            },
        ],
        right(0, (0, 0), sums=((None, 100, 20), (None, 10, 2))),
    ),
    (
        "grok",
        [
            {
                "timestamp": 1_758_738_048,
                "params": {
                    "sessionId": "s",
                    "update": {"sessionUpdate": "tool_call_update", "usage": {"totalTokens": 9}},
                },
            },
            {
                "timestamp": 1_758_738_048,
                "params": {
                    "sessionId": "s",
                    "_meta": {"eventId": "e"},
                    "update": {
                        "sessionUpdate": "turn_completed",
                        "usage": {
                            "inputTokens": 1,
                            "outputTokens": 1,
                            "modelUsage": {
                                "grok-4.5": {
                                    "inputTokens": 100,
                                    "outputTokens": 20,
                                    "cachedReadTokens": 40,
                                    "reasoningTokens": 10,
                                    "totalTokens": 130,
                                }
                            },
                        },
                    },
                },
            },
        ],
        right(0, (0, 0), sums=((None, 100, 30),)),
    ),
]
