"""A record is a value: compared, copied, pickled, turned into a dict."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import pytest

from calls import CHAT
from energy_tracking import CallRecord, Tracker, energy_session, process_session
from loopback import Flavour, Loopback, chat_completion, error_reply, json_reply
from observed_calls import Watch

COPIES: dict[str, Callable[[CallRecord], CallRecord]] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda record: pickle.loads(pickle.dumps(record)),
    "replace": replace,
}


async def records_of_a_session(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> list[CallRecord]:
    """Records of a call that went well and of one that did not, in sessions with tags."""
    loopback.serve(json_reply(chat_completion()), error_reply(400))
    client = watch.wrap(flavour.client(loopback.base_url))
    with (
        energy_session("around", tags={"team": "search", "stage": "prod"}),
        energy_session("nightly", tags={"stage": "test"}),
    ):
        await flavour.call(client.chat.completions.create, **CHAT)
        with pytest.raises(Exception, match="400"):
            await flavour.call(client.chat.completions.create, **CHAT)
    return watch.records


@pytest.mark.parametrize("way", COPIES)
async def test_a_copy_of_a_record_is_equal_to_it(
    flavour: Flavour, loopback: Loopback, watch: Watch, way: str
) -> None:
    for record in await records_of_a_session(flavour, loopback, watch):
        assert COPIES[way](record) == record
        assert replace(record, retries=7) != record


async def test_a_record_names_its_session_and_the_tags_around_it(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    for record in await records_of_a_session(flavour, loopback, watch):
        assert (record.session, record.tags) == ("nightly", {"team": "search", "stage": "test"})
    Tracker(**watch.arguments).record(model="gpt-4o", usage={"input_tokens": 1, "output_tokens": 1})
    assert (watch.records[-1].session, watch.records[-1].tags) == (process_session().name, {})


async def test_a_record_becomes_a_dict_of_plain_values(
    flavour: Flavour, loopback: Loopback, watch: Watch
) -> None:
    for record in await records_of_a_session(flavour, loopback, watch):
        plain: dict[str, Any] = asdict(record)
        assert json.loads(json.dumps(plain))["tags"] == record.tags
        assert plain["request"]["model"] == "gpt-4o"


@pytest.mark.parametrize("method", ["reference", "roofline"])
def test_every_record_of_a_call_has_each_of_its_fields(method: str) -> None:
    """They are filled at once, without the check of their arguments."""
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
    record = Tracker(method=method).record(model="gpt-4o", usage=usage)
    parts = (record, record.request, record.usage, record.estimate, record.calibrated)
    for part in parts if method == "reference" else parts[:-1]:
        assert part is not None
        assert replace(part) == part
        # Some are computed when they are first read, as they were to compare it.
        assert set(vars(part)) == {field.name for field in fields(part)}
