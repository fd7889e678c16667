"""A callback for LiteLLM, its SDK and its proxy: the energy of every provider it speaks to.

In the SDK:

>>> # import litellm
>>> # from energy_tracking.litellm import energy_logger
>>> # litellm.callbacks = [energy_logger]

In the proxy's configuration::

    litellm_settings:
      callbacks: energy_tracking.litellm.energy_logger

The order of events for a call that has succeeded:

1. The proxy answers. A complete response gets ``x-energy-wh``; that of a stream has started before
   its tokens are known, and has none.
2. LiteLLM logs the call, in a thread or task of its own that has the caller's context. It is
   counted there, in the sessions that were current where it was made, with team, key and user of
   the proxy as tags; and its energy is put into the metadata that other loggers write.

Counted is each call once: not where a tracked client, which LiteLLM uses for OpenAI and the like,
has counted it. An answer from LiteLLM's own cache ran no model: it is no call, and has 0 Wh in the
header and in the metadata.

A further kind of LiteLLM's calls is a row of ``OPERATIONS``, a further tag one of ``TAGS``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from time import perf_counter, time
from typing import Any, Unpack

import litellm
from litellm.integrations.custom_logger import CustomLogger

from energy_tracking.calls.counted import counted_responses
from energy_tracking.calls.energy_of import energy_of
from energy_tracking.calls.past import PastCall
from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.session import Session, current_session, process_session
from energy_tracking.lifecycle import are_clients_tracked
from energy_tracking.settings.effects import STREAM_SETTINGS, refuse_settings
from energy_tracking.tracker import Tracker, TrackerArguments
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import text_of
from energy_tracking.usage.payloads import first_of, mapping_of, response_facts

OPERATIONS = {
    "completion": "chat",
    "responses": "chat",
    "anthropic_messages": "chat",
    "generate_content": "chat",
    "text_completion": "text_completion",
    "embedding": "embeddings",
    "image_generation": "image_generation",
    "image_edit": "image_generation",
    "transcription": "transcription",
    "speech": "speech",
    "moderation": "moderation",
    "rerank": "rerank",
}
"""Kind of a call as LiteLLM names it -> ``gen_ai.operation.name``; others run no model."""

TAGS = {
    "team": ("user_api_key_team_alias", "user_api_key_team_id"),
    "key": ("user_api_key_alias",),
    "user": ("user_api_key_user_id",),
}
"""Tag -> where the proxy's metadata has it, the best first. A key is named by its alias alone."""

CALLS_REMEMBERED = 1_000
"""Calls that are known again at most, and calls in progress with their sessions [1]."""

ENERGY_HEADER = "x-energy-wh"

UNKNOWN_HEADER = "x-energy-unknown-calls"
"""Is 1 in place of the other header where the energy of a call is not known [1]."""

METADATA = "energy_wh"
"""Name of the energy in the metadata that LiteLLM's loggers write [Wh]."""


