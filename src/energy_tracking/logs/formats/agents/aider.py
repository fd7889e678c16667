"""aider's chat history, a text with token counts rounded for people, and its other logs."""

from __future__ import annotations

import re

from energy_tracking.logs.files.lines import HISTORY_LINE
from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, keys, text
from energy_tracking.logs.formats.counts import sum_of_tokens, usage_of
from energy_tracking.logs.logged import LoggedCall, time_of

_AIDER_TOKENS = re.compile(
    r"> Tokens: (?P<sent>[\d.,]+[kM]?) sent"
    r"(?:, (?P<written>[\d.,]+[kM]?) cache write)?(?:, (?P<cached>[\d.,]+[kM]?) cache hit)?"
    r", (?P<received>[\d.,]+[kM]?) received"
)
_AIDER_MODEL = re.compile(r"> (?:Main model|Model): (?P<model>\S+)")
_AIDER_START = re.compile(r"# aider chat started at (?P<time>.+)")


def _read_aider(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of the chat history; its numbers are rounded as they are printed."""
    line = document[HISTORY_LINE]
    memory = file.memory.setdefault("aider", {})
    if started := _AIDER_START.match(line):
        memory["time"] = time_of(started["time"])
    elif named := _AIDER_MODEL.match(line):
        memory["model"] = named["model"]
    elif counts := _AIDER_TOKENS.match(line):
        usage = usage_of(
            _parse_rounded(counts["sent"]),
            _parse_rounded(counts["received"]),
            cached=_parse_rounded(counts["cached"]),
            written=_parse_rounded(counts["written"]),
        )
        return [LoggedCall(model=memory.get("model"), counts=usage, time=memory.get("time"))]
    return []


def _parse_rounded(number: str | None) -> int | None:
    if number is None:
        return None
    unit = {"k": 1e3, "M": 1e6}.get(number[-1], 1.0)
    try:
        return round(float(number.rstrip("kM").replace(",", "")) * unit)
    except ValueError:
        return None


def _read_aider_event(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """A line of aider's analytics log."""
    facts = document.get("properties")
    if not isinstance(facts, dict):
        return None
    if document.get("event") != "message_send":
        return []
    usage = usage_of(facts.get("prompt_tokens"), facts.get("completion_tokens"))
    model = text(facts.get("main_model"))
    return [LoggedCall(model=model, counts=usage, time=time_of(document.get("time")))]


def _read_aider_benchmark(document: Document, file: LogFile) -> list[LoggedCall] | None:
    """The result of an exercise, over as many requests as it took."""
    counts = sum_of_tokens(
        document["prompt_tokens"],
        document.get("completion_tokens"),
        reasoning=document.get("thinking_tokens"),
    )
    return [LoggedCall(model=text(document.get("model")), counts=counts, requests=None)]


AIDER: tuple[LogFormat, ...] = (
    # Source: https://github.com/Aider-AI/aider/blob/main/aider/coders/base_coder.py
    LogFormat(name="aider", keys=keys(HISTORY_LINE), read=_read_aider),
    # Source: https://aider.chat/docs/more/analytics.html
    LogFormat(name="aider-analytics", keys=keys("event", "properties", "user_id"),
              read=_read_aider_event),
    # Source: https://github.com/Aider-AI/aider/blob/main/benchmark/benchmark.py
    LogFormat(name="aider-benchmark", keys=keys("testcase", "tests_outcomes", "prompt_tokens"),
              read=_read_aider_benchmark),
)  # fmt: skip
