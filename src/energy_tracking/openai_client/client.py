"""The public doors: track one OpenAI client, or all of them.

A client that is tracked stays the object that it was, with one more attribute. What is done to
the SDK is done in ``hooks``, once for all clients; who is tracked is held in ``tracked``.
"""

from __future__ import annotations

import logging
from typing import TypeVar, Unpack

from energy_tracking.errors import must_be
from energy_tracking.mocks import is_fake_client, is_mock, note_passed_through
from energy_tracking.notices import log
from energy_tracking.openai_client import hooks, sdk
from energy_tracking.openai_client.socket_modules import follow_sockets
from energy_tracking.openai_client.tracked import set_tracker, set_tracker_of_all
from energy_tracking.settings import document_settings
from energy_tracking.tracker import Tracker, TrackerArguments

ClientT = TypeVar("ClientT")


@document_settings
def wrap_openai(client: ClientT, **arguments: Unpack[TrackerArguments]) -> ClientT:
    """Track every call of this client; returns the same client.

    Works for ``OpenAI``, ``AsyncOpenAI``, their Azure forms and subclasses, and for
    clients made from it by ``with_options()`` or ``copy.copy``. Wrapping again replaces the
    settings.

    Args:
        client: The client, or a proxy of one. A mock or a fake of one is returned as it is.
        **arguments: The settings below, and what ``Tracker`` takes.

    Raises:
        TypeError: It is not an OpenAI client.
        ConfigurationError: A setting is none of its choices, out of its bounds or without effect.
    """
    found = sdk.find_client(client)
    if found is None:
        if is_mock(client):
            log("a mock of a client is not tracked: it runs no model", level=logging.DEBUG)
            return client
        if is_fake_client(client):
            note_passed_through("wrap_openai", client)
            return client
        what = "an OpenAI, AsyncOpenAI, AzureOpenAI or AsyncAzureOpenAI client"
        raise TypeError(must_be("client", what, client))
    tracker = Tracker(**arguments)
    with hooks.changing:
        set_tracker(found, tracker)
        if not tracker.settings.disabled:
            # Clients of the other kind have hooks too, which see the calls that nobody tracks.
            for kind in {type(found), *sdk.client_bases()}:
                hooks.hook_client_class(kind)
            follow_sockets()
        hooks.update_hooks()
    if not tracker.settings.disabled:
        hooks.report_bypassed(found)
    return client


def unwrap_openai(client: ClientT) -> ClientT:
    """Stop tracking this client; calls under way are still recorded."""
    found = sdk.find_client(client)
    if found is not None:
        with hooks.changing:
            set_tracker(found, None)
            hooks.update_hooks()
    return client


@document_settings
def instrument_openai(**arguments: Unpack[TrackerArguments]) -> None:
    """Track every OpenAI client of this process, made before or after.

    A client that was wrapped by itself keeps its own settings. Instrumenting again
    replaces the settings. It is also needed again where a program has imported openai anew.

    Args:
        **arguments: The settings below, and what ``Tracker`` takes.

    Raises:
        ConfigurationError: A setting is none of its choices, out of its bounds or without effect.
    """
    tracker = Tracker(**arguments)
    if tracker.settings.disabled:
        uninstrument_openai()
    else:
        track_all(tracker)


def track_all(tracker: Tracker) -> None:
    """Let a tracker receive the calls of every client that has none of its own."""
    classes = sdk.client_classes()
    with hooks.changing:
        set_tracker_of_all(tracker)
        for client_class in classes:
            hooks.hook_client_class(client_class)
        follow_sockets()
        hooks.update_hooks()
    for client_class in classes:
        hooks.report_bypassed(client_class)


def uninstrument_openai() -> None:
    """Undo ``instrument_openai``; calls under way are still recorded."""
    with hooks.changing:
        set_tracker_of_all(None)
        hooks.update_hooks()
