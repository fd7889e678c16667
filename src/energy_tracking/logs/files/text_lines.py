"""Lines of a log that are text: documents behind a time or a name, and what programs print.

A line with an object has that; one without may say what a call took in words of its own, as spans
that Java prints and lines of names with values do. A further kind of such a line goes into
``TEXTS``. What takes several lines to say comes line by line, as ``SERVER_LINE``, to its format.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from json import JSONDecoder
from typing import Any

from energy_tracking.logs.files.decoding import NOT_JSON, decode, decode_printed

SERVER_LINE = "server log"
"""The only key of a document that is a line of a text that its format puts together."""

LINE, LINE_TIME = "logged line", "logged at"
"""The keys of a document that was read from behind a time: what it is, and that time."""
_CONTAINER_LINE = re.compile(rb"(\d{4}-\d\d-\d\dT\S{8,30}) (stdout|stderr) ([FP]) ")
"""As Kubernetes keeps a line of a container, or a part of it that another follows.

Source: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""
_COMPOSED_LINE = re.compile(rb"([\w.\-]+[-_]\d+) +\| ?")
"""As Docker Compose prints a line, behind the name of its container."""
_TIME_BEFORE = re.compile(
    rb"\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,:]\d+)?(?: ?(?:Z|UTC|[+-]\d\d:?\d\d)\b)?"
    rb"|\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}|(?<=\[)\d{10}\.\d{3,9}(?=[,\]])"
)
"""The time of a line, as loggers, web servers and Fluent Bit write it."""
_YEARLESS_TIME = re.compile(rb"(?:<\d{1,3}>)?([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)?) ")
"""As syslog writes it.

Source: https://www.rfc-editor.org/rfc/rfc3164 (section 4.1)
"""
_OBJECT = re.compile(rb"\{(?=\s*[\"'}])")
"""Where an object begins; labels, as those of Loki, may stand before it in braces of their own."""
_OBJECT_IN_TEXT = re.compile(_OBJECT.pattern.decode())
_decode_next = JSONDecoder().raw_decode


def decode_line(line: bytes) -> list[Any]:
    """Decode a line that is no single document: several, one behind some text, or a server's text.

    One behind a time comes with that, as ``LINE`` and ``LINE_TIME``.

    Args:
        line: The line.
    """
    kept = _CONTAINER_LINE.match(line)
    if kept is not None:
        time, stream, tag = (part.decode("ascii", "replace") for part in kept.groups())
        text = line[kept.end() :].rstrip(b"\r\n").decode("utf-8", "replace")
        # By the names that collectors have for them.
        return [{"time": time, "stream": stream, "logtag": tag, "log": text}]
    composed = _COMPOSED_LINE.match(line)
    if composed is not None:
        text = line[composed.end() :].rstrip(b"\r\n").decode("utf-8", "replace")
        return [{"container_name": composed[1].decode("ascii", "replace"), "log": text}]
    begun = _OBJECT.search(line)
    if begun is None:
        return _documents_of_text(line)
    start = begun.start()
    rest = line[start:]
    found: list[Any] = [decode(rest)]  # nearly always
    if found[0] is NOT_JSON:
        found = [decode_printed(rest)]
    if found[0] is NOT_JSON:
        found = _objects_in(rest.decode("utf-8", "replace"))
    if not line[:start].strip():
        return found
    # What stands around an object is none.
    found = [one for one in found if one and one is not NOT_JSON] or [NOT_JSON]
    return _behind_time(found, line, start)


def _objects_in(text: str) -> list[Any]:
    """The objects in a text, as a request and its response; a broken one costs its line."""
    found: list[Any] = []
    position = 0
    while (begun := _OBJECT_IN_TEXT.search(text, position)) is not None:
        try:
            value, position = _decode_next(text, begun.start())
            found.append(value)
        except (ValueError, RecursionError):
            found.append(NOT_JSON)
            position = text.find("\n", begun.start())
            if position < 0:
                break
    return found


def _behind_time(found: list[Any], line: bytes, end: int) -> list[Any]:
    """Documents with the time that stands before them in a line, if any does.

    Args:
        found: The documents.
        line: The line.
        end: Where they begin in it.
    """
    moment = _TIME_BEFORE.search(line, 0, end)
    if moment is None:
        yearless = _YEARLESS_TIME.match(line, 0, end)
        if yearless is None:
            return found
        time = yearless[1].decode("ascii")
    else:
        # Java's agent has a colon before milliseconds.
        time = re.sub(r"(:\d\d):(\d{3})\b", r"\1.\2", moment[0].decode("ascii", "replace"))
    return [{LINE_TIME: time, LINE: one} if isinstance(one, dict) else one for one in found]


