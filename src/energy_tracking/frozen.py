"""Frozen dataclasses that are quick to define and to fill.

``dataclasses`` writes source for the methods of each frozen class and compiles it, and looks
closely at the annotation of each field, which is most of what importing a package of many records
costs; and its ``__init__`` sets each field by a call of its own, which is most of what a record
costs. Here the methods are the same functions for all classes, all fields are set at once, and
``dataclasses`` is asked about a class when something first wants its ``fields``, of which only
the defaults are kept until then.

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
        defaults, described = _take_defaults(kind)
        inherited = getattr(kind, "__match_args__", ())
        positional = inherited if kw_only else (*inherited, *kind.__annotations__)
        compared = (name for name in defaults if name not in described or described[name].compare)
        methods: dict[str, Any] = {
            "_defaults": defaults,
            "_described": described,
            "_read_compared": attrgetter(*compared),
            "__match_args__": positional,
            "_init_plan": _plan_init(kind, defaults, described),
            **_METHODS,
        }
        for name, method in methods.items():
            if name not in vars(kind):
                setattr(kind, name, method)
        if "__dict__" in vars(kind):
            kind._set_values = vars(kind)["__dict__"].__set__  # type: ignore[attr-defined]
        return kind

    return decorate


def declared_defaults(kind: type[Any]) -> dict[str, Any]:
    """The fields of a frozen class by name, with their defaults, ``MISSING`` where there is none.

    They cost nothing, unlike ``fields``.
    """
    return kind._defaults  # type: ignore[no-any-return]


def declared_fields(kind: type[Any]) -> dict[str, Field[Any]]:
    """The fields of a frozen class by name, with all that ``field`` was given.

    For modules that need them when they are imported: they cost less than ``fields``.
    """
    described: dict[str, Field[Any]] = kind._described
    return {
        name: described[name] if name in described else field(default=default)
        for name, default in declared_defaults(kind).items()
    }


def _take_defaults(kind: type[Any]) -> tuple[dict[str, Any], dict[str, Field[Any]]]:
    """Take the fields of a class, after those that it inherits, and those that ``field`` describes.

    The first have their defaults, ``MISSING`` where there is none.
    """
    defaults = dict(getattr(kind, "_defaults", {}))
    described = dict(getattr(kind, "_described", {}))
    for name in kind.__annotations__:
        given = vars(kind).get(name, MISSING)
        # Python looks an attribute up much faster where the class has none of its name.
        if given is not MISSING:
            delattr(kind, name)
        if isinstance(given, Field):
            described[name] = given
            given = given.default
        defaults[name] = given
    return defaults, described


class _OfDataclass:
    """What ``dataclasses`` itself reads of a class, made when it asks for it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, kind: type[Any]) -> Any:
        # A class below ours has no fields of its own.
        frozen_ones = [each for each in kind.__mro__ if "_defaults" in vars(each)]
        ours = frozen_ones[0]
        annotations: dict[str, Any] = {}
        for each in reversed(frozen_ones):
            annotations |= each.__annotations__
        declared = declared_fields(ours)
        positional: tuple[str, ...] = ours.__match_args__  # type: ignore[attr-defined]
        for name, described in declared.items():
            described.kw_only = name not in positional
        made = make_dataclass(
            ours.__name__,
            [(name, annotations[name], each) for name, each in declared.items()],
            namespace={"__doc__": ours.__doc__},
            init=False,
            repr=False,
            eq=False,
        )
        for name in _OF_DATACLASS:
            setattr(ours, name, getattr(made, name))
        return getattr(made, self.name)


_OF_DATACLASS = {
    name: _OfDataclass(name) for name in ("__dataclass_fields__", "__dataclass_params__")
}


def fill_fields(kind: type[T], values: dict[str, Any]) -> T:
    """An instance with these values, unchecked, as copying and unpickling make one.

    For the records of every call, of which one is made at a tenth of the cost: calls with more
    than 15 arguments are slow.

    Args:
        kind: A frozen class; what its ``__post_init__`` would refuse is taken.
        values: The value of each of its fields, in their order; the instance's own from now on.
    """
    filled = _new(kind)
    kind._set_values(filled, values)  # type: ignore[attr-defined]
    return filled  # type: ignore[no-any-return]


def _init_fields(self: Any, *args: Any, **values: Any) -> None:
    defaults, required, factories, has_check = self._init_plan
    if args:
        values = _name_positional(type(self), args, values)
    filled = defaults | values
    if len(filled) != len(defaults) or not required.issubset(values):
        raise TypeError(_explain_mismatch(type(self), set(defaults), required, values))
    for name, make in factories:
        if name not in values:
            filled[name] = make()
    _set_attribute(self, "__dict__", filled)
    if has_check:
        self.__post_init__()


def _plan_init(
    kind: type[Any], defaults: dict[str, Any], described: dict[str, Field[Any]]
) -> tuple[Any, ...]:
    """What ``__init__`` needs to know of a class.

    That is its defaults, the fields without, those made anew, and whether it checks itself.

    Args:
        kind: The class.
        defaults: All its fields, with their defaults.
        described: Those that ``field`` describes.
    """
    factories = tuple(
        (name, each.default_factory)
        for name, each in described.items()
        if each.default_factory is not MISSING
    )
    required = {name for name, default in defaults.items() if default is MISSING}
    required.difference_update(name for name, _ in factories)
    return defaults, required, factories, hasattr(kind, "__post_init__")


def _name_positional(
    kind: type[Any], args: tuple[Any, ...], values: dict[str, Any]
) -> dict[str, Any]:
    """All arguments by name.

    Raises:
        TypeError: They are too many, or one is given twice.
    """
    positional = kind.__match_args__
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


def _compare_fields(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    read = self._read_compared
    return other is self or read(self) == read(other)


def _hash_fields(self: Any) -> int:
    return hash(self._read_compared(self))


def _show_fields(self: Any) -> str:
    described = self._described
    names = (name for name in self._defaults if name not in described or described[name].repr)
    shown = [f"{name}={getattr(self, name)!r}" for name in names]
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


_METHODS = {
    "__init__": _init_fields,
    "__repr__": _show_fields,
    "__eq__": _compare_fields,
    "__hash__": _hash_fields,
    "__replace__": replace,
    "__setattr__": _refuse_change,
    "__delattr__": _refuse_change,
    "__signature__": _Signature(),
    **_OF_DATACLASS,
}
"""What all frozen classes have in common."""
