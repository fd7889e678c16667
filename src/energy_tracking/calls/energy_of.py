"""One call's energy: from a response back to the record of the call that made it."""

from __future__ import annotations

from contextlib import suppress

from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.counted_response import CountedResponse, exact_tokens
from energy_tracking.calls.record import OBSERVATION_EXTENSION, CallRecord
from energy_tracking.lifecycle import settle
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import (
    ID_FIELDS,
    USAGE_FIELDS,
    creation_time_of,
    first_of,
    mapping_of,
)

_HTTP_RESPONSES = ("response", "http_response")
"""Where raw responses and streams hold their HTTP response."""


def energy_of(response: object) -> CallRecord | None:
    """The record of the call that made a response, with its tokens, energy and range.

    Nothing is attached to the response: the call is found by the response's id, or as the
    same object, among the last 2,000 calls of this process, whoever counted them: a tracked
    client, ``@track_energy``, the span processor or ``Tracker().record``. A response is what
    the SDK returns for a chat, a Responses call, embeddings or another API: plain, parsed or
    raw, a stream that has ended, any chunk or event of it, or the object that a helper
    accumulates.

    None where there is no such record:

    - nobody tracked the call, or it was counted in another process;
    - it has not ended: a stream is still being read, or a background response generated;
    - the response was only fetched: listed, retrieved or loaded from a file;
    - more than 2,000 calls were counted since, or it is a copy of a response without an id;
    - its id is short, as a local server's may be, or came with other tokens before, and
      neither tokens nor time say whether it is this call's or that of a later one with that id.

    A record of a call whose energy is not known has the reason, and None as its energy.

    Args:
        response: The response; anything else has no record.

    Example:
        >>> record = energy_of("not a response")
        >>> record is None
        True
    """
    # Whatever stands behind an attribute of the user's object may raise.
    with suppress(Exception):
        settle()
        return _carried_record(response) or _remembered_record(response)
    return None


def _carried_record(response: object) -> CallRecord | None:
    """The record of the call that a raw response or a stream has the HTTP response of."""
    holders = (response, *(getattr(response, name, None) for name in _HTTP_RESPONSES))
    for holder in holders:
        extensions = mapping_of(getattr(holder, "extensions", None))
        observation = extensions.get(OBSERVATION_EXTENSION)
        record = getattr(getattr(observation, "call", None), "final_record", None)
        if isinstance(record, CallRecord):
            return record
    return None


def _remembered_record(response: object) -> CallRecord | None:
    """The record of a response that is remembered by its id or as an object."""
    # An event of the Responses API has the response inside.
    inner = first_of(response, ("response",))
    body = response if inner is None else inner
    origin = mapping_of(first_of(body, ("response_metadata",)))
    ids = map(text_of, (first_of(body, ID_FIELDS), first_of(origin, ("id",))))
    usage = first_of(body, USAGE_FIELDS)
    facts = CountedResponse(
        None,
        frozenset(),
        None if usage is None else exact_tokens(read_usage(usage)),
        creation_time_of(body),
    )
    return counted_responses.record_of(response, [one for one in ids if one is not None], facts)
