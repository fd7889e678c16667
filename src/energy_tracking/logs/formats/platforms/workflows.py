"""Executions of workflows: n8n and Dify, exported, as events or out of their databases.

Each keeps what a model took beside the output of its node; what a whole answer of a workflow or an
agent took is a sum of these. A new format is a row of ``WORKFLOWS``, with the source of what it
says, and a sample in the tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from energy_tracking.logs.files.text_lines import LINE, LINE_TIME
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
from energy_tracking.logs.formats.bodies import USAGES
from energy_tracking.logs.formats.counts import counts_in, sum_in, sum_of_tokens, usage_of, whole
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import LoggedCall, time_of

# n8n.

ESTIMATED = "whose tokens n8n has estimated, counted so"
NO_COUNTS = "a generation without token counts"
_MODEL_PORT = "ai_languageModel"


def _read_n8n(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An execution: nodes of models say what they took, others may have a response."""
    data = unpacked(document["data"])
    if isinstance(data, list):
        data = _unflatten(data)
    nodes = at(data, "resultData", "runData")
    if not isinstance(nodes, dict):
        return None
    calls: list[LoggedCall] = []
    for name, runs in nodes.items():
        for number, run in enumerate(mappings(runs)):
            started, lasted = run.get("startTime"), run.get("executionTime")
            ended = started + (whole(lasted) or 0) if isinstance(started, int) else None
            own = (document.get("id") or document.get("executionId"), name, number, started)
            for port, branches in _ports_of(run):
                for place, item in enumerate(_items_in(branches)):
                    call = _n8n_call(item, run, file) if port == _MODEL_PORT else None
                    if port != _MODEL_PORT and not item.keys().isdisjoint(USAGES):
                        # As of a node that sends requests.
                        file.inside.append({LINE_TIME: ended, LINE: item})
                    if call is not None:
                        call.time = time_of(ended)
                        call.session = text(document.get("workflowId"))
                        call.identity = ("n8n", *map(str, own), place)
                        calls.append(call)
    return calls


def _ports_of(run: Document) -> list[tuple[str, Any]]:
    data = run.get("data")
    return list(data.items()) if isinstance(data, dict) else []


def _items_in(branches: object) -> Iterator[Document]:
    """What a node has put out, on all its branches."""
    for branch in branches if isinstance(branches, list) else ():
        for item in mappings(branch):
            if isinstance(item.get("json"), dict):
                yield item["json"]


def _n8n_call(item: Document, run: Document, file: LogFile) -> LoggedCall | None:
    usage, estimate = item.get("tokenUsage"), item.get("tokenUsageEstimate")
    counted = usage or estimate
    counts = usage_of(at(counted, "promptTokens"), at(counted, "completionTokens"))
    if counts is None:
        file.leave_out(NO_COUNTS)
        return None
    options = at(run, "inputOverride", _MODEL_PORT, 0, 0, "json", "options")
    model = text(at(options, "model")) or text(at(options, "model_name"))
    assumed = None if usage else ESTIMATED
    return LoggedCall(model=model, counts=counts, assumed=assumed)


def _unflatten(values: list[Any]) -> Any:
    """A value out of a list in which each text inside of an object is the place of another value.

    Source: https://github.com/WebReflection/flatted
    """
    known: dict[int, Any] = {}

    def value_at(place: object) -> Any:
        if not isinstance(place, str) or not place.isdigit() or int(place) >= len(values):
            return place
        number = int(place)
        if number not in known:
            flat = values[number]
            if isinstance(flat, dict):
                found: Any = {}
                known[number] = found
                found.update((name, value_at(inner)) for name, inner in flat.items())
            elif isinstance(flat, list):
                known[number] = found = []
                found.extend(map(value_at, flat))
            else:
                known[number] = flat
        return known[number]

    return value_at("0")


# Dify.

