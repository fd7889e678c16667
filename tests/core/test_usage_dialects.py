"""Every provider's usage means the same thing once it is read."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter, UserDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, fields, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from energy_tracking.usage.dialects import DIALECTS, Dialect, Shape, read_usage, reports_tokens
from energy_tracking.usage.reconciling import ALSO_COUNTED, BESIDE_INPUT, PARTLY_COUNTED
from energy_tracking.usage.token_usage import MAX_TOKENS, WHOLE_OF, TokenUsage

HERE = Path(__file__).parent
SHARED = HERE.parents[1].parent / "shared"
JsonObject = dict[str, Any]


def lines_of(path: Path) -> list[JsonObject]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def shared_lines(name: str) -> list[JsonObject]:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"the recorded data ../shared/{name} is not beside this checkout")
    return lines_of(path)


SAMPLES = lines_of(HERE / "data" / "usage_samples.jsonl")
each_sample = pytest.mark.parametrize(
    "sample", SAMPLES, ids=[f"{number}-{row['host']}" for number, row in enumerate(SAMPLES, 1)]
)
COUNTS = {field.name for field in fields(TokenUsage)} - {"dialect", "repairs", "estimated"}


def read(usage: object) -> TokenUsage:
    result = read_usage(usage)
    assert result is not None
    return result


def counts_of(usage: TokenUsage | None) -> JsonObject | None:
    """The counts but the reported total, without those that are zero by default."""
    if usage is None:
        return None
    shown = COUNTS - {"total_tokens"}
    return {k: v for k, v in asdict(usage).items() if k in shown and v not in (None, 0)}


def as_object(value: Any) -> Any:
    """A JSON value with an object for every JSON object in it."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: as_object(item) for key, item in value.items()})
    return [as_object(item) for item in value] if isinstance(value, list) else value


# --- the sample rows, in every form --------------------------------------------------


@pytest.mark.parametrize("count", [-5, math.nan, math.inf, "5", 1.5, True, [1], 10**30])
@pytest.mark.parametrize("name", ["input_tokens", "output_tokens", "cached_input_tokens"])
def test_counts_that_cannot_be_are_repaired_in_our_own_usage_too(name: str, count: Any) -> None:
    given = replace(TokenUsage(input_tokens=10, output_tokens=10), **{name: count})
    usage = read_usage(given)
    assert usage is not None
    assert usage.holds_together
    assert usage.repairs


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_counts_hold_together_that_are_whole_numbers_inside_their_wholes(name: str) -> None:
    full: dict[str, Any] = dict.fromkeys(COUNTS, 10)

    def holds_with(count: Any) -> bool:
        return TokenUsage(**(full | {name: count})).holds_together

    assert holds_with(10)
    assert holds_with(0) is (name not in WHOLE_OF.values())
    assert holds_with(11) is (name not in WHOLE_OF)
    assert holds_with(None) is (name in {"reasoning_tokens", "total_tokens"})
    assert not any(holds_with(wrong) for wrong in (-1, 5.0, True, "5", 10**30))


@each_sample
def test_a_sample_row_is_read_as_its_provider_means_it(sample: JsonObject) -> None:
    usage = read_usage(sample["usage"])
    expected = sample["expected"]
    assert counts_of(usage) == (expected and {k: v for k, v in expected.items() if v})
    if usage is not None:
        assert usage.reasoning_tokens == expected["reasoning_tokens"]
        assert (usage.dialect, len(usage.repairs)) == (sample["dialect"], sample["repairs"])


@each_sample
@pytest.mark.parametrize(
    "form",
    [
        as_object,
        MappingProxyType,
        UserDict,
        lambda usage: defaultdict(int, usage),
        lambda usage: {key: as_object(value) for key, value in usage.items()},
        lambda usage: SimpleNamespace(**usage),
    ],
    ids=["objects", "mappingproxy", "UserDict", "defaultdict", "dict-outside", "object-outside"],
)
def test_mappings_objects_and_mixtures_are_read_alike(
    sample: JsonObject, form: Callable[[JsonObject], object]
) -> None:
    assert read_usage(form(sample["usage"])) == read_usage(sample["usage"])


def test_reading_leaves_a_defaultdict_as_it_was() -> None:
    usage = defaultdict(int, prompt_tokens=3, completion_tokens=4)
    read_usage(usage)
    assert set(usage) == {"prompt_tokens", "completion_tokens"}


OPENAI_MODELS = {
    "openai-chat": ("openai.types", "CompletionUsage"),
    "openai-embeddings": ("openai.types.create_embedding_response", "Usage"),
    "openai-responses": ("openai.types.responses", "ResponseUsage"),
}


def is_valid_for_openai(sample: JsonObject) -> bool:
    """Whether no field is absent that the SDK's models require."""
    required = {"input_tokens_details/cache_write_tokens", "output_tokens_details/reasoning_tokens"}
    places = (path.split("/") for path in required)
    return sample["dialect"] != "openai-responses" or all(
        key in sample["usage"].get(outer, ()) for outer, key in places
    )


