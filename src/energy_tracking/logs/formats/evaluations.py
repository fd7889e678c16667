"""Results of evaluations and of agents under evaluation: inspect, promptfoo, SWE-agent, Harbor.

A log of an evaluation holds many calls in one document, and often the sum of them beside the
calls: the calls count, the sum does not. A new format is a row of ``EVALUATIONS``, with the source
of what it says, and a sample in the tests.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    known_by,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, error_name, stated_time_in
from energy_tracking.logs.formats.counts import (
    counts_in,
    sum_of_tokens,
    usage_of,
    usage_of_columns,
    whole,
)
from energy_tracking.logs.logged import Counts, LoggedCall, time_of
from energy_tracking.usage.names import is_unique_id

# inspect.

DEEPEST_EVENT = 20
"""How far events may lie inside of one another."""


def _read_inspect_log(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A whole log, or the header of one whose samples lie beside it."""
    if not isinstance(document.get("eval"), dict):
        return None
    calls: list[LoggedCall] = []
    for sample in mappings(document.get("samples")):
        calls += _calls_of_sample(sample, file)
    run = text(at(document, "eval", "run_id"))
    if calls or file.path.endswith(".eval"):
        file.note_call_of("inspect", run)
        return calls
    # A log without samples has their sums.
    sums = list(_sums_by_model(at(document, "stats", "model_usage"), run))
    for one in sums:
        one.sum_of = known_by("inspect", run)
    return sums


