"""Stream from several models at once with the async client.

Run with OPENAI_API_KEY set: ``python examples/stream_async.py``.
"""

import asyncio

from openai import AsyncOpenAI

from energy_tracking import energy_session, wrap_openai


async def ask(client: AsyncOpenAI, model: str) -> str:
    """One streamed answer."""
    stream = await client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": "What is the capital of Mexico?"}],
        stream=True,
    )
    # The usage is asked for behind the scenes; every chunk here has its choice.
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def main() -> None:
    """Two streams side by side, in one session."""
    async with wrap_openai(AsyncOpenAI()) as client, energy_session("streams") as session:
        answers = await asyncio.gather(ask(client, "gpt-4o"), ask(client, "gpt-4o-mini"))
    print(*answers, sep="\n")
    print(session)


asyncio.run(main())
