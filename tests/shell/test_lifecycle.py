"""Nothing is lost where a service idles, and where a worker or a process ends."""

from __future__ import annotations

import _thread
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import openai
import pytest

import energy_tracking
from counts import the_only
from energy_tracking import lifecycle, read_ledger
from energy_tracking.lifecycle import SETTLE_SECONDS
from loopback import DONE, Loopback, chat_chunks, sse
from observed_calls import Watch

STREAM = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": True}


@contextmanager
def dropped_stream(loopback: Loopback, watch: Watch) -> Iterator[None]:
    """A stream of a tracked client was left half-read, and collected."""
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    with openai.OpenAI(api_key="none", base_url=loopback.base_url) as client:
        watch.wrap(client)
        stream = client.chat.completions.create(**STREAM)  # type: ignore[call-overload]
        next(stream), next(stream)
        threads, records = _thread._count(), len(watch._records)
        # On a busy machine the thread that settles might come before the look at what it left.
        with lifecycle._is_settling:
            del stream
            gc.collect()
            assert _thread._count() <= threads + 1
            assert len(watch._records) == records
        yield


def test_an_idle_service_reports_a_dropped_stream_by_itself(
    loopback: Loopback, watch: Watch
) -> None:
    with dropped_stream(loopback, watch):
        deadline = time.monotonic() + SETTLE_SECONDS + 10
        while not watch._exporter.get_finished_spans() and time.monotonic() < deadline:
            time.sleep(0.02)
    assert len(watch._records) == 1
    span = the_only(watch._exporter.get_finished_spans())
    assert (span.attributes or {})["energy_tracking.status"] == "partial"


def test_the_thread_that_settles_ends_and_comes_again(loopback: Loopback, watch: Watch) -> None:
    earlier = threading.enumerate()
    for number in range(2):
        with dropped_stream(loopback, watch):
            deadline = time.monotonic() + SETTLE_SECONDS + 10
            while len(watch._records) <= number and time.monotonic() < deadline:
                time.sleep(0.02)
        assert len(watch._records) == number + 1
    left = [one for one in threading.enumerate() if one not in earlier]
    assert not [one for one in left if isinstance(one, threading._DummyThread)]


def test_importing_and_calling_start_no_thread() -> None:
    code = """
import _thread
from energy_tracking import Tracker
Tracker().record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1})
print(_thread._count())
"""
    assert run_python(code).stdout.split() == ["0"]


# Workers and ends of processes.

WORK = """
import gc, os, signal, sys, time
import openai
from energy_tracking import wrap_openai

kept = []

def ask(number):
    client = wrap_openai(
        openai.OpenAI(api_key="none", base_url=sys.argv[1]),
        ledger=sys.argv[2],
        include_usage_hosts=["127.0.0.1"],
    )
    streams = [
        client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        for _ in range(2)
    ]
    for stream in streams:
        next(stream), next(stream)
    # One is dropped as the worker ends, the other still open.
    kept.append((client, streams.pop()))
    del streams, stream
    gc.collect()
"""
ENDS = {
    "process": """
from multiprocessing import get_context
if __name__ == "__main__":
    context = get_context(sys.argv[3])
    workers = [context.Process(target=ask, args=(number,)) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
""",
    "pool": """
from multiprocessing import get_context
if __name__ == "__main__":
    pool = get_context(sys.argv[3]).Pool(2)
    pool.map(ask, range(2), chunksize=1)
    pool.close()
    pool.join()
""",
    "executor": """
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
if __name__ == "__main__":
    with ProcessPoolExecutor(2, get_context(sys.argv[3])) as pool:
        list(pool.map(ask, range(2)))
""",
    "after a call of the parent": """
from multiprocessing import get_context
if __name__ == "__main__":
    context = get_context(sys.argv[3])
    ask(0)
    kept.clear()
    gc.collect()
    worker = context.Process(target=ask, args=(1,))
    worker.start()
    worker.join()
""",
}


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(energy_tracking.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
@pytest.mark.parametrize("end", ENDS)
def test_a_workers_streams_are_in_the_ledger_when_it_has_ended(
    loopback: Loopback, tmp_path: Path, end: str, method: str
) -> None:
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    script, ledger = tmp_path / "work.py", tmp_path / "calls.jsonl"
    script.write_text(WORK + ENDS[end])
    source = str(Path(energy_tracking.__file__).parents[1])
    options = ["-W", "ignore::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, str(script), loopback.base_url, str(ledger), method],
        env=os.environ | {"PYTHONPATH": source},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    statuses = [entry.record.status for entry in read_ledger(ledger)]
    assert statuses == ["partial"] * 4


@pytest.mark.skipif(sys.platform == "win32", reason="no such signal there")
def test_a_process_whose_own_handler_exits_at_sigterm_loses_nothing(
    loopback: Loopback, tmp_path: Path
) -> None:
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    ledger = tmp_path / "calls.jsonl"
    # Python 3.13 crashes where its end closes a stream of the SDK, with us and without.
    # Source: https://github.com/python/cpython/issues/132413
    code = f"""{WORK}
import atexit
atexit.register(lambda: [stream.close() for _, stream in kept])
handler = lambda *_: sys.exit(7)
signal.signal(signal.SIGTERM, handler)
ask(0)
assert signal.getsignal(signal.SIGTERM) is handler
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(30)
"""
    with pytest.raises(subprocess.CalledProcessError) as ended:
        run_python(code, loopback.base_url, str(ledger))
    assert (ended.value.returncode, ended.value.stderr) == (7, "")
    assert [entry.record.status for entry in read_ledger(ledger)] == ["partial"] * 2


def test_what_a_signal_does_is_left_as_it_was() -> None:
    code = """
import signal
before = [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)]
from energy_tracking import Tracker
Tracker().record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1})
print(before == [signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)])
"""
    assert run_python(code).stdout.split() == ["True"]
    assert signal.getsignal(signal.SIGTERM) in (signal.SIG_DFL, signal.SIG_IGN)


CELERY = f"""{WORK}
import multiprocessing, threading
from celery import Celery
from celery.contrib.testing.worker import start_worker

folder = sys.argv[3]
app = Celery("work", broker="filesystem://", backend="file://" + folder)
app.conf.broker_transport_options = {{
    "data_folder_in": folder, "data_folder_out": folder, "processed_folder": folder
}}
app.conf.update(worker_hijack_root_logger=False)

@app.task
def work():
    ask(0)
    return os.getpid()

if __name__ == "__main__":
    results = [work.delay()]
    def stop():
        results[0].get(timeout=60)
        os.kill(os.getpid(), signal.SIGTERM)
    threading.Thread(target=stop, daemon=True).start()
    app.worker_main(["worker", "--pool=prefork", "--concurrency=1", "--loglevel=ERROR"])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no fork there")
def test_a_celery_workers_streams_are_in_the_ledger_when_it_has_ended(
    loopback: Loopback, tmp_path: Path
) -> None:
    pytest.importorskip("celery", reason="celery is not installed")
    loopback.serve(sse(*chat_chunks("Mexico ", "City"), DONE))
    script, ledger, folder = tmp_path / "work.py", tmp_path / "calls.jsonl", tmp_path / "broker"
    folder.mkdir()
    script.write_text(CELERY)
    source = str(Path(energy_tracking.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, str(script), loopback.base_url, str(ledger), str(folder)],
        env=os.environ | {"PYTHONPATH": source},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert [entry.record.status for entry in read_ledger(ledger)] == ["partial"] * 2, done.stderr
