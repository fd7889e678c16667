"""A page of metrics: fetched from the address that the user has named, and read.

The law:

1. Nothing but that address is asked: a redirect is refused, and no proxy is used.
2. A page has ``PAGE_SECONDS`` from its connection to its last byte, and ``MAX_PAGE_BYTES``,
   unpacked. Whatever it sends, no more is read.
3. What goes wrong is a ``PageError`` whose text says what the page does, to be put after its
   address.

The format is the text of Prometheus and of OpenMetrics, read by the parser of prometheus_client,
an extra. Only lines of the metrics asked for reach it: a busy engine's page has thousands.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import io
import re
import socket
import zlib
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from importlib.util import find_spec
from time import monotonic
from typing import Any, NamedTuple

from energy_tracking.errors import ConfigurationError, say_install
from energy_tracking.hosts import PageAddress
from energy_tracking.version import VERSION

PAGE_SECONDS = 2.0
"""How long a page may take [s]; servers' own take milliseconds."""

MAX_PAGE_BYTES = 16 * 2**20
"""How large a page may be, unpacked [byte]; those of engines have 0.1 to 1 MB."""

_CHUNK_BYTES = 2**16

_HEADERS = {
    "Accept": "text/plain;version=0.0.4, */*;q=0.1",
    "Accept-Encoding": "gzip",
    "Connection": "close",
    "User-Agent": f"energy_tracking/{VERSION}",
}


class PageError(Exception):
    """A page cannot be had; the text is what stands behind its address, such as "answers 404"."""


class Sample(NamedTuple):
    """One value on a page.

    Attributes:
        name: Name of the sample, with its `_total` or `_sum`.
        labels: Its labels.
        value: The value; whatever the page states, NaN and infinity included.
    """

    name: str
    labels: Mapping[str, str]
    value: float


def require_parser(setting: str) -> None:
    """Check that what reads pages is installed.

    Args:
        setting: What needs it.

    Raises:
        ConfigurationError: It is not.
    """
    if find_spec("prometheus_client") is None:
        raise ConfigurationError(
            f"{setting} needs the package 'prometheus_client'; {say_install('servers')}"
        )


def fetch_page(address: PageAddress, seconds: float = PAGE_SECONDS) -> str:
    """The text of a page.

    Args:
        address: Where it is.
        seconds: How long it may take in all [s].

    Raises:
        PageError: It answers something else, too slowly or too much, or nothing.
    """
    deadline = monotonic() + seconds
    kind = HTTPSConnection if address.scheme == "https" else HTTPConnection
    connection = kind(address.host, address.port, timeout=seconds)
    try:
        connection.connect()
        connection.sock.settimeout(max(deadline - monotonic(), 1e-3))
        connection.request("GET", address.path, headers=_HEADERS)
        with _open_response(connection.sock, deadline) as response:
            return _read_body(response)
    except TimeoutError:
        raise PageError(f"did not answer within {seconds:g} s") from None
    except (OSError, HTTPException, zlib.error) as error:
        raise PageError(f"cannot be read: {type(error).__name__}: {error}") from None
    finally:
        connection.close()


class _TimedReader(io.RawIOBase):
    """Reads a socket until a point in time, however little comes at once."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        super().__init__()
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock.recv_into(buffer)


def _open_response(sock: socket.socket, deadline: float) -> HTTPResponse:
    """The response on a socket, its head read.

    Raises:
        PageError: It is none that has a page.
    """
    response = HTTPResponse(sock, method="GET")
    response.fp.close()
    response.fp = io.BufferedReader(_TimedReader(sock, deadline))
    response.begin()
    if 300 <= response.status < 400:
        raise PageError(f"answers {response.status}, a redirect, which is not followed")
    if response.status != 200:
        raise PageError(f"answers {response.status}")
    return response


def _read_body(response: HTTPResponse) -> str:
    """The body of a response, unpacked.

    Raises:
        PageError: It is too large, or packed in another way than gzip.
    """
    encoding = (response.getheader("Content-Encoding") or "identity").lower()
    if encoding not in ("identity", "gzip"):
        raise PageError(f"is packed as {encoding[:20]!r}, not gzip")
    unpacker = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
    parts: list[bytes] = []
    left = MAX_PAGE_BYTES
    while chunk := response.read(_CHUNK_BYTES):
        # One byte more than may come says that it is too much.
        part = chunk if unpacker is None else unpacker.decompress(chunk, left + 1)
        left -= len(part)
        if left < 0:
            raise PageError(f"is larger than {MAX_PAGE_BYTES // 2**20} MiB")
        parts.append(part)
    if response.length or (unpacker is not None and not unpacker.eof):
        raise PageError("ends before its end")
    return b"".join(parts).decode("utf-8", "replace")


_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


def read_samples(page: str, names: Iterable[str]) -> Iterator[Sample]:
    """The samples of some names on a page, in its order.

    Args:
        page: Its text.
        names: Names of samples, with `_total` where they have it.

    Raises:
        PageError: A line of one of them is in another format.
    """
    wanted = frozenset(names)
    lines = [
        line
        for line in page.splitlines()
        if (match := _NAME.match(line)) is not None and match[0] in wanted
    ]
    if not lines:
        return
    from prometheus_client.parser import text_string_to_metric_families

    try:
        for family in text_string_to_metric_families("\n".join(lines) + "\n"):
            for sample in family.samples:
                yield Sample(sample.name, sample.labels, float(sample.value))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise PageError(f"has a line in another format: {error}") from None
