"""Wrap a function so that it stays what it was, and follow what it returns until it is done.

A wrapper starts a run when the function is called, makes the run current while the function's
own code runs, and ends it once; what a run is, ``decorator`` says. Two kinds of wrappers:

- Around a **function**, a closure of the same kind (plain, coroutine function, generator, async
  generator function), in the function's own globals and with its evaluated signature. It uses no
  global name, so that libraries which read ``__globals__`` find the function's own, and it is
  pickled by name as the function was; by value (cloudpickle), it takes two kilobytes.
- Around any **other callable** (a bound method, ``functools.partial``, ``lru_cache``, a Celery
  task, an object with ``__call__``), a transparent proxy that has all its attributes.

What a function returns may call later. Then the run lasts on, in this order of attempts:

1. a coroutine or generator is replaced by one of the same type that runs inside the run;
2. a response or context manager that holds a generator (``HOLDERS``) keeps its identity, and the
   generator inside is followed as in 1;
3. a task or future ends the run when it is done;
4. of a tuple or list, each item is followed as in 1 to 3, and the run ends with the last;
5. any other iterator, iterable that is no container, awaitable, running thread or context manager
   of the program's own is returned as it is, and a log line says that its calls are not added up;
   likewise a container, closure or object of the program's own that holds something of 1 to 5.

The background tasks that a function adds to a response run inside the run, too, which ends with
the last of them.

A further kind of function is a row in ``KINDS``; a further holder is a row in ``HOLDERS``.
"""

from __future__ import annotations

import copy
import functools
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from types import FunctionType
from typing import Any, NamedTuple

import wrapt

from energy_tracking.functions.async_steps import AsyncSteps, start_unwatched
from energy_tracking.functions.later_calls import (
    MOST_LOOKED_AT,
    find_later_call,
    find_tasks,
    may_call_later,
    packages_of,
)
from energy_tracking.functions.runs import Part, Run, Start, end_failed
from energy_tracking.functions.signatures import set_evaluated_signature
from energy_tracking.mocks import is_mock, note_passed_through


def wrap_function(function: Callable[..., Any], start: Start) -> Callable[..., Any]:
    """Wrap a callable of any kind.

    Args:
        function: The callable.
        start: Starts a run of it.
    """
    if not isinstance(function, FunctionType):
        return _Proxy(function, start)
    closure = _wrap_by_kind(function, start)
    wrapper = FunctionType(closure.__code__, function.__globals__, closure=closure.__closure__)
    functools.update_wrapper(wrapper, function)
    set_evaluated_signature(wrapper, function)
    return wrapper


# What calls each kind of function, inside a run.


class _Decorated(NamedTuple):
    """A function, and what starts a run of it.

    Attributes:
        function: The function.
        start: Starts a run.
    """

    function: Callable[..., Any]
    start: Start

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a plain function.

        Args:
            args: Its arguments.
            kwargs: The same, by name.
        """
        run = self.start()
        tasks = find_tasks(args, kwargs)
        try:
            with run.current():
                result = self.function(*args, **kwargs)
        except BaseException as error:
            run.end(error)
            raise
        return _end_with(result, _follow_tasks(find_tasks(args, kwargs, result), tasks, run))

    async def await_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Await a coroutine function.

        Args:
            args: Its arguments.
            kwargs: The same, by name.
        """
        run = self.start()
        tasks = find_tasks(args, kwargs)
        try:
            with run.current():
                result = await self.function(*args, **kwargs)
        except BaseException as error:
            end_failed(run, error)
            raise
        return _end_with(result, _follow_tasks(find_tasks(args, kwargs, result), tasks, run))

    def iterate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Any, Any, Any]:
        """Iterate over what a generator function yields.

        Args:
            args: Its arguments.
            kwargs: The same, by name.
        """
        run = self.start()
        try:
            with run.current():
                generator = self.function(*args, **kwargs)
            resume: Callable[[Any], Any] = generator.send
            sent: Any = None
            while True:
                # Between the steps the caller must not find itself in our session.
                with run.current():
                    try:
                        item = resume(sent)
                    except StopIteration as stop:
                        result = stop.value
                        break
                try:
                    sent = yield item
                    resume = generator.send
                except GeneratorExit:
                    with run.current():
                        generator.close()
                    raise
                except BaseException as error:
                    resume, sent = generator.throw, error
        except BaseException as error:
            sent = None  # The frame would hold the error, and the error the frame.
            end_failed(run, error)
            raise
        run.count_response(result)
        run.end()
        return result

    def begin(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncSteps:
        """Begin to iterate over what an async generator function yields.

        Args:
            args: Its arguments.
            kwargs: The same, by name.
        """
        run = self.start()
        try:
            with run.current():
                generator = self.function(*args, **kwargs)
                return AsyncSteps(run, generator, start_unwatched(generator))
        except BaseException as error:
            run.end(error)
            raise


# Closures around functions. They use no global name, see the top of this module.


def _wrap_plain(function: Callable[..., Any], start: Start) -> Any:
    call = _Decorated(function, start).call

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return call(args, kwargs)

    return wrapper


def _wrap_coroutine(function: Callable[..., Any], start: Start) -> Any:
    call = _Decorated(function, start).await_call

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        return await call(args, kwargs)

    return wrapper


def _wrap_generator(function: Callable[..., Any], start: Start) -> Any:
    call = _Decorated(function, start).iterate

    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from call(args, kwargs))

    return wrapper


