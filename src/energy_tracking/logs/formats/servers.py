"""What inference servers write by themselves: TGI, SGLang, llama.cpp, and their benchmarks.

A benchmark has its requests one by one, or in lists of their counts, or their sums alone, which
count where it left the requests out. Most know no model but that of the whole run.

A new format is a row of ``SERVERS``, with the source of what it says, and a sample in the tests.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from typing import Any

from energy_tracking.logs.files.text_lines import SERVER_LINE
from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    known_by,
    leaves_out,
    mappings,
    remember,
    text,
)
from energy_tracking.logs.formats.bodies import error_name
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_in_cells, usage_of, whole
from energy_tracking.logs.logged import LoggedCall, time_of


def _read_tgi(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A response of Text Generation Inference, or an event of its stream, of which the last has it.

    The prompt is counted in a stream, and listed where the request asked for its tokens.
    """
    details = document["details"]
    if details is None and "token" in document:
        return []
    outputs = at(details, "generated_tokens")
    if outputs is None:
        return None
    prefill = at(details, "prefill")
    inputs = at(details, "input_length")
    if inputs is None and isinstance(prefill, list) and prefill:
        inputs = len(prefill)
    counts = usage_in_cells(file, input=inputs, output=outputs)
    return [LoggedCall(operation="text_completion", counts=counts)]


