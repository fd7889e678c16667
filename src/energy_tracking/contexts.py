"""What is current in a context, left without an error however and wherever the block ends.

``ContextVar.reset`` and OpenTelemetry's ``detach`` take a token back in the context that it
was made in, and raise or log in every other. A coroutine or generator that is closed by the
event loop, the garbage collector or another thread ends in another one. And an interrupt can
come before there is a token. So nothing here depends on one:

- an ``Activity`` is current until it is ``over``. Where it is left behind in a context that
  nobody can reach, it counts for nothing there;
- a ``PlacedContext`` is exchanged for the earlier one wherever it is found;
- ``restore`` takes a token back, and says whether it could;
- what is ``Carried`` goes wherever OpenTelemetry's context is brought, into threads too.
"""

from __future__ import annotations

from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from opentelemetry import context as otel_context


class Activity:
    """Something that a context is in the middle of, once it is entered.

    Attributes:
        over: Whether it has ended. Set it inside the block's ``finally``: a plain assignment
            is what no signal comes between.
        around: The activity that this one is inside of.
    """

    __slots__ = ("around", "over")

    over: bool
    around: Self | None


A = TypeVar("A", bound=Activity)


class Activities(Generic[A]):
    """The activities of each context, of one kind."""

    def __init__(self, name: str) -> None:
        """Name the context variable that holds them."""
        self._innermost: ContextVar[A | None] = ContextVar(name, default=None)

    def current(self) -> A | None:
        """The innermost activity here that is not over."""
        activity = self._innermost.get()
        while activity is not None and activity.over:
            activity = activity.around
        return activity

    def enter(self, activity: A) -> None:
        """Make it the innermost one here, and in the contexts copied from this one."""
        around = self._innermost.get()
        activity.around = self.current() if around is not None and around.over else around
        activity.over = False
        self._innermost.set(activity)

    def leave(self, activity: A) -> None:
        """End it, once or more often."""
        activity.over = True
        if self._innermost.get() is activity:
            self._innermost.set(activity.around)


_CARRIED = otel_context.create_key("energy_tracking")


class PlacedContext:
    """A ``with`` block in which this is OpenTelemetry's current context.

    Leaving it without having entered it, or twice, changes nothing.
    """

    __slots__ = ("_before", "_context")

    def __init__(
        self, context: otel_context.Context, before: otel_context.Context | None = None
    ) -> None:
        """Remember the context that is current now.

        Args:
            context: A context that is nowhere else.
            before: The current one, for whoever has just asked for it.
        """
        self._context = context
        self._before = otel_context.get_current() if before is None else before

    def __enter__(self) -> None:
        """Put the context there."""
        try:
            otel_context.attach(self._context)
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Put the earlier context back, where this one is there but for what it carries of ours.

        A session that a generator holds open changes that, and stays when the generator waits.
        """
        current = otel_context.get_current()
        if current is self._context or _differ_in_carried_alone(current, self._context):
            otel_context.attach(self._before)


class Carried(PlacedContext):
    """A ``with`` block in which OpenTelemetry's context carries a few of our objects.

    Whatever brings that context into a thread brings them: OpenTelemetry's instrumentation of
    threads, or ``attach`` called by hand.
    """

    __slots__ = ()

    def __init__(self, objects: tuple[Any, ...]) -> None:
        """Take these along, in place of those carried here now."""
        super().__init__(otel_context.set_value(_CARRIED, objects))

    @staticmethod
    def objects() -> tuple[Any, ...]:
        """What is carried here."""
        objects: Any = otel_context.get_current().get(_CARRIED)
        return objects or ()

    def leave_out(self, one: object) -> None:
        """End the block, and carry this object no more in a context that was put over ours."""
        if otel_context.get_current() is self._context:
            otel_context.attach(self._before)
        elif one in (carried := self.objects()):
            _carry(tuple(other for other in carried if other is not one))

    def put_back(self) -> None:
        """End the block, and carry what was carried before also in a context put over ours."""
        self.__exit__(None, None, None)
        before: Any = otel_context.get_value(_CARRIED, self._before)
        if self.objects() != (before or ()):
            _carry(before or ())


def _carry(objects: tuple[Any, ...]) -> None:
    otel_context.attach(otel_context.set_value(_CARRIED, objects))


def _differ_in_carried_alone(one: otel_context.Context, other: otel_context.Context) -> bool:
    names = (one.keys() | other.keys()) - {_CARRIED}
    return all(name in one and name in other and one[name] is other[name] for name in names)


def restore(token: Token[Any]) -> bool:
    """Give a context variable the value it had before the token was made.

    Returns:
        Whether it has: not in another context than the token's, nor a second time.
    """
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):
        return False
    return True
