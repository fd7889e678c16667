"""Where each API keeps its endpoint, provider, usage, identity and text."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_tracking.usage.endpoints import ENDPOINTS, endpoint_of, provider_of
from energy_tracking.usage.measured_energy import (
    joules_from,
    measured_energy_in,
    measured_energy_in_headers,
    read_energy,
)
from energy_tracking.usage.payloads import identity_in, response_facts, tool_usage_in
from energy_tracking.usage.prompt_text import count_prompt
from energy_tracking.usage.text import generated_tokens
from energy_tracking.usage.usage_paths import EVERY, USAGE_PATHS, unwrap_event, usage_in

USAGE = {"prompt_tokens": 1, "completion_tokens": 2}

# --- what is counted -------------------------------------------------------------------

PREFIXES = ("", "/openai", "/openai/deployments/gpt-4o", "https://host/openai/v1")


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("suffix", ["", "/", "?api-version=2024-10-21", "?beta=true"])
@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.path)
@pytest.mark.parametrize("method", ["post", "POST"])
def test_a_post_to_an_inference_endpoint_is_counted(
    prefix: str, suffix: str, endpoint: Any, method: str
) -> None:
    assert endpoint_of(method, prefix + endpoint.path + suffix) is endpoint


FETCHES = [
    ("get", "/responses/resp_1"),
    ("get", "/chat/completions"),
    ("get", "/chat/completions/chatcmpl-1"),
    ("post", "/chat/completions/chatcmpl-1"),
    ("post", "/responses/resp_1/cancel"),
    ("delete", "/responses/resp_1"),
    ("post", "/responses/input_tokens"),
    ("get", "/models"),
    ("post", "/batches"),
    ("get", "/batches/batch_1"),
    ("post", "/files"),
    ("post", "/threads/thread_1/runs"),
    ("post", "/evals/eval_1/runs"),
    ("post", "/fine_tuning/jobs"),
    ("post", "/conversations"),
    ("post", "/vector_stores"),
    ("get", "/videos/video_1"),
    ("post", "/videos/characters"),
    ("post", "/agents/sessions"),
    ("post", "/agents/sessions/session_1/events"),
    ("post", "/fine_tuning/alpha/graders/run"),
    ("post", "/uploads/u/completions2"),
]


@pytest.mark.parametrize(("method", "path"), FETCHES)
def test_what_fetches_lists_or_manages_is_not_counted(method: str, path: str) -> None:
    assert endpoint_of(method, path) is None


def test_only_chat_and_legacy_completions_know_the_stream_option() -> None:
    asked = {endpoint.path for endpoint in ENDPOINTS if endpoint.stream_options}
    assert asked == {"/chat/completions", "/completions"}


HOSTS = [
    ("api.openai.com", "openai"),
    ("mine.openai.azure.com", "azure.ai.openai"),
    ("mine.cognitiveservices.azure.com", "azure.ai.openai"),
    ("mine.openai.azure.us", "azure.ai.openai"),
    ("mine.cognitiveservices.azure.cn", "azure.ai.openai"),
    ("mine.services.ai.azure.com", "azure.ai.inference"),
    ("mine.openai.azure.com.example.org", "openai"),
    ("api.x.ai", "x_ai"),
    ("europe-west4-aiplatform.googleapis.com", "gcp.vertex_ai"),
    ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
    ("bedrock-mantle.eu-central-1.api.aws", "aws.bedrock"),
    ("mine.elb.us-east-1.amazonaws.com", "openai"),
    ("127.0.0.1", "openai"),
    ("notapi.x.ai", "openai"),
    ("api.x.ai.example.org", "openai"),
]


@pytest.mark.parametrize(("host", "provider"), HOSTS)
def test_the_provider_is_known_by_its_host(host: str, provider: str) -> None:
    assert provider_of(host, default="openai") == provider


@pytest.mark.parametrize("cloud", ["com", "us", "cn"])
@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/openai/v1/chat/completions", "azure.ai.openai"),
        ("/OpenAI/v1/responses", "azure.ai.openai"),
        ("/openai/deployments/mine/chat/completions", "azure.ai.openai"),
        ("/api/projects/mine/openai/v1/responses", "azure.ai.openai"),
        ("/models/chat/completions", "azure.ai.inference"),
    ],
)
def test_the_provider_of_a_host_with_two_apis_is_known_by_the_path(
    cloud: str, path: str, provider: str
) -> None:
    assert provider_of(f"mine.services.ai.azure.{cloud}", "openai", path) == provider


# --- usage and identity ----------------------------------------------------------------


@pytest.mark.parametrize("path", USAGE_PATHS, ids=str)
def test_a_usage_is_found_wherever_it_may_lie(path: tuple[str, ...]) -> None:
    body: Any = USAGE
    for key in reversed(path):
        body = [None, {}, body] if key == EVERY else {key: body}
    assert usage_in(body) is USAGE


def test_a_null_usage_hides_none_that_lies_elsewhere() -> None:
    assert usage_in({"usage": None, "x_groq": {"usage": USAGE}}) is USAGE
    assert usage_in({"usage": None, "choices": []}) is None


@pytest.mark.parametrize(
    ("data", "is_wrapped"),
    [
        ({"event": "error", "data": {"code": 500}}, True),
        ({"event": "image_generation.completed", "data": {"usage": USAGE}}, True),
        ({"event": "error", "data": "text"}, False),
        ({"data": {"usage": USAGE}}, False),
        ({"event": {}, "data": {"usage": USAGE}}, False),
        ({"object": "list", "data": [{"embedding": []}], "event": "done"}, False),
    ],
)
def test_an_event_that_the_sdk_has_wrapped_is_unwrapped(
    data: dict[str, Any], is_wrapped: bool
) -> None:
    assert unwrap_event(data) is (data["data"] if is_wrapped else data)


IDENTITIES = [
    ({"id": "a", "model": "m", "status": "completed"}, ("a", "m", "completed")),
    ({"response": {"id": "a", "model": "m", "status": "queued"}}, ("a", "m", "queued")),
    ({"id": "", "model": ""}, (None, None, None)),
    ({"id": 7, "model": None, "status": []}, (None, None, None)),
    ({"response": "text", "model": "m"}, (None, "m", None)),
    ({}, (None, None, None)),
]


@pytest.mark.parametrize(("data", "expected"), IDENTITIES)
def test_a_body_or_event_names_id_model_and_status(data: Any, expected: object) -> None:
    assert identity_in(data) == expected


RESPONSES = [
    ({"usage": USAGE, "model": "m", "id": "a"}, ("m", "a")),
    (SimpleNamespace(usage=USAGE, model="m", id="a"), ("m", "a")),
    (SimpleNamespace(usage_metadata=USAGE, model_version="m", response_id="a"), ("m", "a")),
    ({"usageMetadata": USAGE, "modelVersion": "m", "responseId": "a"}, ("m", "a")),
    ({"usage": USAGE}, (None, None)),
    (SimpleNamespace(usage=USAGE, model=SimpleNamespace(), id=7), (None, None)),
]


@pytest.mark.parametrize(("response", "expected"), RESPONSES)
def test_a_response_of_any_client_states_its_facts(response: object, expected: object) -> None:
    facts = response_facts(response)
    assert facts is not None
    assert facts.usage is USAGE
    assert (facts.model, facts.response_id) == expected


@pytest.mark.parametrize("thing", [None, 1, "text", {}, {"usage": None}, [USAGE],
                                   SimpleNamespace(usage=lambda: USAGE)])  # fmt: skip
def test_what_has_no_usage_is_no_response(thing: object) -> None:
    assert response_facts(thing) is None


# --- anything at all -------------------------------------------------------------------

KEYS = st.sampled_from(
    [
        *("usage", "response", "choices", "delta", "message", "content", "output", "text"),
        *("id", "model", "status", "tool_calls", "function", "arguments", "data", "type"),
        *("tool_usage", "image_gen", "svg_usage", "tools", "total_tokens"),
        *("item", "messages", "input", "prompt", "role", "parameters", "properties", "enum"),
        *("response_format", "json_schema", "schema", "function_call", "format", "image_url"),
    ]
)
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
ANYTHING = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5)
)


@given(st.dictionaries(KEYS, ANYTHING, max_size=6))
def test_no_body_of_any_shape_makes_reading_it_raise(data: dict[str, Any]) -> None:
    usage_in(data)
    assert generated_tokens({"type": "response.output_item.done", "item": data}) >= 0
    assert generated_tokens({"type": "response.output_item.added", "item": data}) >= 0
    assert count_prompt({"tools": [data], "input": [data], "functions": [data]}).text_tokens >= 0
    assert all(part is None or isinstance(part, str) for part in identity_in(data))
    assert generated_tokens(data) >= 0
    assert count_prompt(data).text_tokens >= 0
    response_facts(data)
    assert all(tool.usage for tool in tool_usage_in(data))


# --- measured energy -------------------------------------------------------------------

NO_ENERGY = [-1.0, -1e-9, math.nan, math.inf, -math.inf, 1.0001e12, 10**400, "25", True, [25]]
ENERGY = [0, 25, 25.5, 1e12, Fraction(51, 2), numpy.float32(2), numpy.int8(3)]


@pytest.mark.parametrize("value", [*NO_ENERGY, None, 1j, Decimal("25")])
def test_a_number_from_outside_that_is_no_energy_is_none(value: object) -> None:
    assert joules_from(value) is None


@pytest.mark.parametrize("value", ENERGY)
def test_a_number_from_outside_that_is_an_energy_is_in_joules(value: Any) -> None:
    assert joules_from(value) == float(value)
    assert type(joules_from(value)) is float


def test_the_bound_of_an_energy_is_in_joules_whatever_its_unit() -> None:
    # 1e12 J are 277,777.8 kWh.
    assert measured_energy_in({"energy": {"kwh": 277_777.0}}) == pytest.approx(1e12, rel=1e-5)
    assert measured_energy_in({"energy": {"kwh": 277_778.0}}) is None
    assert measured_energy_in({"energy_kwh": 1e12}) is None
    assert measured_energy_in({"energy_wh": 1e12}) is None


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.completed", "response": {"usage": {"energy_joules": 5.0}}},
        {"type": "response.completed", "response": {"usage": {"energy": {"joules": 5.0}}}},
        {"type": "response.completed", "response": {"energy": {"total_joules": 5.0}, "usage": {}}},
        {"type": "response.completed", "response": {"energy_joules": 5.0}},
        {"type": "response.done", "response": {"usage": {"energy_wh": 5 / 3600}}},
        {"usage": {"energy_joules": 5.0}},
        {"energy": {"energy_joules": 5.0}},
        {"energy_joules": 5.0},
        {"x_groq": {"usage": {"energy_joules": 5.0}}},
        {"choices": [{"usage": {"energy_joules": 5.0}}]},
        {"data": {"usage": {"energy_joules": 5.0}}},
    ],
)
def test_measured_energy_is_found_wherever_a_usage_is(event: dict[str, Any]) -> None:
    assert measured_energy_in(event) == pytest.approx(5.0)
    assert read_energy(event)[1] is None


@pytest.mark.parametrize("value", NO_ENERGY)
def test_a_measured_energy_that_is_none_is_named(value: object) -> None:
    event = {"type": "response.completed", "response": {"usage": {"energy_kwh": value}}}
    assert measured_energy_in(event) is None
    assert read_energy(event)[1] == "energy_kwh"


HEADERS: list[tuple[dict[str, str], float | None]] = [
    ({"x-energy-joules": "25"}, 25.0),
    ({"x-request-joules": "25", "x-total-joules": "9000"}, 25.0),
    ({"x-total-joules": "9000"}, None),
    ({"X-Energy-Total-Joules": "9000"}, None),
    ({"x-joules-cumulative": "9000", "x-joules": "25"}, 25.0),
    ({"x-accumulated-joules": "9000"}, None),
    ({"x-lifetime-energy-joules": "9000"}, None),
    ({"x-session-joules": "9000"}, None),
    ({"x-running-joules": "9000"}, None),
    ({"x-joules-since-start": "9000"}, None),
    ({"x-joules-so-far": "9000"}, None),
    ({"x-daily-joules": "9000"}, None),
    ({"x-gpu-joules-counter": "9000", "x-vllm-energy-joules": "25"}, 25.0),
    ({"x-joules-used-by-key": "9000"}, None),
    # A total of what stands beside it is the request's own.
    ({"x-total-joules": "25.5", "x-prefill-joules": "3", "x-decode-joules": "22.5"}, 25.5),
    ({"x-total-joules": "25.5", "x-prefill-joules": "3", "x-decode-joules": "20"}, 20.0),
    ({"x-energy-joules": "25", "x-joules_per_token": "0.3"}, 25.0),
    ({"x-energy-millijoules": "25000"}, None),
    ({"x-energy-microjoules": "25000"}, None),
    ({"x-energy-megajoules": "25"}, None),
    ({"x-energy-joules": "1e13"}, None),
    ({"x-energy-joules": "inf"}, None),
    ({"x-energy-joules": "0"}, None),
]


@pytest.mark.parametrize(("headers", "joules"), HEADERS)
def test_a_header_is_of_the_request_only_by_its_name(
    headers: dict[str, str], joules: float | None
) -> None:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    assert measured_energy_in_headers(raw) == joules
