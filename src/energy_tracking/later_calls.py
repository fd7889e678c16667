"""What a function leaves to others to run: recognised by its kind.

Objects that a function returns may call when somebody enters, reads or awaits them. Tasks of
Starlette's run when a response has been sent: a handler has them from its framework, as an
argument, or puts them on the response.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any

from energy_tracking.mocks import is_installed

_LAZY_BUILTINS = ("map", "filter", "zip", "enumerate")

_QUIET_PACKAGES = {"pydantic", "openai"}
"""Whose objects are read without LLM calls: fields of models, pages of lists."""


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
