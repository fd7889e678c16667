"""Frozen dataclasses that are quick to define and to fill.

``dataclasses`` writes source for the methods of each frozen class and compiles it, and looks
closely at the annotation of each field, which is most of what importing a package of many records
costs; and its ``__init__`` sets each field by a call of its own, which is most of what a record
costs. Here the methods are the same functions for all classes, all fields are set at once, and
``dataclasses`` is asked about a class when something first wants its ``fields``.

The result is a dataclass: ``fields``, ``replace``, ``asdict`` and type checkers take it as one.
It is compared, hashed, shown, copied and pickled by its fields, and refuses to be changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import (
    MISSING,
    Field,
    FrozenInstanceError,
    field,
    fields,
    make_dataclass,
    replace,
)
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
        declared = _declare_fields(kind, kw_only)
        read = attrgetter(*(name for name, each in declared.items() if each.compare))
        methods: dict[str, Any] = {
            "__init__": _make_init(kind, declared),
            "__repr__": _show_fields,
            "__eq__": _make_eq(read),
            "__hash__": lambda self: hash(read(self)),
            "__replace__": replace,
            "__setattr__": _refuse_change,
            "__delattr__": _refuse_change,
            "__signature__": _Signature(),
            "__match_args__": tuple(name for name, each in declared.items() if not each.kw_only),
            "_declared_fields": declared,
            **{name: _OfDataclass(kind, name) for name in _OF_DATACLASS},
        }
        for name, method in methods.items():
            if name not in vars(kind):
                setattr(kind, name, method)
        return kind

    return decorate


def declared_fields(kind: type[Any]) -> dict[str, Field[Any]]:
    """The fields of a frozen class by name, with their defaults and their metadata.

    For modules that need them when they are imported: they cost less than ``fields``.
    """
    return kind._declared_fields  # type: ignore[no-any-return]


def _declare_fields(kind: type[Any], kw_only: bool) -> dict[str, Field[Any]]:
    """Take the fields of a class from its annotations, after those that it inherits.

    Args:
        kind: The class.
        kw_only: Whether its own are given by name alone.
    """
    declared = dict(getattr(kind, "_declared_fields", {}))
    for name, annotation in kind.__annotations__.items():
        given = vars(kind).get(name, MISSING)
        each = given if isinstance(given, Field) else field(default=given)
        each.type, each.kw_only = annotation, kw_only
        declared[name] = each
        # Python looks an attribute up much faster where the class has none of its name.
        if given is not MISSING:
            delattr(kind, name)
    return declared


_OF_DATACLASS = ("__dataclass_fields__", "__dataclass_params__")
"""What ``dataclasses`` itself reads of a class."""


class _OfDataclass:
    """One of these attributes of a class, made when ``dataclasses`` asks for it."""

    def __init__(self, kind: type[Any], name: str) -> None:
        self.kind = kind
        self.name = name

    def __get__(self, instance: object, kind: type[Any]) -> Any:
        declared = declared_fields(self.kind)
        made = make_dataclass(
            self.kind.__name__,
            [(name, each.type, each) for name, each in declared.items()],
            namespace={"__doc__": self.kind.__doc__},
            init=False,
            repr=False,
            eq=False,
        )
        for name in _OF_DATACLASS:
            setattr(self.kind, name, getattr(made, name))
        return getattr(made, self.name)


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


def _make_init(kind: type[Any], declared: dict[str, Field[Any]]) -> Callable[..., None]:
    """Make the ``__init__`` of a class.

    Args:
        kind: The class.
        declared: Its fields.
    """
    given = {name: each for name, each in declared.items() if each.init}
    positional = tuple(name for name, each in given.items() if not each.kw_only)
    # In one order, by which Python finds them faster.
    defaults = {name: each.default for name, each in given.items()}
    factories = [
        (name, each.default_factory)
        for name, each in given.items()
        if each.default_factory is not MISSING
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
    declared = declared_fields(type(self))
    shown = [f"{name}={getattr(self, name)!r}" for name, each in declared.items() if each.repr]
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
