"""A server of metrics pages on the loopback, and the pages of each engine."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGES = Path(__file__).parent / "servers" / "data"

Answer = Callable[[BaseHTTPRequestHandler], None]
"""Answers one request for the page."""


def page_of(engine: str) -> str:
    """The page of an engine, by the name of its file."""
    return (PAGES / f"{engine}.txt").read_text("utf-8")


def running_page(requests: float, model: str = "llama-3.1-8b") -> str:
    """A page of vLLM with so many running requests."""
    return f'vllm:num_requests_running{{engine="0",model_name="{model}"}} {requests}\n'


class MetricsServer:
    """Serves a page that a test may change while it runs.

    Attributes:
        url: Address of the page.
        page: Its text; a function answers in its own way.
        requests: Paths that were asked for, in their order.
    """

    def __init__(self, page: str | Answer, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.page = page
        self.requests: list[str] = []


@contextmanager
def metrics_server(page: str | Answer = "") -> Iterator[MetricsServer]:
    """A metrics server for the duration of the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.requests.append(self.path)
            if callable(served.page):
                served.page(self)
            else:
                answer_with(self, served.page.encode())

        def log_message(self, format: str, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        served = MetricsServer(page, server.server_port)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()


def answer_with(
    request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str
) -> None:
    """Answer a request.

    Args:
        request: The request.
        body: The body.
        status: The status.
        headers: Further headers, ``_`` in place of ``-``.
    """
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    if "Content_Length" not in headers:
        request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
