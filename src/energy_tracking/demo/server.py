"""A server on the loopback that answers with recorded exchanges.

It takes the OpenAI API's place where nothing may leave the machine: in the demo, in
the examples and in tests.

A request gets the first exchange that it names in a header, or that was recorded for the same
path, model and stream; where there is none, an error that says so. A new exchange is a file in
``exchanges/``.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from importlib import resources
from socketserver import ThreadingTCPServer
from typing import Any, Self

EXCHANGE_HEADER = "x-exchange-name"
"""Request header naming the exchange wanted, whatever else the request says."""

API_ROOT = "/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One recorded request and its response.

    Attributes:
        name: What the exchange is asked for by.
        endpoint: Path below ``/v1/``, e.g. ``chat/completions``.
        request: Body of the request.
        status: HTTP status of the response.
        content_type: Content type of the response.
        body: Body of the response; of a stream, its server-sent events.
        usage: What the response says of its tokens, wherever in it.
    """

    name: str
    endpoint: str
    request: Mapping[str, Any]
    status: int = 200
    content_type: str = "application/json"
    body: str
    usage: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the server got it.

    Attributes:
        method: ``POST``, ``GET`` or ``DELETE``.
        path: Path without the query, e.g. ``/v1/chat/completions``.
        headers: Header names in lower case.
        json: The body; empty where it is no JSON object.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    json: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """One response to send.

    Attributes:
        body: Sent whole if it is bytes, else piece by piece, each as one chunk. The
            connection is cut where getting a piece raises ``ConnectionError``.
        status: HTTP status.
        headers: Headers beside those that say how the body is sent.
    """

    body: bytes | Iterable[bytes]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})


def load_exchanges() -> list[Exchange]:
    """Read the exchanges that come with the library, in the order of their names."""
    folder = resources.files("energy_tracking.demo") / "exchanges"
    texts = {
        file.name.removesuffix(".json"): file.read_text("utf-8")
        for file in folder.iterdir()
        if file.name.endswith(".json")
    }
    return [Exchange(name=name, **json.loads(text)) for name, text in sorted(texts.items())]


class ReplayHandler(BaseHTTPRequestHandler):
    """One connection: reads requests, has them answered, sends the replies."""

    server: ReplayServer
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet, and no packet waits for the last one's receipt:
    # else a call on a kept connection can take 40 ms longer.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        """Answer one request."""
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            parameters = json.loads(body)
        except ValueError:
            parameters = None
        request = Request(
            self.command,
            self.path.partition("?")[0],
            {name.lower(): value for name, value in self.headers.items()},
            parameters if isinstance(parameters, dict) else {},
        )
        self.server.requests.append(request)
        self.send_reply(self.server.reply(request))

    do_GET = do_DELETE = do_POST

    def send_reply(self, reply: Reply) -> None:
        """Send one reply, to its end or to where its body breaks off."""
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        for piece in reply.body:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet: what was asked is in the server's ``requests``.

        Args:
            format: A line of the access log.
            args: What is put into it.
        """


# Not http.server's own server class: that one looks its host name up when it starts.
class ReplayServer(ThreadingTCPServer):
    """Answers OpenAI API requests on 127.0.0.1 with recorded exchanges.

    The reply is the exchange named by the request header ``x-exchange-name``; without
    that header, the first exchange recorded for the same endpoint, model and streaming.
    As with the real API, a streamed chat reports its usage only if the request asks for
    it by ``stream_options.include_usage``.

    Use as a context manager: on leaving it, every connection is closed.

    Args:
        exchanges: What to answer with.
        verbatim: Send streams as recorded, whether the request asks for usage or not.

    Attributes:
        requests: Every request received, the oldest first.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, exchanges: Iterable[Exchange] = (), *, verbatim: bool = False) -> None:
        super().__init__(("127.0.0.1", 0), ReplayHandler)
        self.exchanges = tuple(exchanges)
        self.verbatim = verbatim
        self.requests: list[Request] = []
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        """What to give an OpenAI client as its ``base_url``."""
        host, port = self.socket.getsockname()
        return f"http://{host}:{port}{API_ROOT}"

    def reply(self, request: Request) -> Reply:
        """Choose the reply to one request."""
        exchange = next((each for each in self.exchanges if _matches_request(each, request)), None)
        if exchange is None:
            return _describe_missing(request)
        headers = {"content-type": exchange.content_type}
        if not exchange.content_type.startswith("text/event-stream"):
            return Reply(exchange.body.encode(), exchange.status, headers)
        asked = (request.json.get("stream_options") or {}).get("include_usage")
        events = _read_events(exchange.body)
        if not (asked or self.verbatim):
            events = filter(None, map(_remove_usage, events))
        return Reply(map(str.encode, events), exchange.status, headers)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()
        # A kept connection would go on being answered.
        for connection in tuple(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def get_request(self) -> tuple[socket.socket, Any]:
        """Accept a connection, and remember it until it is closed."""
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def close_request(self, request: Any) -> None:
        """Close a connection."""
        self._connections.discard(request)
        super().close_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report what went wrong, unless it is the connection, cut by either side.

        Args:
            request: The connection.
            client_address: Where it comes from.
        """
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


def _matches_request(exchange: Exchange, request: Request) -> bool:
    if name := request.headers.get(EXCHANGE_HEADER):
        return exchange.name == name
    return (
        request.path == f"{API_ROOT}/{exchange.endpoint}"
        and request.json.get("model") == exchange.request.get("model")
        and bool(request.json.get("stream")) == bool(exchange.request.get("stream"))
    )


def _describe_missing(request: Request) -> Reply:
    """What the real API says to an unknown model, in its shape."""
    wanted = request.headers.get(EXCHANGE_HEADER) or (
        f"{request.path}, model {request.json.get('model')!r}, "
        f"stream {bool(request.json.get('stream'))}"
    )
    error = {
        "message": f"No exchange is recorded for {wanted}.",
        "type": "invalid_request_error",
        "param": None,
        "code": "exchange_not_found",
    }
    return Reply(json.dumps({"error": error}).encode(), 404)


def _read_events(body: str) -> Iterator[str]:
    """The server-sent events of a stream, each with the blank line that ends it."""
    return filter(None, re.split(r"(?<=\n\n)|(?<=\n\r\n)", body))


def _remove_usage(event: str) -> str:
    """A chat event for a request that did not ask for usage; empty if it is not sent."""
    if not event.startswith("data: {"):
        return event
    chunk = json.loads(event.removeprefix("data: "))
    if "usage" not in chunk:
        return event
    if chunk["choices"] == [] and chunk["usage"]:
        return ""
    if chunk["usage"] is None:
        del chunk["usage"]
        return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n"
    return event
