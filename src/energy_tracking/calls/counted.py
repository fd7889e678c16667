"""The responses counted last, so that none is counted a second time.

One memory for the whole process, bounded by number and, as every name is, by length. It is
given every call that any tracker counts, and every response that a tracked client only fetched.
Three ask it:

- a decorated function that returns a response (``has``): it may come from a pool's thread, from
  a cache, or from another function;
- the span processor (``covers``): one call may be on several spans;
- the user, for the record of a call (``record_of``): see ``energy_of``.

The law:

1. A long id is one of a kind: a returned object that has it is that response. Of a span with
   it, model and tokens must agree as well, as far as both sides know them. One that came with
   other tokens before is a constant of its server, and no better than a short one.
2. A short one may be used again (Ollama draws from 0 to 998): it is that response if model,
   tokens and the time of creation agree; where one side does not say that time, if a tracked
   client was answered with it, or it was counted during the function that returns it.
3. A span does not say that time: with a short id it is that call's report within
   ``REPEAT_SECONDS`` if a tracked client made the call, if another instrumentation made the span,
   or if it began before the call was counted: an instrumentation that reports a call on two spans
   has one beside the other, and not after it.
4. An object without an id is made of parts of a tracked client's response if model, tokens and,
   where both say it, the time of creation agree.
5. Without an id on one of two sides, a span of another instrumentation is that call's report if
   model and tokens agree within ``REPORT_SECONDS``; every instrumentation reports a call once.
   Of two spans, the places must agree, too (``span_places``).
6. Tokens that were estimated are compared with none.
7. A response that was made before the function began that returns it was not generated there
   (``response_times``): it was loaded from a file, fetched or listed, and counted where it was
   made, if anywhere. That holds for times which are believed: clocks of two machines differ by up
   to ``CLOCKS_DIFFER_SECONDS``, and a time more than ``OLDEST_SECONDS`` back is a constant of a
   server without a clock, as if there were none. A call that was seen to be sent by a client that
   nobody tracks outweighs any time.

What finds the record of a response later on belongs into ``CountedResponse``.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from time import perf_counter

from energy_tracking.calls.call import Call
from energy_tracking.calls.counted_response import NOBODY, CountedResponse, exact_tokens
from energy_tracking.calls.record import CallRecord
from energy_tracking.calls.span_places import SpanPlace
from energy_tracking.lifecycle import call_after_fork
from energy_tracking.usage.dialects import read_usage
from energy_tracking.usage.names import is_unique_id
from energy_tracking.usage.payloads import ResponseFacts, created_in, identity_in
from energy_tracking.usage.token_usage import TokenUsage
from energy_tracking.usage.usage_paths import usage_in

RESPONSES_REMEMBERED = 2_000
"""How many responses back one is recognised by its id, or as the same object."""
REPORTS_REMEMBERED = 100
"""How many calls back one is recognised by its tokens."""
DICTS_REMEMBERED = 32
"""How many dicts back one is recognised as the same object: they are kept alive."""
REPEAT_SECONDS = 2.0
"""How long after a call a span with its id, which is not one of a kind, may repeat it [s]."""
REPORT_SECONDS = 1.0
"""How long after a call a report of it without its id may come, on a span of its own [s]."""
ITEMS_FETCHED = 1_000
"""Items of one listing that are remembered at most."""

_CallTraits = tuple[float | None, str | None, SpanPlace | None, float]
"""Of a call, beside its record: when its response was made, by its own account [s since the epoch];
the instrumentation that reports it; where its span is; when it was counted [s]."""


def _traits_of(call: Call) -> _CallTraits:
    return call.created, call.reporter, call.span_place, perf_counter()


class CountedResponses:
    """The responses counted last."""

    def __init__(self) -> None:
        """Start with none."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all with a lock nobody holds: for the child of a fork."""
        self._lock = threading.RLock()
        # What nobody has asked about yet, as ``_add`` takes it: most programs never ask.
        self._unsorted: deque[tuple[CallRecord, _CallTraits]] = deque(maxlen=RESPONSES_REMEMBERED)
        self._by_id: OrderedDict[str, CountedResponse] = OrderedDict()
        self._latest: deque[CountedResponse] = deque(maxlen=REPORTS_REMEMBERED)
        # With the record of the call, where that is not found by the response's id.
        self._objects: OrderedDict[int, tuple[weakref.ref[object], list[CallRecord]]]
        self._objects = OrderedDict()
        self._unsorted_objects: deque[tuple[weakref.ref[object], list[CallRecord]]]
        self._unsorted_objects = deque(maxlen=RESPONSES_REMEMBERED)
        self._dicts: deque[tuple[object, CallRecord | None]] = deque(maxlen=DICTS_REMEMBERED)

    def remember(self, call: Call, record: CallRecord) -> None:
        """Remember a call that a tracker counts.

        Args:
            call: The call.
            record: What is known of it.
        """
        self._unsorted.append(
            (record, (call.created, call.reporter, call.span_place, perf_counter()))
        )

    def remember_measured(self, call: Call, record: CallRecord) -> CountedResponse:
        """Remember a call whose record will be another one; returns what is remembered of it.

        Args:
            call: The call.
            record: What is known of it so far.
        """
        with self._lock:
            self._sort()
            return self._add(record, _traits_of(call))

    def _sort(self) -> None:
        """Sort in what was remembered since anybody asked; the lock is held."""
        while self._unsorted:
            self._add(*self._unsorted.popleft())

    def _add(self, record: CallRecord, traits: _CallTraits) -> CountedResponse:
        created, reporter, place, at = traits
        request = record.request
        models = {record.response_model or "", request.model or ""} - {""}
        counted = CountedResponse(
            record.response_id,
            frozenset(models),
            exact_tokens(record.usage),
            created,
            request.server_address is not None,
            at,
            NOBODY if reporter is None else frozenset((reporter,)),
            record,
            place,
        )
        known = self._by_id.get(record.response_id or "")
        if known is not None and None not in (known.tokens, counted.tokens):
            counted.is_id_used_again = known.tokens != counted.tokens
        self._latest.appendleft(counted)
        self._put_response(counted)
        return counted

    def remember_returned(self, response: object, facts: ResponseFacts, record: CallRecord) -> None:
        """Remember a response that was counted when a function returned it.

        Args:
            response: The response, which is not kept alive.
            facts: What it says of itself.
            record: The call.
        """
        with self._lock:
            self._sort()
            counted = self._by_id.get(facts.response_id or "")
            if counted is not None:
                counted.created = facts.created
        self.remember_object(response, record)

    def remember_object(self, response: object, record: CallRecord | None = None) -> None:
        """Remember an object whose call was counted, not keeping it alive unless it is a dict.

        Args:
            response: The object.
            record: The call, if it is known.
        """
        if record is not None and is_unique_id(record.response_id):
            record = None  # found by the id, as long as that is remembered
        # Nobody can ask for the record of an object that is gone.
        kept = [] if record is None else [record]
        try:
            reference = weakref.ref(response, (lambda _: kept.clear()) if kept else None)
            self._unsorted_objects.append((reference, kept))
        except TypeError:
            # Vectors and images, which are large, are left out.
            if isinstance(response, dict) and "data" not in response:
                self._dicts.append((response, record))

    def note_fetched(self, data: object) -> None:
        """Remember the responses in a body or event that is not the answer to a call."""
        if not isinstance(data, Mapping):
            return
        items = data.get("data")
        listed = items[:ITEMS_FETCHED] if isinstance(items, list) else []
        for body in (data, *listed):
            usage = usage_in(body) if isinstance(body, Mapping) else None
            if usage is None:
                continue
            response_id, model, _ = identity_in(body)
            if response_id is not None:
                models = frozenset(() if model is None else (model,))
                tokens = exact_tokens(read_usage(usage))
                fetched = CountedResponse(response_id, models, tokens, created_in(body))
                with self._lock:
                    self._sort()
                    known = self._by_id.get(response_id)
                    if known is not None and known.is_surely(fetched):
                        fetched.record = known.record
                    self._put_response(fetched)

    def has(
        self, response: object, facts: ResponseFacts, usage: TokenUsage, *, since: float
    ) -> bool:
        """Whether a response was counted or fetched.

        Args:
            response: The response.
            facts: What it says of itself.
            usage: Its tokens.
            since: When the function began that returns it, by ``perf_counter`` [s].
        """
        tokens = usage.input_tokens, usage.output_tokens
        with self._lock:
            self._sort()
            if self._find_object(response)[0]:
                return True
            ids = [one for one in (facts.response_id, facts.origin_id) if one is not None]
            if any(self._has_id(one, facts, tokens, since) for one in ids):
                return True
            return not ids and self._find_alike(facts, tokens) is not None

    def record_like(
        self, facts: ResponseFacts, usage: TokenUsage, *, since: float
    ) -> CallRecord | None:
        """The call of a tracked client that an object without an id is most likely made of.

        Args:
            facts: What the object says of itself.
            usage: Its tokens.
            since: When the call began, by ``perf_counter`` [s].
        """
        with self._lock:
            self._sort()
            found = self._find_alike(facts, (usage.input_tokens, usage.output_tokens))
            return None if found is None or found.at < since else found.record

    def _find_alike(self, facts: ResponseFacts, tokens: tuple[int, int]) -> CountedResponse | None:
        """The last call of a tracked client that has these tokens, and this model and time."""
        alike = (
            one
            for one in tuple(self._latest)
            if one.is_of_a_client
            and one.tokens == tokens
            and one.is_of_the_time(facts.created)
            and one.agrees_with((facts.model,), tokens)
        )
        return next(alike, None)

    def record_of(
        self, response: object, ids: Iterable[str], facts: CountedResponse
    ) -> CallRecord | None:
        """The call that a response is of, as far as it is remembered.

        Args:
            response: The response.
            ids: Ids that it may be known by.
            facts: What it says of itself: its model, tokens and time.
        """
        with self._lock:
            _, record = self._find_object(response)
            if record is not None:
                return record
            self._sort()
            for one in ids:
                counted = self._by_id.get(one)
                if counted is not None and (counted.is_found_by_id() or counted.is_surely(facts)):
                    return counted.record
        return None

    def _find_object(self, response: object) -> tuple[bool, CallRecord | None]:
        """Whether an object is remembered, and its call where that is kept beside it."""
        while self._unsorted_objects:
            reference, kept = self._unsorted_objects.popleft()
            if (remembered := reference()) is not None:
                self._objects[id(remembered)] = reference, kept
                if len(self._objects) > RESPONSES_REMEMBERED:
                    self._objects.popitem(last=False)
        known = self._objects.get(id(response))
        if known is not None and known[0]() is response:
            return True, next(iter(known[1]), None)
        for one, record in tuple(self._dicts):
            if one is response:
                return True, record
        return False, None

    def _has_id(
        self, response_id: str, facts: ResponseFacts, tokens: tuple[int, int], since: float
    ) -> bool:
        """Whether a response with this id is the one that was counted.

        Args:
            response_id: The id.
            facts: What the response says of itself.
            tokens: Its input and output [1].
            since: When the function began that returns it, by ``perf_counter`` [s].
        """
        counted = self._by_id.get(response_id)
        if counted is None or counted.has_unique_id():
            return counted is not None
        is_near = (
            counted.is_of_a_client or counted.at >= since or counted.says_its_time(facts.created)
        )
        return (
            is_near
            and counted.is_of_the_time(facts.created)
            and counted.agrees_with((facts.model,), tokens)
        )

    def tokens_since(self, since: float, model: str | None) -> list[tuple[int, int]]:
        """Tokens of the calls of tracked clients, whichever thread made them, the last first.

        Args:
            since: When the first of them was counted, by ``perf_counter`` [s].
            model: The model, if it is known.
        """
        with self._lock:
            self._sort()
            return [
                one.tokens
                for one in tuple(self._latest)
                if one.is_of_a_client
                and one.at >= since
                and one.tokens is not None
                and one.agrees_with((model,), one.tokens)
            ]

    def covers(
        self,
        response_id: str | None,
        models: tuple[str | None, ...],
        usage: TokenUsage,
        reporter: str,
        place: SpanPlace,
    ) -> bool:
        """Whether the call that another instrumentation's span reports was counted.

        Args:
            response_id: Id of the response, if the span has it.
            models: Models that the span names.
            usage: Its tokens.
            reporter: The instrumentation.
            place: Where and when the span began.
        """
        now = perf_counter()
        tokens = usage.input_tokens, usage.output_tokens
        with self._lock:
            self._sort()
            counted = None if response_id is None else self._by_id.get(response_id)
            if counted is not None and response_id is not None:
                is_repeat = counted.has_unique_id() or (
                    now - counted.at < REPEAT_SECONDS
                    and (
                        counted.is_of_a_client
                        or reporter not in counted.reporters
                        or place.began_at < counted.at
                    )
                    and counted.may_be_reported_from(place, has_its_id=True)
                )
                if is_repeat and counted.may_be(models, tokens):
                    counted.reporters |= {reporter}
                    return True
            # By their places: a signal handler may make a call in between.
            latest = self._latest
            for index in range(len(latest)):
                one = latest[index]
                if now - one.at >= REPORT_SECONDS:
                    break  # those after it were counted earlier still
                if (
                    one.tokens == tokens
                    and reporter not in one.reporters
                    and (one.reporters or one.is_of_a_client)
                    and None in (one.response_id, response_id)
                    and not one.models.isdisjoint(models)
                    and one.may_be_reported_from(place, has_its_id=False)
                ):
                    one.reporters |= {reporter}
                    return True
            return False

    def _put_response(self, counted: CountedResponse) -> None:
        if counted.response_id is None:
            return
        known = self._by_id.get(counted.response_id)
        if known is not None and known.is_id_used_again:
            counted.is_id_used_again = True
        self._by_id[counted.response_id] = counted
        self._by_id.move_to_end(counted.response_id)
        if len(self._by_id) > RESPONSES_REMEMBERED:
            self._by_id.popitem(last=False)


counted_responses = CountedResponses()
"""The memory of this process, whichever tracker counted."""

call_after_fork(counted_responses.begin_anew)