def _documents_of_text(line: bytes) -> list[Any]:
    for pattern, build in TEXTS:
        found = pattern.search(line)
        if found is not None:
            return _behind_time([build(line.decode("utf-8", "replace"), found)], line, len(line))
    return [NOT_JSON]


def _build_line(line: str, found: re.Match[bytes]) -> dict[str, Any]:
    return {SERVER_LINE: line}


def _build_span_of_java(line: str, found: re.Match[bytes]) -> dict[str, Any]:
    trace, span = (part.decode("ascii", "replace") for part in found.groups())
    pairs = (part.partition("=") for part in line.partition("data={")[2].split(", "))
    attributes = {name: value.rstrip("}\r\n") for name, equals, value in pairs if equals}
    return {"traceId": trace, "spanId": span, "attributes": attributes}


_PAIR = re.compile(
    r"""([A-Za-z_][\w.\-]*)=(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s,;()\[\]{}'"]*))"""
)


def _build_pairs(line: str, found: re.Match[bytes]) -> Any:
    """Names with their values; a line without a model may say what another one has said."""
    pairs: dict[str, str] = {}
    for name, *values in _PAIR.findall(line):
        # In an object as Python prints it, what lies further in may have the same name.
        pairs.setdefault(name, "".join(values))
    return pairs if any("model" in name.lower() for name in pairs) else NOT_JSON


TEXTS: tuple[tuple[re.Pattern[bytes], Callable[[str, re.Match[bytes]], Any]], ...] = (
    # Source: https://github.com/open-telemetry/opentelemetry-java (LoggingSpanExporter)
    (
        re.compile(rb"' : ([0-9a-f]{32}) ([0-9a-f]{16}) [A-Z]+ \[tracer: [^\]]*\] .*data=\{"),
        _build_span_of_java,
    ),
    # Of vLLM and SGLang, llama.cpp and Ollama, and spans of .NET and the Collector.
    (
        re.compile(
            rb"Avg prompt throughput: |gen throughput \(token/s\): |#new-token: \d"
            rb"|eval time +=|eval count: +\d|print_timing|(?:n_prompt_tokens|task\.n_tokens) = \d"
            rb"|loading model '|^Activity\.\w+:|^    (?:gen_ai|llm|ai|error|session)\.[\w.]+: "
            rb"|^Resource associated with Activity|^Span #\d"
            rb"|^(?:\S+\s+\w+\s+)?(?:Scope|Resource)Spans #"
            rb"|^    (?:Trace ID|Parent ID|ID|End time) +: "
            rb"|^ +-> (?:gen_ai|llm|ai|error|session|openinference|traceloop)\.[\w.]+: "
        ),
        _build_line,
    ),
    # Source: https://brandur.org/logfmt
    (re.compile(rb"[ \t][\w.\-]*tokens?(?:_count)?=\"?\d"), _build_pairs),
)
"""What a line of text has in it, and what makes a document of the line."""


_OPENED = re.compile(rb"[^\s{][^{]*\{\s*\Z")


_PRINTED = re.compile(
    rb"^(?:[ \t]*(?:prompt )?eval time +=|slot +\w+: |srv +\w+: |Activity\.\w+:)", re.MULTILINE
)


def is_printed(head: bytes) -> bool:
    """Whether a file has lines that a program printed for people, by its start.

    Args:
        head: The start, which may look like a table.
    """
    return _COMPOSED_LINE.match(head) is not None or _PRINTED.search(head) is not None


def opens_object(line: bytes) -> bool:
    """Whether a line of text ends with the brace of an object that goes on over others.

    Args:
        line: The line.
    """
    is_kept = _CONTAINER_LINE.match(line) or _COMPOSED_LINE.match(line)
    return _OPENED.match(line) is not None and not is_kept


_BRACKETED = re.compile(rb"""(?:\[[^][{}"',\n]*(?:,\d+)?\] ?)+[^][,\w\n]{0,3}[A-Za-z\d{"']""")


def begins_with_brackets(line: bytes) -> bool:
    """Whether a line of a log has its time or source in brackets before the rest.

    Args:
        line: The line, which may be an array instead.
    """
    return _BRACKETED.match(line) is not None and decode(line) is NOT_JSON
