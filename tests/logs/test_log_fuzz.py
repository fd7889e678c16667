"""No file makes reading raise, and no garbage costs a good entry."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from energy_tracking.logs.formats import FORMATS
from energy_tracking.logs.formats.counts import plain_counts
from energy_tracking.logs.logged import PlainCounts
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from energy_tracking.usage.dialects import read_usage
from log_samples.common import COMPLETION, DATA, FILES, SAMPLES

FUZZ = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def read(content: bytes) -> tuple[int, ReadReport]:
    report = ReadReport()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        path.write_bytes(content)
        return sum(call.is_call for call in read_logs([path], report=report)), report


def words_in(document: Any) -> Iterator[str]:
    if isinstance(document, dict):
        for key, value in document.items():
            yield key
            yield from words_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from words_in(value)
    elif isinstance(document, str):
        yield document


WORDS = st.sampled_from(
    sorted(
        {word for row in FORMATS for word in (*row.keys, *row.any_of)}
        | {word for _, documents, _ in SAMPLES for word in words_in(documents)}
    )
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | WORDS
    | st.integers(0, 100)
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=6),
    max_leaves=20,
)
DOCUMENTS = [document for _, documents, _ in SAMPLES for document in documents]


@st.composite
def damaged(draw: st.DrawFn) -> Any:
    """A sample in which some value is another one, of whatever type."""
    document = json.loads(json.dumps(draw(st.sampled_from(DOCUMENTS))))
    for _ in range(draw(st.integers(1, 3))):
        at: Any = document
        while isinstance(at, dict | list) and at:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            if not isinstance(at[key], dict | list) or not at[key] or draw(st.booleans()):
                at[key] = draw(VALUES)
                break
            at = at[key]
    return document


def good(number: int) -> dict[str, Any]:
    return COMPLETION | {"id": f"chatcmpl-good-{number:024}"}


@FUZZ
@given(st.lists(damaged() | VALUES, min_size=1, max_size=4), st.sampled_from([None, 1]))
@example([{"usage": {"total_tokens": 1}, "energy": {"kwh": 1e305}, "model": "\ud800"}], None)
@example([{"hash_ids": [1 << 80, -1, "x"], "input_length": 5, "output_length": 10**400}], None)
@example([{"id": "x", "type": "GENERATION", "usageDetails": '{"input": '}], None)
@example([{"timestamp": 1e308, "model": [], "prompt_tokens": 1, "completion_tokens": True}], None)
def test_wrong_types_never_raise_or_cost_a_good_entry(
    documents: list[Any], indent: int | None
) -> None:
    both = [good(1), *documents, good(2)]
    text = "\n".join(json.dumps(one, indent=indent) for one in both)
    calls, report = read(text.encode("utf-8", "replace"))
    assert calls >= 2
    assert report.formats["response"] >= 2


@FUZZ
@given(st.data())
def test_a_file_cut_off_anywhere_never_raises(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(FILES)))
    content = (DATA / name).read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    calls, _ = read(content[:cut])
    assert calls <= max(FILES[name].calls, 3)


@FUZZ
@given(st.binary(max_size=200), st.sampled_from([b"", b"\x1f\x8b", b"PK\x03\x04", b"\xff\xfe"]))
@example(b"[" * 100_000, b"")
@example(b'{"a":' * 50_000, b"")
@example(b'{"a": "' + b"x" * 3_000_000, b"")
@example(b'"' * 1000 + b"\n,;,;\n", b"a,b\n")
def test_any_bytes_never_raise(content: bytes, magic: bytes) -> None:
    read(magic + content)


COUNTS = st.integers(-2, 50) | st.none() | st.sampled_from([0.0, 3.5, "7", True, 2_000_000_000])
NAMES = [
    *("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens", "output_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens", "reasoning_tokens"),
    *("cached_tokens", "prompt_cache_hit_tokens"),
]
DETAILS = st.dictionaries(
    st.sampled_from(["cached_tokens", "reasoning_tokens", "audio_tokens", "image_tokens"]),
    COUNTS,
    max_size=2,
)


@settings(max_examples=500, deadline=None)
@given(
    st.dictionaries(st.sampled_from(NAMES), COUNTS, max_size=4),
    st.dictionaries(
        st.sampled_from(["prompt_tokens_details", "completion_tokens_details"]),
        DETAILS | st.none(),
        max_size=2,
    ),
)
@example({"input_tokens": 0, "output_tokens": 0, "cache_read_input_tokens": 0.0}, {})
@example({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2.0}, {})
def test_plain_counts_are_those_of_the_dialects(
    counts: dict[str, Any], details: dict[str, Any]
) -> None:
    raw = counts | details
    plain = plain_counts(raw)
    if plain is not None:
        usage = read_usage(raw)
        assert usage is not None
        assert PlainCounts(*(getattr(usage, name) for name in PlainCounts._fields)) == plain
        assert usage.repairs == ()


@pytest.mark.parametrize(("row", "documents", "like"), SAMPLES, ids=[row for row, *_ in SAMPLES])
def test_plain_counts_are_taken_from_every_usage_in_the_samples(
    row: str, documents: Any, like: Any
) -> None:
    for raw in usages_in(documents):
        plain, usage = plain_counts(raw), read_usage(raw)
        if plain is not None and usage is not None:
            assert plain.input_tokens == usage.input_tokens
            assert plain.output_tokens == usage.output_tokens


def usages_in(document: Any) -> Iterator[dict[str, Any]]:
    if isinstance(document, dict):
        if isinstance(document.get("usage"), dict):
            yield document["usage"]
        for value in document.values():
            yield from usages_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from usages_in(value)
