"""Hosts as settings name them, and as clients' URLs do; and pages of a server that they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from energy_tracking.errors import ConfigurationError, must_be
from energy_tracking.frozen import frozen

_HOST = r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*"

THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1", "0.0.0.0"})
"""Hosts that are this machine."""


def name_machine(host: str) -> str:
    """A host, this machine by one name."""
    return "localhost" if host.lower() in THIS_MACHINE else host.lower()


def read_host(name: str) -> str:
    """A host, or a host and a port, as ``is_among_hosts`` compares them.

    Raises:
        ConfigurationError: It is none.
    """
    is_url = name.lower().startswith(("http://", "https://"))
    # `urlsplit` passes over most of what is wrong.
    if name.isprintable() and not set(name) & set(" " if is_url else " /?#@"):
        with suppress(ValueError):
            return ip_address(name.strip("[]") if name.endswith("]") else name).compressed
        with suppress(ValueError):
            url = urlsplit(name if is_url else f"//{name}")
            host, port = _parse_host_name(url.hostname or ""), url.port
            if port != 0:
                return host if port is None else _join_port(host, port)
    example = "llm.example.org, localhost:8000 or http://localhost:8000/v1"
    raise ConfigurationError(must_be("", f"a host, host:port or URL, such as {example}", name))


def _parse_host_name(host: str) -> str:
    """A host by its address or name, in small letters of any script, as HTTP clients have it.

    Raises:
        ValueError: It is none.
    """
    if ":" in host:
        return ip_address(host).compressed
    host = host.removesuffix(".").encode("idna").decode("ascii").lower()
    if not re.fullmatch(_HOST, host):
        raise ValueError(host)
    return host.encode("ascii").decode("idna")


def _join_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_among_hosts(hosts: Iterable[str], host: str, port: int) -> bool:
    """Whether a setting's hosts name this one, or this one at this port.

    Args:
        hosts: The setting.
        host: Host of a client's URL.
        port: Its port, the scheme's own where it names none.
    """
    return host in hosts or _join_port(host, port) in hosts


SCHEME_PORTS = {"http": 80, "https": 443}
"""Schemes of pages that are fetched, each with its own port."""


@frozen()
class PageAddress:
    """Where a page is that the user has named, and nothing else is fetched from.

    Attributes:
        scheme: ``"http"`` or ``"https"``.
        host: Name or address of the host.
        port: Its port.
        path: The path, with the query if it has one.
    """

    scheme: str
    host: str
    port: int
    path: str

    def __str__(self) -> str:
        """The address as people write it."""
        is_own = self.port == SCHEME_PORTS[self.scheme]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host if is_own else _join_port(self.host, self.port)}{self.path}"


def read_page_address(given: str, path: str = "/metrics") -> PageAddress:
    """The address of a page.

    Args:
        given: Its URL.
        path: Path of a URL that has none.

    Raises:
        ConfigurationError: It is no URL of http or https, or one with a password in it.
    """
    what = "the address of a page by http or https, such as http://localhost:8000/metrics"
    if not given.isprintable() or " " in given:
        raise ConfigurationError(must_be("", what, given))
    try:
        url = urlsplit(given)
        host, port = _parse_host_name(url.hostname or ""), url.port
    except ValueError:
        raise ConfigurationError(must_be("", what, given)) from None
    if url.scheme not in SCHEME_PORTS or port == 0 or not given.isascii():
        raise ConfigurationError(must_be("", what, given))
    if "@" in url.netloc:
        # Not shown: it would be in the log.
        what = f"{what}, without a name or password in it"
        raise ConfigurationError(must_be("", what, f"{url.scheme}://...@{host}"))
    page = (url.path if url.path.strip("/") else path) + (f"?{url.query}" if url.query else "")
    return PageAddress(url.scheme, host, port or SCHEME_PORTS[url.scheme], page)


@frozen()
class MetricsPage:
    """A metrics page, and the host whose calls it is of.

    Attributes:
        host: The host of the calls.
        port: Its port; None: whichever.
        address: Where the page is.
    """

    host: str
    port: int | None
    address: PageAddress

    def __str__(self) -> str:
        """The page as it is named in a setting."""
        if (self.host, self.port) == (self.address.host, self.address.port):
            return str(self.address)
        host = self.host if self.port is None else _join_port(self.host, self.port)
        return f"{host}={self.address}"


def read_metrics_page(given: str) -> MetricsPage:
    """A metrics page by its address, or with the host of its calls before it: ``HOST=ADDRESS``.

    Raises:
        ConfigurationError: One of them is none.
    """
    named, separator, url = given.partition("=")
    if not separator or "/" in named:
        address = read_page_address(given)
        return MetricsPage(address.host, address.port, address)
    address = read_page_address(url)
    host = urlsplit(f"//{_bracketed(read_host(named))}")
    return MetricsPage(host.hostname or "", host.port, address)


def _bracketed(host: str) -> str:
    """A host as it stands in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
