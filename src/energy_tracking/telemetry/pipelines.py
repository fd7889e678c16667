"""Where spans go, and whether another instrumentation reports a call to the same place.

A backend adds up the tokens of all the spans that it receives. So our own span repeats no tokens
that another instrumentation puts on a span in the same pipeline: the processors and exporters
behind a tracer. In a pipeline of its own, that span has the tokens.

What is there decides, in this order, and no list of packages:

1. An open span in the context that stands for one LLM call: its own processors are compared.
2. A wrapper around the SDK's method that holds a tracer: that tracer's processors are.
3. A wrapper of a package that has a processor, an exporter or a tracer in our pipeline, as
   Langfuse, MLflow and ddtrace have where they share it.
4. A wrapper of a package that is known to report to the global provider and shows no tracer.

A further package of the last kind is a row of the list below; the others need none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

from opentelemetry import trace

from energy_tracking.frozen import fill_fields, frozen

UNSEEN = ("opentelemetry.instrumentation.", "openinference.", "openlit.", "logfire.")
"""How the modules of instrumentations begin that may reach their tracer in no visible way."""

NO_REPORTERS = frozenset({"openai", "energy_tracking", "httpx", "httpx2"})
"""Packages whose layers and objects are the SDK's own and ours: nobody's to report a call."""

MAX_DEPTH = 4
MAX_OBJECTS = 200
"""How deep, and at how many objects, is looked in search of a tracer [1]."""

_PLAIN = (str, bytes, int, float, bool, type(None), type, ModuleType, BuiltinFunctionType)


@frozen()
class Reported:
    """Whether another instrumentation reports a call.

    Attributes:
        anywhere: In any pipeline that is known of.
        here: In the pipeline of our own spans.
    """

    anywhere: bool = False
    here: bool = False


UNREPORTED = Reported()


class Pipeline:
    """The processors and exporters behind our tracer, compared with those of others."""

    def __init__(self, tracer: object) -> None:
        """Look at a tracer's pipeline, each time anew: processors may be added late.

        Args:
            tracer: Our tracer.
        """
        self._tracer = tracer
        self._has_provider = False

    @property
    def is_live(self) -> bool:
        """Whether our spans go anywhere: the tracer is not OpenTelemetry's that does nothing."""
        return (
            bool(_parts_of(self._tracer))
            or _package_of(_unwrap_proxy(self._tracer)) != "opentelemetry"
        )

    @property
    def leads_nowhere(self) -> bool:
        """Whether no span is made: no provider is set, or OpenTelemetry's that does nothing."""
        # A provider that has been set stays.
        if not self._has_provider:
            tracer: Any = self._tracer
            tracer = getattr(tracer, "_tracer", tracer)
            self._has_provider = not isinstance(tracer, trace.NoOpTracer)
        return not self._has_provider

    @property
    def processors(self) -> list[Any]:
        """Its processors, one by one."""
        return [
            part
            for part in _parts_of(self._tracer).values()
            # One that only calls others would call us again.
            if hasattr(part, "on_end") and not hasattr(part, "_span_processors")
        ]

    def is_shared_with(self, other: object) -> bool:
        """Whether another tracer or a span has a processor or exporter of ours.

        Args:
            other: A tracer or span.
        """
        processor = getattr(other, "_span_processor", None)
        if processor is not None:
            tracer = getattr(self._tracer, "_tracer", self._tracer)
            if processor is getattr(tracer, "span_processor", None):
                return True  # of one provider of the SDK's
        ours, theirs = _parts_of(self._tracer), _parts_of(other)
        if ours or theirs:
            return not ours.keys().isdisjoint(theirs)
        # Not of OpenTelemetry's SDK, such as ddtrace's: all of a package go to one place.
        package = _package_of(_unwrap_proxy(self._tracer))
        return package == _package_of(_unwrap_proxy(other)) and package != "opentelemetry"

    def reported_by(self, wrappers: Iterable[object]) -> Reported:
        """Whether the wrappers around a method report its calls.

        Args:
            wrappers: Whatever is wrapped around the method.
        """
        anywhere = here = False
        for wrapper in wrappers:
            module = _module_of(wrapper)
            package = module.partition(".")[0]
            if package in NO_REPORTERS:
                continue
            # Looked for anew with each call: a wrapper may be given its tracer later, or another.
            theirs = _tracers_in(getattr(wrapper, "__func__", wrapper))
            if theirs:
                anywhere = True
                here = here or any(self.is_shared_with(each) for each in theirs)
            elif module.startswith(UNSEEN) or package in self._packages_of():
                anywhere = here = True
        return fill_fields(Reported, {"anywhere": anywhere, "here": here})

    def _packages_of(self) -> set[str]:
        """The packages whose tracer, processors or exporters our spans go through."""
        parts = [_unwrap_proxy(self._tracer), *_parts_of(self._tracer).values()]
        return {_package_of(part) for part in parts} - {"opentelemetry", "energy_tracking"}


