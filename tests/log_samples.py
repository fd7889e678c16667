"""Samples of every format, each with what is right for it.

``SAMPLES`` are documents written after the schema that the format's row names; ``FILES`` lie in
``data``, most of them real ones cut down; ``SHARED`` lie beside a checkout.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).parent / "logs" / "data"
SHARED = Path(__file__).parents[2] / "shared"

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
