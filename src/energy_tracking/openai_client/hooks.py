"""Hooks on the SDK, put on and taken off.

Every call of every client, sync or async, plain, raw or streamed, goes through three functions of
the SDK, which no client replaces:

==========================  ===========================================================
``request``                 once per logical call, outside the retries: the call starts
``_process_response``       once, after the retries: binds the call to its HTTP response
``_process_response_data``  every JSON body and stream event, before models are built and
                            before the SDK can raise over them: the call is fed
==========================  ===========================================================

Two more are hooked: the ``__init__`` of all clients, to look at a class of clients that is new,
and the methods that make a client from a client.

A hook goes *inside* of such a function, see ``hooked_function``: that stays what and where it is.
So a call reaches the hook whoever has put what around the function, before us or after, on which
class or client, and has taken it off again or not: other instrumentations keep the function
they found, and call that one (Logfire, OpenInference). And it reaches the hook once, below all
of theirs, where their span is the current one.

The law:

1. Hooks are on exactly while somebody is tracked, or a response that they follow is open.
2. A hook asks ``tracker_of`` who tracks its client, and passes the call through if nobody does.
3. ``update_hooks`` may be entered by a signal handler in the middle of itself: it goes on until
   the hooks are as the law has it.

A further function of the SDK to be hooked is a row of ``HOOKS``.
"""

from __future__ import annotations

import inspect
import logging
import threading
import warnings
from types import FunctionType
from typing import Any
from weakref import WeakSet

from energy_tracking.errors import EnergyTrackingWarning
from energy_tracking.lifecycle import call_after_fork, open_calls
from energy_tracking.mocks import is_mock
from energy_tracking.notices import is_first, log
from energy_tracking.openai_client import sdk
from energy_tracking.openai_client.decoded import process_data
from energy_tracking.openai_client.hooked_function import HookedFunction, MakeHook, Original
from energy_tracking.openai_client.layers import calls_method, held_by, layers_of
from energy_tracking.openai_client.request import RequestInFlight, process_response
from energy_tracking.openai_client.targets import is_inference
from energy_tracking.openai_client.tracked import hand_on, is_anybody_tracked, mark_of, tracker_of

changing = threading.RLock()
"""Held while it is changed which clients are tracked, and hooks are put on or taken off."""


def _send(original: Original) -> Original:
    """The hook of ``request`` of a sync client."""

    def send(
        client: Any, cast_to: Any, options: Any, stream: Any = False, stream_cls: Any = None
    ) -> Any:
        tracker = tracker_of(client)
        if tracker is None:
            _see_untracked(client, options)
            return original(
                client, cast_to=cast_to, options=options, stream=stream, stream_cls=stream_cls
            )
        sent = RequestInFlight(tracker, client, options, stream, stream_cls)
        try:
            sent.start()
            result = original(
                client,
                cast_to=cast_to,
                options=sent.options,
                stream=stream,
                stream_cls=sent.stream_cls,
            )
            sent.finish(result)
            return result
        except BaseException as error:
            sent.end(error)
            raise

    return send


def _send_async(original: Original) -> Original:
    """The same of an async client."""

    async def send_async(
        client: Any, cast_to: Any, options: Any, stream: Any = False, stream_cls: Any = None
    ) -> Any:
        tracker = tracker_of(client)
        if tracker is None:
            _see_untracked(client, options)
            return await original(
                client, cast_to=cast_to, options=options, stream=stream, stream_cls=stream_cls
            )
        sent = RequestInFlight(tracker, client, options, stream, stream_cls)
        try:
            sent.start()
            result = await original(
                client,
                cast_to=cast_to,
                options=sent.options,
                stream=stream,
                stream_cls=sent.stream_cls,
            )
            sent.finish(result)
            return result
        except BaseException as error:
            sent.end(error)
            raise

    return send_async


def _see_untracked(client: Any, options: Any) -> None:
    """A client that nobody tracks sends a request while the hooks are on.

    Args:
        client: The client.
        options: The SDK's options of the request.
    """
    if not (is_anybody_tracked() or open_calls):
        # They were left on for a response that has ended since.
        update_hooks()
    elif mark_of(client) is None and is_inference(client, options):
        from energy_tracking.calls.function_totals import note_untracked_call  # rare

        note_untracked_call()


def _look_at_class(original: Original) -> Original:
    """The hook of ``__init__``: looks at a class of clients that is new."""

    def make(client: Any, *args: Any, **kwargs: Any) -> None:
        original(client, *args, **kwargs)
        kind = type(client)
        if kind not in _seen_classes and tracker_of(client) is not None:
            _seen_classes.add(kind)
            try:
                report_bypassed(kind)
            except EnergyTrackingWarning as said:
                # Where warnings are errors: the client is to be made nevertheless.
                # Its text alone: a log that is kept would keep what the traceback holds.
                log("%s", str(said))

    return make


