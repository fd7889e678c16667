"""What the SDK decodes of a response, each body and event, shown to the call that it answers.

The hook here runs for every event of every stream: an event costs a look, and no allocation.
"""

from __future__ import annotations

from typing import Any

from energy_tracking.calls.call import Call
from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.record import OBSERVATION_EXTENSION
from energy_tracking.openai_client.hooked_function import Original
from energy_tracking.openai_client.targets import UNKNOWN_HOST
from energy_tracking.tracker import Tracker
from energy_tracking.usage.plain_text import plain_text_tokens


class Observation:
    """What an HTTP response carries.

    Attributes:
        call: The call that it answers; None where it answers a request that generates nothing.
        tracker: Receives the call, and our own errors.
        is_decoded: Whether the SDK has decoded a body or an event of it.
    """

    __slots__ = ("call", "is_decoded", "tracker")

    def __init__(self, call: Call | None, tracker: Tracker) -> None:
        """Of a response that has just come.

        Args:
            call: The call that it answers.
            tracker: Receives the call.
        """
        self.call = call
        self.tracker = tracker
        self.is_decoded = False


def process_data(original: Original) -> Original:
    """The hook of ``_process_response_data``."""

    def process(client: Any, data: Any, cast_to: object, response: Any) -> Any:
        try:
            observation = response.extensions.get(OBSERVATION_EXTENSION)
        except AttributeError:
            observation = None  # another object than the SDK's own
        if type(observation) is not Observation:
            return original(client, data=data, cast_to=cast_to, response=response)
        call = observation.call
        try:
            observation.is_decoded = True
            if call is None:
                counted_responses.note_fetched(data)
            else:
                # ``observe`` begins like this: one function fewer is called for each chunk.
                tokens = plain_text_tokens(data) if call.is_in_text else None
                if tokens is not None:
                    call.text_tokens += tokens
                elif call.observe(data) and call.usage_remedy is UNKNOWN_HOST:
                    from energy_tracking.openai_client.usage_hosts import learn_engine

                    learn_engine(call, data)
                if call.asks_for_usage and data.get("usage", call) is None:
                    # Servers send this null only when usage was requested.
                    del data["usage"]
        except Exception as error:
            observation.tracker.report("openai.data", error)
        result = original(client, data=data, cast_to=cast_to, response=response)
        # A raw response is parsed after its call has ended.
        if call is not None and call.final_record is not None and not call.request.stream:
            with observation.tracker.boundary("openai.data"):
                counted_responses.remember_object(result, call.final_record)
        return result

    return process