class EnergyLogger(CustomLogger):  # type: ignore[misc, unused-ignore]
    """Counts the calls of LiteLLM. ``energy_logger`` is one with the settings of the environment.

    Args:
        tags: Which of team, key and user become tags; none where LiteLLM's own
            ``redact_user_api_key_info`` is set.
        **arguments: As for ``Tracker``.

    Raises:
        ConfigurationError: A setting is wrong, see ``Tracker``.
    """

    def __init__(
        self, *, tags: tuple[str, ...] = tuple(TAGS), **arguments: Unpack[TrackerArguments]
    ) -> None:
        super().__init__()
        refuse_settings(arguments, STREAM_SETTINGS, type(self).__name__)
        self._tag_names = tags
        self._arguments = arguments
        self._sessions: OrderedDict[str, Session] = OrderedDict()
        self._logged: OrderedDict[str, object] = OrderedDict()
        if arguments:
            self.tracker  # noqa: B018 what is wrong is said at once

    @cached_property
    def tracker(self) -> Tracker:
        """Receives the calls; made with the first, not where this module is imported."""
        return Tracker(**self._arguments)

    def log_pre_api_call(self, model: str, messages: object, kwargs: dict[str, Any]) -> None:
        """Remember the session that a call is made in: it is logged in another thread.

        Args:
            model: The model.
            messages: The messages.
            kwargs: What LiteLLM knows of the call.
        """
        with self.tracker.boundary("litellm.start"):
            session = current_session()
            if session != process_session():
                self._sessions[str(kwargs.get("litellm_call_id"))] = session
                if len(self._sessions) > CALLS_REMEMBERED:
                    self._sessions.popitem(last=False)

    async def async_logging_hook(
        self, kwargs: dict[str, Any], result: object, call_type: str
    ) -> tuple[dict[str, Any], object]:
        """Count a call, and put its energy into what is logged of it.

        Args:
            kwargs: What LiteLLM knows of the call.
            result: The response.
            call_type: Which of LiteLLM's functions was called.
        """
        return self.logging_hook(kwargs, result, call_type)

    def logging_hook(
        self, kwargs: dict[str, Any], result: object, call_type: str
    ) -> tuple[dict[str, Any], object]:
        """The same, of a call that is not async.

        Args:
            kwargs: What LiteLLM knows of the call.
            result: The response.
            call_type: Which of LiteLLM's functions was called.
        """
        with self.tracker.boundary("litellm.logging"):
            # Of a stream this is called for each chunk, and with the payload for the whole.
            if kwargs.get("standard_logging_object") is not None:
                self._count_once(kwargs, result)
        return kwargs, result

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: datetime, end_time: datetime
    ) -> None:
        """Count a call that the hook before has not seen.

        Args:
            kwargs: What LiteLLM knows of the call.
            response_obj: The response, of a stream the whole one.
            start_time: When the call began.
            end_time: When it ended.
        """
        self.log_success_event(kwargs, response_obj, start_time, end_time)

    def log_success_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: datetime, end_time: datetime
    ) -> None:
        """The same, of a call that is not async.

        Args:
            kwargs: What LiteLLM knows of the call.
            response_obj: The response, of a stream the whole one.
            start_time: When the call began.
            end_time: When it ended.
        """
        with self.tracker.boundary("litellm.success"):
            self._count_once(kwargs, response_obj)

    async def async_log_failure_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: datetime, end_time: datetime
    ) -> None:
        """Count a call that has failed.

        Args:
            kwargs: What LiteLLM knows of the call.
            response_obj: None.
            start_time: When the call began.
            end_time: When it ended.
        """
        self.log_failure_event(kwargs, response_obj, start_time, end_time)

    def log_failure_event(
        self, kwargs: dict[str, Any], response_obj: object, start_time: datetime, end_time: datetime
    ) -> None:
        """The same, of a call that is not async.

        Args:
            kwargs: What LiteLLM knows of the call.
            response_obj: None.
            start_time: When the call began.
            end_time: When it ended.
        """
        with self.tracker.boundary("litellm.failure"):
            past = _read_call(kwargs, None)
            # A tracked client has counted it, most likely; neither has an id to know it by.
            if past is not None and not are_clients_tracked():
                failed = type(kwargs.get("exception")).__qualname__
                self._count(kwargs, replace(past, usage=None, error_type=failed))

    async def async_post_call_response_headers_hook(
        self,
        data: dict[str, Any],
        user_api_key_dict: object,
        response: object,
        request_headers: dict[str, str] | None = None,
        litellm_call_info: dict[str, object] | None = None,
    ) -> dict[str, str] | None:
        """The energy of a complete response as a header of the proxy's answer.

        Args:
            data: The request.
            user_api_key_dict: Who asks.
            response: The response; None of a call that has failed.
            request_headers: Headers of the request.
            litellm_call_info: Where it was sent to.
        """
        with self.tracker.boundary("litellm.header"):
            if _is_from_cache(mapping_of(getattr(response, "_hidden_params", None))):
                return {ENERGY_HEADER: "0"}
            record = self._find_record(data, response, litellm_call_info or {})
            if record is None:
                return None
            wh = record.total_energy_wh
            if wh is None:
                return {UNKNOWN_HEADER: "1"}
            return {ENERGY_HEADER: f"{wh:.12f}".rstrip("0").rstrip(".")}
        return None

    def _find_record(
        self, data: Mapping[str, Any], response: object, info: Mapping[str, Any]
    ) -> CallRecord | None:
        """The record of a response that is counted already, or as it will be counted.

        Args:
            data: The request.
            response: The response.
            info: Where it was sent to.
        """
        record = energy_of(response)
        if record is not None:
            return record
        facts = response_facts(response)
        if facts is None:
            return None
        hidden = mapping_of(getattr(response, "_hidden_params", None))
        model = _name_model(response, data.get("model"), hidden.get("litellm_model_name"))
        provider = text_of(info.get("custom_llm_provider")) or "unknown"
        past = PastCall(model=model, usage=facts.usage, provider=provider)
        return self.tracker.estimation.record(past)

    def _count_once(self, kwargs: dict[str, Any], response: object) -> None:
        """Count a call that has succeeded, unless it is counted or no model ran.

        Args:
            kwargs: What LiteLLM knows of the call.
            response: The response.
        """
        payload = mapping_of(kwargs.get("standard_logging_object"))
        metadata = payload.get("metadata")
        past = _read_call(kwargs, response)
        # Some calls are logged in a thread and in a task, and each is shown here twice.
        if past is None or not self._is_first(kwargs):
            return
        if _is_from_cache(kwargs) or _is_from_cache(payload):
            wh: float | None = 0.0
        else:
            record = self._find_counted(kwargs, response) or self._count(kwargs, past)
            wh = record.total_energy_wh
        if isinstance(metadata, dict):
            metadata[METADATA] = wh
            logged = mapping_of(metadata.get("spend_logs_metadata"))
            metadata["spend_logs_metadata"] = {**logged, METADATA: wh}

    def _is_first(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether a call was not logged before, in whatever thread."""
        call_id, mine = str(kwargs.get("litellm_call_id")), object()
        if self._logged.setdefault(call_id, mine) is not mine:
            return False
        if len(self._logged) > CALLS_REMEMBERED:
            self._logged.popitem(last=False)
        return True

    def _find_counted(self, kwargs: Mapping[str, Any], response: object) -> CallRecord | None:
        """The record of a call that a tracked client has counted.

        Args:
            kwargs: What LiteLLM knows of the call.
            response: The response.
        """
        record = energy_of(response)
        if record is not None:
            return record
        facts = response_facts(response)
        usage = None if facts is None else read_usage(facts.usage)
        if facts is None or usage is None or facts.response_id is not None:
            return None
        # Embeddings have no id: LiteLLM makes an object of its own of them.
        began = kwargs.get("start_time")
        seconds = time() - began.timestamp() if isinstance(began, datetime) else 0.0
        return counted_responses.record_like(facts, usage, since=perf_counter() - seconds)

    def _count(self, kwargs: Mapping[str, Any], past: PastCall) -> CallRecord:
        tags = self._read_tags(kwargs)
        made_in = self._sessions.pop(str(kwargs.get("litellm_call_id")), None)
        session = made_in or current_session()
        with session.attach():
            if not tags:
                return self.tracker.count(past)
            # A session inside, of the same name, has the tags of the proxy.
            with Session(session.name, tags=tags):
                return self.tracker.count(past)

    def _read_tags(self, kwargs: Mapping[str, Any]) -> dict[str, str]:
        """Team, key and user of the proxy, as far as they are known and may be named."""
        if litellm.redact_user_api_key_info:
            return {}
        payload = mapping_of(kwargs.get("standard_logging_object"))
        metadata = mapping_of(payload.get("metadata"))
        found = {name: text_of(first_of(metadata, TAGS[name])) for name in self._tag_names}
        return {name: value for name, value in found.items() if value is not None}


def _is_from_cache(facts: Mapping[str, Any]) -> bool:
    return facts.get("cache_hit") is True


def _read_call(kwargs: Mapping[str, Any], response: object) -> PastCall | None:
    """What LiteLLM knows of a call; None where it ran no model.

    Args:
        kwargs: What LiteLLM knows.
        response: The response; None where the call has failed.
    """
    payload = mapping_of(kwargs.get("standard_logging_object"))
    kind = str(payload.get("call_type") or kwargs.get("call_type") or "")
    usage = first_of(response, ("usage",))
    logged = mapping_of(payload.get("metadata")).get("usage_object")
    # Async ones have an "a" before the name.
    operation = OPERATIONS.get(kind) or OPERATIONS.get(kind.removeprefix("a"))
    if operation is None and not (logged and payload.get("total_tokens")):
        return None
    params = mapping_of(kwargs.get("litellm_params"))
    provider = payload.get("custom_llm_provider") or params.get("custom_llm_provider")
    return PastCall(
        model=_name_model(response, payload.get("model_group"), payload.get("model"))
        or text_of(kwargs.get("model")),
        usage=usage if usage is not None else logged,
        operation=operation or "chat",
        provider=text_of(provider) or "unknown",
        response_id=text_of(first_of(response, ("id",))),
    )


def _name_model(response: object, alias: object, deployed: object) -> str | None:
    """The model that a response is of: by the provider's own name, as far as that is known.

    Args:
        response: The response; the proxy puts its own name for a model into it.
        alias: That name.
        deployed: What the proxy's configuration has for it.
    """
    answered = text_of(first_of(response, ("model",)))
    if answered is not None and answered != alias:
        return answered
    # As in openai/gpt-4o and in bedrock/us.anthropic.claude-sonnet-4.
    name = text_of(deployed)
    return answered if name is None else name.partition("/")[2] or name


energy_logger = EnergyLogger()
"""The callback, with the settings of the environment."""
