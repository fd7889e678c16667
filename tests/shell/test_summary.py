"""The totals of a process, printed once when it ends, if that is asked for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from loopback import DONE, Loopback, chat_chunks, chat_completion, json_reply, sse

CALL = """
import sys
from openai import OpenAI
from energy_tracking import Tracker, track_energy, unwrap_openai, wrap_openai
summary = {"1": True, "0": False}.get(sys.argv[1])
client = wrap_openai(OpenAI(api_key="none", base_url=sys.argv[2]), summary=summary)
Tracker(summary=summary)

@track_energy(summary=summary)
def ask(**more):
    messages = [{"role": "user", "content": "Capital of Mexico?"}]
    return client.chat.completions.create(model="gpt-4o", messages=messages, **more)

print("here")
"""
ENDINGS = {
    "returns": ("ask(); ask()", 2),
    "left a stream open": ("ask(); stream = ask(stream=True); next(stream)", 2),
    "exits": ("ask(); sys.exit(3)", 1),
    "raises": ("ask(); raise SystemExit('x')", 1),
    "made a tracker late": ("ask(); Tracker(summary=summary)", 1),
}


def run(loopback: Loopback, code: str, asked: str, **environment: str) -> tuple[int, str, str]:
    loopback.serve(
        lambda request: (
            sse(*chat_chunks("Hello", "!"), DONE)
            if request.json.get("stream")
            else json_reply(chat_completion())
        )
    )
    done = subprocess.run(
        [sys.executable, "-c", CALL + code, asked, loopback.base_url],
        env=dict(os.environ) | {"PYTHONPATH": ":".join(sys.path)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(("code", "calls"), ENDINGS.values(), ids=ENDINGS.keys())
def test_one_table_however_many_trackers_and_however_it_ends(
    loopback: Loopback, code: str, calls: int
) -> None:
    returncode, out, err = run(loopback, code, "1")
    # Python 3.13.0 crashes at its end over any open stream of the SDK, tracked or not.
    untracked = run(loopback, code, "", ENERGY_TRACKING_DISABLED="1")
    assert (returncode, out) == untracked[:2]
    assert out == "here\n"
    assert err.count("process: ") == 1
    assert f"process: {calls} call" in err
    assert "\nmodel" in err


def test_the_environment_asks_for_it_and_an_argument_declines(loopback: Loopback) -> None:
    by_environment = run(loopback, "ask()", "", ENERGY_TRACKING_SUMMARY="1")
    assert by_environment[2].startswith("process: 1 call, ")
    assert run(loopback, "ask()", "0", ENERGY_TRACKING_SUMMARY="1")[2] == ""
    disabled = {"ENERGY_TRACKING_SUMMARY": "1", "ENERGY_TRACKING_DISABLED": "1"}
    assert run(loopback, "ask()", "", **disabled)[2] == ""


def test_nothing_is_printed_unasked(loopback: Loopback) -> None:
    assert run(loopback, "ask()", "")[2] == ""
    assert run(loopback, "", "")[2] == ""


UNTRACKED = """
unwrap_openai(client)
messages = [{"role": "user", "content": "Capital of Mexico?"}]
client.chat.completions.create(model="gpt-4o", messages=messages)
"""


@pytest.mark.parametrize("code", ["", UNTRACKED], ids=["no call", "untracked"])
@pytest.mark.parametrize("asked", ["argument", "environment"])
def test_a_process_without_a_counted_call_reports_it_and_how_to_count(
    loopback: Loopback, code: str, asked: str
) -> None:
    arguments = ("1", {}) if asked == "argument" else ("", {"ENERGY_TRACKING_SUMMARY": "1"})
    err = run(loopback, code, arguments[0], **arguments[1])[2]
    assert err.startswith("process: 0 calls were counted. ")
    assert err.count("\n") == 1
    assert "instrument_openai()" in err
    assert "wrap_openai(client)" in err


def test_workers_of_a_pool_without_a_call_log_nothing(loopback: Loopback) -> None:
    code = """
import multiprocessing
worker = multiprocessing.get_context("spawn").Process(target=Tracker, kwargs={"summary": True})
worker.start()
worker.join()
ask()
"""
    returncode, _, err = run(loopback, code, "1")
    assert returncode == 0
    assert err.startswith("process: 1 call, ")
    assert err.count("process: ") == 1


@pytest.mark.parametrize("code", ["sys.stderr = None", "sys.stderr.close()"])
def test_a_program_without_a_console_ends_as_ever(loopback: Loopback, code: str) -> None:
    assert run(loopback, f"ask(); {code}", "1") == (0, "here\n", "")
