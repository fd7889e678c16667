"""The SDK reads every recorded exchange as it was sent."""

from __future__ import annotations

import pytest

from cassettes import CASSETTES, Outcome, call_exchange, cassette_exchanges
from energy_tracking.demo.server import Exchange, ReplayServer, load_exchanges
from loopback import Flavour

pytestmark = [
    pytest.mark.skipif(
        not CASSETTES.is_dir(), reason="the recorded exchanges of ../shared/cassettes are not here"
    ),
    pytest.mark.no_cover,  # hundreds of rounds of what other tests do once
]


@pytest.fixture(scope="module")
def exchanges() -> list[Exchange]:
    """All the recordings."""
    return cassette_exchanges()


async def test_the_sdk_shows_the_recorded_usage_of_every_exchange(
    flavour: Flavour, exchanges: list[Exchange]
) -> None:
    with ReplayServer(exchanges, verbatim=True) as server:
        client = flavour.client(server.base_url)
        outcomes = [await call_exchange(flavour, client, exchange) for exchange in exchanges]

    def is_as_recorded(exchange: Exchange, outcome: Outcome) -> bool:
        refused = getattr(outcome.error, "status_code", 200)
        return (outcome.usage, refused) == (exchange.usage, exchange.status)

    pairs = zip(exchanges, outcomes, strict=True)
    assert [pair for pair in pairs if not is_as_recorded(*pair)] == []
    assert [request.headers["x-exchange-name"] for request in server.requests] == [
        exchange.name for exchange in exchanges
    ]


def test_the_exchanges_of_the_demo_are_recorded_ones(exchanges: list[Exchange]) -> None:
    recorded = {exchange.body: exchange for exchange in exchanges}
    for shipped in load_exchanges():
        original = recorded[shipped.body]
        assert (shipped.usage, shipped.status) == (original.usage, original.status)