DIFY_SUMS = frozenset({"advanced-chat", "agent-chat", "workflow"})
"""Modes of applications whose answers may take several requests."""


def _read_dify_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """An event of an answer or of a workflow; that of a node has what its model took."""
    event, data = document["event"], document.get("data")
    if not isinstance(event, str):
        return None
    of = document.get("workflow_run_id") or document.get("task_id")
    if event == "node_finished" and isinstance(data, dict):
        return _read_dify_node({**data, "workflow_run_id": of}, file)
    if event == "agent_thought":
        file.memory["dify agent"] = document.get("message_id")
        return []
    if event not in ("message", "message_end"):
        return [] if event.startswith(("node_", "workflow_", "iteration_", "agent_")) else None
    usage = at(document, "metadata", "usage")
    if usage is None:
        return []
    message = text(document.get("message_id")) or text(document.get("id"))
    is_sum = document.get("mode") in DIFY_SUMS or (
        message is not None and file.memory.get("dify agent") == message
    )
    counts = sum_in(usage) if is_sum else counts_in(usage)
    if counts is None or not counts.input_tokens + counts.output_tokens:
        file.leave_out(NO_COUNTS)
        return []
    return [
        LoggedCall(
            counts=counts,
            time=time_of(document.get("created_at")),
            session=text(document.get("conversation_id")),
            requests=None if is_sum else 1,
            identity=known_by("dify", message),
            sum_of=known_by("dify", of),
        )
    ]


def _read_dify_node(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A node of a workflow, as an event or a row of the database."""
    process, outputs = (unpacked(document.get(name)) for name in ("process_data", "outputs"))
    usage = at(process, "usage") or at(outputs, "usage")
    counts = counts_in(usage)
    if counts is None:
        if document.get("node_type") == "llm":
            file.leave_out(NO_COUNTS)
        return []
    run = text(document.get("workflow_run_id"))
    file.note_call_of("dify", run)
    provider = text(at(process, "model_provider"))
    call = LoggedCall(
        provider=provider_named(provider and provider.rpartition("/")[2]),
        model=text(at(process, "model_name")),
        counts=counts,
        time=time_of(document.get("finished_at") or document.get("created_at")),
        session=run,
    )
    return [identify(call, document.get("id"))]


def _read_dify_message(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A row of the messages; the answer of an agent or a workflow has the sum of its requests."""
    inputs, outputs = whole(document["message_tokens"]), whole(document["answer_tokens"])
    if not (inputs or outputs):
        return []
    run = text(document.get("workflow_run_id"))
    is_sum = run is not None or str(document.get("agent_based")).lower() in ("true", "t", "1")
    message = text(document.get("id"))
    return [
        LoggedCall(
            provider=provider_named(document.get("model_provider")),
            model=text(document.get("model_id")),
            counts=(sum_of_tokens if is_sum else usage_of)(inputs, outputs),
            time=time_of(document.get("created_at")),
            session=text(document.get("conversation_id")),
            requests=None if is_sum else 1,
            identity=known_by("dify", message),
            sum_of=known_by("dify", run),
        )
    ]


WORKFLOWS: tuple[LogFormat, ...] = (
    # Source: https://docs.n8n.io/api (executions), https://github.com/n8n-io/n8n (execution_data)
    LogFormat(name="n8n", keys=keys("data"), any_of=keys("workflowId", "workflowData"),
              read=_read_n8n),
    # Source: https://docs.dify.ai/en/openapi-api-access (chat messages, workflows)
    LogFormat(name="dify-event", keys=keys("event"),
              any_of=keys("task_id", "message_id", "workflow_run_id"), read=_read_dify_event),
    # Source: https://github.com/langgenius/dify (api/models)
    LogFormat(name="dify-node", keys=keys("node_type", "process_data"), read=_read_dify_node),
    LogFormat(name="dify-message", keys=keys("message_tokens", "answer_tokens"),
              read=_read_dify_message),
)  # fmt: skip
