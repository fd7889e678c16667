"""Transcripts of pi, and of agents built on it: OpenClaw, and Command Code.

Command Code counts beside its message, by names of its own.
"""

from __future__ import annotations

from energy_tracking.logs.formats.agents.counts import CountNames, build_agent_call, read_parts
from energy_tracking.logs.formats.base import Document, LogFile, first_text, known_by, text
from energy_tracking.logs.formats.providers import provider_named
from energy_tracking.logs.logged import LoggedCall, time_of

PI = CountNames("input", "output", "cacheRead", "cacheWrite", "reasoning")
COMMAND_CODE = CountNames("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")


def read_pi(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of a session; a fork copies those before it, with their ids and times.

    Args:
        document: The line.
        file: Where it is.
    """
    kind, memory = document["type"], file.memory
    if kind == "session" and "cwd" in document:
        memory["pi"] = text(document.get("id"))
        return []
    message = document.get("message")
    if "pi" not in memory or "parentId" not in document:
        return None
    if not isinstance(message, dict):
        return []
    parts = read_parts(message.get("usage"), PI) or read_parts(document.get("usage"), COMMAND_CODE)
    if parts is None:
        return []
    time = document.get("timestamp")
    models = (message.get("responseModel"), message.get("model"), document.get("model"))
    return [
        build_agent_call(
            parts,
            provider=provider_named(message.get("provider")),
            model=first_text(models),
            time=time_of(time),
            session=memory["pi"],
            identity=known_by("pi", text(document.get("id")), str(time)),
        )
    ]
