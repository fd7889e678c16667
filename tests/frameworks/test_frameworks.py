"""Through frameworks: each inference is one record, and the framework never notices.

Each way through a framework is run untracked first; tracked, it must give the same and send
the same. A framework that is not installed is skipped; they do not go together in one
environment, hence one tox environment for each.
"""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import count
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from energy_tracking import (
    CallRecord,
    instrument_openai,
    track_energy,
    uninstrument_openai,
    wrap_openai,
)
from energy_tracking.demo.server import Reply, Request
from energy_tracking.lifecycle import open_calls, run_deferred
from loopback import (
    DONE,
    Body,
    Loopback,
    chat_chunks,
    chat_completion,
    embedding,
    json_reply,
    response_events,
    response_object,
    sse,
)

pytestmark = [
    pytest.mark.frameworks,
    # Frameworks warn of what they will change; that is not ours to fail for.
    pytest.mark.filterwarnings("ignore"),
]

MODEL = "gpt-4o"
EMBEDDING_MODEL = "text-embedding-3-small"
QUESTION = "Capital of Mexico?"
ANSWER = "Mexico City"
Tokens = tuple[int, int, int, int | None]
"""Input, cached input, output and reasoning."""


class City(BaseModel):
    """What structured output is asked for."""

    name: str
    population: int


CITY = {"name": ANSWER, "population": 9_209_944}


def population(name: str) -> int:
    """How many people live in a city.

    Args:
        name: Name of the city.
    """
    return CITY["population"] if name == ANSWER else 0  # type: ignore[return-value]


@dataclass
class Model:
    """What the server answers: in each request's own format, each time with other tokens.

    Attributes:
        says: In turn, a text or the arguments of a call of the first tool; the last stays.
        requests: Bodies it was asked with.
        reported: Tokens it reported, one for each inference; None where it was not asked to.
    """

    says: tuple[str | Body, ...]
    requests: list[Body] = field(default_factory=list)
    reported: list[Tokens | None] = field(default_factory=list)
    _number: count[int] = field(default_factory=lambda: count(1))

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        number, asked = next(self._number), dict(request.json)
        said = self.says[min(number, len(self.says)) - 1]
        self.requests.append(asked)
        tokens = (100 * number, 7 * number, 10 * number + 1, number)
        if request.path.endswith("/embeddings"):
            self.reported.append((100 * number, 0, 0, None))
            return json_reply(embedding(tokens=100 * number))
        streamed = bool(asked.get("stream"))
        if request.path.endswith("/responses"):
            self.reported.append(tokens)
            reported = _usage(tokens, "input_tokens", "output_tokens")
            return _responses_reply(asked, said, reported, streamed)
        asks = not streamed or (asked.get("stream_options") or {}).get("include_usage")
        self.reported.append(tokens if asks else None)
        usage = _usage(tokens, "prompt_tokens", "completion_tokens") if asks else None
        return _chat_reply(asked, said, usage, streamed)


def _usage(tokens: Tokens, of_input: str, of_output: str) -> Body:
    inputs, cached, outputs, reasoning = tokens
    return {
        of_input: inputs,
        of_output: outputs,
        "total_tokens": inputs + outputs,
        f"{of_input}_details": {"cached_tokens": cached},
        f"{of_output}_details": {"reasoning_tokens": reasoning},
    }


def _chat_reply(asked: Body, said: str | Body, usage: Body | None, streamed: bool) -> Reply:
    if isinstance(said, str):
        if not streamed:
            return json_reply(chat_completion(said, usage=usage))
        half = len(said) // 2
        return sse(*chat_chunks(said[:half], said[half:], usage=usage), DONE)
    function = {"name": asked["tools"][0]["function"]["name"], "arguments": json.dumps(said)}
    tool_call = {"index": 0, "id": "call_1", "type": "function", "function": function}
    if streamed:
        chunks = chat_chunks("", usage=usage, finish_reason="tool_calls")
        chunks[1]["choices"][0]["delta"] = {"tool_calls": [tool_call]}
        return sse(*chunks, DONE)
    body = chat_completion(None, usage=usage, finish_reason="tool_calls")
    body["choices"][0]["message"]["tool_calls"] = [tool_call]
    return json_reply(body)


