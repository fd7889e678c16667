"""Which call another instrumentation of the same client reports already."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from energy_tracking import wrap_openai
from energy_tracking.openai_client.other_instrumentations import METHODS, is_reported_elsewhere
from energy_tracking.usage.payloads import ENDPOINTS
from loopback import Flavour, Loopback


def test_methods_belong_to_endpoints() -> None:
    assert set(METHODS) <= {endpoint.path for endpoint in ENDPOINTS}


@pytest.mark.parametrize("path", METHODS)
def test_a_peer_is_known_by_its_wrapper(
    loopback: Loopback, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Flavour("sync").client(loopback.base_url)
    assert not is_reported_elsewhere(wrap_openai(client), path)
    resource: Any = client
    *parts, method = METHODS[path].split(".")
    for part in parts:
        resource = getattr(resource, part)
    theirs: dict[str, Any] = {"__name__": "openinference.instrumentation.openai"}
    exec("def wrapper(*args, **kwargs): ...", theirs)
    theirs["wrapper"].__wrapped__ = getattr(resource, method)
    setattr(resource, method, theirs["wrapper"])
    assert not is_reported_elsewhere(client, path), "its package is not even imported"
    monkeypatch.setitem(sys.modules, "openinference", ModuleType("openinference"))
    assert is_reported_elsewhere(client, path)
    assert not is_reported_elsewhere(client, "/moderations")
    client.close()
