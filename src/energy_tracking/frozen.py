"""Frozen dataclasses that are quick to define and to fill.

``dataclasses`` writes source for the methods of each frozen class and compiles it, which is most
of what importing a package of many records costs; and its ``__init__`` sets each field by a call
of its own, which is most of what a record costs. Here the methods are the same functions for all
classes, and all fields are set at once.

The result is a dataclass: ``fields``, ``replace``, ``asdict`` and type checkers take it as one.
It is compared, hashed, shown, copied and pickled by its fields, and refuses to be changed. A field
that is left out is read from the class, where ``dataclasses`` keeps its default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(*, kw_only: bool = False) -> Callable[[type[T]], type[T]]:
    """Make a frozen dataclass of the class below, as ``dataclass(frozen=True)`` does.

    Args:
        kw_only: Whether its fields are given by name alone.
    """

    def decorate(kind: type[T]) -> type[T]:
        dataclass(init=False, repr=False, eq=False, kw_only=kw_only)(kind)
        methods: dict[str, Any] = {
            "__init__": _make_init(kind),
            "__repr__": _show_fields,
            "__eq__": _compare_fields,
            "__hash__": _hash_fields,
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

    For the records of every call, of which one is made at a third of the cost.

    Args:
        kind: A frozen class without ``__post_init__``.
        values: The value of each of its fields, those at their defaults left out or not; the
            instance's own from now on.
    """
    filled = object.__new__(kind)
    object.__setattr__(filled, "__dict__", values)
    return filled


def _make_init(kind: type[Any]) -> Callable[..., None]:
    """The ``__init__`` of a class, by its fields."""
    given = [each for each in fields(kind) if each.init]
    names = frozenset(each.name for each in given)
    positional: tuple[str, ...] = kind.__match_args__
    factories = [
        (each.name, each.default_factory) for each in given if each.default_factory is not MISSING
    ]
    optional = {each.name for each in given if each.default is not MISSING}
    required = names - optional - {name for name, _ in factories}
    has_check = hasattr(kind, "__post_init__")

    def __init__(self: Any, *args: Any, **values: Any) -> None:
        if args:
            values = _name_positional(kind, positional, args, values)
        if not (required.issubset(values) and names.issuperset(values)):
            raise TypeError(_explain_mismatch(kind, names, required, values))
        for name, make in factories:
            if name not in values:
                values[name] = make()
        object.__setattr__(self, "__dict__", values)
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
    kind: type[Any], names: frozenset[str], required: frozenset[str], values: Iterable[str]
) -> str:
    """What is wrong with arguments that are not those of a class."""
    unknown = sorted(names.symmetric_difference(values) - names)
    if unknown:
        return f"{kind.__name__}() got unexpected arguments: {', '.join(unknown)}"
    return f"{kind.__name__}() lacks arguments: {', '.join(sorted(required.difference(values)))}"


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, each.name) for each in fields(self) if each.compare)


def _compare_fields(self: Any, other: object) -> Any:
    if other is self:
        return True
    return _compared(self) == _compared(other) if type(other) is type(self) else NotImplemented


def _hash_fields(self: Any) -> int:
    return hash(_compared(self))


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