def _read_sglang(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A response of SGLang's own, or a line of its request log; chunks of a stream grow."""
    holder = document if "meta_info" in document else document["out"]
    info = at(holder, "meta_info")
    if not isinstance(info, dict) or "prompt_tokens" not in info:
        return None
    reason = at(info, "finish_reason", "type")
    return [
        LoggedCall(
            operation="text_completion",
            counts=usage_in_cells(
                file,
                input=info["prompt_tokens"],
                output=info.get("completion_tokens"),
                cached=info.get("cached_tokens"),
            ),
            time=time_of(document.get("timestamp")),
            error_type="abort" if reason == "abort" else None,
            grows=True,
            identity=known_by("sglang", text(info.get("id")) or text(document.get("rid"))),
        )
    ]


def _read_replicate(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A prediction of Replicate's."""
    metrics = document["metrics"]
    outputs = at(metrics, "output_token_count")
    inputs = at(metrics, "input_token_count")
    failed = error_name(document.get("error")) if document.get("status") == "failed" else None
    if inputs is None and outputs is None and failed is None:
        return None
    call = LoggedCall(
        provider="replicate",
        model=text(document.get("model")),
        response_id=text(document.get("id")),
        counts=usage_in_cells(file, input=inputs, output=outputs),
        time=time_of(document.get("completed_at") or document.get("created_at")),
        error_type=failed,
    )
    return [identify(call)]


_BENCHMARK_TIME = re.compile(r"\d{8}-\d{6}")


def _read_benchmark(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a benchmark of a server: its requests, or their sums where it left them out."""
    model = text(document.get("model_id")) or text(document.get("model"))
    date = document.get("date")
    time = time_of(date)
    if isinstance(date, str) and _BENCHMARK_TIME.fullmatch(date):
        time = datetime.strptime(date, "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    inputs, outputs = document.get("input_lens"), document.get("output_lens")
    if isinstance(inputs, list) and isinstance(outputs, list) and len(inputs) == len(outputs):
        return [
            LoggedCall(
                model=model,
                counts=usage_in_cells(file, input=one, output=other),
                time=time,
                # The text of an exception.
                error_type="error" if at(document, "errors", number) else None,
            )
            for number, (one, other) in enumerate(zip(inputs, outputs, strict=True))
        ]
    counts = sum_of_tokens(document["total_input_tokens"], document["total_output_tokens"])
    return [
        LoggedCall(model=model, counts=counts, time=time, requests=whole(document["completed"]))
    ]


def _read_lm_studio(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A step of an answer in a chat of LM Studio's."""
    made, statistics = document["genInfo"], at(document, "genInfo", "stats")
    counts = usage_of(at(statistics, "promptTokensCount"), at(statistics, "predictedTokensCount"))
    if counts is None:
        return []
    # Its name begins with when it began, in milliseconds.
    began = str(document.get("stepIdentifier")).partition("-")[0]
    call = LoggedCall(
        model=text(at(made, "indexedModelIdentifier")) or text(at(made, "identifier")),
        counts=counts,
        time=time_of(int(began)) if began.isdecimal() else None,
    )
    return [identify(call, document.get("stepIdentifier"))]


def _read_aiperf(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A request that AIPerf has measured."""
    metrics, about = document["metrics"], document["metadata"]
    inputs, outputs, reasoning = (
        at(metrics, name, "value")
        for name in ("input_sequence_length", "output_sequence_length", "reasoning_token_count")
    )
    if whole(inputs) is None:
        return None
    call = LoggedCall(
        counts=usage_of(inputs, outputs, reasoning=reasoning),
        time=time_of(at(about, "request_end_ns")),
        session=text(at(about, "conversation_id")),
        error_type=error_name(document.get("error")),
    )
    return [identify(call, at(about, "x_request_id"))]


def _read_guidellm(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """Benchmarks, each with its requests, those that were cut off among them."""
    requests = [
        request
        for benchmark in mappings(document["benchmarks"])
        for kind in ("successful", "incomplete")
        for request in mappings(at(benchmark, "requests", kind))
    ]
    return [
        LoggedCall(
            counts=counts,
            time=time_of(request.get("end_time") or request.get("request_end_time")),
        )
        for request in requests
        if (
            counts := usage_of(
                request.get("prompt_tokens", at(request, "input_metrics", "text_tokens")),
                request.get("output_tokens", at(request, "output_metrics", "text_tokens")),
            )
        )
        is not None
    ] or None


# llama.cpp, and Ollama's command line.

_TASK = re.compile(r"\btask +(\d+)\b")
_PROMPT = re.compile(r"(?:n_prompt_tokens|task\.n_tokens) = (\d+)")
_TIMING = re.compile(
    r"(prompt |generation )?eval (?:time += .* / +(\d+) (?:tokens|runs)|count: +(\d+) token)"
)
_MODEL = re.compile(r"loading model '([^']+)'")
_OF_LLAMA = re.compile(r"print_timing|\btotal time +=")
TASKS_HELD = 1000
"""The prompts of how many tasks are remembered in one file."""


def _read_llama(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of llama.cpp's server: that of a prompt, or after it that of the output.

    The prompt is counted without what was in the cache; other lines have the whole.
    """
    line = document[SERVER_LINE]
    memory: dict[str, Any] = file.memory.setdefault("llama.cpp", {"prompts": {}})
    prompts: dict[str, int] = memory["prompts"]
    timing, task = _TIMING.search(line), _TASK.search(line)
    if timing is not None:
        count = int(timing[2] or timing[3])
        if timing[1] == "prompt ":
            memory["evaluated"] = count
            memory["of"] = task[1] if task is not None else memory.get("task")
            return []
        evaluated = memory.pop("evaluated", None)
        if evaluated is None:
            file.leave_out("an output of llama.cpp's without its prompt")
            return []
        inputs = max(prompts.pop(str(memory.get("of")), evaluated), evaluated)
        counts = usage_of(inputs, count, cached=inputs - evaluated)
        return [LoggedCall(model=memory.get("model"), counts=counts)]
    if (named := _MODEL.search(line)) is not None:
        memory["model"] = os.path.basename(named[1].replace("\\", "/")).removesuffix(".gguf")
        return []
    prompt = _PROMPT.search(line)
    if prompt is not None and task is not None:
        remember(prompts, task[1], int(prompt[1]), TASKS_HELD)
        return []
    if _OF_LLAMA.search(line) is None:
        return None
    memory["task"] = task[1] if task is not None else memory.get("task")
    return []


SERVERS: tuple[LogFormat, ...] = (
    # Source: https://huggingface.github.io/text-generation-inference (GenerateResponse, details)
    LogFormat(name="tgi", keys=keys("details", "generated_text"), read=_read_tgi),
    # Source: https://docs.sglang.ai/basic_usage/native_api.html
    LogFormat(name="sglang", any_of=keys("meta_info", "out"), read=_read_sglang, is_said=False),
    # Source: https://github.com/ollama/ollama/blob/main/docs/faq.md (--verbose)
    # Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
    LogFormat(name="llama-cpp-log", keys=keys(SERVER_LINE), read=_read_llama, is_said=False),
    # Source: https://github.com/vllm-project/vllm/blob/main/vllm/v1/metrics/loggers.py
    # Source: https://docs.sglang.ai/references/production_metrics.html
    LogFormat(name="server-log", keys=keys(SERVER_LINE), is_said=False,
              read=leaves_out("the throughput of a server over some seconds, which is no call")),
    # Source: https://replicate.com/docs/reference/http#predictions.get
    LogFormat(name="replicate", keys=keys("metrics", "status"), any_of=keys("version", "urls"),
              read=_read_replicate),
    # Source: https://lmstudio.ai/docs (conversations)
    LogFormat(name="lm-studio", keys=keys("genInfo"), read=_read_lm_studio),
    # Source: https://github.com/ai-dynamo/aiperf (profile_export.jsonl)
    LogFormat(name="aiperf", keys=keys("metadata", "metrics"), read=_read_aiperf, is_said=False),
    # Source: https://github.com/vllm-project/guidellm (benchmarks.json)
    LogFormat(name="guidellm", keys=keys("benchmarks"), read=_read_guidellm),
    # Source: https://github.com/vllm-project/vllm/blob/main/vllm/benchmarks/serve.py
    LogFormat(
        name="server-benchmark",
        keys=keys("completed", "total_input_tokens", "total_output_tokens"), read=_read_benchmark,
    ),
)  # fmt: skip