def _wrap_async_generator(function: Callable[..., AsyncGenerator[Any, Any]], start: Start) -> Any:
    begin = _Decorated(function, start).begin

    async def wrapper(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        steps = begin(args, kwargs)
        while await steps.advance():
            try:
                sent = yield steps.item
            except BaseException as error:
                await steps.throw(error)
            else:
                steps.send(sent)

    return wrapper


class _Kind(NamedTuple):
    """A kind of function, by its tests for a function and for what that returns."""

    is_function: Callable[[Any], bool]
    is_result: Callable[[Any], bool]
    wrap: Callable[[Callable[..., Any], Start], Any]


KINDS = (
    _Kind(inspect.iscoroutinefunction, inspect.iscoroutine, _wrap_coroutine),
    _Kind(inspect.isgeneratorfunction, inspect.isgenerator, _wrap_generator),
    _Kind(inspect.isasyncgenfunction, inspect.isasyncgen, _wrap_async_generator),
)


def _wrap_by_kind(function: Callable[..., Any], start: Start) -> Any:
    # Of an object that is called, its method says whether that is a coroutine function.
    called = (function, getattr(function, "__call__", None))  # noqa: B004
    kinds = (kind.wrap for kind in KINDS if any(map(kind.is_function, called)))
    return next(kinds, _wrap_plain)(function, start)


class _Proxy(wrapt.CallableObjectProxy):  # type: ignore[type-arg]
    """A callable with all the attributes of another one, calls apart."""

    def __init__(self, wrapped: Callable[..., Any], start: Start) -> None:
        super().__init__(wrapped)
        self._self_start = start
        self._self_call = _wrap_by_kind(wrapped, start)

    @property
    def __call__(self) -> Any:
        # An attribute, since frameworks ask it whether it is a coroutine function.
        return self._self_call

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Bind where the wrapped object does, as ``lru_cache`` of a method."""
        bind = getattr(type(self.__wrapped__), "__get__", None)
        if bind is None:
            return self
        return type(self)(bind(self.__wrapped__, instance, owner), self._self_start)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By name, as functions, where this is what the name stands for; else by its parts."""
        name = getattr(self, "__qualname__", None)
        found: Any = sys.modules.get(getattr(self, "__module__", None) or "")
        for part in name.split(".") if isinstance(name, str) else ("",):
            found = getattr(found, part, None)
        return name if found is self else (type(self), (self.__wrapped__, self._self_start))

    def __copy__(self) -> Any:
        return type(self)(copy.copy(self.__wrapped__), self._self_start)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return type(self)(copy.deepcopy(self.__wrapped__, memo), self._self_start)


# What a function returns.

HOLDERS = (
    ("starlette", "body_iterator"),
    ("django", "_iterator"),
    ("werkzeug", "response"),
    ("contextlib", "gen"),
    ("contextlib", "thing"),
)
"""Package of a class, and the attribute in which its objects hold a generator that runs later."""

_PLAIN = {str, bytes, int, float, bool, type(None), dict}
"""Types of items that call nothing, of which long lists consist."""


def _end_with(result: Any, run: Run) -> Any:
    """End a run with what the function returned, now or when that is done.

    Returns:
        The result, or the coroutine or generator that stands for it.
    """
    returned, is_done = result, True
    with run.boundary("decorator.returned"):
        if is_mock(result):
            note_passed_through("track_energy", result)
        elif type(result) in (tuple, list):
            returned, is_done = _follow_each(result, run), False
        elif (followed := _follow_one(result, run)) is not None:
            returned, is_done = followed, False
        else:
            run.count_response(result)
            _warn_of_later_calls(result, run)
    if is_done:
        run.end()
    return returned


def _warn_of_later_calls(result: Any, run: Run) -> None:
    """Say once that the run does not wait for what this may call later, or what it holds."""
    if may_call_later(result):
        run.warn_of_later_calls(result)
    elif (held := find_later_call(result)) is not None:
        run.warn_of_later_calls(result, held)


def _follow_one(result: Any, run: Run) -> Any:
    """Let a run last until this is done, if it is of a kind that can be followed.

    Returns:
        What stands for it, or None.
    """
    for kind in KINDS:
        if kind.is_result(result):
            return _follow(result, kind, run)
    is_followed = _follow_inside(result, run) or _follow_future(result, run)
    return result if is_followed else None


def _follow_each(result: Any, run: Run) -> Any:
    """End a run when everything is done that a tuple or list holds, as ``return gen(), 200`` does.

    Returns:
        The same list, or the tuple; another one where something else stands for an item.
    """
    pending: set[Part] = set()
    function = Part(run, pending)
    items = list(result)
    for place, item in enumerate(items):
        if type(item) in _PLAIN or is_mock(item):
            if type(item) is dict and place < MOST_LOOKED_AT:
                _warn_of_later_calls(item, run)
            continue
        part = Part(run, pending)
        followed = _follow_one(item, part)
        if followed is not None:
            items[place] = followed
            continue
        pending.discard(part)
        _warn_of_later_calls(item, run)
    function.end()
    if all(ours is theirs for ours, theirs in zip(items, result, strict=True)):
        return result
    if type(result) is tuple:
        return tuple(items)
    result[:] = items
    return result


def _follow(result: Any, kind: _Kind, run: Run) -> Any:
    """A coroutine or generator like this one, inside the run."""
    followed = kind.wrap(lambda: result, lambda: run)()
    followed.__name__, followed.__qualname__ = result.__name__, result.__qualname__
    # One that is never started never gets to its end.
    weakref.finalize(followed, run.end_later).atexit = False
    return followed


def _follow_tasks(tasks: list[Any], before: list[Any], run: Run) -> Run:
    """Have the background tasks that a function has added run inside its run.

    Args:
        tasks: Those that are there now.
        before: Those that were there before it was called.
        run: The run.

    Returns:
        The run as the function itself sees it: it ends with the last of the tasks.
    """
    added = list({id(task): task for task in tasks if task not in before}.values())
    if not added:
        return run
    pending: set[Part] = set()
    function = Part(run, pending)
    with run.boundary("decorator.returned"):
        for task in added:
            part = Part(run, pending)
            task.func = _wrap_by_kind(task.func, part.itself)
            # One that is never run never gets to its end.
            weakref.finalize(task, part.end_later).atexit = False
    return function


def _follow_inside(result: Any, run: Run) -> bool:
    """Follow the generator that a streaming response or a context manager holds, if it does."""
    packages = packages_of(type(result))
    for package, attribute in HOLDERS:
        if package in packages:
            held = getattr(result, attribute, None)
            for kind in KINDS:
                if kind.is_result(held):
                    setattr(result, attribute, _follow(held, kind, run))
                    _follow_again(result, kind, run)
                    return True
    return False


def _follow_again(result: Any, kind: _Kind, run: Run) -> None:
    """Give each call of what this context manager decorates, ``@manage()``, a run of its own.

    For each, contextlib calls the function anew that the manager was made by.
    """

    def start() -> Run:
        # Of the manager that was called, and never entered.
        run.end()
        return run.start_another()

    if hasattr(result, "_recreate_cm") and kind.is_function(getattr(result, "func", None)):
        result.func = kind.wrap(result.func, start)


def _follow_future(result: Any, run: Run) -> bool:
    """End the run when a task or future is done, if this is one."""
    if not callable(getattr(type(result), "add_done_callback", None)):
        return False
    result.add_done_callback(lambda _: run.end())
    # One whose event loop is closed is never done.
    weakref.finalize(result, run.end_later).atexit = False
    return True