@pytest.mark.parametrize(
    ("sample", "build"),
    [
        pytest.param(sample, build, id=f"{number}-{sample['dialect']}-{build}")
        for number, sample in enumerate(SAMPLES, 1)
        for build in ("model_construct", "validated")
        if sample["dialect"] in OPENAI_MODELS
        and (build == "model_construct" or is_valid_for_openai(sample))
    ],
)
def test_openai_models_are_read_as_their_json_is(sample: JsonObject, build: str) -> None:
    module, name = OPENAI_MODELS[sample["dialect"]]
    model = getattr(pytest.importorskip(module), name)
    usage = sample["usage"]
    built = model.model_construct(**usage) if build == "model_construct" else model(**usage)
    assert read_usage(built) == read_usage(usage)


# --- the table -----------------------------------------------------------------------


def leaves(shape: Shape, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    for key, inner in shape.items():
        if isinstance(inner, str):
            yield (*path, key), inner
        else:
            yield from leaves(inner, (*path, key))


def has_count(value: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if isinstance(value, list):
            value = next((entry for entry in value if entry["modality"] == key), None)
        value = value.get(key) if isinstance(value, dict) and key in value else value
    return isinstance(value, int)


each_dialect = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)


@each_dialect
def test_every_place_of_a_dialect_is_shown_by_a_sample_row(dialect: Dialect) -> None:
    rows = [sample["usage"] for sample in SAMPLES if sample["dialect"] == dialect.name]
    unseen = [
        path for path, _ in leaves(dialect.shape) if not any(has_count(row, path) for row in rows)
    ]
    assert rows
    assert unseen == []


@each_dialect
def test_every_leaf_of_a_dialect_is_a_count_of_token_usage(dialect: Dialect) -> None:
    others = {ALSO_COUNTED, BESIDE_INPUT, PARTLY_COUNTED}
    assert {name for _, name in leaves(dialect.shape)} <= COUNTS | others


@each_dialect
def test_every_key_of_a_dialect_is_at_the_top_of_its_shape(dialect: Dialect) -> None:
    assert dialect.keys
    assert dialect.keys <= set(dialect.shape)


def test_every_sample_row_states_where_it_comes_from() -> None:
    assert all(sample["source"] and sample["licence"] for sample in SAMPLES)


def test_names_of_dialects_are_unique() -> None:
    assert len({dialect.name for dialect in DIALECTS}) == len(DIALECTS)


def test_every_part_has_a_whole_and_the_docstring_names_which() -> None:
    wholes = {"input_tokens", "output_tokens"}
    assert set(WHOLE_OF.values()) == wholes
    assert set(WHOLE_OF) == COUNTS - wholes - {"total_tokens"}
    doc = TokenUsage.__doc__ or ""
    for part, whole in WHOLE_OF.items():
        assert f"{part}: Part of ``{whole}``" in doc


# --- what is wrong is repaired, and said ---------------------------------------------


def chat(prompt: Any, completion: Any, total: Any = None, **more: Any) -> JsonObject:
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": total}
    reasoning, cached = more.pop("reasoning", None), more.pop("cached", None)
    if reasoning is not None:
        usage["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return usage | more


REPAIRED: list[tuple[str, object, tuple[int, int], str]] = [
    # name, usage, (input, output), what the repair says
    ("reasoning outside, xAI", chat(12, 1, 399, reasoning=386), (12, 387), "386 reasoning_tokens"),
    ("reasoning outside, proxy", chat(21, 0, 81, reasoning=60), (21, 60), "60 reasoning_tokens"),
    ("more in the total", chat(10, 5, 40), (10, 30), "25 tokens beside input and output"),
    ("more than the reasoning", chat(10, 5, 90, reasoning=60), (10, 80), "15 tokens beside"),
    # What was generated beside the output has cost energy, whatever the total says.
    ("reasoning above output", chat(10, 5, 15, reasoning=60), (10, 65), "are beside the rest"),
    ("reasoning, no total", chat(10, 5, reasoning=60), (10, 65), "output_tokens are 65"),
    ("reasoning, low total", chat(10, 5, 12, reasoning=60), (10, 65), "output_tokens are 65"),
    ("reasoning, no output", chat(10, None, reasoning=60), (10, 60), "60 reasoning_tokens"),
    ("total too low", chat(10, 5, 12), (10, 5), "total is 12, input and output are 15; kept"),
    # A total that is input plus output leaves no room for more.
    ("cached above prompt", chat(10, 5, 15, cached=50), (10, 5), "exceed their whole; cut to 10"),
    ("cached above, no total", chat(10, 5, cached=50), (60, 5), "input_tokens are 60"),
    ("cached outside prompt", chat(10, 5, 65, cached=50), (60, 5), "input_tokens are 60"),
    ("cached only in total", chat(90, 5, 145, cached=50), (140, 5), "input_tokens are 140"),
    ("no prompt", chat(None, 5), (0, 5), "input count is missing; read as 0"),
    ("no prompt, total", chat(None, 5, 12), (7, 5), "input count is missing; read as 7"),
    ("null completion", chat(10, None, 15), (10, 5), "output count is missing; read as 5"),
    ("null, no total", chat(10, None), (10, 0), "output count is missing; read as 0"),
    ("negative", chat(10, -1, 15), (10, 5), "output_tokens: completion_tokens is -1; dropped"),
    ("bool", chat(True, 5, 15), (10, 5), "prompt_tokens is not a number; dropped"),
    ("numeric string", chat("12", 5, 17), (12, 5), "is a str; read as 12"),
    ("text", chat("many", 5, 17), (12, 5), "is not a number"),
    ("whole float", chat(12.0, 5, 17), (12, 5), "is a float; read as 12"),
    ("part of a token", chat(12.5, 5, 17), (12, 5), "is 12.5, not whole; dropped"),
    ("NaN", chat(float("nan"), 5, 17), (12, 5), "is nan; dropped"),
    ("infinite", chat(float("inf"), 5, 17), (12, 5), "is inf; dropped"),
    ("huge", chat(MAX_TOKENS + 1, 5, 17), (12, 5), "is 1e+09; dropped"),
    ("beyond floats", chat(10**400, 5, 17), (12, 5), "far too large; dropped"),
    ("object as count", chat({"text": 12}, 5, 17), (12, 5), "is not a number; dropped"),
    (
        "output misspelt",
        {"prompt_tokens": 5, "completions": 4, "total_tokens": 9},
        (5, 4),
        "output count is missing; read as 4",
    ),
    ("zero prompt, total", chat(0, 80, 200), (120, 80), "input count is missing; read as 120"),
    (
        "zero prompt, Responses",
        {"input_tokens": 0, "output_tokens": 80, "total_tokens": 200},
        (120, 80),
        "input count is missing; read as 120",
    ),
    (
        "zero prompt, Bedrock",
        {"inputTokens": 0, "outputTokens": 80, "totalTokens": 200},
        (120, 80),
        "input count is missing; read as 120",
    ),
    (
        "zero prompt, reasoning outside",
        chat(0, 1, 399, reasoning=386),
        (12, 387),
        "input count is missing; read as 12",
    ),
    (
        "zero prompt, all of it reasoning",
        chat(0, 1, 387, reasoning=386),
        (0, 387),
        "386 reasoning_tokens are beside",
    ),
    # Mistral's transcription, as its documentation shows it.
    (
        "audio prompt",
        chat(4, 635, 3264, prompt_audio_seconds=203),
        (2629, 635),
        "input raised to 2629",
    ),
    (
        "no audio in the prompt",
        chat(10, 5, 40, prompt_audio_seconds=None),
        (10, 30),
        "output raised to 30",
    ),
    ("stream delta", {"output_tokens": 7}, (0, 7), "input count is missing"),
    (
        "audio above its whole",
        chat(10, 5, 15, prompt_tokens_details={"audio_tokens": 99}),
        (10, 5),
        "99 input_audio_tokens exceed their whole; cut to 10",
    ),
]


@pytest.mark.parametrize(
    ("usage", "expected", "said"), [row[1:] for row in REPAIRED], ids=[row[0] for row in REPAIRED]
)
def test_what_is_wrong_is_repaired_and_reported(
    usage: object, expected: tuple[int, int], said: str
) -> None:
    result = read(usage)
    assert (result.input_tokens, result.output_tokens) == expected
    assert any(said in repair for repair in result.repairs)
    invariants_hold(result)


def in_both(
    prompt: int | None, completion: int | None, inputs: int, outputs: int, **more: Any
) -> JsonObject:
    """A usage in the names of two dialects at once, as of gateways."""
    return chat(prompt, completion, **more) | {"input_tokens": inputs, "output_tokens": outputs}


# usage -> input, output, what the repairs say.
IN_BOTH: list[tuple[JsonObject, tuple[int, int], tuple[str, ...]]] = [
    (in_both(99, 8, 99, 8), (99, 8), ()),
    # New API fills in 0 by the names that it does not use.
    (in_both(99, 8, 0, 0), (99, 8), ()),
    (in_both(0, 0, 99, 8), (99, 8), ()),
    (in_both(None, None, 99, 8), (99, 8), ()),
    (in_both(99, 0, 0, 8), (99, 8), ()),
    (in_both(None, None, 0, 0), (0, 0), ()),
    (
        in_both(99, 8, 50, 4, total=107),
        (99, 8),
        (
            "input_tokens are counted twice, as 99 and 50; first kept.",
            "output_tokens are counted twice, as 8 and 4; first kept.",
        ),
    ),
    (
        {"prompt_tokens": 50, "input_tokens": 99, "output_tokens": 8},
        (99, 8),
        ("input_tokens are counted twice, as 99 and 50; first kept.",),
    ),
    (
        {"completion_tokens": 50, "input_tokens": 99, "output_tokens": 8},
        (99, 50),
        ("output_tokens are counted twice, as 50 and 8; first kept.",),
    ),
    # The one in OpenAI's meaning, the other in Anthropic's, or without the reasoning.
    (
        in_both(2100, 8, 100, 8, cache_read_input_tokens=1500, cache_creation_input_tokens=500),
        (2100, 8),
        (),
    ),
    (in_both(2100, 8, 600, 8, cached=1500), (2100, 8), ()),
    (in_both(2100, 8, 2100, 8, cache_read_input_tokens=1500), (2100, 8), ()),
    (in_both(10, 40, 10, 8, reasoning=32), (10, 40), ()),
    # Parts, too, of which a 0 is filled in.
    (chat(2100, 8, cached=1500) | {"cache_read_input_tokens": 1500}, (2100, 8), ()),
    (chat(2100, 8, cached=1500) | {"num_cached_tokens": 0}, (2100, 8), ()),
    (
        chat(2100, 8, cached=1500, num_cached_tokens=100),
        (2100, 8),
        ("cached_input_tokens are counted twice, as 1500 and 100; first kept.",),
    ),
    # Those of the dialect are empty, and so the other one is read as it means them.
    (in_both(0, 0, 3, 44, cache_read_input_tokens=9511), (9514, 44), ()),
]


@pytest.mark.parametrize(("usage", "expected", "said"), IN_BOTH, ids=json.dumps)
@pytest.mark.parametrize("form", [dict, as_object])
def test_two_counts_of_one_thing_agree_or_are_reported(
    form: Callable[[JsonObject], object],
    usage: JsonObject,
    expected: tuple[int, int],
    said: tuple[str, ...],
) -> None:
    result = read(form(usage))
    assert (result.input_tokens, result.output_tokens) == expected
    assert result.repairs == said
    invariants_hold(result)


@pytest.mark.parametrize("name", ["num_cached_tokens", "cache_read_input_tokens"])
def test_a_count_of_0_gives_way_to_the_next_place(name: str) -> None:
    usage = read(chat(100, 5, 105, cached=0) | {name: 64})
    assert (usage.cached_input_tokens, usage.repairs) == (64, ())


def claude(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    return {
        "input_tokens": inputs,
        "cache_read_input_tokens": read,
        "cache_creation_input_tokens": written,
        "output_tokens": 8,
        "total_tokens": total,
    }


def responses(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    details = {"cached_tokens": read, "cache_write_tokens": written}
    usage = {"input_tokens": inputs, "output_tokens": 8, "total_tokens": total}
    return usage | {"input_tokens_details": details}


def langchain(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    details = {"cache_read": read, "cache_creation": written}
    usage = {"input_tokens": inputs, "output_tokens": 8, "total_tokens": total}
    return usage | {"input_token_details": details}


def router(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    details = {"cached_tokens": read, "cache_write_tokens": written}
    return chat(inputs, 8, total, prompt_tokens_details=details)


def proxy(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    names = {"cache_read_input_tokens": read, "cache_creation_input_tokens": written}
    return chat(inputs, 8, total, **names)


def bedrock(inputs: int, read: int, written: int, total: int | None = None) -> JsonObject:
    usage = {"inputTokens": inputs, "outputTokens": 8, "totalTokens": total}
    return usage | {"cacheReadInputTokens": read, "cacheWriteInputTokens": written}


def gemini(inputs: int, read: int, thought: int, total: int | None = None) -> JsonObject:
    counts = {"promptTokenCount": inputs, "candidatesTokenCount": 8, "totalTokenCount": total}
    return counts | {"cachedContentTokenCount": read, "thoughtsTokenCount": thought}


# usage -> input, cached, written, output, reasoning, in the order of `Counts` below.
PLACED: list[tuple[JsonObject, tuple[int, int, int, int, int]]] = [
    # Read and written are the same tokens: the total says so, or that they would not fit.
    *(
        (build(2168, 2161, 2161, total), (2168, 2161, 7, 8, 0))
        for build in (router, responses, langchain, proxy)
        for total in (2176, None)
    ),
    (claude(2168, 2161, 2161, 2176), (2168, 2161, 7, 8, 0)),
    (bedrock(2168, 2161, 2161, 2176), (2168, 2161, 7, 8, 0)),
    (router(2000, 1500, 900, 2008), (2000, 1500, 500, 8, 0)),
    # Inside the input, whatever the names, where the total is input plus output.
    *(
        (build(900, 500, 300, 908), (900, 500, 300, 8, 0))
        for build in (router, responses, langchain, proxy, claude, bedrock)
    ),
    # Outside, whatever the names, where the total has them beside.
    *(
        (build(100, 500, 300, 908), (900, 500, 300, 8, 0))
        for build in (router, responses, langchain, proxy, claude, bedrock)
    ),
    # One of them inside, the other outside.
    (router(600, 500, 300, 908), (900, 500, 300, 8, 0)),
    (claude(400, 500, 300, 908), (900, 500, 300, 8, 0)),
    # Read and written are the same tokens outside of the input.
    *(
        (build(7, 2161, 2161, total), (2168, 2161, 7, 8, 0))
        for build in (router, responses, langchain, proxy, claude, bedrock)
        for total in (2176, None)
    ),
    (claude(7, 2161, 2161, 15), (2168, 2161, 7, 8, 0)),
    # They are not where the total has both.
    (claude(7, 2161, 2161, 4337), (4329, 2161, 2161, 8, 0)),
    (router(7, 2161, 2161, 4337), (4329, 2161, 2161, 8, 0)),
    # Without a total, as the names mean it.
    (claude(100, 500, 300), (900, 500, 300, 8, 0)),
    (bedrock(100, 500, 300), (900, 500, 300, 8, 0)),
    (router(900, 500, 300), (900, 500, 300, 8, 0)),
    (responses(900, 500, 300), (900, 500, 300, 8, 0)),
    # Without a total, more than the input holds stands beside it.
    (proxy(3, 9511, 1956), (11470, 9511, 1956, 8, 0)),
    # Anthropic's names mean beside, and so they are where they do not fit inside.
    (claude(3, 9511, 1956, 11), (11470, 9511, 1956, 8, 0)),
    # Cache and reasoning at once.
    (chat(100, 8, 638, cached=500, reasoning=30), (600, 500, 0, 38, 30)),
    (gemini(900, 500, 30, 938), (900, 500, 0, 38, 30)),
    (gemini(900, 500, 5, 908), (900, 500, 0, 8, 5)),
    (gemini(400, 500, 30, 938), (900, 500, 0, 38, 30)),
]


@pytest.mark.parametrize(("usage", "expected"), PLACED, ids=json.dumps)
def test_the_sums_decide_where_cached_tokens_and_reasoning_stand(
    usage: JsonObject, expected: tuple[int, int, int, int, int]
) -> None:
    result = read(usage)
    invariants_hold(result)
    assert outcome(usage)[1] == expected


def spoken(dialect: Dialect, **counts: int) -> JsonObject:
    """A usage in a dialect that has only these counts."""
    usage: JsonObject = {}
    for path, name in leaves(dialect.shape):
        if name in counts:
            *outer, last = path
            place = usage
            for key in outer:
                place = place.setdefault(key, {})
            place[last] = counts[name]
    return dict.fromkeys(dialect.keys) | usage


COPIES_OF_OPENAI = {"openai-chat", "openai-responses", "flat"}
MAY_OMIT_OUTPUT = {
    "gemini",  # leaves out what is zero
    "gemini-sdk",
    "gemini-interactions",
    "gemini-interactions-vertex",
    "cohere",  # embeddings
    "openai-embeddings",
    "total-only",
}


@each_dialect
def test_a_total_above_input_and_output_raises_output_in_copies_of_openai(
    dialect: Dialect,
) -> None:
    if {"output_tokens", "total_tokens"} - {name for _, name in leaves(dialect.shape)}:
        return
    usage = read(spoken(dialect, input_tokens=10, output_tokens=5, total_tokens=40))
    assert usage.dialect == dialect.name
    assert usage.output_tokens == (30 if dialect.name in COPIES_OF_OPENAI else 5)
    assert len(usage.repairs) == 1


@each_dialect
def test_an_absent_count_is_reported_where_the_dialect_has_it_always(dialect: Dialect) -> None:
    if dialect.name != "total-only":
        usage = read(spoken(dialect, input_tokens=10))
        assert counts_of(usage) == {"input_tokens": 10}
        assert bool(usage.repairs) == (dialect.name not in MAY_OMIT_OUTPUT)
    if dialect.name not in ("total-only", "openai-embeddings"):
        usage = read(spoken(dialect, output_tokens=5))
        assert counts_of(usage) == {"output_tokens": 5}
        assert len(usage.repairs) == 1


def test_a_dialects_own_way_of_counting_is_no_repair() -> None:
    usage = read(
        {
            "input_tokens": 3,
            "cache_read_input_tokens": 9511,
            "cache_creation_input_tokens": 1956,
            "output_tokens": 44,
        }
    )
    assert usage == TokenUsage(
        input_tokens=3 + 9511 + 1956,
        cached_input_tokens=9511,
        cache_write_input_tokens=1956,
        output_tokens=44,
        dialect="anthropic",
    )
    assert usage.uncached_input_tokens == 3 + 1956


def test_an_unusable_count_gives_way_to_the_next_place() -> None:
    usage = read(chat(100, 5, 105, cached=-1, num_cached_tokens=64))
    assert usage.cached_input_tokens == 64
    assert usage.repairs == ("cached_input_tokens: cached_tokens is -1; dropped.",)


def test_reasoning_of_zero_is_not_unknown_reasoning() -> None:
    assert read(chat(1, 2, 3, reasoning=0)).reasoning_tokens == 0
    assert read(chat(1, 2, 3)).reasoning_tokens is None


def test_numbers_of_other_libraries_are_counts() -> None:
    np = pytest.importorskip("numpy")
    assert read(chat(np.int64(7), np.int32(5), 12)) == read(chat(7, 5, 12))


def test_a_token_usage_is_read_as_itself() -> None:
    usage = TokenUsage(input_tokens=3, estimated=("input_tokens",))
    assert read_usage(usage) is usage


def test_the_fields_of_a_token_usage_are_a_dialect() -> None:
    usage = read(chat(100, 60, 160, cached=64, reasoning=32))
    assert counts_of(read_usage(asdict(usage))) == counts_of(usage)


def test_a_mock_with_counts_is_read_and_its_other_attributes_are_not() -> None:
    usage = read(MagicMock(input_tokens=5, output_tokens=3))
    assert counts_of(usage) == {"input_tokens": 5, "output_tokens": 3}
    assert usage.repairs == ()


@pytest.mark.parametrize(
    ("usage", "reports"),
    [
        (chat(10, 5, 15), True),
        (chat(0, 5), True),
        (chat(0, 0, 0), False),
        (chat(0, 0), False),
        (chat(-1, -1, -1), False),
        (chat(None, None, None), False),
        ({"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}, False),
        ({"promptTokenCount": 0, "totalTokenCount": 0}, False),
        ({"queue_time": 0.1, "total_tokens": 0, "completion_tokens": 0}, False),
        ({}, False),
        ("many", False),
        (TokenUsage(), False),
        (TokenUsage(output_tokens=1), True),
    ],
)
def test_a_usage_reports_tokens_or_it_does_not(usage: object, reports: bool) -> None:
    assert reports_tokens(usage) is reports


@pytest.mark.parametrize(
    ("usage", "fault"),
    [
        (chat(10, 5, 15), None),
        (chat(12, 1, 399, reasoning=386), None),
        (
            {"promt_tokens": 10, "completion_tokens": 5},
            "usage: The input count is missing; read as 0.",
        ),
        (
            chat(10, -1),
            "usage: output_tokens: completion_tokens is -1; dropped. "
            "The output count is missing; read as 0.",
        ),
    ],
)
def test_a_usage_without_a_whole_count_states_what_is_wrong(
    usage: object, fault: str | None
) -> None:
    assert read(usage).fault == fault


# --- what is no usage ----------------------------------------------------------------


class Hostile:
    """Raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class HostileMapping(Mapping[str, Any]):
    """A mapping that raises on every look."""

    def __getitem__(self, key: str) -> Any:
        raise OSError(key)

    def __iter__(self) -> Iterator[str]:
        raise OSError

    def __len__(self) -> int:
        raise OSError


class HostileKey:
    """Takes the place of a key in a dict and cannot be compared."""

    def __hash__(self) -> int:
        return hash("completion_tokens")

    def __eq__(self, other: object) -> bool:
        raise ArithmeticError


class HostileNumber(float):
    """A float that cannot be made a float."""

    def __float__(self) -> float:
        raise MemoryError


class HostileMeta(type):
    """Makes classes that cannot be hashed."""

    def __eq__(cls, other: object) -> bool:
        return False

    __hash__ = None  # type: ignore[assignment]


class Unhashable(metaclass=HostileMeta):
    """An object of a class that cannot be hashed."""


SELF_CONTAINING: JsonObject = {}
SELF_CONTAINING.update(completion_tokens=SELF_CONTAINING, prompt_tokens_details=SELF_CONTAINING)

NO_USAGE: dict[str, object] = {
    "none": None,
    "empty": {},
    "text": "prompt_tokens",
    "number": 12,
    "bytes": b"{}",
    "list": [{"prompt_tokens": 3}],
    "class": SimpleNamespace,
    "module": json,
    "function": read_usage,
    "iterator": iter([3]),
    "mock": MagicMock(),
    "seconds": {"type": "duration", "seconds": 9.0},
    "only nulls": chat(None, None, None),
    "only details": {"prompt_tokens_details": {"cached_tokens": 3}},
    "only rubbish": chat("a", [], {}),
    "hostile": Hostile(),
    "hostile mapping": HostileMapping(),
    "hostile key": {HostileKey(): 3, "prompt_tokens": 4},
    "hostile number": chat(HostileNumber(3), HostileNumber(4)),
    "unhashable class": Unhashable(),
    "unhashable counts": chat(Unhashable(), Unhashable()),
    "self-containing": SELF_CONTAINING,
}


@pytest.mark.parametrize("name", NO_USAGE)  # not the things: pytest looks into them
def test_what_has_no_counts_is_no_usage(name: str) -> None:
    assert read_usage(NO_USAGE[name]) is None


def test_a_count_is_read_beside_a_property_that_raises() -> None:
    class Lazy:
        prompt_tokens = 10
        completion_tokens = 5

        @property
        def total_tokens(self) -> int:
            raise RuntimeError("not fetched yet")

        prompt_tokens_details = Hostile()

    assert counts_of(read_usage(Lazy())) == {"input_tokens": 10, "output_tokens": 5}


# --- whatever comes, it holds together -----------------------------------------------


def invariants_hold(usage: TokenUsage) -> None:
    for name in COUNTS:
        value = getattr(usage, name)
        optional = name in ("reasoning_tokens", "total_tokens") and value is None
        assert optional or (type(value) is int and value >= 0), name
    for part, whole in WHOLE_OF.items():
        assert (getattr(usage, part) or 0) <= getattr(usage, whole), part
    in_cache = usage.cached_input_tokens + usage.cache_write_input_tokens
    assert in_cache <= usage.input_tokens
    assert usage.uncached_input_tokens >= 0
    assert all(type(repair) is str for repair in usage.repairs)
    assert len(usage.repairs) <= 40


NAMES = sorted(
    {key for dialect in DIALECTS for path, _ in leaves(dialect.shape) for key in path}
    | {"modality", "type", "seconds"}
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(0, 1000),
    st.integers(),
    st.floats(),
    st.floats(0, 1000).map(round).map(float),
    st.integers(0, 1000).map(str),
    st.text(max_size=5),
    st.sampled_from(["AUDIO", "IMAGE", "image"]),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    mappings = st.dictionaries(st.sampled_from(NAMES), inner, max_size=12)
    objects = mappings.map(lambda items: SimpleNamespace(**items))
    return st.one_of(mappings, objects, st.lists(inner, max_size=3))


@given(nested(st.recursive(values, nested, max_leaves=12)))
@example(chat(3, 4, 5, reasoning=10**9, cached=10**9))
def test_anything_nested_is_read_without_an_error_and_holds_together(usage: object) -> None:
    result = read_usage(usage)
    if result is not None:
        invariants_hold(result)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(data=st.data())
def test_any_counts_in_the_places_of_a_dialect_hold_together(
    dialect: Dialect, data: st.DataObject
) -> None:
    def drawn(shape: Shape) -> JsonObject:
        keys = data.draw(st.sets(st.sampled_from(sorted(shape))))
        return {
            key: data.draw(values) if isinstance(inner, str) else drawn(inner)
            for key, inner in shape.items()
            if key in keys
        }

    result = read_usage(drawn(dialect.shape))
    if result is not None:
        invariants_hold(result)


# Mostly plain counts that may agree, in any order, and now and then something else.
small_counts = st.one_of(st.integers(0, 3), st.integers(0, 3), st.none(), values)


@given(
    st.dictionaries(
        st.sampled_from(NAMES),
        st.one_of(small_counts, st.dictionaries(st.sampled_from(NAMES), small_counts, max_size=4)),
        max_size=8,
    )
)
@example(chat(3, 4, 7, cached=2, reasoning=4) | {"cached_tokens": 3})
@example({"cached_tokens": 3, **chat(3, 4, 7, cached=2)})
@example({"promptTokenCount": 1, "candidatesTokenCount": 1, "toolUsePromptTokenCount": 2})
@example({"output_tokens": 3, "input_tokens": 0, **chat(3, 4, 7)})
def test_what_is_read_in_one_pass_is_what_the_order_of_the_table_gives(usage: JsonObject) -> None:
    """Only plain dicts are read in one pass, where nothing is wrong with them."""
    assert repr(read_usage(usage)) == repr(read_usage(MappingProxyType(usage)))


odd_objects = st.one_of(
    st.dates(),
    st.uuids(),
    st.binary(),
    st.decimals(),
    st.fractions(),
    st.complex_numbers(),
    st.functions(),
    st.sets(st.integers()),
    st.iterables(st.integers()),
)


@given(odd_objects, st.sampled_from(DIALECTS))
def test_odd_objects_are_read_without_an_error(thing: object, dialect: Dialect) -> None:
    assert read_usage(thing) is None
    result = read_usage(dict.fromkeys(dialect.shape, thing))
    if result is not None:
        invariants_hold(result)


@given(
    prompt=st.integers(0, MAX_TOKENS),
    completion=st.integers(0, MAX_TOKENS),
    cached=st.floats(0, 1),
    reasoning=st.floats(0, 1),
)
def test_counts_that_agree_are_read_unchanged(
    prompt: int, completion: int, cached: float, reasoning: float
) -> None:
    in_cache, thought = int(prompt * cached), int(completion * reasoning)
    total = prompt + completion
    # A total over the bound of one count is as unusable as a count over it.
    usage = read(
        chat(
            prompt,
            completion,
            total if total <= MAX_TOKENS else None,
            cached=in_cache,
            reasoning=thought,
        )
    )
    assert usage.repairs == ()
    assert usage.input_tokens == prompt
    assert usage.output_tokens == completion
    assert usage.cached_input_tokens == in_cache
    assert usage.reasoning_tokens == thought


# --- all recorded usage objects ------------------------------------------------------


def number(usage: JsonObject, *path: str) -> int:
    value: Any = usage
    for key in path:
        value = (value or {}).get(key)
    return value or 0


Counts = tuple[int, int, int, int, int]  # input, cached, written, output, reasoning


def openai_counts(u: JsonObject) -> Counts:
    if "prompt_tokens" in u:
        inputs, outputs, before, after = "prompt", "completion", "prompt", "completion"
    else:
        inputs, outputs, before, after = "input", "output", "input", "output"
    cached = (
        number(u, f"{before}_tokens_details", "cached_tokens")
        + number(u, "num_cached_tokens")
        + number(u, "cached_tokens")
    )
    return (
        u[f"{inputs}_tokens"],
        cached,
        number(u, f"{before}_tokens_details", "cache_write_tokens"),
        number(u, f"{outputs}_tokens"),
        number(u, f"{after}_tokens_details", "reasoning_tokens"),
    )


def anthropic_counts(u: JsonObject) -> Counts:
    cached, written = (
        number(u, "cache_read_input_tokens"),
        number(u, "cache_creation_input_tokens"),
    )
    thought = number(u, "output_tokens_details", "thinking_tokens")
    return (
        number(u, "input_tokens") + cached + written,
        cached,
        written,
        number(u, "output_tokens"),
        thought,
    )


def gemini_counts(u: JsonObject) -> Counts:
    thought = number(u, "thoughtsTokenCount")
    inputs = number(u, "promptTokenCount") + number(u, "toolUsePromptTokenCount")
    outputs = number(u, "candidatesTokenCount") + thought
    if "totalTokenCount" in u:
        assert u["totalTokenCount"] == inputs + outputs
    return inputs, number(u, "cachedContentTokenCount"), 0, outputs, thought


def interactions_counts(u: JsonObject) -> Counts:
    thought = u["total_thought_tokens"]
    return (
        u["total_tokens"] - u["total_output_tokens"] - thought,
        u["total_cached_tokens"],
        0,
        u["total_output_tokens"] + thought,
        thought,
    )


def bedrock_counts(u: JsonObject) -> Counts:
    cached, written = (
        max(number(u, f"cache{kind}InputTokens"), number(u, f"cache{kind}InputTokenCount"))
        for kind in ("Read", "Write")
    )
    outputs = number(u, "outputTokens")
    # Where there is a total it has all of the input in it.
    inputs = u["totalTokens"] - outputs if "totalTokens" in u else u["inputTokens"]
    return inputs, cached, written, outputs, 0


def cohere_counts(u: JsonObject) -> Counts:
    return u["tokens"]["input_tokens"], u["cached_tokens"], 0, u["tokens"]["output_tokens"], 0


def voyage_counts(u: JsonObject) -> Counts:
    return u["total_tokens"], 0, 0, 0, 0


def no_counts(u: JsonObject) -> None:
    assert not any("token" in key.lower() for key in u)


PROVIDERS: tuple[tuple[str, Callable[[JsonObject], bool], Callable[..., Counts | None]], ...] = (
    ("no tokens", lambda r: not any("oken" in key for key in r["usage"]), no_counts),
    ("gemini", lambda r: r["usage_key"] == "usageMetadata", gemini_counts),
    ("interactions", lambda r: r["path"].endswith("/interactions"), interactions_counts),
    ("cohere", lambda r: r["host"] == "api.cohere.com", cohere_counts),
    ("voyage", lambda r: r["host"] == "api.voyageai.com", voyage_counts),
    ("bedrock", lambda r: "inputTokens" in r["usage"], bedrock_counts),
    ("openai", lambda r: "prompt_tokens" in r["usage"], openai_counts),
    ("openai", lambda r: "input_tokens_details" in r["usage"], openai_counts),
    ("anthropic", lambda r: "output_tokens" in r["usage"], anthropic_counts),
)


def outcome(usage: object) -> tuple[str, Counts | None]:
    """How reading went, and what came of it."""
    result = read_usage(usage)
    if result is None:
        return "rejected", None
    invariants_hold(result)
    return "repaired" if result.repairs else "unrepaired", (
        result.input_tokens,
        result.cached_input_tokens,
        result.cache_write_input_tokens,
        result.output_tokens,
        result.reasoning_tokens or 0,
    )


def test_all_recorded_usage_objects_are_read_as_their_provider_means_them() -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    for row in shared_lines("usage/usage_objects.jsonl"):
        provider, _, counts = next(entry for entry in PROVIDERS if entry[1](row))
        how, got = outcome(row["usage"])
        assert got == counts(row["usage"]), row
        outcomes[provider, how] += 1
    sys.stdout.write(f"\nrecorded usage objects: {dict(outcomes)}\n")
    assert outcomes == {
        ("openai", "unrepaired"): 220,
        ("gemini", "unrepaired"): 212,
        ("gemini", "repaired"): 1,  # a stream's chunk without the prompt count
        ("anthropic", "unrepaired"): 135,
        ("anthropic", "repaired"): 12,  # a stream's message_delta: output only
        ("bedrock", "unrepaired"): 82,
        ("bedrock", "repaired"): 1,  # input only
        ("cohere", "unrepaired"): 9,
        ("voyage", "unrepaired"): 4,
        ("interactions", "unrepaired"): 2,
        ("no tokens", "rejected"): 3,  # two guardrails in units, a vector store's reads
    }
    ways = Counter(how for _, how in outcomes.elements())
    assert ways == {"unrepaired": 664, "repaired": 14, "rejected": 3}


def test_all_usage_in_the_recorded_exchanges_is_read_without_repair() -> None:
    outcomes: Counter[str] = Counter()
    for row in shared_lines("cassettes/index.jsonl"):
        if row["usage"] is None:
            assert read_usage(row["usage"]) is None
            continue
        how, got = outcome(row["usage"])
        assert got == openai_counts(row["usage"]), row["id"]
        outcomes[how] += 1
    sys.stdout.write(f"\nusage in recorded exchanges: {dict(outcomes)}\n")
    assert outcomes == {"unrepaired": 673}


@pytest.mark.parametrize("name", ["prompt_tokens", "input_tokens"])
def test_a_total_alone_is_the_input_where_the_counts_beside_it_are_empty(name: str) -> None:
    usage = read_usage({name: None, "total_tokens": 7})
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.dialect) == (7, 0, "total-only")
