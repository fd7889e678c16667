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

A hook goes *inside* of such a function: its code is exchanged for a line that calls the hook,
which calls a function of the original code. The function itself stays what and where it is. So
a call reaches the hook whoever has put what around the function, before us or after, on which
class or client, and has taken it off again or not: other instrumentations keep the function
they found, and call that one (Logfire, OpenInference). And it reaches the hook once, below all
of theirs, where their span is the current one.

What ``inspect`` shows of a hooked function is the SDK's own: signature, file and source. In a
traceback the hook is a line in the SDK's file, at the ``def`` of the function.

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
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakSet

from energy_tracking.errors import EnergyTrackingWarning
from energy_tracking.lifecycle import call_after_fork, open_calls
from energy_tracking.mocks import is_mock
from energy_tracking.notices import is_first, log
from energy_tracking.openai_client import decoded, request, sdk
from energy_tracking.openai_client.decoded import DATA_ARGUMENTS, Hook, Original
from energy_tracking.openai_client.layers import calls_method, held_by, layers_of
from energy_tracking.openai_client.request import RequestInFlight
from energy_tracking.openai_client.targets import is_inference
from energy_tracking.openai_client.tracked import hand_on, is_anybody_tracked, mark_of, tracker_of

MakeHook = Callable[[Original], Callable[..., Any]]
"""Makes the hook of a function of the SDK, as a decorator would."""

changing = threading.RLock()
"""Held while it is changed which clients are tracked, and hooks are put on or taken off."""


def _make_request_hook(send: Callable[[Original, RequestInFlight], Any]) -> MakeHook:
    """What makes the hook of ``request`` of one kind of clients.

    Args:
        send: Sends a request of a client that is tracked.
    """

    def make_hook(original: Original) -> Hook:
        def send_if_tracked(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            tracker = tracker_of(client)
            if tracker is not None:
                return send(original, RequestInFlight(tracker, client, (args, kwargs)))
            if not (is_anybody_tracked() or open_calls):
                # They were left on for a response that has ended since.
                update_hooks()
            elif mark_of(client) is None and is_inference(client, args, kwargs):
                from energy_tracking.calls.function_totals import note_untracked_call  # rare

                note_untracked_call()
            return original(client, *args, **kwargs)

        return send_if_tracked

    return make_hook


def _look_at_class(original: Original) -> Hook:
    """The hook of ``__init__``: looks at a class of clients that is new."""

    def make(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
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


def _mark_copies(original: Original) -> Hook:
    """The hook of what makes a client from a client: both have the same tracker."""

    def make_copy(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        copied = original(client, *args, **kwargs)
        hand_on(client, copied)
        return copied

    return make_copy


# Method -> what makes its hook in a sync and in an async client, and the argument that it reads.
HOOKS: dict[str, tuple[MakeHook, MakeHook, str]] = {
    sdk.REQUEST: (
        _make_request_hook(request.send),
        _make_request_hook(request.send_async),
        "options",
    ),
    sdk.PROCESS_RESPONSE.name: (
        request.process_response,
        request.process_response_async,
        "response",
    ),
    sdk.PROCESS_DATA.name: (decoded.process_data, decoded.process_data, "response"),
    # Not of calls.
    sdk.MAKE: (_look_at_class, _look_at_class, "base_url"),
}
UNHOOKED = {row.name: row for row in (sdk.PROCESS_RESPONSE, sdk.PROCESS_DATA)}
"""Private names of methods, for what is said where they are missing."""

_seen_classes: WeakSet[type] = WeakSet()
"""Classes of the clients that were made while all are tracked."""

HOOK_ARGUMENT = "energy_tracking_hook"


def _call_hook(client: Any, /, *args: Any, energy_tracking_hook: Any, **kwargs: Any) -> Any:
    return energy_tracking_hook(client, args, kwargs)


async def _await_hook(client: Any, /, *args: Any, energy_tracking_hook: Any, **kwargs: Any) -> Any:
    return await energy_tracking_hook(client, args, kwargs)


def _call_data_hook(
    client: Any, /, *, data: Any, cast_to: Any, response: Any, energy_tracking_hook: Any
) -> Any:
    # For every event of every stream: with the names of its arguments, none is packed and unpacked.
    return energy_tracking_hook(client, data, cast_to, response)


class HookedFunction:
    """A function that can have a hook inside of it."""

    def __init__(self, function: FunctionType, make_hook: MakeHook) -> None:
        """Prepare the hook; see ``put_on``.

        Args:
            function: The function. It must be no closure.
            make_hook: Makes what is called in its place.
        """
        self._function = function
        self._code = function.__code__
        original = FunctionType(
            self._code, function.__globals__, function.__name__, function.__defaults__
        )
        original.__kwdefaults__ = function.__kwdefaults__
        original.__qualname__ = function.__qualname__
        self._defaults = function.__kwdefaults__
        make_hook, call_hook = _hook_for(function, make_hook)
        self._hook = make_hook(original)
        self._signature = inspect.signature(function)
        self._hooked_code = _in_place_of(self._code, call_hook.__code__)

    def put_on(self) -> None:
        """Have the hook called from now on."""
        function: Any = self._function
        function.__signature__ = self._signature
        function.__kwdefaults__ = {**(self._defaults or {}), HOOK_ARGUMENT: self._hook}
        function.__code__ = self._hooked_code

    def take_off(self) -> None:
        """Leave the function as it was found."""
        function: Any = self._function
        function.__code__ = self._code
        # No signal handler that puts the hook on again comes between these: there is no call.
        if function.__code__ is self._code:
            function.__kwdefaults__ = self._defaults
            vars(function).pop("__signature__", None)


def _hook_for(function: FunctionType, make_hook: MakeHook) -> tuple[MakeHook, Callable[..., Any]]:
    """What makes the hook of a function, and what calls it in the function's place.

    Args:
        function: The function.
        make_hook: Makes the hook, as its row in the table has it.
    """
    if make_hook is decoded.process_data:
        _, *arguments = inspect.signature(function).parameters.values()
        if {each.name for each in arguments if each.kind is each.KEYWORD_ONLY} == DATA_ARGUMENTS:
            return make_hook, _call_data_hook
        make_hook = decoded.process_data_and_more
    return make_hook, _await_hook if inspect.iscoroutinefunction(function) else _call_hook


def _in_place_of(code: CodeType, hook: CodeType) -> CodeType:
    """The code of a hook as if it stood at the first line of the code that it replaces.

    Args:
        code: The code that is replaced.
        hook: The code of the hook.
    """
    units = len(hook.co_code) // 2
    return hook.replace(
        co_filename=code.co_filename,
        co_firstlineno=code.co_firstlineno,
        co_name=code.co_name,
        co_qualname=code.co_qualname,
        # Entries for up to eight units of code each, which are on the first line, without columns.
        # Source: https://github.com/python/cpython/blob/3.11/Objects/locations.md
        co_linetable=b"".join(
            bytes([0x80 | 13 << 3 | min(8, units - start) - 1, 0]) for start in range(0, units, 8)
        ),
    )


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
