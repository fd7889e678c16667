"""The hooks on the SDK's functions: what is seen of them, and the classes that go past them."""

from __future__ import annotations

import gc
import inspect
import pydoc
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from openai._base_client import AsyncAPIClient, BaseClient, SyncAPIClient

from calls import SHAPES
from energy_tracking import (
    EnergyTrackingWarning,
    Tracker,
    instrument_openai,
    uninstrument_openai,
)
from energy_tracking.calls.record import OBSERVATION_EXTENSION
from energy_tracking.openai_client.decoded import Observation, process_data
from energy_tracking.openai_client.hooked_function import HookedFunction
from loopback import Flavour, Loopback
from observed_calls import Watch
from untracked import untrack_all

CHAT_BODY = {"id": "chatcmpl-1", "model": "gpt-4o", "usage": {"prompt_tokens": 3}}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "request": SyncAPIClient.request,
    "async request": AsyncAPIClient.request,
    "_process_response": SyncAPIClient._process_response,
    "async _process_response": AsyncAPIClient._process_response,
    "_process_response_data": BaseClient._process_response_data,
    "copy": openai.OpenAI.copy,
    "BaseClient": BaseClient.__init__,
}

VIEWS: tuple[Callable[[Any], object], ...] = (
    inspect.signature,
    inspect.getfullargspec,
    inspect.getsource,
    inspect.getsourcelines,
    inspect.getfile,
    inspect.getsourcefile,
    inspect.getdoc,
    inspect.getcomments,
    inspect.getmodule,
    inspect.iscoroutinefunction,
    inspect.unwrap,
    pydoc.render_doc,
    lambda function: inspect.getsource(function.__code__),
)


@pytest.fixture(autouse=True)
def hooks_taken_off() -> Iterator[None]:
    untrack_all()
    yield
    uninstrument_openai()
    # The classes of a test stay among the subclasses of the SDK's until then.
    gc.collect()


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
def test_what_inspect_shows_of_a_hooked_function_is_the_sdks_own(
    watch: Watch, function: Callable[..., Any]
) -> None:
    # The clients that other tests have wrapped are tracked until they are collected.
    gc.collect()
    uninstrument_openai()
    before = [view(function) for view in VIEWS]
    code = function.__code__
    instrument_openai(**watch.arguments)
    assert function.__code__ is not code
    assert [view(function) for view in VIEWS] == before


async def test_each_line_of_a_traceback_is_one_that_ran(flavour: Flavour, watch: Watch) -> None:
    """A frame in the SDK's file stands at a line of the function that it names."""
    instrument_openai(**watch.arguments)
    with pytest.raises(openai.APIConnectionError) as raised:
        await SHAPES["chat"].ask(flavour, flavour.client("http://127.0.0.1:9/v1"))
    frames = traceback.extract_tb(raised.value.__traceback__)
    base = [frame for frame in frames if frame.filename == inspect.getfile(BaseClient)]
    requests = [frame for frame in base if frame.name == "request"]
    # Where the hook is called, and where the SDK's own code runs below it.
    outer, inner = requests
    assert (outer.line or "").endswith("def request(")
    assert "def " not in (inner.line or "def ")
    ours = [frame for frame in frames if "energy_tracking" in Path(frame.filename).parts]
    # The last two where the function has other arguments, as in openai 1.66.
    assert {frame.name for frame in ours} <= {"send", "send_async", "take", "call_original"}


# --- classes that are made after the hooks were put on -------------------------------------


def derive(flavour: Flavour, test: pytest.FixtureRequest, **body: Any) -> Any:
    """A class of clients, of a name that no other test has used: each is named once."""
    base: Any = openai.AsyncOpenAI if flavour.is_async else openai.OpenAI
    return type(test.node.name, (base,), body)


def own_request(client: Any, *args: Any, **kwargs: Any) -> str:
    return "canned"


def own_init(client: Any, **options: Any) -> None:
    super(type(client), client).__init__(**options)


@pytest.mark.parametrize("body", [{}, {"__init__": own_init}], ids=["", "own init"])
@pytest.mark.parametrize("name", ["request", "post"])
def test_a_class_made_later_that_goes_past_the_hooks_is_named_with_its_first_client(
    flavour: Flavour, watch: Watch, request: pytest.FixtureRequest, body: dict[str, Any], name: str
) -> None:
    instrument_openai(**watch.arguments)
    kind = derive(flavour, request, **{name: own_request}, **body)
    with pytest.warns(EnergyTrackingWarning) as said:
        kind(api_key="none")
    (line,) = said
    assert str(line.message).startswith(f"calls of {kind.__qualname__} are not tracked")
    assert f"super().{name}(...)" in str(line.message)
    kind(api_key="none")


