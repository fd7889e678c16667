"""Pages of metrics are fetched from their own address alone, in time and in bounds."""

from __future__ import annotations

import gzip
import threading
import time
import zlib
from http.server import BaseHTTPRequestHandler

import pytest

from energy_tracking.errors import ConfigurationError
from energy_tracking.hosts import PageAddress, read_page_address
from energy_tracking.servers.pages import (
    MAX_PAGE_BYTES,
    PageError,
    fetch_page,
    read_samples,
)
from metrics_pages import Answer, answer_with, metrics_server, page_of


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://127.0.0.1:8000/metrics", PageAddress("http", "127.0.0.1", 8000, "/metrics")),
        ("http://localhost", PageAddress("http", "localhost", 80, "/metrics")),
        ("https://GPU-1.example.org/", PageAddress("https", "gpu-1.example.org", 443, "/metrics")),
        ("http://[::1]:8080/metrics?model=m", PageAddress("http", "::1", 8080, "/metrics?model=m")),
    ],
)
def test_an_address_is_read(given: str, address: PageAddress) -> None:
    assert read_page_address(given) == address
    assert read_page_address(str(address)) == address


@pytest.mark.parametrize(
    "given",
    [
        *("", "localhost:8000", "/metrics", "ftp://a/metrics", "file:///etc/passwd", "http://"),
        *(
            "http://a:0/metrics",
            "http://a:99999/",
            "http://a b/",
            "http://a/\r\nX: y",
            "http://é/é",
        ),
    ],
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(ConfigurationError, match="must be the address of a page by http or https"):
        read_page_address(given)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="without a name or password") as refused:
        read_page_address("http://me:secret@gpu.example.org/metrics")
    assert "secret" not in str(refused.value)


def fetch(page: str | Answer, seconds: float = 5.0) -> str:
    with metrics_server(page) as server:
        return fetch_page(read_page_address(server.url), seconds)


def test_a_page_is_fetched() -> None:
    assert fetch(page_of("vllm")) == page_of("vllm")


def test_a_packed_page_is_unpacked() -> None:
    packed = gzip.compress(page_of("vllm").encode())
    page = fetch(lambda request: answer_with(request, packed, Content_Encoding="gzip"))
    assert page == page_of("vllm")


def redirect(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"", 302, Location="/elsewhere")


def send_too_much(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"a 1\n" * (MAX_PAGE_BYTES // 4) + b"a 1\n")


def send_bomb(request: BaseHTTPRequestHandler) -> None:
    packer = zlib.compressobj(wbits=31)
    packed = b"".join(packer.compress(b"#" * 2**20) for _ in range(17)) + packer.flush()
    assert len(packed) < 2**20
    answer_with(request, packed, Content_Encoding="gzip")


def send_half(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, b"vllm:num_requests_running 1", Content_Length="1000")
    request.wfile.flush()


def send_half_packed(request: BaseHTTPRequestHandler) -> None:
    answer_with(request, gzip.compress(b"a 1\n" * 1000)[:-12], Content_Encoding="gzip")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (redirect, "answers 302, a redirect, which is not followed"),
        (lambda request: answer_with(request, b"", 404), "answers 404"),
        (send_too_much, "is larger than 16 MiB"),
        (send_bomb, "is larger than 16 MiB"),
        (send_half, "ends before its end"),
        (send_half_packed, "ends before its end"),
        (
            lambda request: answer_with(request, b"?", Content_Encoding="br"),
            "is packed as 'br', not gzip",
        ),
        (
            lambda request: answer_with(request, b"not packed", Content_Encoding="gzip"),
            "cannot be read: error",
        ),
        (lambda request: request.wfile.write(b"nonsense\n"), "cannot be read: BadStatusLine"),
    ],
    ids=["redirect", "404", "17-mib", "bomb", "half", "half-packed", "br", "no-gzip", "no-http"],
)
def test_what_is_no_page_is_refused(answer: Answer, said: str) -> None:
    with pytest.raises(PageError, match=said):
        fetch(answer)


def test_a_redirect_is_not_followed() -> None:
    with metrics_server(redirect) as server:
        with pytest.raises(PageError):
            fetch_page(read_page_address(server.url))
        assert server.requests == ["/metrics"]


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_page_that_comes_in_drops_has_its_time_in_all(part: str) -> None:
    over = threading.Event()

    def drip(request: BaseHTTPRequestHandler) -> None:
        if part == "body":
            request.send_response(200)
            request.end_headers()
        # Each drop comes well within the time that one read may take.
        while not over.wait(0.05):
            request.wfile.write(b"X" if part == "head" else b"# drop\n")

    started = time.monotonic()
    try:
        with pytest.raises(PageError, match=r"did not answer within 0\.5 s"):
            fetch(drip, seconds=0.5)
    finally:
        over.set()
    assert time.monotonic() - started < 30


def test_nobody_there_is_an_error_of_the_page() -> None:
    with metrics_server() as server:
        address = read_page_address(server.url)
    with pytest.raises(PageError, match="cannot be read: ConnectionRefusedError"):
        fetch_page(address)


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch("a 1\n") == "a 1\n"


def test_samples_of_the_names_asked_for_are_read_with_their_labels() -> None:
    pytest.importorskip("prometheus_client", reason="reading pages is an extra")
    page = (
        'a 1\nab{x="1"} 2\n# HELP a text\n'
        'b{model="with \\"quotes\\" and , in it"} NaN\na{y="2"} 3e2 17\n'
    )
    samples = list(read_samples(page, ["a", "b"]))
    assert [(sample.name, dict(sample.labels)) for sample in samples] == [
        ("a", {}),
        ("b", {"model": 'with "quotes" and , in it'}),
        ("a", {"y": "2"}),
    ]
    assert [sample.value for sample in samples if sample.name == "a"] == [1, 300]


def test_a_line_in_another_format_is_an_error_of_the_page() -> None:
    pytest.importorskip("prometheus_client", reason="reading pages is an extra")
    with pytest.raises(PageError, match="has a line in another format"):
        list(read_samples("a many\n", ["a"]))
