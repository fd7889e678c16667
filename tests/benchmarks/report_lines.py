"""How a report of lines of JSON compares with a bare loop of ``json.loads`` over the same lines.

Each sample of ``tests/logs/data`` is written over and over, with other ids and counts each time,
so that every copy is calls of its own. Both loops run in one process, one after the other, and
the least of a few ratios of their CPU time is shown: other work on the machine slows both.

Run: python tests/benchmarks/report_lines.py
     python tests/benchmarks/report_lines.py otlp_collector_line --bytes 50000000 --profile

Found on two idle cores with ``--bytes 50000000``, as ratios to the bare loop:

0.9 to 2.1   OpenAI's and Anthropic's batches, responses, LiteLLM, Claude Code, Codex, Helicone,
             OpenAI's chunks
2.4 to 2.8   printed spans, OTLP's logs and spans (whose attributes are a list of objects each),
             Claude's stream, and the samples of Bedrock, LangSmith and Langfuse, whose lines of
             200 bytes ``json.loads`` reads in 2.4 us

With programs beside it at a load average of 6 to 9, these are higher by up to a sixth. By
instructions, which no other program changes, Langfuse and LangSmith take 2.1 times those of the
bare loop, OTLP and Bedrock 2.4.

Above a million calls with ids, identities go to a temporary file, which takes about 2 us each. The
peak is 76 MiB with 7 MB, and 87 to 120 with 50 MB.
"""

from __future__ import annotations

import argparse
import cProfile
import gzip
import json
import pstats
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from report import report

DATA = Path(__file__).parent.parent / "logs" / "data"
ID_NAMES = frozenset(
    {"id", "uuid", "requestid", "messageid", "responseid", "customid", "recordid", "spanid"}
    | {"traceid", "parentspanid"}
)
METHOD = "reference"
TURNS = 3

Documents = list[dict[str, Any]]