def _responses_reply(asked: Body, said: str | Body, usage: Body, streamed: bool) -> Reply:
    if isinstance(said, str):
        if not streamed:
            return json_reply(response_object(said, usage=usage))
        half = len(said) // 2
        return sse(*response_events(said[:half], said[half:], usage=usage))
    item = {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": asked["tools"][0]["name"],
        "arguments": json.dumps(said),
        "status": "completed",
    }
    if not streamed:
        return json_reply(response_object(usage=usage) | {"output": [item]})
    created, *_, completed = response_events(usage=usage)
    completed["response"]["output"] = [item]
    at: Body = {"output_index": 0, "item_id": "fc_1"}
    arguments = item["arguments"]
    events = [
        created,
        at | {"type": "response.output_item.added", "item": item | {"arguments": ""}},
        at | {"type": "response.function_call_arguments.delta", "delta": arguments},
        at | {"type": "response.function_call_arguments.done", "arguments": arguments},
        at | {"type": "response.output_item.done", "item": item},
        completed,
    ]
    return sse(*(event | {"sequence_number": n} for n, event in enumerate(events)))


@dataclass(frozen=True)
class Server:
    """Where a way is to ask, and what it is to do with each client before it asks."""

    base_url: str
    track: Callable[[Any], Any]

    @property
    def address(self) -> dict[str, Any]:
        """Arguments of a client."""
        return {"base_url": self.base_url, "api_key": "none", "max_retries": 0}

    def client(self) -> Any:
        """A sync client."""
        return self.track(openai.OpenAI(**self.address))

    def async_client(self) -> Any:
        """An async client."""
        return self.track(openai.AsyncOpenAI(**self.address))


@dataclass(frozen=True)
class Way:
    """One way through a framework.

    Attributes:
        run: Asks, and returns what the framework gives.
        says: What the model says.
        wraps: Whether the way has a client that can be wrapped, rather than one the
            framework makes and keeps.
    """

    run: Callable[[Server], Any]
    says: tuple[str | Body, ...] = (ANSWER,)
    wraps: bool = True


# --- openai-agents ---------------------------------------------------------------------


def _agent(server: Server, model_class: str) -> Any:
    agents = import_module("agents")
    agents.set_tracing_disabled(True)
    model = getattr(agents, model_class)(model=MODEL, openai_client=server.async_client())
    return agents.Agent(name="guide", model=model, tools=[agents.function_tool(population)])


def _agents_run(model_class: str) -> Callable[[Server], Any]:
    async def run(server: Server) -> Any:
        agents = import_module("agents")
        result = await agents.Runner.run(_agent(server, model_class), QUESTION)
        return [result.final_output, result.to_input_list(), _agents_usage(result)]

    return run


def _agents_run_streamed(model_class: str) -> Callable[[Server], Any]:
    async def run(server: Server) -> Any:
        agents = import_module("agents")
        result = agents.Runner.run_streamed(_agent(server, model_class), QUESTION)
        events = [event.type async for event in result.stream_events()]
        return [result.final_output, result.to_input_list(), _agents_usage(result), events]

    return run


def _agents_usage(result: Any) -> list[Any]:
    return [response.usage for response in result.raw_responses]


_TOOL_TURN: tuple[str | Body, ...] = ({"name": ANSWER}, ANSWER)
AGENTS = {
    f"{run.__name__.removeprefix('_agents_')} {model_class}": Way(run(model_class), _TOOL_TURN)
    for run in (_agents_run, _agents_run_streamed)
    for model_class in ("OpenAIChatCompletionsModel", "OpenAIResponsesModel")
}


# --- langchain-openai ------------------------------------------------------------------


def _chat_openai(server: Server, **options: Any) -> Any:
    llm = import_module("langchain_openai").ChatOpenAI(model=MODEL, **server.address, **options)
    server.track(llm.root_client)
    server.track(llm.root_async_client)
    return llm


