"""Attributes of spans by their names, out of whatever keeps them.

OTLP lists them, SDKs print them as objects, nested or not; Elastic and SigNoz keep texts and
numbers apart, and columns of some databases have no dots in their names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from energy_tracking.logs.formats.base import Document, mappings
from energy_tracking.logs.formats.telemetry.agent_events import AGENT_ATTRIBUTES
from energy_tracking.logs.formats.telemetry.haystack import HAYSTACK_ATTRIBUTES
from energy_tracking.usage.span_dialects import CALL_ATTRIBUTES

SESSION_ATTRIBUTES = ("session.id", "gen_ai.conversation.id", "langfuse.session.id")
_ATTRIBUTES = frozenset(
    {*CALL_ATTRIBUTES, *SESSION_ATTRIBUTES, *AGENT_ATTRIBUTES, *HAYSTACK_ATTRIBUTES, "error.type"}
)
"""Attributes that are looked at."""
OTHER_COUNTS = "other counts"
"""What is found of a span that counts tokens by names that are not known: one of these."""
_COUNT = re.compile(
    r"(?:in|out)put_?tokens?$|(?:prompt|completion)_?tokens?$|(?:^|[._])(?:in|out)_tokens?$"
    r"|tokens?[._]?(?:in|out)(?:put)?$|tokens?[._](?:prompt|completion)$"
)
_NO_COUNTS = ("max", "limit", "cost", "price", "per_")
TABLE_PREFIX = "attributes."


def attributes_of(listed: object) -> Mapping[str, Any]:
    """Attributes by name, out of OTLP's list or an object, nested or not."""
    if isinstance(listed, dict):
        return dict(_flatten(listed, ""))
    found: dict[str, Any] = {}
    for entry in mappings(listed):
        name = entry.get("key")
        found[name if type(name) is str else str(name)] = _value_of(entry.get("value"))
    return found


def select_attributes(listed: object) -> dict[str, Any]:
    """Those attributes that say something of a call; most spans have many more."""
    found: dict[str, Any] = {}
    if isinstance(listed, dict):
        for name, value in listed.items():
            if isinstance(value, dict):
                for path, inner in _flatten(value, f"{name}.", 1):
                    if path in _ATTRIBUTES:
                        found[path] = inner
                    elif "oken" in path and counts_tokens(path):
                        found[OTHER_COUNTS] = path
            elif name in _ATTRIBUTES:
                found[name] = value
            elif "oken" in name and counts_tokens(name):
                found[OTHER_COUNTS] = name
        return found
    for entry in listed if isinstance(listed, list) else ():
        try:
            name = entry["key"]
            is_known = name in _ATTRIBUTES
        except (TypeError, KeyError):  # it is no object, or has a name that is none
            continue
        if is_known:
            held: Any = entry.get("value")
            # As `_value_of` does it: nearly all are one of the first two.
            if type(held) is not dict or len(held) != 1:
                found[name] = _value_of(held)
            elif "stringValue" in held:
                found[name] = held["stringValue"]
            elif "intValue" in held:
                found[name] = _whole_of(held["intValue"])
            else:
                found[name] = _value_of(held)
        elif type(name) is str and "oken" in name and counts_tokens(name):
            found[OTHER_COUNTS] = name
    return found


def has_other_counts(attributes: Mapping[str, Any]) -> bool:
    """Whether a span counts tokens by names that are not known.

    Args:
        attributes: All of its attributes, or those that were selected.
    """
    return OTHER_COUNTS in attributes or any(
        "oken" in name and name not in _ATTRIBUTES and counts_tokens(name) for name in attributes
    )


@lru_cache(maxsize=1000)
def counts_tokens(name: str) -> bool:
    """Whether an attribute that is not known counts an input or an output, by its name."""
    lower = name.lower()
    return _COUNT.search(lower) is not None and not any(word in lower for word in _NO_COUNTS)


def _flatten(
    attributes: Mapping[str, Any], prefix: str, depth: int = 0
) -> Iterator[tuple[str, Any]]:
    for name, value in attributes.items():
        if isinstance(value, dict) and depth < 8:
            yield from _flatten(value, f"{prefix}{name}.", depth + 1)
        else:
            yield prefix + str(name), value


def _value_of(value: object) -> Any:
    if not isinstance(value, dict):
        return value
    for kind, plain in value.items():
        if kind == "stringValue":
            return plain  # nearly always
        if kind == "intValue" or kind == "int_value":
            return _whole_of(plain)
        if kind.startswith(("string", "double", "bool")):
            return plain
    return None


def _whole_of(plain: Any) -> Any:
    """A number that JSON has as a text; another value as it is."""
    try:
        return int(plain)
    except (TypeError, ValueError, OverflowError):
        return plain


KEPT_APART = frozenset({"numeric_labels", "gen_ai", "attributes_number"})
"""What a document has at its top whose attributes lie in several places."""
_BY_LABEL: dict[str, str] = {name.replace(".", "_"): name for name in _ATTRIBUTES}


def attributes_kept_apart(document: Document) -> dict[str, Any]:
    """Attributes that Elastic keeps as fields, or as labels, whose names have no dots.

    SigNoz keeps texts and numbers apart, too.
    """
    found = dict(attributes_of({"gen_ai": document.get("gen_ai")}))
    for holder in ("labels", "numeric_labels", "attributes_string", "attributes_number"):
        labels = document.get(holder)
        if isinstance(labels, dict):
            found |= {_BY_LABEL.get(name) or name: value for name, value in labels.items()}
    return found


def attribute_of_column(name: str) -> str:
    """The attribute that a column has."""
    if name.startswith(_LABELS):
        label = name.partition(".")[2]
        return _BY_LABEL.get(label, label)
    return _BY_LABEL.get(name, name).removeprefix(TABLE_PREFIX)


_LABELS = ("labels.", "numeric_labels.")
