"""Responses that are generated on after the request for them has been answered.

A background response has no usage yet when its call returns. The call is held open, without its
prompt, and closed by the fetch that finds the response finished: so it is counted once, however
often it is polled, streamed again or cancelled, and never by a client that only fetches it.
"""

from __future__ import annotations

import re

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import held_calls
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import UNFINISHED

MAX_HELD = 1024
"""Calls held at most [1]; beyond, the oldest is closed as far as it is known."""

_FETCH = r"/responses/([^/?]+)(?:/cancel)?/?(?:\?|$)"


def find_held_call(path: str, server: tuple[str | None, int | None]) -> Call | None:
    """The call whose response a request fetches, if it is held.

    Several may have one id, of servers that choose them alike or use them again: that of the
    server asked comes first, then the oldest. Each is closed by a fetch of its own.

    Args:
        path: The path of the request.
        server: The host and port it goes to.
    """
    fetch = re.search(_FETCH, path) if held_calls else None
    if fetch is None:
        return None
    response_id = text_of(fetch[1])
    calls = [call for call in list(held_calls) if call.response_id == response_id]
    return min(
        (call for call in calls if not call.closed),
        key=lambda call: _server_of(call) != server,
        default=None,
    )


def hold(call: Call) -> tuple[bool, Call | None]:
    """Hold a call if its response is still being generated, else let go of it.

    Returns:
        Whether it is held, and the call that had to make room for it.
    """
    held_calls.pop(call, None)
    if (
        call.status not in UNFINISHED
        or call.response_id is None
        or not call.is_background
        or call.closed
    ):
        return False, None
    held_calls[call] = None
    if len(held_calls) <= MAX_HELD:
        return True, None
    oldest: Call = next(iter(list(held_calls)))
    held_calls.pop(oldest, None)
    return True, oldest


def _server_of(call: Call) -> tuple[str | None, int | None]:
    return call.request.server_address, call.request.server_port