def _embeddings(server: Server) -> Any:
    langchain_openai = import_module("langchain_openai")
    # Else it counts the tokens first, with a table it would have to download.
    options = {"check_embedding_ctx_length": False}
    made = langchain_openai.OpenAIEmbeddings(model=EMBEDDING_MODEL, **server.address, **options)
    # It keeps the two resources only.
    server.track(made.client._client)
    server.track(made.async_client._client)
    return made


async def _astream(llm: Any) -> Any:
    return [chunk async for chunk in llm.astream(QUESTION)]


LANGCHAIN = {
    "invoke": Way(lambda server: _chat_openai(server).invoke(QUESTION)),
    "ainvoke": Way(lambda server: _chat_openai(server).ainvoke(QUESTION)),
    "batch": Way(lambda server: len(_chat_openai(server).batch([QUESTION] * 3))),
    "stream": Way(lambda server: list(_chat_openai(server, stream_usage=False).stream(QUESTION))),
    "stream stream_usage": Way(
        lambda server: list(_chat_openai(server, stream_usage=True).stream(QUESTION))
    ),
    "astream": Way(lambda server: _astream(_chat_openai(server, stream_usage=True))),
    "include_response_headers": Way(
        lambda server: _chat_openai(server, include_response_headers=True).invoke(QUESTION).content
    ),
    "stream include_response_headers": Way(
        lambda server: [
            chunk.content
            for chunk in _chat_openai(server, include_response_headers=True).stream(QUESTION)
        ]
    ),
    "bind_tools": Way(
        lambda server: _chat_openai(server).bind_tools([population]).invoke(QUESTION),
        ({"name": ANSWER},),
    ),
    "with_structured_output": Way(
        lambda server: _chat_openai(server).with_structured_output(City).invoke(QUESTION),
        (json.dumps(CITY),),
    ),
    "with_structured_output function_calling": Way(
        lambda server: (
            _chat_openai(server)
            .with_structured_output(City, method="function_calling")
            .invoke(QUESTION)
        ),
        (CITY,),
    ),
    "responses invoke": Way(
        lambda server: _chat_openai(server, use_responses_api=True).invoke(QUESTION)
    ),
    "responses stream": Way(
        lambda server: list(_chat_openai(server, use_responses_api=True).stream(QUESTION))
    ),
    "embed_query": Way(lambda server: _embeddings(server).embed_query(QUESTION)),
    "aembed_query": Way(lambda server: _embeddings(server).aembed_query(QUESTION)),
}


# --- instructor ------------------------------------------------------------------------

_ASK_CITY = {"model": MODEL, "messages": [{"role": "user", "content": QUESTION}]}


def _instructor(server: Server, client: str = "client", mode: str = "TOOLS") -> Any:
    instructor = import_module("instructor")
    return instructor.from_openai(getattr(server, client)(), mode=instructor.Mode[mode])


def _wrapped_afterwards(server: Server) -> Any:
    instructor = import_module("instructor")
    client = openai.OpenAI(**server.address)
    made = instructor.from_openai(client)
    server.track(client)
    return made.create(response_model=City, **_ASK_CITY)


async def _apartial(server: Server) -> Any:
    stream = _instructor(server, "async_client").create_partial(response_model=City, **_ASK_CITY)
    return [part async for part in stream]


INSTRUCTOR = {
    "create": Way(
        lambda server: _instructor(server).create(response_model=City, **_ASK_CITY), (CITY,)
    ),
    "create async": Way(
        lambda server: _instructor(server, "async_client").create(response_model=City, **_ASK_CITY),
        (CITY,),
    ),
    "create JSON": Way(
        lambda server: _instructor(server, mode="JSON").create(response_model=City, **_ASK_CITY),
        (json.dumps(CITY),),
    ),
    "create_with_completion": Way(
        lambda server: _instructor(server).create_with_completion(response_model=City, **_ASK_CITY),
        (CITY,),
    ),
    # An answer that does not fit is asked for again: each is an inference.
    "validation retries": Way(
        lambda server: _instructor(server).create(response_model=City, max_retries=3, **_ASK_CITY),
        ({"name": ANSWER}, {"name": ANSWER, "population": "many"}, CITY),
    ),
    "create_partial": Way(
        lambda server: list(_instructor(server).create_partial(response_model=City, **_ASK_CITY)),
        (CITY,),
    ),
    "create_partial async": Way(_apartial, (CITY,)),
    "client wrapped after from_openai": Way(_wrapped_afterwards, (CITY,)),
}


