"""What is said of calls that nobody tracks."""

from __future__ import annotations

from collections.abc import Callable

from energy_tracking.lifecycle import count_untracked_requests
from energy_tracking.notices import log_once

TRACK = (
    "Call instrument_openai() at the start of the program, or wrap_openai(client) for one client; "
    "calls of other SDKs are counted with Tracker().record()."
)
"""What to do where calls are made that nobody tracks."""


def warn_of_untracked_requests(
    what: str, before: list[int | None], count_calls: Callable[[], int]
) -> None:
    """Say once that calls seem to be tracked by nobody.

    That is so where no client is tracked, the SDK has sent requests meanwhile, and no call was
    counted in any way.

    Args:
        what: What the calls were made in, as messages name it.
        before: ``count_untracked_requests()`` when that began.
        count_calls: Says how many calls were counted in it [1].
    """
    sent = count_untracked_requests()
    if sent and (None in sent or sent != before) and not count_calls():
        said = "No call of %s was counted, and no OpenAI client is tracked. %s"
        log_once(TRACK, said, what, TRACK)
