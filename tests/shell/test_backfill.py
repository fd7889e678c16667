"""Calls whose responses lie in a file are counted from it, each as if it had been tracked."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from counts import the_only
from energy_tracking import (
    CallRecord,
    ConfigurationError,
    EnergyTrackingWarning,
    Totals,
    Tracker,
    energy_session,
    process_session,
    read_ledger,
    record_log,
)
from energy_tracking.cli.main import main
from energy_tracking.logs.files.packed import PACKINGS, UNREAD_KINDS
from energy_tracking.logs.formats import FORMATS
from energy_tracking.logs.formats.responses import BATCHES, ResponseAt
from full_disk import files_limited_to
from log_samples.common import DATA
from loopback import (
    CHAT_USAGE,
    RESPONSE_USAGE,
    Body,
    Flavour,
    Loopback,
    chat_completion,
    completion,
    embedding,
    json_reply,
    response_object,
)
from observed_calls import Watch

SEED_USAGE = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
"""The seed's check value: 0.2296 Wh with gpt-4o on an H100."""

MODERATION: Body = {"id": "modr-1", "model": "omni-moderation-latest", "results": [{}]}
IMAGES: Body = {"created": 1, "data": [{"b64_json": ""}], "usage": RESPONSE_USAGE}


def in_batch(body: Body | None, number: int = 1, *, status: int = 200, error: Any = None) -> Body:
    """A line of an OpenAI batch's output or error file."""
    response = {"status_code": status, "request_id": f"req_{number}", "body": body}
    return {
        "id": f"batch_req_{number}",
        "custom_id": f"request-{number}",
        "response": None if body is None else response,
        "error": error,
    }


def in_claude_batch(**result: Any) -> Body:
    return {"custom_id": "request-1", "result": result}


CLAUDE: Body = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "Hello!"}],
    "usage": {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 80},
}
GEMINI: Body = {
    "candidates": [{"content": {"parts": [{"text": "Hello!"}], "role": "model"}}],
    "modelVersion": "gemini-2.5-flash",
    "responseId": "gem-1",
    "usageMetadata": {
        "promptTokenCount": 120,
        "candidatesTokenCount": 48,
        "thoughtsTokenCount": 32,
        "totalTokenCount": 200,
    },
}
PROMPT: Body = {"contents": [{"parts": [{"text": "Hi"}], "role": "user"}]}
CONVERSE: Body = {
    "output": {"message": {"role": "assistant", "content": [{"text": "Hello!"}]}},
    "usage": {"inputTokens": 120, "outputTokens": 80, "totalTokens": 200},
}

# Row of the table; line; provider, operation, model and id of the response. Every one of
# them used 120 and 80 tokens.
ANSWERED: list[tuple[str, Body, tuple[str, str, str | None, str | None]]] = [
    (
        "openai-batch",
        in_batch(chat_completion()),
        ("openai", "chat", "gpt-4o-2024-08-06", "chatcmpl-1"),
    ),
    (
        "openai-batch",
        in_batch(response_object()),
        ("openai", "chat", "gpt-4o-2024-08-06", "resp_1"),
    ),
    (
        "openai-batch",
        in_batch(completion()),
        ("openai", "text_completion", "gpt-3.5-turbo-instruct", "cmpl-1"),
    ),
    ("openai-batch", in_batch(IMAGES), ("openai", "image_generation", None, None)),
    (
        "anthropic-batch",
        in_claude_batch(type="succeeded", message=CLAUDE),
        ("anthropic", "chat", "claude-sonnet-4-5-20250929", "msg_1"),
    ),
    (
        "gemini-batch",
        {"key": "request-1", "response": GEMINI},
        ("gcp.gemini", "generate_content", "gemini-2.5-flash", "gem-1"),
    ),
    (
        "vertex-batch",
        {"status": "", "processed_time": "2026-01-01", "request": PROMPT, "response": GEMINI},
        ("gcp.vertex_ai", "generate_content", "gemini-2.5-flash", "gem-1"),
    ),
    (
        "vertex-claude-batch",
        {"custom_id": "request-1", "request": {}, "response": CLAUDE, "status": ""},
        ("gcp.vertex_ai", "chat", "claude-sonnet-4-5-20250929", "msg_1"),
    ),
    (
        "bedrock-batch",
        {"recordId": "CALL0000001", "modelInput": {}, "modelOutput": CONVERSE},
        ("aws.bedrock", "chat", None, None),
    ),
    (
        "logged-response",
        {"request": {"model": "gpt-4o"}, "status": 200, "response": chat_completion()},
        ("unknown", "chat", "gpt-4o-2024-08-06", "chatcmpl-1"),
    ),
    ("response", chat_completion(), ("unknown", "chat", "gpt-4o-2024-08-06", "chatcmpl-1")),
    ("response", GEMINI, ("unknown", "chat", "gemini-2.5-flash", "gem-1")),
]