# --- litellm, where it uses the SDK -----------------------------------------------------


def _litellm(function: str, client: str | None, **arguments: Any) -> Callable[[Server], Any]:
    def run(server: Server) -> Any:
        litellm = import_module("litellm")
        where = {"api_base": server.base_url, "api_key": "none", "max_retries": 0}
        with_client = {} if client is None else {"client": getattr(server, client)()}
        asked = {"model": f"openai/{MODEL}"} | arguments
        if "input" not in asked:
            asked["messages"] = _ASK_CITY["messages"]
        return getattr(litellm, function)(**asked, **where, **with_client)

    return run


def _streamed(run: Callable[[Server], Any]) -> Callable[[Server], Any]:
    return lambda server: list(run(server))


def _astreamed(run: Callable[[Server], Any]) -> Callable[[Server], Any]:
    async def read(server: Server) -> Any:
        return [chunk async for chunk in await run(server)]

    return read


_EMBED = {"model": f"openai/{EMBEDDING_MODEL}", "input": [QUESTION]}
LITELLM = {
    "completion": Way(_litellm("completion", "client")),
    "completion stream": Way(_streamed(_litellm("completion", "client", stream=True))),
    "acompletion": Way(_litellm("acompletion", "async_client")),
    "acompletion stream": Way(_astreamed(_litellm("acompletion", "async_client", stream=True))),
    "embedding": Way(_litellm("embedding", "client", **_EMBED)),
    "aembedding": Way(_litellm("aembedding", "async_client", **_EMBED)),
    "completion own client": Way(_litellm("completion", None), wraps=False),
    "acompletion own client": Way(_litellm("acompletion", None), wraps=False),
    "completion stream own client": Way(
        _streamed(_litellm("completion", None, stream=True)), wraps=False
    ),
}


# --- pydantic-ai -----------------------------------------------------------------------


def _pydantic_agent(server: Server, model_class: str, **options: Any) -> Any:
    providers = import_module("pydantic_ai.providers.openai")
    provider = providers.OpenAIProvider(openai_client=server.async_client())
    models = import_module("pydantic_ai.models.openai")
    model = getattr(models, model_class)(MODEL, provider=provider)
    return import_module("pydantic_ai").Agent(model, tools=[population], **options)


def _pydantic_run(model_class: str) -> Callable[[Server], Any]:
    async def run(server: Server) -> Any:
        return await _pydantic_agent(server, model_class).run(QUESTION)

    return run


def _pydantic_run_sync(model_class: str) -> Callable[[Server], Any]:
    return lambda server: _pydantic_agent(server, model_class).run_sync(QUESTION)


def _pydantic_run_stream(model_class: str) -> Callable[[Server], Any]:
    async def run(server: Server) -> Any:
        async with _pydantic_agent(server, model_class).run_stream(QUESTION) as result:
            texts = [text async for text in result.stream_text(debounce_by=None)]
        return [texts, result.all_messages()]

    return run


async def _pydantic_structured(server: Server) -> Any:
    output = import_module("pydantic_ai").NativeOutput(City)
    agent = _pydantic_agent(server, "OpenAIChatModel", output_type=output)
    return await agent.run(QUESTION)


PYDANTIC_AI = {
    f"{run.__name__.removeprefix('_pydantic_')} {model_class}": Way(run(model_class), _TOOL_TURN)
    for run in (_pydantic_run, _pydantic_run_sync, _pydantic_run_stream)
    for model_class in ("OpenAIChatModel", "OpenAIResponsesModel")
} | {"structured": Way(_pydantic_structured, (json.dumps(CITY),))}


# --- each of them, tracked in every way -------------------------------------------------