def _read_inspect_sample(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if document.keys().isdisjoint(("events", "transcript", "model_usage")):
        return None
    return _calls_of_sample(document, file)


def _calls_of_sample(sample: Document, file: LogFile) -> list[LoggedCall]:
    """One call per model event; the sample's own usage is their sum."""
    session = text(sample.get("uuid"))
    calls, without_counts = [], 0
    # Its first versions had the events in a transcript.
    events = sample.get("transcript") if "events" not in sample else sample
    for event in _model_events(events if isinstance(events, dict) else {}):
        usage = _inspect_usage(at(event, "output", "usage"))
        failed = error_name(event.get("error"))
        if usage is None and failed is None:
            without_counts += 1
            continue
        event_id = text(event.get("uuid"))
        if event_id is None:
            # Events had no id at first, and a log that another one goes on with is copied into it.
            response_id = text(at(event, "call", "response", "id"))
            event_id = response_id if is_unique_id(response_id) else None
        model = text(event.get("model")) or text(at(event, "output", "model"))
        calls.append(
            LoggedCall(
                provider=(model or "").partition("/")[0] or "unknown",
                model=model,
                counts=usage,
                time=time_of(event.get("completed") or event.get("timestamp")),
                session=session,
                error_type=failed and (failed if usage is None else None),
                cache_hit=event.get("cache") == "read",
                identity=known_by("inspect", event_id),
            )
        )
    found = calls or list(_sums_by_model(sample.get("model_usage"), session))
    for _ in range(without_counts if calls or not found else 0):
        file.leave_out("an answer of a model without token counts")
    return found


def _model_events(around: Document, depth: int = 0) -> Iterator[Document]:
    """The calls of a sample, those inside of its tools and subtasks too."""
    for event in mappings(around.get("events")):
        if event.get("event") == "model" and not event.get("pending"):
            yield event
        elif "events" in event and depth < DEEPEST_EVENT:
            yield from _model_events(event, depth + 1)


def _inspect_usage(counts: object) -> Counts | None:
    """Counts of a model event: inputs may leave out cached tokens, and outputs reasoning."""
    if not isinstance(counts, dict):
        return None
    # The total says what lies beside what: that depends on the provider.
    return usage_of(
        counts.get("input_tokens"),
        counts.get("output_tokens"),
        cached=counts.get("input_tokens_cache_read"),
        written=counts.get("input_tokens_cache_write"),
        reasoning=counts.get("reasoning_tokens"),
        total=counts.get("total_tokens"),
    )


def _sums_by_model(by_model: object, session: object) -> Iterator[LoggedCall]:
    for model, counts in by_model.items() if isinstance(by_model, dict) else ():
        usage = _inspect_usage(counts)
        if usage is not None:
            yield LoggedCall(
                provider=str(model).partition("/")[0],
                model=model,
                counts=usage,
                session=text(session),
                requests=None,
                identity=known_by("inspect", session, model),
            )


# promptfoo.


_RESULT_KEYS = keys("response", "tokenUsage", "gradingResult")


def _read_promptfoo(document: Document, file: LogFile) -> list[LoggedCall] | None:
    results = document.get("results")
    inner = results.get("results") if isinstance(results, dict) else results
    if not isinstance(inner, list):
        return None
    found = mappings(inner)
    if "evalId" not in document and not any(_RESULT_KEYS & result.keys() for result in found):
        return None
    calls = [call for result in found for call in _promptfoo_calls(result, file)]
    time = time_of(at(results, "timestamp") or document.get("createdAt"))
    for call in calls:
        call.time, call.session = call.time or time, text(document.get("evalId"))
    return calls


def _read_promptfoo_line(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if isinstance(document["response"], str):
        # A row of its database.
        named = ("provider", "response", "gradingResult", "grading_result")
        document = document | {name: unpacked(document.get(name)) for name in named}
        document["gradingResult"] = document["gradingResult"] or document["grading_result"]
    if at(document, "response", "tokenUsage") is None and "promptIdx" not in document:
        return None
    calls = _promptfoo_calls(document, file)
    for call in calls:
        call.time, call.session = time_of(document.get("created_at")), text(document.get("eval_id"))
    return calls


def _promptfoo_calls(result: Document, file: LogFile) -> list[LoggedCall]:
    """The call under test, and the sum over those of the model that graded its answer."""
    calls = [_promptfoo_call(result, file), _promptfoo_grading(result)]
    return [call for call in calls if call is not None]


def _promptfoo_grading(result: Document) -> LoggedCall | None:
    counts = at(result, "gradingResult", "tokensUsed")
    inputs, outputs = whole(at(counts, "prompt")), whole(at(counts, "completion"))
    if not (inputs or outputs):
        return None
    return LoggedCall(
        counts=sum_of_tokens(inputs, outputs),
        requests=whole(at(counts, "numRequests")) or None,
        identity=known_by("promptfoo grading", text(result.get("id"))),
    )


# What a count is, as in ``columns`` -> where it is; the total says what lies beside what.
_PROMPTFOO_PARTS = {
    "total": ("total",),
    "reasoning": ("completionDetails", "reasoning"),
    "cached": ("completionDetails", "cacheReadInputTokens"),
    "cache_write": ("completionDetails", "cacheCreationInputTokens"),
}


def _promptfoo_call(result: Document, file: LogFile) -> LoggedCall | None:
    counts = at(result, "response", "tokenUsage") or result.get("tokenUsage")
    failed = error_name(at(result, "response", "error"))
    if not isinstance(counts, dict):
        counts = {}
    provider = result.get("provider")
    name = text(at(provider, "id")) or text(provider)
    requests = whole(counts.get("numRequests"))
    is_cached = at(result, "response", "cached") is True
    inputs, outputs = whole(counts.get("prompt")), whole(counts.get("completion"))
    if not is_cached and whole(counts.get("cached")) and not (inputs or outputs):
        is_cached = True
    if not is_cached and inputs is None and outputs is None and failed is None:
        file.leave_out("a result without counts of its input and output")
        return None
    vendor, model = _vendor_and_model(name or "")
    several = requests is not None and requests > 1
    read = {what: at(counts, *path) for what, path in _PROMPTFOO_PARTS.items()}
    has_counts = inputs is not None or outputs is not None
    return LoggedCall(
        provider=vendor or "unknown",
        model=model or name,
        counts=usage_of_columns(read, inputs or 0, outputs or 0, is_sum=several)
        if has_counts
        else None,
        requests=requests if several else 1,
        error_type=failed,
        cache_hit=is_cached,
        identity=known_by("promptfoo", text(result.get("id"))),
    )


# What may stand between a provider and its model: ``openai:chat:gpt-4o``.
PROMPTFOO_APIS = frozenset(
    {"chat", "completion", "completions", "responses", "messages", "embedding", "embeddings"}
    | {"image", "moderation", "realtime", "assistant", "text", "language"}
)


def _vendor_and_model(provider_id: str) -> tuple[str, str]:
    """The two out of the id of a provider; the model may have colons of its own."""
    vendor, *rest = provider_id.split(":")
    if len(rest) > 1 and rest[0] in PROMPTFOO_APIS:
        del rest[0]
    return vendor, ":".join(rest)


# SWE-agent and mini-SWE-agent.


def _read_trajectory(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trajectory: its responses where it keeps them, else the sum that it ends with."""
    stats = at(document, "info", "model_stats")
    if not isinstance(stats, dict):
        return None
    calls = []
    for message in mappings(document.get("messages")):
        # Of the Responses API the message itself is the response.
        body = message if "usage" in message else at(message, "extra", "response")
        if isinstance(body, dict):
            call = call_in_body(body)
            if call.counts is not None:
                call.time = call.time or time_of(at(message, "extra", "timestamp"))
                calls.append(identify(call, created=stated_time_in(body)))
    if calls:
        return calls
    requests = whole(stats.get("api_calls"))
    sent, received = whole(stats.get("tokens_sent")), whole(stats.get("tokens_received"))
    if sent is None and received is None:
        file.leave_out("an agent's trajectory without token counts")
        return []
    return [
        LoggedCall(
            model=_model_of_trajectory(document),
            counts=sum_of_tokens(sent, received),
            requests=requests or None,
        )
    ]


def _model_of_trajectory(document: Document) -> str | None:
    config = unpacked(document.get("replay_config"))
    return text(at(config, "agent", "model", "name")) or text(
        at(document, "info", "config", "model", "model_name")
    )


# Harbor's trajectories, which terminal-bench has, too.


def _read_harbor(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A trajectory: one call per step of the agent, else the sum that it ends with."""
    steps, session = mappings(document["steps"]), text(document.get("session_id"))
    named = text(at(document, "agent", "model_name"))
    calls = []
    for step in steps:
        metrics = step.get("metrics")
        # What was copied from another trajectory is counted there.
        if not isinstance(metrics, dict) or step.get("is_copied_context") is True:
            continue
        call = _harbor_call(metrics, "", whole(step.get("llm_call_count")) or 1)
        if call is not None:
            call.model = text(step.get("model_name")) or named
            call.time, call.session = time_of(step.get("timestamp")), session
            if session is not None:
                call.identity = ("harbor", session, step.get("step_id"))
            calls.append(call)
    if not calls:
        call = _harbor_call(document.get("final_metrics"), "total_", None)
        if call is None:
            file.leave_out("an agent's trajectory without token counts")
            return []
        call.model, call.session = named, session
        calls.append(call)
    return calls


def _harbor_call(metrics: object, prefix: str, requests: int | None) -> LoggedCall | None:
    inputs, outputs, cached = (
        whole(at(metrics, f"{prefix}{name}_tokens")) for name in ("prompt", "completion", "cached")
    )
    if inputs is None and outputs is None:
        return None
    if requests == 1:
        return LoggedCall(counts=usage_of(inputs, outputs, cached=cached))
    return LoggedCall(counts=sum_of_tokens(inputs, outputs, cached), requests=requests)


# tau2-bench and terminal-bench.


def _read_tau(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """Simulations, in which one model is the agent and another one the user."""
    info = document["info"]
    models = {
        role: text(at(info, name, "llm"))
        for role, name in (("assistant", "agent_info"), ("user", "user_info"))
    }
    if not any(models.values()):
        return None
    return [
        LoggedCall(
            model=models.get(str(message.get("role"))),
            counts=counts,
            time=time_of(message.get("timestamp") or simulation.get("end_time")),
            session=text(simulation.get("id")),
        )
        for simulation in mappings(document["simulations"])
        for message in mappings(simulation.get("messages"))
        if (counts := counts_in(message.get("usage"))) is not None
    ]


def _read_terminal_bench(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of a trial, with the sum of what its agent took."""
    inputs, outputs = document["total_input_tokens"], document["total_output_tokens"]
    if not (whole(inputs) or whole(outputs)):
        file.leave_out("a trial without token counts")
        return []
    return [
        LoggedCall(
            counts=sum_of_tokens(inputs, outputs),
            time=time_of(document.get("trial_ended_at") or document.get("trial_started_at")),
            session=text(document["trial_name"]),
            requests=None,
        )
    ]


_MODEL_OF_RUN = re.compile(r"(?:^|[:,])model=([^,]+)")


def _read_helm(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The statistics of an instance; the folder of a run has the name of its model."""
    named = {
        str(at(statistic, "name", "name")): statistic.get("sum")
        for statistic in mappings(document["stats"])
    }
    inputs, outputs = named.get("num_prompt_tokens"), named.get("num_output_tokens")
    if inputs is None:
        return None
    model = _MODEL_OF_RUN.search(os.path.basename(file.folder))
    return [
        LoggedCall(
            # A name may have no slash there.
            model=model and model[1].replace("_", "/", 1),
            counts=usage_of(whole(inputs), whole(outputs or named.get("num_completion_tokens"))),
        )
    ]


EVALUATIONS: tuple[LogFormat, ...] = (
    # Source: https://inspect.aisi.org.uk/eval-logs.html
    LogFormat(name="inspect", keys=keys("eval", "status"), read=_read_inspect_log),
    LogFormat(name="inspect-sample", keys=keys("id", "epoch"), read=_read_inspect_sample),
    # Source: https://crfm-helm.readthedocs.io (per_instance_stats.json)
    LogFormat(name="helm", keys=keys("instance_id", "stats"), read=_read_helm),
    # Source: https://www.promptfoo.dev/docs/configuration/outputs/
    LogFormat(name="promptfoo", keys=keys("results"), read=_read_promptfoo),
    LogFormat(name="promptfoo-line", keys=keys("provider", "response"), read=_read_promptfoo_line),
    # Source: https://swe-agent.com/latest/usage/trajectories/
    # Source: https://mini-swe-agent.com/latest/usage/output_files/
    LogFormat(name="swe-agent", keys=keys("info"), any_of=keys("trajectory", "messages"),
              read=_read_trajectory),
    # Source: https://harborframework.com/docs/agents/trajectory-format (ATIF)
    LogFormat(name="harbor", keys=keys("agent", "steps"), read=_read_harbor),
    # Source: https://github.com/sierra-research/tau2-bench (data_model/simulation.py)
    LogFormat(name="tau2-bench", keys=keys("info", "simulations"), read=_read_tau),
    # Source: https://www.tbench.ai/docs (results.json)
    LogFormat(name="terminal-bench",
              keys=keys("trial_name", "total_input_tokens", "total_output_tokens"),
              read=_read_terminal_bench),
)  # fmt: skip
