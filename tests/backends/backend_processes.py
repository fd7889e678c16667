"""Backends as processes of the test: started on free ports of 127.0.0.1, and stopped."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

T = TypeVar("T")

PATIENCE_SECONDS = 180.0
"""How long anything is waited for: a limit for what hangs, not a claim about speed."""


def free_port() -> int:
    """A port of 127.0.0.1 nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(read: Callable[[], T], *, while_running: subprocess.Popen[bytes] | None = None) -> T:
    """Read again and again until it is something, and return it.

    Args:
        read: Returns something false while it is not there yet.
        while_running: Process without which there is nothing to wait for.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := read()):
        assert time.monotonic() < deadline, f"still {value!r}"
        assert while_running is None or while_running.poll() is None, "the process ended"
        time.sleep(0.05)
    return value


def get_json(url: str, **query: str) -> Any:
    """What the server answers."""
    with urlopen(f"{url}?{urlencode(query)}" if query else url, timeout=60) as response:
        return json.load(response)


def post_json(url: str, body: object) -> Any:
    """What the server answers to this."""
    request = Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urlopen(request, timeout=60) as response:
        return json.load(response)


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=60):
            return True
    except (URLError, ConnectionError):
        return False


@contextmanager
def running(
    command: Sequence[str | Path], ready_url: str, log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends.

    Args:
        command: Program and arguments.
        ready_url: What it answers once it is ready.
        log: File for what it prints.
        environment: Beside the path, all of its environment: nothing of the test's own
            OpenTelemetry or Python settings.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], **environment},
        )
    try:
        try:
            eventually(lambda: _answers(ready_url), while_running=process)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{log.read_text('utf-8', 'replace')}") from None
        yield process
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening_addresses(pid: int) -> set[str]:
    """Addresses a process of Linux listens on, as the kernel writes them."""
    opened = {os.readlink(entry) for entry in _entries(Path(f"/proc/{pid}/fd"))}
    listening = "0A"
    return {
        fields[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for fields in map(str.split, Path(f"/proc/{pid}/net/{table}").read_text().splitlines())
        if fields[3] == listening and f"socket:[{fields[9]}]" in opened
    }


def _entries(folder: Path) -> Iterator[Path]:
    # A descriptor may be closed between being listed and being read.
    return (entry for entry in folder.iterdir() if entry.is_symlink())