# Framework -> what it is imported as, and the ways through it.
FRAMEWORKS: dict[str, tuple[str, dict[str, Way]]] = {
    "openai-agents": ("agents", AGENTS),
    "langchain-openai": ("langchain_openai", LANGCHAIN),
    "instructor": ("instructor", INSTRUCTOR),
    "litellm": ("litellm", LITELLM),
    "pydantic-ai": ("pydantic_ai", PYDANTIC_AI),
}


@dataclass(frozen=True)
class Tracking:
    """One way to have calls tracked."""

    wraps: bool = False
    instruments: bool = False
    decorates: bool = False
    include_usage: str = "auto"


TRACKINGS = {
    "wrap_openai": Tracking(wraps=True),
    "instrument_openai": Tracking(instruments=True),
    "both": Tracking(wraps=True, instruments=True),
    "decorated too": Tracking(instruments=True, decorates=True),
    "asking for usage": Tracking(instruments=True, include_usage="always"),
}


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.Runner]:
    # One for all: frameworks keep HTTP clients for as long as the process lives.
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    # litellm would download its price list.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")


@pytest.mark.parametrize("tracking", TRACKINGS.values(), ids=TRACKINGS.keys())
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(
            way,
            id=f"{framework}: {name}",
            marks=pytest.mark.skipif(
                find_spec(module) is None, reason=f"{framework} is not installed"
            ),
        )
        for framework, (module, ways) in FRAMEWORKS.items()
        for name, way in ways.items()
    ],
)
def test_each_inference_is_one_record_and_the_framework_never_notices(
    way: Way, tracking: Tracking, loopback: Loopback, loop: asyncio.Runner
) -> None:
    if tracking.wraps and not way.wraps:
        pytest.skip("the framework makes the client itself")

    def ask(track: Callable[[Any], Any]) -> Any:
        result = way.run(Server(loopback.base_url, track))
        return loop.run(result) if inspect.iscoroutine(result) else result

    untracked = Model(way.says)
    loopback.serve(untracked)
    expected = ask(_untracked)

    records: list[CallRecord] = []
    errors: list[tuple[str, Exception]] = []
    arguments: dict[str, Any] = {
        "on_record": records.append,
        "on_error": lambda where, error: errors.append((where, error)),
        "include_usage": tracking.include_usage,
    }
    model = Model(way.says)
    loopback.serve(model)
    if tracking.instruments:
        instrument_openai(**arguments)
    try:
        track = partial(wrap_openai, **arguments) if tracking.wraps else _untracked
        result = (track_energy(ask) if tracking.decorates else ask)(track)
    finally:
        uninstrument_openai()
    gc.collect()
    run_deferred()

    assert errors == []
    assert not open_calls
    assert _seen(result) == _seen(expected)
    if tracking.include_usage == "auto":
        assert model.requests == untracked.requests
    else:
        assert None not in model.reported
    assert sorted(map(_tokens, records), key=str) == sorted(model.reported, key=str)


def _untracked(client: Any) -> Any:
    return client


def _tokens(record: CallRecord) -> Tokens | None:
    """What a record has of the tokens; None where it had to estimate them."""
    usage = record.usage
    assert usage is not None
    if usage.estimated:
        return None
    return (
        usage.input_tokens,
        usage.cached_input_tokens,
        usage.output_tokens,
        usage.reasoning_tokens,
    )


# Made up anew with every run.
_OWN_IDS = ("id", "run_id", "conversation_id", "timestamp", "created", "duration", "metadata")


def _seen(result: Any) -> Any:
    """What the framework gave, type by type, less what it makes up itself."""
    if isinstance(result, list | tuple):
        return [_seen(item) for item in result]
    if isinstance(result, dict):
        return {name: _seen(value) for name, value in result.items() if name not in _OWN_IDS}
    fields = getattr(type(result), "model_fields", None) or getattr(
        type(result), "__dataclass_fields__", None
    )
    if fields is None:
        return result
    named = ((name, getattr(result, name, None)) for name in fields)
    # By name: instructor makes subclasses of the model it is given.
    return type(result).__qualname__, _seen(dict(named))
