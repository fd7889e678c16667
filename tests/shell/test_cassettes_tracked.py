"""Every recorded exchange, made again through a tracked client, is shown and recorded as it was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from cassettes import CASSETTES, Outcome, call_exchange, cassette_exchanges
from energy_tracking.demo.server import Exchange, ReplayServer, load_exchanges
from energy_tracking.lifecycle import close_open_calls
from loopback import Flavour
from observed_calls import Watch

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


def first_int(usage: Mapping[str, Any], *paths: str) -> int | None:
    """The first of the paths that leads to a count."""
    for path in paths:
        found: Any = usage
        for key in path.split("."):
            found = found.get(key) if isinstance(found, Mapping) else None
        if isinstance(found, int):
            return found
    return None


def expected_attributes(usage: Mapping[str, Any]) -> dict[str, int | None]:
    """What the index's usage says, by OpenAI's own names and rules; no zeros of a cache."""
    inputs = first_int(usage, "prompt_tokens", "input_tokens")
    outputs = first_int(usage, "completion_tokens", "output_tokens") or 0
    total = first_int(usage, "total_tokens")
    if total is not None and inputs is not None:
        # Some servers leave the reasoning out of the output; their total has it.
        outputs = max(outputs, total - inputs)
    cached = first_int(
        usage,
        "prompt_tokens_details.cached_tokens",
        "input_tokens_details.cached_tokens",
        "num_cached_tokens",
        "prompt_cache_hit_tokens",
        "cache_read_input_tokens",
    )
    reasoning = first_int(
        usage,
        "completion_tokens_details.reasoning_tokens",
        "output_tokens_details.reasoning_tokens",
        "reasoning_tokens",
    )
    return {
        "gen_ai.usage.input_tokens": inputs,
        "gen_ai.usage.output_tokens": outputs,
        "gen_ai.usage.cache_read.input_tokens": cached or None,
        "gen_ai.usage.reasoning.output_tokens": reasoning,
    }


# Its server reports no tokens at all beside the text it sends: those counts are not believed.
DISBELIEVED = {
    ("9190e330977b0b31", "gen_ai.usage.input_tokens"),
    ("9190e330977b0b31", "gen_ai.usage.output_tokens"),
}

# How the exchanges are read. No usage among them is rejected, none has to be repaired; the
# 59 have text and no usage that says how much, and two are in the background, never fetched.
READ = {
    "without repair": 674,
    "estimated from text": 59,
    "no usage in the response": 1,
    "still queued when last seen": 2,
    "failed with BadRequestError": 8,
    "failed with AuthenticationError": 4,
    "failed with NotFoundError": 3,
}


async def test_every_exchange_is_shown_as_it_was_and_recorded_once_with_the_usage_of_the_index(
    flavour: Flavour,
    exchanges: list[Exchange],
    watch: Watch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    # Models without a profile are not what is tested here.
    caplog.set_level("ERROR", "energy_tracking")
    wrong: list[tuple[str, object]] = []
    spans: dict[str, dict[str, Any]] = {}
    with ReplayServer(exchanges, verbatim=True) as server:
        client = watch.wrap(flavour.client(server.base_url))
        for exchange in exchanges:
            before = len(watch.spans)
            shown = await call_exchange(flavour, client, exchange)
            if not is_as_recorded(exchange, shown):
                wrong.append((exchange.name, shown))
            ended = watch.spans[before:]
            if len(ended) == 1:
                spans[exchange.name] = dict(ended[0].attributes or {})
            elif ended or not exchange.request.get("background"):
                wrong.append((exchange.name, len(ended)))
    close_open_calls()
    assert wrong == []
    assert [request.headers["x-exchange-name"] for request in server.requests] == [
        exchange.name for exchange in exchanges
    ]
    assert len(watch.records) == len(exchanges)

    for exchange in exchanges:
        attributes = spans.get(exchange.name, {})
        expected = expected_attributes(exchange.usage) if exchange.usage else {}
        wrong += [
            (exchange.name, name)
            for name in expected_attributes({})
            if expected.get(name) != attributes.get(name)
        ]
    assert set(wrong) == DISBELIEVED

    read = Counter(map(how_it_was_read, watch.records))
    with capsys.disabled():
        print(f"\n{flavour.name}: {dict(read)}")
    assert dict(read) == READ


def is_as_recorded(exchange: Exchange, shown: Outcome) -> bool:
    """Whether the SDK gave the usage and the status that the server had sent."""
    refused = getattr(shown.error, "status_code", 200)
    return (shown.usage, refused) == (exchange.usage, exchange.status)


def how_it_was_read(record: Any) -> str:
    """Whether the usage could be used as it came."""
    if record.usage is not None and not record.usage.estimated:
        return "with repair" if record.usage.repairs else "without repair"
    if record.usage is not None:
        return "estimated from text"
    return record.reason or "unknown"


def test_the_exchanges_of_the_demo_are_recorded_ones(exchanges: list[Exchange]) -> None:
    recorded = {exchange.body: exchange for exchange in exchanges}
    for shipped in load_exchanges():
        original = recorded[shipped.body]
        assert (shipped.usage, shipped.status) == (original.usage, original.status)
