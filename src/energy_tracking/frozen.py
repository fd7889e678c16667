"""Frozen dataclasses that are quick to define and to fill.

``dataclasses`` writes source for the methods of each frozen class and compiles it, which is most
of what importing a package of many records costs; and its ``__init__`` sets each field by a call
of its own, which is most of what a record costs. Here the methods are the same functions for all
classes, and all fields are set at once.

The result is a dataclass: ``fields``, ``replace``, ``asdict`` and type checkers take it as one.
It is compared, hashed, shown, copied and pickled by its fields, and refuses to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")

_new: Callable[..., Any] = object.__new__
_set_attribute = object.__setattr__


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a frozen dataclass of the class below, as ``dataclass(frozen=True)`` does.

    Args:
        kw_only: Whether its fields are given by name alone.
    """

    def decorate(kind: type[T]) -> type[T]:
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(kind)
        every = fields(kind)  # type: ignore[arg-type]
        read = attrgetter(*(each.name for each in every if each.compare))
        for each in every:
            # Python looks an attribute up much faster where the class has none of its name.
            if each.name in vars(kind):
                delattr(kind, each.name)
        methods: dict[str, Any] = {
            "__init__": _make_init(kind),
            "__repr__": _show_fields,
            "__eq__": _make_eq(read),
            "__hash__": lambda self: hash(read(self)),
            "__setattr__": _refuse_change,
            "__delattr__": _refuse_change,
            "__signature__": _Signature(),
        }
        for name, method in methods.items():
            if name not in vars(kind):
                setattr(kind, name, method)
        return kind

    return decorate


def fill_fields(kind: type[T], values: dict[str, Any]) -> T:
    """An instance with these values, unchecked, as copying and unpickling make one.

    For the records of every call, of which one is made at a tenth of the cost: calls with more
    than 15 arguments are slow.

    Args:
        kind: A frozen class; what its ``__post_init__`` would refuse is taken.
        values: The value of each of its fields, in their order; the instance's own from now on.
    """
    filled = _new(kind)
    _set_attribute(filled, "__dict__", values)
    return filled  # type: ignore[no-any-return]


def _make_init(kind: type[Any]) -> Callable[..., None]:
    """The ``__init__`` of a class, by its fields."""
    given = [each for each in fields(kind) if each.init]
    positional: tuple[str, ...] = kind.__match_args__
    # In one order, by which Python finds them faster.
    defaults = {each.name: each.default for each in given}
    factories = [
        (each.name, each.default_factory) for each in given if each.default_factory is not MISSING
    ]
    required = {name for name, default in defaults.items() if default is MISSING}
    required -= {name for name, _ in factories}
    has_check = hasattr(kind, "__post_init__")

    def __init__(self: Any, *args: Any, **values: Any) -> None:
        if args:
            values = _name_positional(kind, positional, args, values)
        filled = defaults | values
        if len(filled) != len(defaults) or not required.issubset(values):
            raise TypeError(_explain_mismatch(kind, set(defaults), required, values))
        for name, make in factories:
            if name not in values:
                filled[name] = make()
        _set_attribute(self, "__dict__", filled)
        if has_check:
            self.__post_init__()

    return __init__


def _name_positional(
    kind: type[Any], positional: tuple[str, ...], args: tuple[Any, ...], values: dict[str, Any]
) -> dict[str, Any]:
    """All arguments by name.

    Raises:
        TypeError: They are too many, or one is given twice.
    """
    if len(args) > len(positional):
        raise TypeError(
            f"{kind.__name__}() takes at most {len(positional)} positional arguments, "
            f"got {len(args)}"
        )
    named = dict(zip(positional, args, strict=False))
    twice = named.keys() & values.keys()
    if twice:
        raise TypeError(f"{kind.__name__}() got multiple values for {', '.join(sorted(twice))}")
    return named | values


def _explain_mismatch(
    kind: type[Any], names: set[str], required: set[str], values: Iterable[str]
) -> str:
    """What is wrong with arguments that are not those of a class."""
    unknown = sorted(set(values) - names)
    if unknown:
        return f"{kind.__name__}() got unexpected arguments: {', '.join(unknown)}"
    return f"{kind.__name__}() lacks arguments: {', '.join(sorted(required.difference(values)))}"


def _make_eq(read: Callable[[Any], Any]) -> Callable[[Any, object], Any]:
    """The ``__eq__`` of a class, by what is compared of an instance."""

    def __eq__(self: Any, other: object) -> Any:
        if type(other) is not type(self):
            return NotImplemented
        return other is self or read(self) == read(other)

    return __eq__


def _show_fields(self: Any) -> str:
    shown = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _refuse_change(self: Any, name: str, *value: object) -> None:
    raise FrozenInstanceError(f"cannot {'assign to' if value else 'delete'} field {name!r}")


class _Signature:
    """The signature of a class, made when ``help`` or an editor asks for it."""

    def __get__(self, instance: object, kind: type[Any]) -> Any:
        from inspect import Parameter, Signature

        parameters = [
            Parameter(
                each.name,
                Parameter.KEYWORD_ONLY if each.kw_only else Parameter.POSITIONAL_OR_KEYWORD,
                default=_find_default(each),
                annotation=each.type,
            )
            for each in fields(kind)
            if each.init
        ]
        return Signature(sorted(parameters, key=lambda each: each.kind), return_annotation=None)


def _find_default(each: Any) -> Any:
    """The default of a field as signatures show it; those that are made anew as the maker."""
    from inspect import Parameter

    for default in (each.default, each.default_factory):
        if default is not MISSING:
            return default
    return Parameter.empty
