"""A process in which nobody is tracked, whatever tests before have left."""

from __future__ import annotations

import gc

from energy_tracking import uninstrument_openai
from energy_tracking.lifecycle import close_open_calls, open_calls
from energy_tracking.openai_client import hooks, tracked
from energy_tracking.tracker import Tracker


def untrack_all() -> None:
    """Take every hook off the SDK."""
    gc.collect()
    uninstrument_openai()
    close_open_calls()
    open_calls.clear()
    # Clients that something still holds: they are tracked until they are collected.
    for mark in list(tracked._marks.values()):
        mark.tracker = Tracker(disabled=True)
    hooks.update_hooks()