def _mark_copies(original: Original) -> Original:
    """The hook of what makes a client from a client: both have the same tracker."""

    def make_copy(client: Any, *args: Any, **kwargs: Any) -> Any:
        copied = original(client, *args, **kwargs)
        hand_on(client, copied)
        return copied

    return make_copy


# Method -> what makes its hook in a sync and in an async client, and the argument that it reads.
HOOKS: dict[str, tuple[MakeHook, MakeHook, str]] = {
    sdk.REQUEST: (_send, _send_async, "options"),
    sdk.PROCESS_RESPONSE.name: (process_response, process_response, "response"),
    sdk.PROCESS_DATA.name: (process_data, process_data, "response"),
    # Not of calls.
    sdk.MAKE: (_look_at_class, _look_at_class, "base_url"),
}
UNHOOKED = {row.name: row for row in (sdk.PROCESS_RESPONSE, sdk.PROCESS_DATA)}
"""Private names of methods, for what is said where they are missing."""

_seen_classes: WeakSet[type] = WeakSet()
"""Classes of the clients that were made while all are tracked."""

_hooked: dict[FunctionType, HookedFunction] = {}


def hook_client_class(client_class: type) -> None:
    """Prepare the hooks on the functions that clients of a class go through."""
    for name, (make_hook, make_async_hook, argument) in HOOKS.items():
        function = sdk.sdk_function(client_class, name, argument, _hooked)
        if function is None or function.__closure__:
            _report_missing(client_class, name)
        else:
            is_async = inspect.iscoroutinefunction(function)
            _prepare(function, make_async_hook if is_async else make_hook)
    for kind in client_class.__mro__:
        for name in sdk.COPIES:
            function = vars(kind).get(name)
            # A closure calls that of the base, as Azure's does with ``super``.
            if isinstance(function, FunctionType) and not function.__closure__:
                _prepare(function, _mark_copies)


def _prepare(function: FunctionType, make_hook: MakeHook) -> None:
    if function not in _hooked:
        _hooked[function] = HookedFunction(function, make_hook)


def update_hooks() -> None:
    """Put the hooks on, or take them off, whichever the law asks for."""
    with changing:
        while True:
            needed = is_anybody_tracked()
            for hooked in list(_hooked.values()):
                if needed:
                    hooked.put_on()
                elif not open_calls:
                    hooked.take_off()
            if needed == is_anybody_tracked():
                return


def _report_missing(client_class: type, name: str) -> None:
    owner = sdk.owner_of(client_class, name)
    if name in UNHOOKED:
        UNHOOKED[name].report_missing()
    elif name == sdk.REQUEST and is_first(
        f"no {name} of {(owner or client_class).__qualname__}", "classes"
    ):
        warnings.warn(
            f"calls of {client_class.__qualname__} are not tracked: openai's own function "
            f"{name}(options=...) was not found; call instrument_openai() before others replace "
            "it, or, where this version of openai has none, install another one",
            EnergyTrackingWarning,
            stacklevel=4,
        )


def report_bypassed(client: Any) -> None:
    """Say so where a client, or all clients of a class, send requests past the hooks.

    Args:
        client: A client, or a class of clients.
    """
    kind = client if isinstance(client, type) else type(client)
    for name in sdk.WAY_TO_REQUEST:
        function = sdk.sdk_function(kind, name, None, _hooked)
        # Where there is none, it was said.
        if function is not None and not _leads_to(function, client, name):
            _report_replaced(client, kind, name)


def _leads_to(function: FunctionType, client: Any, name: str) -> bool:
    """Whether a method of a client leads to the SDK's, as far as can be seen.

    Args:
        function: The SDK's.
        client: A client, or a class of clients.
        name: Name of the method.
    """
    if any(held is function for held in held_by(inspect.getattr_static(client, name))):
        return True
    return any(
        layer is function or any(calls_method(layer, each) for each in sdk.WAY_TO_REQUEST)
        for layer in layers_of(getattr(client, name, None))
        if isinstance(layer, FunctionType)
    )


def _report_replaced(client: Any, kind: type, name: str) -> None:
    replaced_in = next((each for each in kind.__mro__ if name in vars(each)), kind)
    if is_first(
        f"{replaced_in.__module__}.{replaced_in.__qualname__} bypasses the hooks", "classes"
    ):
        if is_mock(getattr(client, name, None)):
            said = "%s.%s is a mock, whose calls are not tracked"
            log(said, kind.__qualname__, name, level=logging.DEBUG)
            return
        warnings.warn(
            f"calls of {kind.__qualname__} are not tracked: its method {name} does not call that "
            f"of openai's client; call super().{name}(...) in it",
            EnergyTrackingWarning,
            stacklevel=4,
        )


def _renew_lock() -> None:
    """In the child of a fork, where another thread may hold it for ever."""
    global changing
    changing = threading.RLock()


call_after_fork(_renew_lock)
