"""What a method of the SDK is made of, whatever others have put around it or in its place.

A replacement may keep the SDK's function anywhere: in a global, a class, a mock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial, partialmethod
from itertools import islice
from types import CodeType, FunctionType, ModuleType
from typing import Any

SDK = "openai"


def is_of_sdk(module: object) -> bool:
    """Whether a module of this name is one of the SDK's."""
    return str(module).partition(".")[0] == SDK


def layers_of(method: object) -> Iterator[Any]:
    """A method and every function that it wraps or holds, outermost first."""
    return _follow_from(method, _layers_below)


def held_by(method: object) -> Iterator[Any]:
    """A method, and what it may call: the nearest of what is held or named in its code."""
    return _follow_from(method, _values_of)


MAX_FOLLOWED = 1000
"""How many objects are looked at from a method on [1]."""


def _follow_from(start: object, step: Callable[[Any], Iterable[Any]]) -> Iterator[Any]:
    """An object and those that are reached from it, nearest first.

    Args:
        start: The object.
        step: The objects that are next to one.
    """
    found = {id(start): start}  # which keeps each alive, so that its id stays its own
    waiting = deque([start])
    yield start
    while waiting and len(found) < MAX_FOLLOWED:
        for each in islice(step(waiting.popleft()), MAX_FOLLOWED):
            if id(each) not in found:
                found[id(each)] = each
                waiting.append(each)
                yield each


def _layers_below(layer: Any) -> Iterator[Any]:
    for name in ("__wrapped__", "__func__"):
        if hasattr(layer, name):
            yield getattr(layer, name)
    if isinstance(layer, FunctionType):
        yield from filter(callable, _cells_of(layer))


def _values_of(holder: Any) -> Iterator[Any]:
    # Any object of the program may be among them, and may refuse to be looked at.
    with suppress(Exception):
        if isinstance(holder, FunctionType):
            yield from _cells_of(holder)
            yield from holder.__defaults__ or ()
            yield from (holder.__kwdefaults__ or {}).values()
            yield from vars(holder).values()
            for code in _codes_of(holder):
                names = holder.__globals__.keys() & set(code.co_names)
                yield from map(holder.__globals__.__getitem__, names)
        elif isinstance(holder, partial | partialmethod):
            yield from (holder.func, *holder.args, *holder.keywords.values())
        elif isinstance(holder, dict | list | tuple):
            yield from holder.values() if isinstance(holder, dict) else holder
        elif not isinstance(holder, ModuleType) and not is_of_sdk(holder.__module__):
            yield from vars(holder).values()
        yield from _layers_below(holder)


def _cells_of(function: FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # not filled yet
            yield cell.cell_contents


def _codes_of(function: FunctionType) -> Iterator[CodeType]:
    """The code of a function, and of those inside of it."""
    return _follow_from(
        function.__code__,
        lambda code: (inner for inner in code.co_consts if isinstance(inner, CodeType)),
    )


def calls_method(function: FunctionType, name: str) -> bool:
    """Whether the code of a function names a method, as ``super().request(...)`` does.

    Args:
        function: The function, those inside of it included.
        name: Name of the method.
    """
    return any(name in code.co_names or name in code.co_consts for code in _codes_of(function))
