"""LibreChat's collections, as ``mongoexport`` writes them.

A call is two transactions: that of its prompt, and after it that of its completion, with those of
other calls between them. Messages keep how long they are themselves, and not what was sent before
them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from energy_tracking.logs.formats.base import Document, LogFile, LogFormat, keys, text
from energy_tracking.logs.formats.counts import check_wholes, usage_of, whole
from energy_tracking.logs.formats.inside import drop_types
from energy_tracking.logs.logged import LoggedCall, time_of

PROMPTS_HELD = 1000
"""How many calls wait for their completion in one file."""

Key = tuple[str, ...]
_SAID_BY_BOTH = ("conversationId", "model", "context", "messageId")


def _read_transaction(document: Document, file: LogFile) -> list[LoggedCall] | None:
    document = drop_types(document)
    said = tuple(str(document.get(name)) for name in _SAID_BY_BOTH)
    waiting: OrderedDict[Key, Document] = file.memory.setdefault("librechat", OrderedDict())
    if document["tokenType"] == "prompt":
        for name in ("rawAmount", "readTokens", "writeTokens"):
            # Here, where one that is no count costs its own transaction.
            _count_in(document, name)
        waiting[(*said, str(document.get("_id")))] = document
        if len(waiting) <= PROMPTS_HELD:
            return []
        return [_without_output(waiting.popitem(last=False)[1], file)]
    if document["tokenType"] != "completion":
        return []  # credits
    own = next((key for key in waiting if key[: len(said)] == said), None)
    if own is None:
        file.assume("without a count of input, taken as 0 tokens")
    return [_build_call({} if own is None else waiting.pop(own), document)]


def _finish(file: LogFile) -> Iterator[LoggedCall]:
    for prompt in file.memory.pop("librechat", {}).values():
        yield _without_output(prompt, file)


def _without_output(prompt: Document, file: LogFile) -> LoggedCall:
    file.assume("without a count of output, taken as 0 tokens")
    return _build_call(prompt, {})


def _build_call(prompt: Document, completion: Document) -> LoggedCall:
    """The call of two transactions, one of which may be missing."""
    either = prompt or completion
    return LoggedCall(
        model=text(either.get("model")),
        counts=usage_of(
            _count_in(prompt, "rawAmount") or 0,
            _count_in(completion, "rawAmount") or 0,
            cached=_count_in(prompt, "readTokens"),
            written=_count_in(prompt, "writeTokens"),
        ),
        time=time_of(completion.get("createdAt") or prompt.get("createdAt")),
        session=text(either.get("conversationId")),
        # An export may have been made between the two.
        grows=True,
        identity=("librechat", str(either["_id"])) if either.get("_id") else None,
    )


def _count_in(document: Document, name: str) -> int | None:
    """A count, which is below 0 as it is taken from what its user has left."""
    value = document.get(name)
    count = str(value).removeprefix("-") if value is not None else None
    check_wholes({name: count})
    return whole(count)


def _read_message(document: Document, file: LogFile) -> list[LoggedCall] | None:
    if str(document["isCreatedByUser"]).lower() != "true":
        file.leave_out("a message of LibreChat, which has no input: export its transactions")
    return []


LIBRECHAT: tuple[LogFormat, ...] = (
    # Source: https://github.com/danny-avila/LibreChat (packages/data-schemas, transaction)
    LogFormat(name="librechat", keys=keys("tokenType", "rawAmount", "conversationId"),
              read=_read_transaction, finish=_finish),
    # Source: https://github.com/danny-avila/LibreChat (packages/data-schemas, message)
    LogFormat(name="librechat-message", keys=keys("messageId", "conversationId", "isCreatedByUser"),
              read=_read_message, is_said=False),
)  # fmt: skip
