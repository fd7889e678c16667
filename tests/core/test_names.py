"""Names that somebody else chose are plain, short and printable, whatever they were."""

from __future__ import annotations

import json
from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.usage.names import MAX_CHARACTERS, text_of
from energy_tracking.usage.payloads import error_code_in, identity_in, response_facts, tool_usage_in


class Mixed(str, Enum):  # noqa: UP042  # people write it so
    BIG = "gpt-4o"


class Modern(StrEnum):
    BIG = "gpt-4o"


class Plain(Enum):
    BIG = "gpt-4o"
    NUMBER = 4


class Loud(str):
    """A text that shows itself in another way."""

    def __str__(self) -> str:
        return "LOUD"

    def __format__(self, spec: str) -> str:
        return "LOUD"


NAMES: list[tuple[object, str | None]] = [
    ("gpt-4o", "gpt-4o"),
    ("modèle 模型", "modèle 模型"),
    (" gpt-4o\n", "gpt-4o"),
    (Mixed.BIG, "gpt-4o"),
    (Modern.BIG, "gpt-4o"),
    (Plain.BIG, "gpt-4o"),
    (Plain.NUMBER, None),
    (Loud("gpt-4o"), "gpt-4o"),
    ("", None),
    (" \n", None),
    (None, None),
    (7, None),
    (b"gpt-4o", None),
    (["gpt-4o"], None),
    # A lone surrogate makes every later scrape of Prometheus fail.
    ("gpt\ud8004o", "gpt?4o"),
    # A terminal would obey, a table would have one row more, a log one line more.
    ("\x1b[31mgpt-4o\x1b[0m", "?[31mgpt-4o?[0m"),
    ("gpt-4o\ntotal  0 Wh", "gpt-4o?total  0 Wh"),
    ("a\rb\tc\x00d\x7fe\x85f\u2028g\u202eh", "a?b?c?d?e?f?g?h"),
]


@pytest.mark.parametrize(("value", "name"), NAMES, ids=lambda value: ascii(value)[:40])
def test_a_name_is_plain_printable_text(value: object, name: str | None) -> None:
    found = text_of(value)
    assert found == name
    assert found is None or type(found) is str


def test_long_names_are_bounded_and_stay_different() -> None:
    first, second = ("x" * 10_000_000 + end for end in "ab")
    kept = text_of(first)
    assert kept is not None
    assert len(kept) == MAX_CHARACTERS
    assert kept.startswith("xxx")
    assert kept == text_of(first)
    assert kept != text_of(second)
    assert len(text_of("y" * MAX_CHARACTERS) or "") == MAX_CHARACTERS
    assert len(text_of("\ud800" * 10_000) or "") == MAX_CHARACTERS


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_any_text_can_be_encoded_printed_and_read_back(text: str) -> None:
    name = text_of(text)
    if name is not None:
        name.encode("utf-8")
        assert name.isprintable()
        assert len(name.splitlines()) == 1
        assert text_of(name) == name
        assert json.loads(json.dumps(name)) == name


HOSTILE = "a\ud800\n\x1b[2J"
SAFE = "a???[2J"


def test_every_name_in_a_body_or_event_is_safe() -> None:
    body: dict[str, Any] = {"id": HOSTILE, "model": HOSTILE, "status": HOSTILE}
    assert identity_in(body) == (SAFE, SAFE, SAFE)
    assert identity_in({"response": body}) == (SAFE, SAFE, SAFE)
    assert error_code_in({"error": {"code": HOSTILE}}) == SAFE
    assert error_code_in({"type": HOSTILE}) == SAFE
    facts = response_facts(body | {"usage": {"total_tokens": 1}})
    assert facts is not None
    assert (facts.model, facts.response_id) == (SAFE, SAFE)
    drawn = {"tool_usage": {"image_gen": {"total_tokens": 1}}}
    tools = {"tools": [{"type": "image_generation", "model": HOSTILE}]}
    assert [tool.model for tool in tool_usage_in(drawn | tools)] == [SAFE]
