"""A decorated function whose client nobody tracks is named once, with the remedy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loopback import Loopback, chat_completion, json_reply

PROGRAM = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from openai import AsyncOpenAI, OpenAI
from energy_tracking import *

client = OpenAI(api_key="none", base_url=sys.argv[1])
other = OpenAI(api_key="none", base_url=sys.argv[1])
later = AsyncOpenAI(api_key="none", base_url=sys.argv[1])
another = AsyncOpenAI(api_key="none", base_url=sys.argv[1])
chat = dict(model="gpt-4o", messages=[{"role": "user", "content": "Capital of Mexico?"}])

@track_energy
def ask():
    return client.chat.completions.create(**chat).choices[0].message.content

@track_energy
async def ask_later():
    return (await later.chat.completions.create(**chat)).choices[0].message.content

async def ask_once():
    async with later:
        await ask_later()

@track_energy
def generate():
    yield client.chat.completions.create(**chat).choices[0].message.content

@track_energy
def respond():
    return client.chat.completions.create(**chat)

@track_energy
def look():
    return [model.id for model in client.models.list()]

@track_energy
def greet():
    return "hello"

@track_energy
def spread():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(client.chat.completions.create, **chat).result()

@track_energy
def fail():
    raise ValueError
"""
NOBODY = "No call of {} was counted, and no OpenAI client is tracked."
UNTRACKED = "{} made calls with an OpenAI client that is not tracked."


def run(loopback: Loopback, code: str, program: str = PROGRAM) -> list[str]:
    """The lines that a program writes to stderr."""
    loopback.serve(json_reply(chat_completion()))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program + code, loopback.base_url],
        env=dict(os.environ) | {"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("ask(); ask(); greet()", "ask"),
        ("greet(); ask()", "ask"),
        ("asyncio.run(ask_once()); ask()", "ask_later"),
        ("list(generate())", "generate"),
        ("uninstrument_openai(); ask()", "ask"),
        ("instrument_openai(); uninstrument_openai(); ask()", "ask"),
    ],
)
def test_where_no_client_is_tracked_it_is_reported_once(
    loopback: Loopback, call: str, name: str
) -> None:
    (line,) = run(loopback, call)
    assert line.startswith(NOBODY.format(name))
    assert "instrument_openai()" in line
    assert "wrap_openai(client)" in line


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("ask(); ask()", "ask"),
        ("asyncio.run(ask_once())", "ask_later"),
        ("list(generate())", "generate"),
    ],
)
@pytest.mark.parametrize(
    "track",
    ["wrap_openai(other); other.chat.completions.create(**chat)", "wrap_openai(another)"],
    ids=["sync", "async"],
)
def test_where_another_client_is_tracked_each_function_is_named_once(
    loopback: Loopback, track: str, call: str, name: str
) -> None:
    (line,) = run(loopback, f"{track}; {call}")
    assert line.startswith(UNTRACKED.format(name))
    assert "instrument_openai()" in line


@pytest.mark.parametrize(
    ("code", "said"),
    [
        # Other calls were counted before.
        ("Tracker().record(model='o1', usage={'prompt_tokens': 1}); ask()", NOBODY.format("ask")),
        (
            "wrap_openai(other); other.chat.completions.create(**chat); "
            "unwrap_openai(other); ask()",
            NOBODY.format("ask"),
        ),
        (
            "wrap_openai(other); spread()",
            "A call is made with an OpenAI client that is not tracked, in a thread outside of "
            "'spread'.",
        ),
        (
            "\nwith energy_session('app'):\n    client.chat.completions.create(**chat)",
            "No call of session 'app' was counted, and no OpenAI client is tracked.",
        ),
    ],
)
def test_an_untracked_call_is_named_whatever_was_counted_and_wherever_it_is_made(
    loopback: Loopback, code: str, said: str
) -> None:
    (line,) = run(loopback, code)
    assert line.startswith(said)
    assert "instrument_openai()" in line


@pytest.mark.parametrize(
    "code",
    [
        "instrument_openai(); ask(); asyncio.run(ask_once()); greet()",
        "wrap_openai(client); greet(); ask()",
        # No client has sent a request, or none meanwhile.
        "greet()",
        "client.chat.completions.create(**chat); greet()",
        # Its own response is counted.
        "respond(); greet()",
        "wrap_openai(other); respond(); track_energy(lambda: respond())()",
        "wrap_openai(other); look()",
        # Somebody wanted it so.
        "wrap_openai(other); wrap_openai(client, disabled=True); ask()",
        "Tracker().record(model='gpt-4o', usage={'prompt_tokens': 1}); greet()",
        "\ntry:\n    fail()\nexcept ValueError:\n    pass",
    ],
)
def test_where_calls_are_counted_or_none_was_made_nothing_is_logged(
    loopback: Loopback, code: str
) -> None:
    assert run(loopback, code) == []


def test_a_program_without_the_sdk_gets_no_warning(loopback: Loopback) -> None:
    program = "from energy_tracking import track_energy\ntrack_energy(lambda: 1)()"
    assert run(loopback, "", program) == []