def test_a_client_is_made_even_where_warnings_are_errors(
    flavour: Flavour,
    watch: Watch,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
) -> None:
    instrument_openai(**watch.arguments)
    kind = derive(flavour, request, request=own_request)
    assert kind(api_key="none").request() == "canned"
    kind(api_key="none")
    (line,) = caplog.records
    assert line.levelname == "WARNING"
    assert "are not tracked" in line.message


@pytest.mark.parametrize("name", ["request", "post"])
async def test_a_class_made_later_that_calls_the_sdks_method_is_tracked(
    flavour: Flavour, loopback: Loopback, watch: Watch, request: pytest.FixtureRequest, name: str
) -> None:
    def request_of_super(client: Any, *args: Any, **kwargs: Any) -> Any:
        return super(type(client), client).request(*args, **kwargs)

    def post_of_super(client: Any, *args: Any, **kwargs: Any) -> Any:
        return super(type(client), client).post(*args, **kwargs)

    instrument_openai(**watch.arguments)
    loopback.serve(SHAPES["chat"].answer)
    methods = {"request": request_of_super, "post": post_of_super}
    kind = derive(flavour, request, **{name: methods[name]})
    client = kind(api_key="none", base_url=loopback.base_url)
    await SHAPES["chat"].ask(flavour, client)
    await flavour.call(client.close)
    assert len(watch.records) == 1


def process_known(self: object, *, data: Any, cast_to: Any, response: Any) -> Any:
    return data, cast_to


def process_more(
    self: object, given: str = "", *, data: Any, cast_to: Any, response: Any, strict: bool = False
) -> Any:
    return given, data, cast_to, strict


@pytest.mark.parametrize(
    ("function", "args", "more", "result"),
    [
        (process_known, (), {}, (CHAT_BODY, dict)),
        (process_more, ("x",), {"strict": True}, ("x", CHAT_BODY, dict, True)),
    ],
    ids=["the arguments of today", "further arguments"],
)
def test_data_is_observed_whatever_arguments_the_sdks_function_takes(
    function: Any, args: tuple[str, ...], more: dict[str, Any], result: object
) -> None:
    tracker = Tracker()
    call = tracker.start(operation="chat", provider="openai", model="gpt-4o")
    response = SimpleNamespace(extensions={OBSERVATION_EXTENSION: Observation(call, tracker)})
    hooked = HookedFunction(function, process_data)
    hooked.put_on()
    try:
        named = {"data": CHAT_BODY, "cast_to": dict, "response": response}
        assert function(object(), *args, **named, **more) == result
    finally:
        hooked.take_off()
    assert call.raw_usage == CHAT_BODY["usage"]


def drive(coroutine: Any) -> Any:
    """The result of a coroutine that waits for nothing."""
    with pytest.raises(StopIteration) as stopped:
        coroutine.send(None)
    return stopped.value.value


@pytest.mark.parametrize("name", ["_process_response", "_process_response_data"])
async def test_a_class_made_later_that_replaces_inner_methods_is_counted(
    flavour: Flavour, loopback: Loopback, watch: Watch, request: pytest.FixtureRequest, name: str
) -> None:
    def process(client: Any, *, data: Any, cast_to: Any, response: Any) -> Any:
        return cast_to.model_construct(**data)

    async def respond(client: Any, *, cast_to: Any, response: Any, **more: Any) -> Any:
        return cast_to.model_construct(**response.json())

    inner = {
        "_process_response": respond if flavour.is_async else lambda c, **k: drive(respond(c, **k)),
        "_process_response_data": process,
    }
    instrument_openai(**watch.arguments)
    loopback.serve(SHAPES["chat"].answer)
    kind = derive(flavour, request, **{name: inner[name]})
    client = kind(api_key="none", base_url=loopback.base_url)
    await SHAPES["chat"].ask(flavour, client)
    await flavour.call(client.close)
    assert watch.record.usage is not None
    assert watch.record.usage.input_tokens == 120
