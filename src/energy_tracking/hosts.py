"""Hosts as settings name them, and as clients' URLs do."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from energy_tracking.errors import ConfigurationError, must_be

_HOST = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")


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
    if not _HOST.fullmatch(host):
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
