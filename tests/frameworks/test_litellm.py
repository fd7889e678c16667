"""LiteLLM's callback, in its SDK and in a real proxy on loopback.

Skipped where LiteLLM is not installed; ``tox run -e litellm`` installs it.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from energy_tracking import CallRecord, Session, instrument_openai
from energy_tracking.demo.server import Reply, Request
from loopback import (
    DONE,
    Loopback,
    chat_chunks,
    chat_completion,
    embedding,
    json_reply,
    response_events,
    response_object,
    sse,
)
from observed_calls import Watch

pytestmark = [pytest.mark.frameworks, pytest.mark.filterwarnings("ignore")]

litellm = pytest.importorskip("litellm", reason="litellm is not installed")

from litellm.integrations.custom_logger import CustomLogger  # noqa: E402

from energy_tracking.litellm import EnergyLogger  # noqa: E402

LONG_ID = "chatcmpl-Dr3KNfXKBS1oDOrhqYDuLYdjX9PM4"
ASK = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Capital of Mexico?"}]}
ANTHROPIC = {
    "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-20250514",
    "content": [{"type": "text", "text": "Mexico City"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 12, "output_tokens": 6},
}


@pytest.fixture
def records(watch: Watch) -> Iterator[list[CallRecord]]:
    """The calls that the callback counts, and those of clients that are tracked."""
    watch.every_call_has_a_span = False
    callbacks = litellm.callbacks
    litellm.callbacks = [EnergyLogger(**watch.arguments)]
    yield watch.records
    litellm.callbacks = callbacks
    for name in ("success_callback", "_async_success_callback"):
        setattr(litellm, name, [])
    for name in ("failure_callback", "_async_failure_callback"):
        setattr(litellm, name, [])
    litellm.cache = None


async def settled(records: list[CallRecord], number: int) -> list[CallRecord]:
    """The calls once there are so many: LiteLLM logs in a thread or a task of its own."""
    deadline = time.monotonic() + 30
    while len(records) < number and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)  # one too many would come as late
    assert len(records) == number
    return records


def at(loopback: Loopback, **asked: Any) -> dict[str, Any]:
    return {"api_base": loopback.base_url, "api_key": "none", "max_retries": 0} | asked


CHAT_STREAM = sse(*chat_chunks("Hello", id=LONG_ID), DONE)
USAGE = {"stream_options": {"include_usage": True}}
WAYS: dict[str, tuple[str, dict[str, Any], Any, tuple[int, int]]] = {
    "chat": ("completion", ASK, json_reply(chat_completion(id=LONG_ID)), (120, 80)),
    "stream": ("completion", ASK | {"stream": True} | USAGE, CHAT_STREAM, (120, 80)),
    "embedding": (
        "embedding",
        {"model": "openai/text-embedding-3-small", "input": ["Mexico"]},
        json_reply(embedding()),
        (4, 0),
    ),
    "responses": (
        "responses",
        {"model": "openai/gpt-4o", "input": "Capital of Mexico?"},
        json_reply(response_object(id="resp_0123456789abcdef01234567")),
        (120, 80),
    ),
    "responses stream": (
        "responses",
        {"model": "openai/gpt-4o", "input": "Capital of Mexico?", "stream": True},
        sse(*response_events("Hello", id="resp_0123456789abcdef01234567")),
        (120, 80),
    ),
    "anthropic": (
        "completion",
        ASK | {"model": "anthropic/claude-sonnet-4-20250514"},
        json_reply(ANTHROPIC),
        (12, 6),
    ),
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    "is_instrumented", [False, True], ids=["callback alone", "beside a client"]
)
@pytest.mark.parametrize("name", WAYS)
async def test_a_call_is_counted_once_in_the_session_it_is_made_in(
    loopback: Loopback,
    watch: Watch,
    records: list[CallRecord],
    name: str,
    is_instrumented: bool,
    is_async: bool,
) -> None:
    function, asked, answer, tokens = WAYS[name]
    loopback.serve(answer)
    if is_instrumented:
        instrument_openai(**watch.arguments)
    with Session("mine") as session:
        if is_async:
            result = await getattr(litellm, f"a{function}")(**at(loopback, **asked))
            if asked.get("stream"):
                [item async for item in result]
        else:
            result = getattr(litellm, function)(**at(loopback, **asked))
            if asked.get("stream"):
                list(result)
        (record,) = await settled(records, 1)
    usage = record.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == tokens
    assert record.session == "mine"
    assert session.totals.calls == 1
    assert record.request.provider == ("anthropic" if name == "anthropic" else "openai")


async def test_an_answer_from_the_cache_is_no_call(
    loopback: Loopback, records: list[CallRecord]
) -> None:
    loopback.serve(json_reply(chat_completion(id=LONG_ID)))
    litellm.cache = litellm.Cache(type="local")
    logged: list[Any] = []

    class Keep(CustomLogger):  # type: ignore[misc, unused-ignore]
        async def async_log_success_event(self, kwargs: Any, **rest: Any) -> None:
            logged.append(kwargs["standard_logging_object"]["metadata"])

    litellm.callbacks.append(Keep())
    for _ in range(2):
        await litellm.acompletion(**at(loopback, **ASK), caching=True)
        await settled(records, 1)
    deadline = time.monotonic() + 30
    while len(logged) < 2 and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    joules = records[0].total_energy_joules
    assert joules is not None
    assert [one["energy_wh"] for one in logged] == [pytest.approx(joules / 3600), 0.0]
    assert logged[0]["spend_logs_metadata"]["energy_wh"] == logged[0]["energy_wh"]


async def test_a_call_that_fails_is_counted_as_failed(
    loopback: Loopback, records: list[CallRecord]
) -> None:
    loopback.serve(json_reply({"error": {"message": "no"}}, 400))
    with pytest.raises(litellm.BadRequestError):
        await litellm.acompletion(**at(loopback, **ASK))
    (record,) = await settled(records, 1)
    assert (record.error_type, record.status) == ("BadRequestError", "unestimated")


# The proxy.

KEY = f"sk-{secrets.token_hex(32)}"
# Who a virtual key belongs to the proxy reads from a database, or has a function of one's own say.
AUTH = f"""
from litellm.proxy._types import UserAPIKeyAuth

