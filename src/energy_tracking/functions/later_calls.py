"""What a function leaves to others to run: recognised by its kind.

Objects that a function returns may call when somebody enters, reads or awaits them. Tasks of
Starlette's run when a response has been sent: a handler has them from its framework, as an
argument, or puts them on the response.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from functools import partial
from itertools import islice
from types import (
    AsyncGeneratorType,
    CellType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
    SimpleNamespace,
)
from typing import Any

from energy_tracking.mocks import is_installed, is_mock

_LAZY_BUILTINS = ("map", "filter", "zip", "enumerate")

_QUIET_PACKAGES = {"pydantic", "openai"}
"""Whose objects are read without LLM calls: fields of models, pages of lists."""

MOST_LOOKED_AT = 64
"""Things that are looked at inside of one that a function returns, at most [1]."""

_DATA = {str, bytes, int, float, bool, type(None)}
"""Types of which nothing is held."""


def may_call_later(result: Any) -> bool:
    """Whether something that cannot be followed may call when it is entered, read, awaited or runs.

    Containers call nothing. What can be closed is a file, a cursor or the stream of one response.
    What is entered is a lock, a transaction or the like, unless the program itself has made it.
    """
    kind = type(result)
    if isinstance(result, threading.Thread):
        return result.is_alive()
    if kind.__module__ == "builtins":
        return kind.__name__ in _LAZY_BUILTINS
    if not packages_of(kind).isdisjoint(_QUIET_PACKAGES):
        return False
    if hasattr(kind, "close") or hasattr(kind, "aclose"):
        return False
    if any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__", "__aiter__")):
        return True
    if hasattr(kind, "__enter__") or hasattr(kind, "__aenter__"):
        is_of_python = kind.__module__.partition(".")[0] in sys.stdlib_module_names
        return not is_of_python and not is_installed(kind)
    return hasattr(kind, "__iter__") and not hasattr(kind, "__len__")


def find_later_call(result: Any) -> Any:
    """What something that a function returns holds and that may call later; None: nothing seen.

    Looked at is what the program itself puts together: containers, closures, partial functions
    and objects of its own classes, and only up to a bound.
    """
    waiting, looked_at = [result], 0
    while waiting and looked_at < MOST_LOOKED_AT:
        # A copy of no more than is looked at: a vector is long, and others may change a dict.
        some = list(islice(_find_held(waiting.pop(0)), MOST_LOOKED_AT - looked_at))
        looked_at += len(some)
        for held in [each for each in some if type(each) not in _DATA]:
            if _runs_later(held):
                return held
            waiting.append(held)
    return None


def _find_held(holder: Any) -> Any:
    """An iterable over what something holds."""
    kind = type(holder)
    if kind is dict:
        return holder.values()
    if kind is SimpleNamespace:
        return vars(holder).values()
    if kind in (list, tuple, set, frozenset):
        return holder
    if kind is FunctionType:
        return [cell.cell_contents for cell in holder.__closure__ or () if cell != CellType()]
    if kind is MethodType:
        return [holder.__self__]
    if kind is partial:
        return [holder.func, *holder.args, *holder.keywords.values()]
    is_of_python = kind.__module__.partition(".")[0] in sys.stdlib_module_names
    if is_of_python or is_installed(kind) or is_mock(holder) or isinstance(holder, type):
        return []
    return getattr(holder, "__dict__", {}).values()


def _runs_later(held: Any) -> bool:
    """Whether this runs when somebody reads or awaits it, or by itself."""
    kind = type(held)
    if kind in _LATER_STATES:
        # Of one that has ended, nothing is left.
        return getattr(held, _LATER_STATES[kind]) is not None
    if callable(getattr(kind, "add_done_callback", None)):
        return held.done() is False
    if kind.__module__ == "itertools" or is_mock(held):
        return False
    is_lazy = any(hasattr(kind, name) for name in ("__next__", "__anext__", "__await__"))
    return (is_lazy or isinstance(held, threading.Thread)) and may_call_later(held)


_LATER_STATES: dict[type, str] = {
    GeneratorType: "gi_frame",
    CoroutineType: "cr_frame",
    AsyncGeneratorType: "ag_frame",
}


def packages_of(kind: type) -> set[str]:
    """The packages that a class and its bases are of."""
    return {each.__module__.partition(".")[0] for each in kind.__mro__}


def find_tasks(args: Iterable[Any], kwargs: dict[str, Any], response: Any = None) -> list[Any]:
    """The tasks that the arguments of a function hold now, or the response that it returned.

    Args:
        args: Its arguments.
        kwargs: The same, by name.
        response: What it returned.
    """
    module = sys.modules.get("starlette.background")
    if module is None:
        return []
    held = [*args, *kwargs.values()]
    # Of no other object is anything asked: it may be a mock, or load something.
    if "starlette" in packages_of(type(response)):
        held.append(getattr(response, "background", None))
    found: list[Any] = []
    for each in held:
        if issubclass(type(each), module.BackgroundTasks):
            found += each.tasks
        elif issubclass(type(each), module.BackgroundTask):
            found.append(each)
    return found
