"""Responses that are generated on after the request for them has been answered.

A background response has no usage yet when its call returns. The call is held open and
closed by the fetch that finds the response finished: so it is counted once, however often
it is polled, streamed again or cancelled, and never by who only fetches it.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping

from energy_tracking.calls.call import Call
from energy_tracking.lifecycle import call_after_fork, held_calls
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import UNFINISHED

MAX_HELD = 1024
"""Calls held at most [1]; beyond, the oldest is closed as far as it is known."""

_FETCH = re.compile(r"/responses/([^/?]+)(?:/cancel)?/?(?:\?|$)")


class HeldCalls:
    """The calls whose responses are still being generated, by response id."""

    def __init__(self, limit: int = MAX_HELD) -> None:
        self._limit = limit
        # A signal handler that settles what finalisers have left may come back here.
        self._lock = threading.RLock()
        self._calls: OrderedDict[str, Call] = OrderedDict()

    def fetched_by(self, path: str) -> Call | None:
        """The call whose response a request to this path fetches, if it is held."""
        if not self._calls:
            return None
        fetch = _FETCH.search(path)
        call = self._calls.get(text_of(fetch[1]) or "") if fetch else None
        return None if call is None or call.closed else call

    def hold(self, call: Call) -> tuple[bool, Call | None]:
        """Hold a call if its response is still being generated, else let go of it.

        Returns:
            Whether it is held, and the call that had to make room for it.
        """
        if call.response_id is None or not _is_background(call):
            return False, None
        with self._lock:
            # Another call may stand there: a server that uses its ids again.
            if self._calls.get(call.response_id) is call:
                del self._calls[call.response_id]
            if call.status not in UNFINISHED or call.closed:
                return False, None
            self._calls[call.response_id] = call
            held_calls.add(call)
            full = len(self._calls) > self._limit
            return True, self._calls.popitem(last=False)[1] if full else None

    def begin_anew(self) -> None:
        """Let go of all with a lock nobody holds: for the child of a fork."""
        self._lock = threading.RLock()
        self._calls = OrderedDict()


calls_by_response = HeldCalls()
"""The calls of this process, whichever client they were made with."""

call_after_fork(calls_by_response.begin_anew)


def _is_background(call: Call) -> bool:
    return isinstance(call.prompt, Mapping) and call.prompt.get("background") is True