REFUSED = {
    "message": "This model's maximum context length is 128000 tokens.",
    "type": "invalid_request_error",
    "param": "messages",
    "code": "context_length_exceeded",
}
EXPIRED = {"code": "batch_expired", "message": "This request could not be executed."}
CLAUDE_ERROR = {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}}
GOOGLE_ERROR = {"code": 400, "message": "Invalid.", "status": "INVALID_ARGUMENT"}

# Row of the table; line; what failed.
FAILED: list[tuple[str, Body, str]] = [
    ("openai-batch", in_batch({"error": REFUSED}, status=400), "context_length_exceeded"),
    ("openai-batch", in_batch({"error": REFUSED | {"code": None}}, status=400),
     "invalid_request_error"),
    ("openai-batch", in_batch(None, error=EXPIRED), "batch_expired"),
    ("openai-batch", {"custom_id": "request-1", "error": "timeout: 30 s"}, "timeout"),
    ("openai-batch", in_batch({}, status=0), "0"),
    ("openai-batch", in_batch({}, status=503), "503"),
    ("anthropic-batch", in_claude_batch(type="errored", error=CLAUDE_ERROR),
     "invalid_request_error"),
    ("anthropic-batch", in_claude_batch(type="canceled"), "canceled"),
    ("anthropic-batch", in_claude_batch(type="expired"), "expired"),
    ("gemini-batch", {"key": "request-1", "error": GOOGLE_ERROR}, "INVALID_ARGUMENT"),
    ("gemini-batch", {"key": "request-1", "error": {"code": 13, "message": "Internal"}}, "13"),
    ("vertex-batch", {"request": PROMPT, "response": {}, "processed_time": "2026-01-01",
     "status": 'Bad Request: {"error": {"code": 400, "message": "no"}}'}, "Bad Request"),
    ("vertex-claude-batch", {"custom_id": "1", "request": {}, "status": "Internal: no"},
     "Internal"),
    ("bedrock-batch", {"recordId": "1", "modelInput": {}, "error":
     {"errorCode": 400, "errorMessage": "bad request"}}, "400"),
]  # fmt: skip


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes lines of JSON, or of bytes as they are, to a file."""

    def write(*lines: object, name: str = "output.jsonl") -> Path:
        path = tmp_path / name
        found = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
        path.write_bytes(b"".join(line + b"\n" for line in found))
        return path

    return write


@pytest.fixture
def watch(watch: Watch) -> Watch:
    """Of these calls there are no spans."""
    watch.every_call_has_a_span = False
    return watch


def added_up(records: list[CallRecord]) -> Totals:
    totals = Totals()
    for record in records:
        totals.add(record)
    return totals


# What a line says.


@pytest.mark.parametrize(("row", "line", "expected"), ANSWERED)
def test_a_line_of_every_format_is_one_call_with_its_tokens(
    write: Write, watch: Watch, row: str, line: Body, expected: tuple[str, ...]
) -> None:
    record_log(write(line), **watch.arguments)
    request, usage = watch.record.request, watch.record.usage
    assert (
        request.provider,
        request.operation,
        request.model,
        watch.record.response_id,
    ) == expected
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (120, 80)
    assert watch.record.error_type is None


@pytest.mark.parametrize(("row", "line", "error"), FAILED)
def test_a_request_that_failed_is_a_failed_call(
    write: Write, watch: Watch, row: str, line: Body, error: str
) -> None:
    totals = record_log(write(line), **watch.arguments)
    assert (totals.calls, totals.failed_calls, totals.unestimated_calls) == (1, 1, 0)
    record = watch.record
    assert (record.status, record.reason) == ("unestimated", f"failed with {error}")
    assert record.error_type == error
    reader = {one.name: one.read for one in BATCHES}[row]
    assert isinstance(reader, ResponseAt)
    assert record.request.provider == reader.provider


OUTPUTS = [row for row in BATCHES if isinstance(row.read, ResponseAt)]


def test_every_row_of_outputs_is_tested() -> None:
    assert {row.name for row in OUTPUTS} <= {row for row, *_ in ANSWERED}
    assert {row.name for row in OUTPUTS} == {row for row, *_ in FAILED}


@pytest.mark.parametrize("row", OUTPUTS, ids=lambda row: row.name)
def test_no_row_of_outputs_hides_one_below_it(row: Any) -> None:
    above = OUTPUTS[: OUTPUTS.index(row)]
    assert not [one.name for one in above if one.keys <= row.keys]


def test_what_ran_without_stating_tokens_is_counted_with_the_reason(
    write: Write, watch: Watch
) -> None:
    record_log(write(in_batch(MODERATION)), **watch.arguments)
    record = watch.record
    assert (record.status, record.reason) == ("unestimated", "no usage in the response")
    assert (record.request.operation, record.model) == ("moderation", MODERATION["model"])
    assert record.error_type is None


def test_an_embedding_has_the_energy_of_its_tokens(write: Write, watch: Watch) -> None:
    record_log(write(in_batch(embedding(tokens=4))), **watch.arguments)
    assert (watch.record.request.operation, watch.record.status) == ("embeddings", "estimated")
    assert watch.record.usage is not None
    assert (watch.record.usage.input_tokens, watch.record.usage.output_tokens) == (4, 0)


def test_energy_the_server_measured_is_taken_as_it_is(write: Write, watch: Watch) -> None:
    record_log(write(chat_completion() | {"energy": {"joules": 5.5}}), **watch.arguments)
    assert (watch.record.status, watch.record.total_energy_joules) == ("measured", 5.5)


def test_tokens_of_a_request_that_failed_are_counted(write: Write, watch: Watch) -> None:
    failed = response_object(status="failed") | {"error": {"code": "server_error"}}
    totals = record_log(write(in_batch(failed)), **watch.arguments)
    assert (totals.output_tokens, totals.failed_calls) == (80, 0)
    assert (watch.record.status, watch.record.error_type) == ("estimated", "server_error")


def test_the_provider_can_be_named(write: Write, watch: Watch) -> None:
    path = write(in_batch(chat_completion()))
    record_log(path, provider="azure.ai.openai", **watch.arguments)
    assert watch.record.request.provider == "azure.ai.openai"


# What a file says.


def test_a_batch_has_the_energy_of_its_calls(write: Write) -> None:
    usages = [SEED_USAGE, CHAT_USAGE, RESPONSE_USAGE]
    bodies = [
        chat_completion(usage=SEED_USAGE, id="a"),
        chat_completion(usage=CHAT_USAGE, id="b"),
        response_object(usage=RESPONSE_USAGE, id="c"),
    ]
    path = write(*(in_batch(body, number) for number, body in enumerate(bodies)))
    with energy_session("as recorded") as recorded:
        for usage in usages:
            Tracker().record(model="gpt-4o-2024-08-06", usage=usage)
    before = process_session().totals.calls
    with energy_session("from the file") as session:
        totals = record_log(path)
    assert totals == session.totals == recorded.totals
    assert process_session().totals.calls == before + 3
    alone = record_log(write(in_batch(bodies[0])))
    assert f"{alone.total_energy_wh:.4f}" == "0.2296"


def test_a_response_that_is_there_twice_counts_once(write: Write) -> None:
    lines = [
        in_batch(chat_completion(id="a"), 1),
        in_batch(embedding(), 2),
        in_batch(None, 3, error=EXPIRED),
        in_claude_batch(type="expired"),
        chat_completion(id="b"),
    ]
    assert record_log(write(*lines, *lines)).calls == len(lines)


def test_what_differs_counts_each(write: Write) -> None:
    lines = [
        # Batches may share custom_ids, and embeddings have no id.
        in_batch(embedding(), 1),
        in_batch(embedding(), 1) | {"id": "batch_req_2"},
        # Servers may give an id again.
        chat_completion() | {"created": 1},
        chat_completion() | {"created": 2},
        chat_completion(usage=SEED_USAGE) | {"created": 2},
        # Without any id.
        embedding(),
        embedding(),
    ]
    assert record_log(write(*lines)).calls == len(lines)


def test_lines_that_are_no_response_are_left_out_and_reported(write: Write) -> None:
    to_be_sent = {"custom_id": "1", "method": "POST", "url": "/v1/responses", "body": {}}
    path = write(
        chat_completion(),
        b"{",
        to_be_sent,
        {"key": "1", "request": PROMPT},
        chat_completion(usage=None),
        {"usage": 5},
        b"",
        b"[1]",
        b"\xff\xfe\0",
        b"[" * 100_000,
        chat_completion(id="chatcmpl-2"),
    )
    with pytest.warns(EnergyTrackingWarning) as caught:
        assert record_log(path).calls == 2
    assert sorted(str(warning.message) for warning in caught) == [
        f"{path}: 1 entry left out: no object of JSON (first: line 8)",
        f"{path}: 2 entries left out: a request in the input of a batch, whose output has the "
        "answer (first: line 3)",
        f"{path}: 2 entries left out: no token counts (first: line 5)",
        f"{path}: 3 entries left out: not JSON (first: line 2)",
    ]


def test_a_ledger_is_not_read_into_itself(write: Write, tmp_path: Path) -> None:
    ledger = tmp_path / "energy.jsonl"
    record_log(write(embedding(), embedding()), ledger=ledger)
    with pytest.warns(EnergyTrackingWarning, match="it is the ledger that is written to"):
        assert record_log(ledger, ledger=ledger).calls == 0
    assert record_log(ledger).calls == 2


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        record_log(tmp_path / "none.jsonl")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9)
PLACES = {word for row in FORMATS for word in (*row.keys, *row.any_of)}
STATED = ("usage", "model", "id", "object", "energy", "joules", "input_tokens", "output_tokens")
WORDS = st.sampled_from([*sorted(PLACES), *STATED])
LINES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
# What a whole file starts with that is packed, of another kind, or not in UTF-8.
OTHER_FILES = (
    *(b"PK", b"PAR1", b"BZh", b"\xff\xfe", b"\xfe\xff"),
    *(packing.mark for packing in PACKINGS),
    *(mark for mark, _ in UNREAD_KINDS),
)
GARBAGE = st.binary(max_size=40) | LINES.map(lambda line: json.dumps(line).encode())


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(st.lists(GARBAGE, max_size=5))
@example([b'{"usage": {"total_tokens": 1}, "energy": {"kwh": 1e305}, "model": "\\ud800"}'])
@example([b'{"usage": {"total_tokens": 1}, "energy": {"joules": 1' + b"0" * 400 + b"}}"])
@example([b'{"custom_id": NaN, "error": {"code": {}, "type": []}, "response": Infinity}'])
@example([b"\x00", b'"', b",input\x00token"])
@example([b",input token", b'"'])
def test_no_garbage_raises_or_costs_a_good_line(write: Write, lines: list[bytes]) -> None:
    assume(not (lines and (lines[0].startswith(OTHER_FILES) or lines[0][1:2] == b"\0")))
    errors: list[Exception] = []
    good = in_batch(chat_completion(usage=SEED_USAGE))
    with warnings.catch_warnings(), energy_session() as session:
        warnings.simplefilter("ignore")
        totals = record_log(write(*lines, good), on_error=lambda where, error: errors.append(error))
    assert errors == []
    assert totals == session.totals
    assert totals.total_energy_wh > 0.2295


# What receives the records.


def test_the_ledger_the_sink_and_the_metrics_receive_it_and_no_span_is_made(
    write: Write, watch: Watch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = InMemoryMetricReader()
    ledger = tmp_path / "energy.jsonl"
    monkeypatch.setenv("ENERGY_TRACKING_SPANS", "own")
    with energy_session("nightly"):
        totals = record_log(
            write(in_batch(chat_completion()), in_batch(None, 2, error=EXPIRED)),
            **watch.arguments,
            ledger=ledger,
            meter_provider=MeterProvider([reader], shutdown_on_exit=False),
        )
    assert watch.spans == ()
    assert added_up(watch.records) == totals
    read = [entry.record for entry in read_ledger(ledger)]
    assert added_up(read) == totals
    assert {record.session for record in read} == {"nightly"}
    assert "Hello!" not in ledger.read_text("utf-8")
    found = json.loads(reader.get_metrics_data().to_json())  # type: ignore[union-attr]
    scope = the_only(found["resource_metrics"][0]["scope_metrics"])
    metrics = {metric["name"]: metric["data"]["data_points"] for metric in scope["metrics"]}
    energy = the_only(metrics["energy_tracking.client.energy"])
    assert energy["value"] == pytest.approx(totals.total_energy_joules)


def test_tags_of_a_log_go_to_the_ledger_and_from_there_to_another(
    write: Write, watch: Watch, tmp_path: Path
) -> None:
    sample = json.loads((DATA / "litellm_spend_logs.jsonl").read_text("utf-8"))
    log = write(sample | {"request_tags": ["search", "batch"]})
    ledgers = [tmp_path / name for name in ("first.jsonl", "second.jsonl")]
    with energy_session("back-fill", tags={"team": "web"}):
        record_log(log, ledger=str(ledgers[0]))
    record_log(ledgers[0], ledger=str(ledgers[1]))
    expected = {"team": "web", "request_tags": "search,batch"}
    for ledger in ledgers:
        (line,) = map(json.loads, ledger.read_text("utf-8").splitlines())
        assert line["tags"] == expected


def test_a_name_that_no_tag_can_have_is_left_out_of_the_ledger(
    write: Write, watch: Watch, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    record_log(write(chat_completion()), ledger=str(first))
    (line,) = map(json.loads, first.read_text("utf-8").splitlines())
    first.write_text(json.dumps(line | {"tags": {"a.b": "c", "d": "e"}}) + "\n", "utf-8")
    record_log(first, ledger=str(second))
    (line,) = map(json.loads, second.read_text("utf-8").splitlines())
    assert line["tags"] == {"d": "e"}


def test_nothing_is_counted_where_tracking_is_disabled(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_DISABLED", "1")
    before = process_session().totals.calls
    assert record_log(write(chat_completion())) == Totals()
    assert process_session().totals.calls == before


def test_a_wrong_setting_is_reported_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'H100'"):
        record_log(tmp_path / "none.jsonl", gpu="H10O")


async def test_a_batch_downloaded_by_a_tracked_client_is_counted_once(
    flavour: Flavour, loopback: Loopback, watch: Watch, tmp_path: Path
) -> None:
    bodies = [chat_completion(usage=SEED_USAGE, id=name) for name in "abc"]
    output = b"\n".join(json.dumps(in_batch(body, ord(body["id"]))).encode() for body in bodies)
    batch = {"id": "batch_1", "object": "batch", "status": "completed", "output_file_id": "file-1"}
    usage = {"input_tokens": 3000, "output_tokens": 1500, "total_tokens": 4500}
    loopback.serve(json_reply(batch | {"usage": usage}), endpoint="batches/batch_1")
    loopback.serve(json_reply(output), endpoint="files/file-1/content")
    client = watch.wrap(flavour.client(loopback.base_url))
    path = tmp_path / "output.jsonl"
    with energy_session() as session:
        done = await flavour.call(client.batches.retrieve, "batch_1")
        content = await flavour.call(client.files.content, done.output_file_id)
        await flavour.call(content.write_to_file, path)
        assert path.read_bytes() == output
        assert (watch.records, session.totals.calls) == ([], 0)
        record_log(path, **watch.arguments)
    assert session.totals.calls == 3
    assert session.totals.input_tokens == usage["input_tokens"]
    assert session.totals.output_tokens == usage["output_tokens"]
    assert session.total_energy_wh == pytest.approx(3 * 0.2296, abs=3 * 5e-5)


# The command.


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["backfill", *map(str, arguments)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def as_json(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    return json.loads(printed(capsys, *arguments, "--format", "json"))


@pytest.fixture
def outputs(write: Write) -> tuple[Path, Path]:
    """The output and the error file of a batch."""
    bodies = [chat_completion(usage=SEED_USAGE, id="a"), chat_completion(model="o1", id="b")]
    return (
        write(*(in_batch(body, number) for number, body in enumerate(bodies))),
        write(in_batch(None, 2, error=EXPIRED), name="errors.jsonl"),
    )


def test_the_command_prints_what_was_used(
    outputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    output, errors = outputs
    table = printed(capsys, output, errors)
    assert table.startswith(f"{output}, {errors}: 3 calls (1 failed), ")
    assert "1 call to unknown: failed with batch_expired" in table
    header, *rows = printed(capsys, output, "--format", "csv").splitlines()
    assert header.startswith("model,gpu,method,scope,grade,calls,")
    assert [row.split(",")[:6] for row in rows] == [
        ["gpt-4o-2024-08-06", "H100", "reference", "gpu", "C", "1"],
        ["o1", "H100", "reference", "gpu", "D", "1"],
    ]
    assert as_json(capsys, output)["totals"] == record_log(output).as_dict()


def test_the_command_estimates_by_another_method_gpu_or_model(
    outputs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    output, _ = outputs
    by_roofline = record_log(output, method="roofline", gpu="A100")
    found = as_json(capsys, output, "--method", "roofline", "--gpu", "A100")
    assert found["totals"] == by_roofline.as_dict()
    with energy_session() as as_mini:
        for usage in (SEED_USAGE, CHAT_USAGE):
            Tracker().record(model="gpt-4o-mini", usage=usage)
    found = as_json(capsys, output, "--model", "gpt-4o-mini")
    assert found["name"] == f"{output}, as gpt-4o-mini"
    assert found["totals"] == as_mini.totals.as_dict()


def test_the_command_writes_only_the_ledger_that_is_named(
    outputs: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENERGY_TRACKING_LEDGER", str(tmp_path / "other.jsonl"))
    monkeypatch.setenv("ENERGY_TRACKING_DISABLED", "1")
    before = sorted(os.listdir(tmp_path))
    printed(capsys, *outputs)
    assert sorted(os.listdir(tmp_path)) == before
    ledger = tmp_path / "energy.jsonl"
    printed(capsys, *outputs, "--ledger", ledger, "--model", "gpt-4o-mini")
    assert sorted(os.listdir(tmp_path)) == sorted([*before, "energy.jsonl"])
    read = list(read_ledger(ledger))
    # As they were, not as if.
    assert [entry.record.model for entry in read] == ["gpt-4o-2024-08-06", "o1", "unknown"]
    names = [entry.record.session for entry in read]
    assert names == [str(outputs[0]), str(outputs[0]), str(outputs[1])]
    assert main(["ledger", str(ledger), "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["totals"] == as_json(capsys, *outputs)["totals"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("none.jsonl",), "none.jsonl: No such file"),
        (("empty",), "empty: No file that ends in one of "),
        (("--gpu", "H10O"), "did you mean 'H100'"),
        (("--model", "gpt-4o-minii"), "got 'gpt-4o-minii'; did you mean 'gpt-4o-mini'"),
        (("--ledger", "none/energy.jsonl"), "got 'none/energy.jsonl': No such file"),
    ],
)
def test_the_command_explains_what_is_wrong_and_counts_nothing_then(
    outputs: tuple[Path, Path],
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENERGY_TRACKING_DEFAULT_MODEL", "gpt-4o")
    (tmp_path / "empty").mkdir()
    ledger = tmp_path / "energy.jsonl"
    given = ["--ledger", str(ledger)] if "--ledger" not in arguments else []
    assert main(["backfill", str(outputs[0]), *arguments, *given]) == 2
    shown = capsys.readouterr()
    assert words in shown.err
    assert shown.out == ""
    assert not ledger.exists() or ledger.read_bytes() == b""


def test_an_empty_file_has_no_calls_and_garbage_is_reported(
    write: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = write()
    assert main(["backfill", str(empty)]) == 0
    shown = capsys.readouterr()
    assert ": 0 calls, " in shown.out
    said = " ".join(shown.err.split())
    assert said == f"energy-tracking: {empty}: no entry: it is empty, or a header alone"
    path = write(os.urandom(1000).replace(b"\n", b""), chat_completion())
    assert main(["backfill", str(path)]) == 0
    shown = capsys.readouterr()
    assert "1 call, " in shown.out
    said = " ".join(shown.err.split())
    assert said == f"energy-tracking: {path}: 1 entry left out: not JSON (first: line 1)"


def test_backfill_reports_a_full_ledger_disk(
    outputs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = tmp_path / "energy.jsonl"
    with files_limited_to(0):
        assert main(["backfill", str(outputs[0]), "--ledger", str(ledger)]) == 2
    assert "File too large" in capsys.readouterr().err


def test_a_call_without_a_time_is_said_to_stand_in_the_ledger_as_of_now(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {"input_tokens": 10, "output_tokens": 20}
    path = write(
        {"model": "gpt-4o", "usage": usage},
        {"model": "gpt-4o", "usage": usage, "timestamp": "2025-11-03T10:00:00Z"},
    )
    ledger = tmp_path / "energy.jsonl"
    assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said == "energy-tracking: 1 call without a time, which the ledger has as of now"
    first, second = read_ledger(ledger)
    assert datetime.now(UTC) - first.recorded_at < timedelta(minutes=5)
    assert second.recorded_at == datetime(2025, 11, 3, 10, tzinfo=UTC)
    assert main(["backfill", str(path)]) == 0
    assert capsys.readouterr().err == ""


def test_a_call_of_a_time_to_come_is_not_said_to_have_none(
    write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = {"input_tokens": 10, "output_tokens": 20}
    path = write({"model": "gpt-4o", "usage": usage, "timestamp": "3000-01-01T00:00:00Z"})
    ledger = tmp_path / "energy.jsonl"
    assert main(["backfill", str(path), "--ledger", str(ledger)]) == 0
    assert "without a time" not in " ".join(capsys.readouterr().err.split())
