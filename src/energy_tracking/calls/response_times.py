"""What responses say of when they were made, and how far that is believed."""

from __future__ import annotations

from time import time

CLOCKS_DIFFER_SECONDS = 60.0
"""How much a server's clock may be behind [s]."""
OLDEST_SECONDS = 2.6e6
"""How far back a server's word on when it made a response is believed: a month [s]."""
FIRST_RESPONSES = 1.67e9
"""The end of 2022, before which no response of today's APIs was made [s since the epoch]."""


def was_made_before(created: float | None, began_at: float) -> bool:
    """Whether a response was made before a function began, by its own account.

    Args:
        created: When it was made, as it says [s since the epoch].
        began_at: When the function began [s since the epoch].
    """
    return (
        created is not None and is_believed(created) and created < began_at - CLOCKS_DIFFER_SECONDS
    )


def may_be_archived(created: float | None) -> bool:
    """Whether a response that counts as made now may be an old one: its time is not believed.

    Args:
        created: When it was made, as it says [s since the epoch].
    """
    return created is not None and created >= FIRST_RESPONSES and time() - created > OLDEST_SECONDS


def is_believed(created: float | None) -> bool:
    """Whether what a response says of when it was made [s since the epoch] may be true."""
    return created is not None and -CLOCKS_DIFFER_SECONDS <= time() - created <= OLDEST_SECONDS
