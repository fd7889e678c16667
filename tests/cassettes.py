"""Hundreds of recorded exchanges, and the SDK calls that make them again.

The recordings lie beside a checkout, in ``../shared/cassettes``, and are not part of it.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any

import openai

from energy_tracking.demo.server import EXCHANGE_HEADER, Exchange
from loopback import Flavour

CASSETTES = Path(__file__).parents[2] / "shared" / "cassettes"

METHODS = {
    "chat/completions": "chat.completions.create",
    "completions": "completions.create",
    "embeddings": "embeddings.create",
    "responses": "responses.create",
}


def cassette_exchanges(root: Path = CASSETTES) -> list[Exchange]:
    """Read every exchange of the folder; its name is the recording's id."""
    with (root / "index.jsonl").open(encoding="utf-8") as index:
        rows = [json.loads(line) for line in index]
    return [_exchange(row, json.loads((root / row["file"]).read_text("utf-8"))) for row in rows]


def _exchange(row: Mapping[str, Any], recorded: Mapping[str, Any]) -> Exchange:
    request = recorded["request"] or {}
    if row["stream"]:
        # One recording lost the parameter: its response is a stream all the same.
        request = request | {"stream": True}
    usual = "text/event-stream" if row["stream"] else "application/json"
    usage = row["usage"]
    if row["usage_where"] == "x_groq":
        # The index says where, not what.
        usage = json.loads(re.findall(r'"usage":(\{[^{}]*\})', recorded["body"])[-1])
    return Exchange(
        name=row["id"],
        endpoint=row["endpoint"],
        request=request,
        status=row["status"],
        # Some recordings have lost their headers.
        content_type=recorded["headers"].get("content-type", usual),
        body=recorded["body"],
        usage=usage,
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one recorded call.

    Attributes:
        way: ``typed`` if the SDK's own method took the request, else ``post``.
        usage: The last usage among what the SDK gave, as it was sent.
        error: What the SDK raised.
    """

    way: str
    usage: Mapping[str, Any] | None = None
    error: Exception | None = None


async def call_exchange(flavour: Flavour, client: Any, exchange: Exchange) -> Outcome:
    """Make the recorded call again, and read what comes to its end.

    Args:
        flavour: Which client it is.
        client: An SDK client of a server that has the exchange.
        exchange: The call.

    Returns:
        What happened; an error of the SDK is returned, not raised.
    """
    method = attrgetter(METHODS[exchange.endpoint])(client)
    parameters = inspect.signature(method).parameters
    known = {key: value for key, value in exchange.request.items() if key in parameters}
    unknown = {key: value for key, value in exchange.request.items() if key not in parameters}
    headers = {EXCHANGE_HEADER: exchange.name}
    way = "typed"
    try:
        try:
            call = flavour.call(method, **known, extra_body=unknown or None, extra_headers=headers)
            result = await call
        except TypeError:
            way = "post"
            result = await flavour.call(
                client.post,
                f"/{exchange.endpoint}",
                body=exchange.request,
                cast_to=object,
                options={"headers": headers},
            )
        usage = None
        if not exchange.request.get("stream"):
            usage = _usage(result)
        else:
            async for item in flavour.items(result):
                usage = _usage(item) or usage
    except openai.OpenAIError as error:
        return Outcome(way, error=error)
    return Outcome(way, usage)


def _usage(item: Any) -> Mapping[str, Any] | None:
    """The usage on a response, a chunk or an event, in the form it was sent."""
    for holder in (item, _get(item, "response"), _get(item, "x_groq")):
        if usage := _get(holder, "usage"):
            return usage if isinstance(usage, dict) else usage.to_dict()
    return None


def _get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else getattr(holder, name, None)
