"""Lines of logs that a container's runtime, a journal or a collector keeps in objects of its own.

Whatever a program writes lies in there as text: a document of any format, or a part of one. A
runtime cuts long lines into parts, and what a program writes over several lines comes line by
line; both are put together again. A further name of a line goes into ``LINE_NAMES``, a further
mark of a part into ``_is_part``.
"""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from energy_tracking.logs.files.decoding import NOT_JSON
from energy_tracking.logs.files.text_lines import LINE, LINE_TIME, decode_line, opens_object
from energy_tracking.logs.formats.base import Document, LogFile, at, unpacked

LINE_NAMES = (
    # Docker and Fluent Bit; systemd; Logstash, Datadog and Vector; CloudWatch; Splunk.
    *(LINE, "log", "MESSAGE", "message", "@message", "_raw"),
    # zap and pino; Loki; Google Cloud; Azure; queues.
    *("msg", "line", "Line", "textPayload", "LogMessage", "LogEntry", "LogEntry_s", "Log_s"),
    *("body", "Body", "event", "Message", "data"),
)
"""What the text of a line is called, best first."""
_IN_BASE64 = ("eyJ", "eyA", "W3s")
"""How an object begins that a queue keeps so."""

_PROGRAM = ("stream", "container_id", "container_name", "pod_name", "_SYSTEMD_UNIT", "_PID")
"""What says which program wrote a line."""

_DOCKER = frozenset({"log", "stream", "time", "attrs"})
SHORTEST_CUT = 4096
"""Docker cuts lines at 16 KiB; of the longest characters that is this number [characters]."""
LONGEST_JOINED = 1 << 26
"""Parts of one line are put together up to this size [characters]."""
CUT_OFF = "a line that is cut off"
LEFT_OUT_BY_JOURNAL = "a line that the journal left out for its length: journalctl --all has it"


def lines_in(document: Document, file: LogFile) -> list[Document] | None:
    """The documents in the line that an object keeps.

    Args:
        document: The object.
        file: Remembers the parts of lines that go on.

    Returns:
        The documents; none where there is no line with any; None where the line goes on.
    """
    values = document.get("values")
    if isinstance(values, list) and isinstance(document.get("stream"), dict):
        # Loki's: the lines of a stream, each with its time.
        pairs = [pair for pair in values if isinstance(pair, list) and len(pair) > 1]
        return [{LINE_TIME: pair[0], LINE: pair[1]} for pair in pairs]
    for name in LINE_NAMES:
        if name not in document:
            continue
        line = document[name]
        if name == "MESSAGE":
            line = _line_of_journal(line, document, file)
        if not isinstance(line, str):
            continue
        if name == "data" and line.startswith(_IN_BASE64):
            line = decode_base64(line)
        whole = _join_parts(line, document, file)
        if whole is None:
            return None
        found = _documents_in(whole)
        if found:
            return found
    return []


def leave_out_parts(file: LogFile) -> None:
    """Count the lines whose last part never came.

    Args:
        file: Where they are, at its end.
    """
    for _ in file.memory.pop("parts of lines", {}):
        file.leave_out(CUT_OFF)


def _line_of_journal(line: object, document: Document, file: LogFile) -> object:
    """A line of systemd's journal: one with control characters is a list of bytes.

    Source: https://www.freedesktop.org/software/systemd/man/latest/systemd-journal-json-format
    """
    if line is None and "__REALTIME_TIMESTAMP" in document:
        file.leave_out(LEFT_OUT_BY_JOURNAL)
    if isinstance(line, list) and line and all(type(each) is int for each in line):
        return bytes(each & 0xFF for each in line).decode("utf-8", "replace")
    return line


def decode_base64(text: str) -> str:
    """A text in base64; the text itself where it is none."""
    try:
        return b64decode(text).decode("utf-8", "replace")
    except ValueError:
        return text


def _documents_in(line: str) -> list[Document]:
    text = line.strip()
    if text.startswith(("{", "[")):
        found: Any = unpacked(text)
        if found is not None:
            found = found if isinstance(found, list) else [found]
            return [one for one in found if isinstance(one, dict)]
    if "{" in text and not text.endswith("}"):
        # Prose, which may quote an object.
        return []
    decoded = decode_line(line.rstrip().encode("utf-8", "replace"))
    return [one for one in decoded if one is not NOT_JSON and isinstance(one, dict)]


def _join_parts(line: str, document: Document, file: LogFile) -> str | None:
    """A line with the parts before it; None where another follows."""
    held: dict[Any, _Parts] = file.memory.setdefault("parts of lines", {})
    is_part = _is_part(line, document)
    is_opened = not is_part and line.rstrip().endswith(("{", "[")) and _opens_object(line)
    if not (held or is_part or is_opened):
        return line  # nearly always
    pod = at(document, "kubernetes", "pod_name")
    program = (*(str(document.get(name)) for name in _PROGRAM), str(pod))
    parts = held.get(program)
    if parts is not None and parts.is_object:
        # It goes on until a brace stands where its line began.
        is_part = line[:1].isspace() or not line.strip()
        if not is_part and not line.startswith(("}", "]")):
            del held[program]
            file.leave_out(CUT_OFF)
            parts = None
    if is_part or is_opened:
        parts = parts or held.setdefault(program, _Parts(is_opened))
        if parts.add(line) < LONGEST_JOINED:
            return None
    if parts is None:
        return line
    del held[program]
    return "".join(parts.texts if is_part or is_opened else [*parts.texts, line])


class _Parts:
    """The parts of a line so far, or the lines of an object.

    Attributes:
        is_object: Whether they are those of an object.
        texts: What they say.
    """

    def __init__(self, is_object: bool) -> None:
        """Start with none; the argument is the attribute."""
        self.is_object = is_object
        self.texts: list[str] = []
        self._size = 0

    def add(self, text: str) -> int:
        """Add a part; returns the size of all [characters]."""
        self.texts.append(text)
        self._size += len(text)
        return self._size


def _opens_object(line: str) -> bool:
    return line.strip() in ("{", "[") or opens_object(line.encode("utf-8", "replace"))


def _is_part(line: str, document: Document) -> bool:
    """Whether another part of a line follows."""
    if document.get("logtag") == "P" or document.get("_p") == "P":
        return True  # Kubernetes
    partial = document.get("partial_message") or document.get("CONTAINER_PARTIAL_MESSAGE")
    if str(partial).lower() == "true":
        last = document.get("partial_last") or document.get("CONTAINER_PARTIAL_LAST")
        return str(last).lower() != "true"  # Docker's drivers
    if document.get("_LINE_BREAK") == "line-max":
        return True  # systemd
    is_of_docker = len(line) >= SHORTEST_CUT and document.keys() <= _DOCKER
    return is_of_docker and not line.endswith("\n")