async def find_owner(request, api_key):
    if api_key != {KEY!r}:
        raise Exception("unknown key")
    return UserAPIKeyAuth(
        api_key=api_key, key_alias="nightly", team_id="t-1", team_alias="search", user_id="ada"
    )
"""
CONFIG = """
general_settings:
  custom_auth: auth.find_owner
model_list:
  - model_name: gpt-4o
    litellm_params: {{model: openai/gpt-4o, api_base: "{base_url}", api_key: none}}
  - model_name: ours
    litellm_params: {{model: openai/nobody-knows-this, api_base: "{base_url}", api_key: none}}
  - model_name: claude
    litellm_params:
      {{model: anthropic/claude-sonnet-4-20250514, api_base: "{base_url}", api_key: none}}
litellm_settings:
  callbacks: energy_tracking.litellm.energy_logger
  cache: true
  cache_params: {{type: local}}
"""


@pytest.fixture
def proxy(loopback: Loopback, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A proxy; gives its URL and the ledger that it writes."""
    pytest.importorskip("fastapi", reason="litellm[proxy] is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        free_port = free.getsockname()[1]
    config, ledger = tmp_path / "config.yaml", tmp_path / "energy.jsonl"
    config.write_text(CONFIG.format(base_url=loopback.base_url))
    (tmp_path / "auth.py").write_text(AUTH)
    environ = os.environ | {
        "ENERGY_TRACKING_LEDGER": str(ledger),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MASTER_KEY": f"sk-{secrets.token_hex(32)}",
    }
    command = [sys.executable, "-c", "from litellm import run_server; run_server()"]
    command += ["--config", str(config), "--host", "127.0.0.1", "--port", str(free_port)]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environ, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{free_port}"
    try:
        wait_for(lambda: is_alive(url, process, tmp_path / "log"), 180)
        yield url, ledger
    finally:
        process.terminate()
        process.wait(20)


def is_alive(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        urllib.request.urlopen(f"{url}/health/liveliness", timeout=5).close()
    except OSError:
        return False
    return True


def wait_for(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def post(url: str, body: object) -> tuple[Any, bytes]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as response:
        return response.headers, response.read()


def test_a_proxy_has_the_energy_in_a_header_and_with_the_keys_owner_in_a_ledger(
    loopback: Loopback, proxy: tuple[str, Path]
) -> None:
    url, ledger = proxy
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "user": "u-1"}
    stream = sse(*chat_chunks("Hello", id=LONG_ID[::-1]), DONE)
    ours = chat_completion(id=LONG_ID.upper(), model="nobody-knows-this")

    def answer(request: Request) -> Reply:
        # By what is asked: a busy proxy may ask twice.
        if request.json.get("stream"):
            return stream
        is_ours = "nobody" in request.json["model"]
        return json_reply(ours if is_ours else chat_completion(id=LONG_ID))

    loopback.serve(answer)
    loopback.serve(json_reply(ANTHROPIC), endpoint="v1/messages")
    headers, _ = post(f"{url}/v1/chat/completions", chat)
    wh = float(headers["x-energy-wh"])
    assert wh > 0
    again, _ = post(f"{url}/v1/chat/completions", chat)
    assert again["x-energy-wh"] == "0"
    streamed, body = post(f"{url}/v1/chat/completions", chat | {"stream": True} | USAGE)
    assert streamed["x-energy-wh"] is None
    assert b"[DONE]" in body
    claude, _ = post(f"{url}/v1/chat/completions", chat | {"model": "claude"})
    assert float(claude["x-energy-wh"]) > 0
    unknown, _ = post(f"{url}/v1/chat/completions", chat | {"model": "ours"})
    assert (unknown["x-energy-wh"], unknown["x-energy-unknown-calls"]) == (None, "1")

    def lines() -> list[Any]:
        if not ledger.exists():
            return []
        return [json.loads(line) for line in ledger.read_text().splitlines()]

    wait_for(lambda: len(lines()) >= 4, 30)
    time.sleep(0.5)
    providers = sorted(line["request"]["provider"] for line in lines())
    assert providers == ["anthropic", "openai", "openai", "openai"]
    models = {line["request"]["model"] for line in lines()}
    assert models == {"gpt-4o", "claude-sonnet-4-20250514", "nobody-knows-this"}
    for line in lines():
        assert line["tags"] == {"team": "search", "key": "nightly", "user": "ada"}
    assert KEY not in ledger.read_text()
    assert lines()[0]["total_energy_joules"] / 3600 == pytest.approx(wh, rel=1e-6)