OPENAI_CHUNKS: Documents = [
    {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1741570283,
     "model": "gpt-4o-2024-08-06", "service_tier": "default", "system_fingerprint": "fp_06737a9306",
     "choices": [{"index": 0, "delta": {"content": " Hello"}, "logprobs": None,
                  "finish_reason": None}], "usage": None},
    {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1741570283,
     "model": "gpt-4o-2024-08-06", "service_tier": "default", "system_fingerprint": "fp_06737a9306",
     "choices": [], "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29}},
]  # fmt: skip
CHAT: Documents = [
    {"id": "chatcmpl-0123456789abcdef", "object": "chat.completion", "created": 1741570283,
     "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "message": {"role": "assistant",
     "content": "Hello! How can I help?", "refusal": None}, "finish_reason": "stop"}],
     "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29,
               "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
               "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0}}},
]  # fmt: skip
ANTHROPIC_BATCH: Documents = [
    {"custom_id": "request-0123456789abcdef", "result": {"type": "succeeded", "message": {
        "id": "msg_0123456789abcdefghijkl", "type": "message", "role": "assistant",
        "model": "claude-sonnet-4-5-20250929", "content": [{"type": "text", "text": "Hello!"}],
        "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 34, "cache_read_input_tokens": 0,
                  "cache_creation_input_tokens": 0, "service_tier": "batch"}}}},
]  # fmt: skip
OPENAI_BATCH: Documents = [
    {"id": "batch_req_0123456789abcdef", "custom_id": "request-0123456789",
     "response": {"status_code": 200, "request_id": "req_0123456789abcdef", "body": CHAT[0]},
     "error": None},
]  # fmt: skip
PRINTED_SPAN: Documents = [
    {"name": "chat gpt-4o", "context": {"trace_id": "0x0123456789abcdef0123456789abcdef",
     "span_id": "0x0123456789abcdef", "trace_state": "[]"}, "kind": "SpanKind.CLIENT",
     "parent_id": None, "start_time": "2025-11-01T10:00:00.000000Z",
     "end_time": "2025-11-01T10:00:02.000000Z", "status": {"status_code": "UNSET"},
     "attributes": {"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o",
                    "gen_ai.response.id": "chatcmpl-0123456789abcdef",
                    "gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 20},
     "events": [], "links": [], "resource": {"attributes": {"service.name": "app"}}},
]  # fmt: skip
OTLP_LOG: Documents = [
    {"resourceLogs": [{"resource": {"attributes": [{"key": "service.name", "value":
     {"stringValue": "claude-code"}}]}, "scopeLogs": [{"scope": {"name": "events"}, "logRecords": [
      {"timeUnixNano": "1762000000000000000", "body": {"stringValue": "claude_code.api_request"},
       "attributes": [
        {"key": "event.name", "value": {"stringValue": "api_request"}},
        {"key": "session.id", "value": {"stringValue": "0f8fad5b-d9cb-469f-a165-70867728950e"}},
        {"key": "event.timestamp", "value": {"stringValue": "2025-11-01T10:00:00.000Z"}},
        {"key": "model", "value": {"stringValue": "claude-sonnet-4-5-20250929"}},
        {"key": "request_id", "value": {"stringValue": "req_0123456789abcdef"}},
        {"key": "input_tokens", "value": {"stringValue": "10"}},
        {"key": "output_tokens", "value": {"stringValue": "34"}},
        {"key": "cache_read_tokens", "value": {"stringValue": "1000"}},
        {"key": "cache_creation_tokens", "value": {"stringValue": "0"}}]}]}]}]},
]  # fmt: skip
WRITTEN: dict[str, Documents] = {
    "openai_chunks": OPENAI_CHUNKS,
    "chat_completions": CHAT,
    "anthropic_batch": ANTHROPIC_BATCH,
    "openai_batch": OPENAI_BATCH,
    "printed_span": PRINTED_SPAN,
    "otlp_log": OTLP_LOG,
}
"""Samples after published schemas, of lines that ``tests/logs/data`` has no file of."""

SAMPLES = (
    *("claude_code_transcript", "ccusage_claude", "claude_stream_json", "codex_rollout"),
    *("helicone", "langfuse_blob", "langsmith_run", "litellm_spend_logs", "otlp_collector_line"),
    *("bedrock_batch", "responses"),
)


def read_sample(name: str) -> Documents:
    """The documents of a sample."""
    if name in WRITTEN:
        return WRITTEN[name]
    if name == "responses":
        text = gzip.decompress((DATA / "responses.jsonl.gz").read_bytes()).decode()
    else:
        text = (DATA / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def vary(value: Any, number: int, key: str = "") -> Any:
    """A document with the ids and counts of its copy of that number."""
    if isinstance(value, dict):
        is_id = value.get("key") in ("gen_ai.response.id", "request_id")
        inner = {
            name: vary(each, number, "id" if is_id and name != "key" else name)
            for name, each in value.items()
        }
        if key == "total_token_usage":
            # Of Codex: a running total.
            inner |= {name: inner[name] + number for name in ("input_tokens", "total_tokens")}
        return inner
    if isinstance(value, list):
        return [vary(each, number, key) for each in value]
    is_id = key.rpartition(".")[2].replace("_", "").lower() in ID_NAMES
    is_id |= key == "stringValue" and isinstance(value, str) and value.startswith("req_")
    if isinstance(value, str) and is_id:
        return f"{value[:-8] if len(value) > 8 else value}{number:08x}"
    return value


def write_lines(name: str, path: Path, many: int) -> None:
    """Write copies of a sample, so many bytes in all."""
    documents, written, number = read_sample(name), 0, 0
    with path.open("w", encoding="utf-8") as file:
        while written < many:
            number += 1
            for document in documents:
                written += file.write(json.dumps(vary(document, number)) + "\n")


def load_lines(path: Path) -> int:
    """Decode every line, and forget it; returns how many there are."""
    lines = 0
    with path.open("rb") as file:
        for line in file:
            json.loads(line)
            lines += 1
    return lines


def time_sample(name: str, path: Path) -> None:
    """Print what both loops take."""
    report(path, METHOD)  # imports, and what is made once
    bare, ours = [], []
    for _ in range(TURNS):
        start = time.process_time()
        lines = load_lines(path)
        middle = time.process_time()
        calls = report(path, METHOD)
        bare.append((middle - start) / lines)
        ours.append((time.process_time() - middle) / lines)
    least = min(mine / one for mine, one in zip(ours, bare, strict=True))
    length = path.stat().st_size / lines
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{name:<24} {length:>6.0f} {lines:>9,} {calls:>9,} {min(bare) * 1e6:>8.2f} "
          f"{min(ours) * 1e6:>8.2f} {least:>6.2f} {peak:>9.0f}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure reports of lines of JSON.")
    parser.add_argument("names", nargs="*", default=[*SAMPLES, *WRITTEN], help="samples")
    parser.add_argument("--bytes", type=int, default=5_000_000, help="written of each sample")
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    given = parser.parse_args()
    print(f"{'sample':<24} {'B/line':>6} {'lines':>9} {'calls':>9} {'bare us':>8} {'ours us':>8} "
          f"{'ratio':>6} {'peak MiB':>9}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for name in given.names:
            path = Path(folder) / f"{name}.jsonl"
            write_lines(name, path, given.bytes)
            time_sample(name, path)
            if given.profile:
                profile = cProfile.Profile()
                profile.runcall(report, path, METHOD)
                pstats.Stats(profile).sort_stats("tottime").print_stats(30)
            path.unlink()


if __name__ == "__main__":
    main()
