"""Names that a server chose reach spans, metrics, tables, CSV and ledgers, and harm none."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from enum import Enum
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider

from counts import the_only
from energy_tracking import CallRecord, Session, Tracker, track_energy, wrap_openai
from energy_tracking.calls.call import Call
from energy_tracking.ledger import read_ledger
from energy_tracking.logs.backfill import record_log
from energy_tracking.profiles.files import get_catalogue
from energy_tracking.usage.names import MAX_CHARACTERS, MAX_SENTENCE
from loopback import Flavour, Loopback, chat_chunks, chat_completion, error_reply, json_reply, sse
from observed_calls import Watch

NAME = "gpt\ud800-4o\nforged  A  1  \x1b[2J\u202e"
SHOWN = "gpt?-4o?forged  A  1  ?[2J?"
LONG = "=cmd|' /C calc'!A0" + "x" * 100_000


class Model(str, Enum):  # noqa: UP042  # people write it so
    """A name as people keep it."""

    BIG = "gpt-4o"


class Exposition:
    """Metrics as Prometheus scrapes them."""

    def __init__(self) -> None:
        reason = "needs opentelemetry-exporter-prometheus"
        exporter = pytest.importorskip("opentelemetry.exporter.prometheus", reason=reason)
        self._client = pytest.importorskip("prometheus_client", reason=reason)
        self._registry = self._client.CollectorRegistry()
        reader = exporter.PrometheusMetricReader(registry=self._registry)
        self.provider = MeterProvider([reader])

    def scrape(self) -> str:
        """The page that a scrape is answered with."""
        page: bytes = self._client.generate_latest(self._registry)
        return page.decode("utf-8")


@pytest.fixture
def exposition() -> Iterator[Exposition]:
    """Metrics of one test."""
    exposed = Exposition()
    yield exposed
    exposed.provider.shutdown()


def models(session: Session) -> set[str]:
    """The models that a session has totals of."""
    return {group["model"] for group in json.loads(session.to_json())["groups"]}


@pytest.mark.parametrize("stream", [False, True])
async def test_hostile_names_of_a_response_harm_no_output(
    loopback: Loopback, flavour: Flavour, stream: bool, tmp_path: Path, exposition: Exposition
) -> None:
    hostile: dict[str, Any] = {"model": NAME, "id": NAME}
    whole = json_reply(chat_completion(**hostile))
    loopback.serve(sse(*chat_chunks(**hostile), b"data: [DONE]\n\n") if stream else whole)
    ledger = tmp_path / "ledger.jsonl"
    client = wrap_openai(
        flavour.client(loopback.base_url),
        meter_provider=exposition.provider,
        ledger=str(ledger),
        model_mapping={SHOWN: "gpt-4o"},
    )
    with Session() as session:
        request: dict[str, Any] = {"model": "gpt-4o", "messages": [], "stream": stream}
        result = await flavour.call(client.chat.completions.create, **request)
        if stream:
            # To its end; what the caller gets is untouched.
            assert {chunk.model async for chunk in flavour.items(result)} == {NAME}
        else:
            assert (result.model, result.id) == (NAME, NAME)
    assert session.totals.calls == 1
    assert SHOWN in exposition.scrape()
    table = str(session)
    table.encode("utf-8")
    assert all(line.isprintable() for line in table.splitlines())
    assert not any(line.startswith("forged") for line in table.splitlines())
    assert len(list(csv.reader(StringIO(session.to_csv())))) == 2
    entry = the_only(read_ledger(ledger))
    assert (entry.record.response_model, entry.record.response_id) == (SHOWN, SHOWN)
    json.loads(session.to_json())["groups"][0]["model"].encode("utf-8")


async def test_hostile_error_codes_harm_no_output(
    loopback: Loopback, flavour: Flavour, exposition: Exposition
) -> None:
    failed = {"type": "error", "error": {"code": NAME, "message": "no"}}
    loopback.serve(sse(*chat_chunks("Hi", usage=None), failed))
    client = wrap_openai(flavour.client(loopback.base_url), meter_provider=exposition.provider)
    with Session() as session:
        call = client.with_streaming_response.chat.completions.create
        request: dict[str, Any] = {"model": "gpt-4o", "messages": [], "stream": True}
        async with flavour.entered(call(**request)) as response:
            _ = [line async for line in flavour.items(response.iter_lines())]
    assert session.totals.calls == 1
    assert SHOWN in exposition.scrape()


async def test_a_long_name_that_is_a_formula_is_neither_in_csv(
    loopback: Loopback, flavour: Flavour
) -> None:
    loopback.serve(json_reply(chat_completion(model=LONG)))
    client = wrap_openai(flavour.client(loopback.base_url))
    with Session() as session:
        await flavour.call(client.chat.completions.create, model="gpt-4o", messages=[])
    _, row = csv.reader(StringIO(session.to_csv()))
    assert row[0].startswith("'=cmd|")
    assert len(row[0]) < 300
    assert len(str(session)) < 5_000


@pytest.mark.parametrize("model", [Model.BIG, "gpt-4o"])
async def test_a_model_of_an_enum_is_the_name_that_is_sent(
    loopback: Loopback, flavour: Flavour, model: str, exposition: Exposition
) -> None:
    loopback.serve(error_reply(400))
    client = wrap_openai(
        flavour.client(loopback.base_url, max_retries=0), meter_provider=exposition.provider
    )
    with Session() as session:
        with pytest.raises(Exception, match="refused"):
            await flavour.call(client.chat.completions.create, model=model, messages=[])
        Tracker(meter_provider=exposition.provider).record(
            model=model, usage={"prompt_tokens": 1, "completion_tokens": 1}
        )
    assert models(session) == {"gpt-4o"}
    page = exposition.scrape()
    assert 'gen_ai_request_model="gpt-4o"' in page
    assert "BIG" not in page + str(session) + session.to_csv()


def test_hostile_names_of_a_file_are_read_as_those_of_a_server(tmp_path: Path) -> None:
    body = {"id": NAME, "model": NAME, "usage": {"prompt_tokens": 1, "completion_tokens": 1}}
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps(body) + "\n", "utf-8")
    with Session() as session:
        record_log(log)
    assert models(session) == {SHOWN}


def test_hostile_names_in_a_ledger_are_read_as_those_of_a_server(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    Tracker(ledger=str(path)).record(model="gpt-4o", usage={"total_tokens": 1}, response_id="r")
    line = json.loads(path.read_text("utf-8"))
    line |= {"response_model": NAME, "response_id": NAME}
    line["request"]["model"] = NAME
    path.write_text(json.dumps(line) + "\n", "utf-8")
    entry = the_only(read_ledger(path))
    record = entry.record
    assert {record.response_model, record.response_id, record.request.model} == {SHOWN}


class PlainModel(Enum):
    """An enum that people write without ``str``."""

    HOUSE = "house"


class HouseModel(str, Enum):  # noqa: UP042  # people write it so
    HOUSE = "house"


@pytest.mark.parametrize("member", [PlainModel.HOUSE, HouseModel.HOUSE])
def test_a_member_of_an_enum_names_spans_and_profiles_by_its_value(
    watch: Watch, member: Any
) -> None:
    watch.every_call_has_a_span = False
    track_energy(name=member, **watch.arguments)(lambda: None)()
    model = replace(get_catalogue().model("llama-3.1-8b"), name=member, aliases=(member,))
    gpu = replace(get_catalogue().gpu("A100"), name=member, aliases=(member,))
    texts = [watch.spans[0].name, model.name, *model.aliases, gpu.name, *gpu.aliases]
    assert texts == ["house"] * 5
    assert {type(text) for text in texts} == {str}


HOSTILE_ERROR: Any = type(NAME.replace("\ud800", "") * 1000, (RuntimeError,), {})
"""An error of a class that somebody has named."""


def _texts(record: CallRecord) -> Iterator[str]:
    """Every text in a record."""
    rows: list[Any] = [asdict(record)]
    while rows:
        row = rows.pop()
        if isinstance(row, dict):
            rows += [*row, *row.values()]
        elif isinstance(row, list | tuple):
            rows += row
        elif isinstance(row, str):
            yield row


def _fail(call: Call) -> None:
    call.close(HOSTILE_ERROR())


def _fail_with_a_code(call: Call) -> None:
    call.observe({"type": "error", "error": {"code": NAME * 1000}})
    call.close()


def _end_with_a_status(call: Call) -> None:
    call.observe({"object": "response", "status": NAME * 1000, "id": NAME * 1000})
    call.close()


def _be_unreadable(call: Call) -> None:
    class Unreadable(dict[str, Any]):
        def get(self, *arguments: object) -> Any:
            raise HOSTILE_ERROR

    call.prompt = Unreadable(model="gpt-4o")
    call.observe({"choices": [{"delta": {"content": "Hello"}}]})
    call.close()


@pytest.mark.parametrize(
    "end",
    [_fail, _fail_with_a_code, _end_with_a_status, _be_unreadable],
    ids=lambda end: end.__name__,
)
def test_every_text_of_a_record_is_short_printable_and_read_back_as_it_is(
    end: Callable[[Call], None], watch: Watch, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    tracker = Tracker(ledger=str(ledger), **watch.arguments)
    with Session(NAME * 1000, tags={"team": NAME * 1000}) as session:
        end(tracker.start(operation=NAME, provider=NAME, model=NAME * 1000))
    assert watch.record.reason is not None
    for text in _texts(watch.record):
        assert text.isprintable(), text
        assert len(text) <= MAX_SENTENCE, text
    assert the_only(read_ledger(ledger)).record == watch.record
    for value in watch.attributes.values():
        assert not isinstance(value, str) or (value.isprintable() and len(value) <= MAX_SENTENCE)
    assert all(line.isprintable() for line in str(session).splitlines())


def test_a_decorated_function_and_its_error_have_names_as_every_text(watch: Watch) -> None:
    watch.every_call_has_a_span = False

    def work() -> None:
        raise HOSTILE_ERROR

    work.__qualname__ = NAME.replace("\ud800", "") * 1000
    with pytest.raises(RuntimeError):
        track_energy(**watch.arguments)(work)()
    (span,) = watch.spans
    for text in (span.name, dict(span.attributes or {})["error.type"]):
        assert isinstance(text, str)
        assert text.isprintable()
        assert len(text) <= MAX_CHARACTERS
