"""Which clients are tracked now, and by which tracker.

A client of its own tracker carries a ``Mark``, an attribute like any other: ``copy.copy`` and
``with_options`` hand it on, and it goes with the client. All others belong to the tracker of
``instrument_openai``, if there is one. Nothing else decides: hooks ask ``tracker_of`` at the
start of every request.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from energy_tracking.lifecycle import client_checks, request_counts
from energy_tracking.openai_client import sdk
from energy_tracking.tracker import Tracker

MARK_ATTRIBUTE = "_energy_tracking"


class Mark:
    """Gives the clients that carry it a tracker of their own.

    Attributes:
        tracker: The tracker; one that is disabled keeps them from being tracked.
    """

    __slots__ = ("__weakref__", "tracker")

    def __init__(self, tracker: Tracker) -> None:
        """Mark clients as those of this tracker."""
        self.tracker = tracker


# By identity: unlike a WeakSet, it can be looked through while another thread adds to it.
_marks: WeakValueDictionary[int, Mark] = WeakValueDictionary()
_tracker_of_all: Tracker | None = None


def set_tracker(client: Any, tracker: Tracker | None) -> None:
    """Give a client a tracker of its own, or take it away.

    Args:
        client: The client.
        tracker: The tracker, None to leave the client to the tracker of all.
    """
    if tracker is None:
        vars(client).pop(MARK_ATTRIBUTE, None)
    else:
        mark = Mark(tracker)
        _marks[id(mark)] = mark
        vars(client)[MARK_ATTRIBUTE] = mark


def set_tracker_of_all(tracker: Tracker | None) -> None:
    """Set the tracker of every client that has none of its own."""
    global _tracker_of_all
    _tracker_of_all = tracker


def tracker_of(client: object) -> Tracker | None:
    """The tracker that receives this client's calls now; None where none does."""
    try:
        mark: Mark | None = client.__dict__.get(MARK_ATTRIBUTE)
    except AttributeError:
        mark = None
    tracker = _tracker_of_all if mark is None else mark.tracker
    return None if tracker is None or tracker.settings.disabled else tracker


def mark_of(client: object) -> Mark | None:
    """The mark of a client, if it has a tracker of its own."""
    try:
        mark: Mark | None = client.__dict__.get(MARK_ATTRIBUTE)
    except AttributeError:
        return None
    return mark


def hand_on(client: object, copied: Any) -> None:
    """Let a client that was made from another have the same tracker.

    Args:
        client: The client.
        copied: The client made from it.
    """
    mark = mark_of(client)
    if mark is not None:
        vars(copied).setdefault(MARK_ATTRIBUTE, mark)


def tracker_of_all() -> Tracker | None:
    """The tracker of the clients that have none of their own; None where there is none."""
    return _tracker_of_all


def is_anybody_tracked() -> bool:
    """Whether there is a tracker for any client, present or to come."""
    marks = (reference() for reference in _marks.valuerefs())
    return _tracker_of_all is not None or any(
        mark is not None and not mark.tracker.settings.disabled for mark in marks
    )


client_checks.append(is_anybody_tracked)
request_counts.append(sdk.count_requests)
