"""A function of the SDK that can have a hook inside of it.

Its code is exchanged for a line that calls the hook, which calls a function of the original code.
What ``inspect`` shows of it is the SDK's own: signature, file and source. In a traceback the hook
is a line in the SDK's file, at the ``def`` of the function.

A hook is a function in another's place, as decorators make them. One that takes any arguments is
for any function. One that names its arguments is called with these alone, without packing and
unpacking them, where the function has no others: to pack them takes five times as long as a call.
What such a line looks like is a function of ``_CALLS``, for each kind of function.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import CodeType, FunctionType
from typing import Any

Original = Callable[..., Any]
"""The SDK's function that a hook takes the place of, or the hook."""

MakeHook = Callable[[Original], Original]
"""Makes the hook of a function of the SDK, as a decorator would."""

HOOK_ARGUMENT = "energy_tracking_hook"


def _call(client: Any, /, *args: Any, energy_tracking_hook: Any, **kwargs: Any) -> Any:
    return energy_tracking_hook(client, *args, **kwargs)


async def _await(client: Any, /, *args: Any, energy_tracking_hook: Any, **kwargs: Any) -> Any:
    return await energy_tracking_hook(client, *args, **kwargs)


# The arguments of ``request``, ``_process_response`` and ``_process_response_data`` in openai 3.


def _call_request(
    client: Any,
    cast_to: Any,
    options: Any,
    *,
    stream: Any,
    stream_cls: Any,
    energy_tracking_hook: Any,
) -> Any:
    return energy_tracking_hook(client, cast_to, options, stream, stream_cls)


async def _await_request(
    client: Any,
    cast_to: Any,
    options: Any,
    *,
    stream: Any,
    stream_cls: Any,
    energy_tracking_hook: Any,
) -> Any:
    return await energy_tracking_hook(client, cast_to, options, stream, stream_cls)


def _call_response(
    client: Any,
    *,
    cast_to: Any,
    options: Any,
    response: Any,
    stream: Any,
    stream_cls: Any,
    retries_taken: Any,
    energy_tracking_hook: Any,
) -> Any:
    return energy_tracking_hook(
        client, cast_to, options, response, stream, stream_cls, retries_taken
    )


async def _await_response(
    client: Any,
    *,
    cast_to: Any,
    options: Any,
    response: Any,
    stream: Any,
    stream_cls: Any,
    retries_taken: Any,
    energy_tracking_hook: Any,
) -> Any:
    return await energy_tracking_hook(
        client, cast_to, options, response, stream, stream_cls, retries_taken
    )


def _call_data(
    client: Any, *, data: Any, cast_to: Any, response: Any, energy_tracking_hook: Any
) -> Any:
    return energy_tracking_hook(client, data, cast_to, response)


def _kind_of(function: Callable[..., Any]) -> tuple[bool, frozenset[tuple[str, object]]]:
    """Whether a function is async, and its arguments with how they are passed."""
    _, *arguments = inspect.signature(function).parameters.values()
    named = ((each.name, each.kind) for each in arguments if each.name != HOOK_ARGUMENT)
    return inspect.iscoroutinefunction(function), frozenset(named)


_CALLS = {
    _kind_of(call): call
    for call in (_call_request, _await_request, _call_response, _await_response, _call_data)
}


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
        self._hook, call_hook = _fit_hook(make_hook, original)
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


def _fit_hook(make_hook: MakeHook, original: FunctionType) -> tuple[Original, Callable[..., Any]]:
    """The hook of a function, and what calls it in the function's place.

    Args:
        make_hook: Makes the hook.
        original: The function.
    """
    hook = make_hook(original)
    call = _CALLS.get(_kind_of(original))
    if call is not None:
        return hook, call
    _, *arguments = inspect.signature(hook).parameters.values()
    if all(each.kind is not each.VAR_KEYWORD for each in arguments):
        hook = _take_more(make_hook, original, arguments)
    return hook, _await if inspect.iscoroutinefunction(original) else _call


def _take_more(
    make_hook: MakeHook, original: FunctionType, arguments: list[inspect.Parameter]
) -> Original:
    """A hook of named arguments for a function of another version, which takes others, too.

    Args:
        make_hook: Makes the hook.
        original: The function.
        arguments: What the hook takes.
    """
    places = original.__code__.co_varnames[1 : original.__code__.co_argcount]
    absent = {each.name: None if each.default is each.empty else each.default for each in arguments}

    def take(client: Any, *args: Any, **kwargs: Any) -> Any:
        given = dict(zip(places, args, strict=False)) | kwargs

        def call_original(client: Any, **known: Any) -> Any:
            changed = {name: value for name, value in known.items() if name in given}
            return original(client, **given | changed)

        known = {name: given.get(name, value) for name, value in absent.items()}
        return make_hook(call_original)(client, **known)

    return take


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
