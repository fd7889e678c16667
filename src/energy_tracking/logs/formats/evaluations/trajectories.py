"""Trajectories of agents under evaluation: SWE-agent's, mini-SWE-agent's, and Harbor's.

A trajectory has the calls of its steps, or else the sum that it ends with.
"""

from __future__ import annotations

from energy_tracking.logs.formats.base import (
    Document,
    LogFile,
    LogFormat,
    at,
    identify,
    keys,
    mappings,
    text,
    unpacked,
)
from energy_tracking.logs.formats.bodies import call_in_body, stated_time_in
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_of, whole
from energy_tracking.logs.logged import LoggedCall, time_of


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


TRAJECTORIES: tuple[LogFormat, ...] = (
    # Source: https://swe-agent.com/latest/usage/trajectories/
    # Source: https://mini-swe-agent.com/latest/usage/output_files/
    LogFormat(name="swe-agent", keys=keys("info"), any_of=keys("trajectory", "messages"),
              read=_read_trajectory),
    # Source: https://harborframework.com/docs/agents/trajectory-format (ATIF)
    LogFormat(name="harbor", keys=keys("agent", "steps"), read=_read_harbor),
)  # fmt: skip
