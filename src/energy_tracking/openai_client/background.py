"""Responses that are generated on after the request for them has been answered.

A background response has no usage yet when its call returns. The call is held open, without its
prompt, and closed by the fetch that finds the response finished: so it is counted once, however
often it is polled, streamed again or cancelled, and never by a client that only fetches it.
"""

from __future__ import annotations

import re
import threading

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import call_after_fork, held_calls
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import UNFINISHED

MAX_HELD = 1024
"""Calls held at most [1]; beyond, the oldest is closed as far as it is known."""

_FETCH = re.compile(r"/responses/([^/?]+)(?:/cancel)?/?(?:\?|$)")


class HeldCalls:
    """The calls whose responses are still being generated, the oldest first."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        # A signal handler that settles what finalisers have left may come back here.
        self._lock = threading.RLock()
        self._calls: dict[Call, None] = {}

    def fetched_by(self, path: str, server: tuple[str | None, int | None]) -> Call | None:
        """The call whose response a request fetches, if it is held.

        Several may have one id, of servers that choose them alike or use them again: that of the
        server asked comes first, then the oldest. Each is closed by a fetch of its own.

        Args:
            path: The path of the request.
            server: The host and port it goes to.
        """
        fetch = _FETCH.search(path) if self._calls else None
        if fetch is None:
            return None
        response_id = text_of(fetch[1])
        with self._lock:
            calls = [
                call for call in self._calls if call.response_id == response_id and not call.closed
            ]
        return min(calls, key=lambda call: _server_of(call) != server, default=None)

    def hold(self, call: Call) -> tuple[bool, Call | None]:
        """Hold a call if its response is still being generated, else let go of it.

        Returns:
            Whether it is held, and the call that had to make room for it.
        """
        if call.response_id is None or not call.is_background:
            return False, None
        with self._lock:
            self._calls.pop(call, None)
            if call.status not in UNFINISHED or call.closed:
                return False, None
            self._calls[call] = None
            held_calls.add(call)
            if len(self._calls) <= self._limit:
                return True, None
            oldest = next(iter(self._calls))
            del self._calls[oldest]
            return True, oldest

    def begin_anew(self) -> None:
        """Let go of all with a lock nobody holds: for the child of a fork."""
        self._lock = threading.RLock()
        self._calls = {}


calls_by_response = HeldCalls()
"""The calls of this process, whichever client they were made with."""

call_after_fork(calls_by_response.begin_anew)


def _server_of(call: Call) -> tuple[str | None, int | None]:
    return call.request.server_address, call.request.server_port