def _unwrap_proxy(tracer: Any) -> Any:
    """The tracer that one of the API stands for until a global provider is set."""
    return getattr(tracer, "_tracer", tracer) if _package_of(tracer) == "opentelemetry" else tracer


def _parts_of(tracer: object) -> dict[int, Any]:
    """Processors and exporters behind a tracer or span, by identity."""
    found: dict[int, Any] = {}
    ahead = _layers_of_tracer(tracer)
    while ahead and len(found) < MAX_OBJECTS:
        for name, value in _variables_of(ahead.pop(0)).items():
            if "processor" in name or "exporter" in name:
                for each in value if isinstance(value, tuple | list) else (value,):
                    if id(each) not in found and not isinstance(each, _PLAIN):
                        found[id(each)] = each
                        ahead.append(each)
    return {
        key: each
        for key, each in found.items()
        if (hasattr(each, "on_end") or hasattr(each, "export"))
        and _package_of(each) != "energy_tracking"
    }


def _layers_of_tracer(tracer: object) -> list[Any]:
    """A tracer or span, and those inside that it passes everything on to."""
    layers = [_unwrap_proxy(tracer)]
    for layer in layers:
        for value in _variables_of(layer).values():
            kind = type(value)
            is_one = hasattr(kind, "start_span") or hasattr(kind, "is_recording")
            if is_one and len(layers) < MAX_DEPTH and all(value is not each for each in layers):
                layers.append(value)
    return layers


def _tracers_in(wrapper: object) -> list[object]:
    """The tracers that a wrapper can be seen to hold, the nearest ones."""
    level, seen = [wrapper], {id(wrapper)}
    for _ in range(MAX_DEPTH):
        held = [value for holder in level for value in _held_by(holder)]
        tracers: list[object] = [value for value in held if isinstance(value, trace.Tracer)]
        if tracers:
            return tracers
        level = []
        for value in held:
            if id(value) not in seen and len(seen) < MAX_OBJECTS and not _is_of_nobody(value):
                seen.add(id(value))
                level.append(value)
    return []


def _is_of_nobody(value: object) -> bool:
    """Whether what an object holds is no sign of another instrumentation."""
    return isinstance(value, _PLAIN) or _module_of(value).partition(".")[0] in NO_REPORTERS


def _held_by(value: Any) -> Iterator[Any]:
    """What a function closes over, and a tracer among the globals it names; what an object has."""
    if isinstance(value, MethodType):
        yield value.__self__
        yield value.__func__
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            try:
                yield cell.cell_contents
            except ValueError:  # not filled yet
                continue
        for name in value.__code__.co_names:
            if isinstance(found := value.__globals__.get(name), trace.Tracer):
                yield found
    elif isinstance(value, partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, dict | list | tuple):
        return
    else:
        yield from _variables_of(value).values()


def _variables_of(value: object) -> dict[str, Any]:
    try:
        return dict(vars(value))
    except TypeError:
        return {}


def _module_of(wrapper: Any) -> str:
    # The name in a function's globals is its own; `functools.wraps` copies the other.
    of_function = getattr(wrapper, "__globals__", None)
    return str(of_function.get("__name__") if of_function else type(wrapper).__module__)


def _package_of(value: object) -> str:
    return str(type(value).__module__).partition(".")[0]
