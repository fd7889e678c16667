"""A client whose calls never leave the process, for thousands of them."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import openai

from calls import Shape
from loopback import Flavour


def in_process_client(flavour: Flavour, shape: Shape) -> Any:
    """An SDK client that is always answered as the shape has it."""
    httpx: Any = import_module("httpx2" if openai.VERSION >= "3" else "httpx")
    reply: Any = shape.answer
    content = reply.body if isinstance(reply.body, bytes) else b"".join(reply.body)

    def answer(request: Any) -> Any:
        return httpx.Response(reply.status, headers=reply.headers, content=content)

    async def answer_async(request: Any) -> Any:
        await asyncio.sleep(0)
        return answer(request)

    handler = answer_async if flavour.is_async else answer
    http = httpx.AsyncClient if flavour.is_async else httpx.Client
    return flavour.client(
        "http://127.0.0.1:9/v1", http_client=http(transport=httpx.MockTransport(handler))
    )
