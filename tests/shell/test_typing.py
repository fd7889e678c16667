"""What type checkers see: a tracked client is of the very type it was.

The type checker that runs over the tests is what checks most of this; running it checks that
the objects agree.
"""

from __future__ import annotations

from typing import assert_type

from openai import AsyncAzureOpenAI, AsyncOpenAI, AsyncStream, AzureOpenAI, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response

from energy_tracking import unwrap_openai, wrap_openai
from loopback import DONE, Loopback, chat_chunks, chat_completion, json_reply, response_object, sse

AZURE = "https://house.openai.azure.com"


class HouseClient(OpenAI):
    """A user's own client."""


def test_a_wrapped_client_is_of_the_type_it_was() -> None:
    sync = assert_type(wrap_openai(OpenAI(api_key="none")), OpenAI)
    async_ = assert_type(wrap_openai(AsyncOpenAI(api_key="none")), AsyncOpenAI)
    azure = assert_type(
        wrap_openai(AzureOpenAI(api_key="none", api_version="v1", azure_endpoint=AZURE)),
        AzureOpenAI,
    )
    async_azure = assert_type(
        wrap_openai(AsyncAzureOpenAI(api_key="none", api_version="v1", azure_endpoint=AZURE)),
        AsyncAzureOpenAI,
    )
    own = assert_type(wrap_openai(HouseClient(api_key="none")), HouseClient)
    unwrapped = assert_type(unwrap_openai(own), HouseClient)
    assert list(map(type, (sync, async_, azure, async_azure, unwrapped))) == [
        OpenAI,
        AsyncOpenAI,
        AzureOpenAI,
        AsyncAzureOpenAI,
        HouseClient,
    ]


def test_a_copy_of_a_wrapped_client_is_of_its_type() -> None:
    client = wrap_openai(OpenAI(api_key="none"))
    assert type(assert_type(client.with_options(max_retries=0), OpenAI)) is OpenAI
    assert type(assert_type(client.copy(), OpenAI)) is OpenAI


def test_the_sdks_overloads_see_through(loopback: Loopback) -> None:
    loopback.serve(json_reply(chat_completion()), sse(*chat_chunks(), DONE))
    loopback.serve(json_reply(response_object()), endpoint="responses")
    with wrap_openai(OpenAI(api_key="none", base_url=loopback.base_url)) as client:
        completion = client.chat.completions.create(model="gpt-4o", messages=[])
        assert type(assert_type(completion, ChatCompletion)) is ChatCompletion
        stream = client.chat.completions.create(model="gpt-4o", messages=[], stream=True)
        assert_type(stream, Stream[ChatCompletionChunk])
        assert type(stream) is Stream
        assert {type(chunk) for chunk in stream} == {ChatCompletionChunk}
        response = client.responses.create(model="gpt-4o", input="Hi")
        assert type(assert_type(response, Response)) is Response


async def test_the_sdks_async_overloads_see_through(loopback: Loopback) -> None:
    loopback.serve(json_reply(chat_completion()), sse(*chat_chunks(), DONE))
    async with wrap_openai(AsyncOpenAI(api_key="none", base_url=loopback.base_url)) as client:
        completion = await client.chat.completions.create(model="gpt-4o", messages=[])
        assert type(assert_type(completion, ChatCompletion)) is ChatCompletion
        stream = await client.chat.completions.create(model="gpt-4o", messages=[], stream=True)
        assert_type(stream, AsyncStream[ChatCompletionChunk])
        assert type(stream) is AsyncStream
        assert {type(chunk) async for chunk in stream} == {ChatCompletionChunk}
