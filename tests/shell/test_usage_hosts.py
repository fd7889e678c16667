"""Which hosts the setting ``include_usage_hosts`` takes; what is asked of them, see the client."""

from __future__ import annotations

import pytest

from energy_tracking import ConfigurationError, Tracker
from energy_tracking.hosts import is_among_hosts
from energy_tracking.settings import Settings

# What is written, and the host and port that it is then.
TAKEN: list[tuple[str, str, int]] = [
    ("llm.example.org", "llm.example.org", 80),
    ("llm.example.org", "llm.example.org", 8000),
    (" LLM.Example.org. ", "llm.example.org", 443),
    ("localhost:8000", "localhost", 8000),
    ("HTTP://localhost:8000/v1/", "localhost", 8000),
    ("https://llm.example.org", "llm.example.org", 443),
    ("https://user:secret@llm.example.org/v1?x=1#y", "llm.example.org", 443),
    ("127.0.0.1", "127.0.0.1", 80),
    ("127.0.0.1:11434", "127.0.0.1", 11434),
    ("::1", "::1", 80),
    ("[::1]:8000", "::1", 8000),
    ("http://[0:0:0:0:0:0:0:1]:8000/v1", "::1", 8000),
    ("my_service:8000", "my_service", 8000),
    ("münchen.example", "münchen.example", 80),
    ("https://xn--mnchen-3ya.example/v1", "münchen.example", 443),
]
NO_HOST = [
    *("a b", "*.example.org", ".example.org", "a..b", "-a.org", "a/v1", "localhost:8000/v1"),
    *("localhost:http", "localhost:0", "localhost:65536", "localhost:8000:1", "user@host"),
    *("http://", "http:///v1", "http://a b/v1", "ftp://host", "host://", "[::1", "::1:x"),
    *("https://host:http/v1", "?", "#", "host?x=1", "a\nb", "a" * 64 + ".org", "[]", "0x1::"),
    *("http://host:0/v1", "http://*.example.org", "//host", "http:/host"),
]


@pytest.mark.parametrize(("written", "host", "port"), TAKEN)
def test_a_host_a_host_and_port_or_a_url_is_taken(written: str, host: str, port: int) -> None:
    for given in (written, [written], f"other.example,{written}"):
        assert is_among_hosts(
            Settings.load({"include_usage_hosts": given}, {}).include_usage_hosts, host, port
        )


def test_a_port_that_is_named_is_the_only_one() -> None:
    hosts = Settings.load({"include_usage_hosts": "http://localhost:8000/v1"}, {})
    assert not is_among_hosts(hosts.include_usage_hosts, "localhost", 8001)
    assert not is_among_hosts(hosts.include_usage_hosts, "localhost.example", 8000)


@pytest.mark.parametrize("written", NO_HOST)
def test_what_no_host_can_match_is_refused_at_once_and_named(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigurationError) as raised:
        Tracker(include_usage_hosts=["llm.example.org", written])
    message = str(raised.value)
    assert message.startswith("include_usage_hosts (ENERGY_TRACKING_INCLUDE_USAGE_HOSTS) must be ")
    assert repr(written) in message
    assert "must be a host, host:port or URL, such as" in message
    monkeypatch.setenv("ENERGY_TRACKING_INCLUDE_USAGE_HOSTS", written)
    with pytest.raises(ConfigurationError, match=r"USAGE_HOSTS\) must be "):
        Tracker()
