"""Files as other people's programs leave them: mixed layouts, rarer packings, text around JSON."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from energy_tracking.logs.files.opening import find_files
from energy_tracking.logs.formats.tables import SCALED
from energy_tracking.logs.logged import LoggedCall, time_of
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import YEAR_TAKEN, read_logs

Read = tuple[list[LoggedCall], ReadReport]


def completion(number: int, outputs: int = 20) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number:024}",
        "object": "chat.completion",
        "created": 1_741_569_952,
        "model": "gpt-4o",
        "usage": {"prompt_tokens": 10, "completion_tokens": outputs, "total_tokens": 10 + outputs},
    }


def read(path: Path, content: bytes | str) -> Read:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    report = ReadReport()
    return list(read_logs([path], report=report)), report


def outputs(calls: list[LoggedCall]) -> list[int]:
    return [call.counts.output_tokens for call in calls if call.counts is not None]


ONE, TWO, THREE = (json.dumps(completion(number, number)) for number in (1, 2, 3))
INDENTED = json.dumps(completion(2, 2), indent=4)

LAYOUTS = {
    "lines, then an indented object, then lines": f"{ONE}\n{INDENTED}\n{THREE}\n",
    "text, then indented objects with text between": (
        f"INFO starting\n{json.dumps(completion(1, 1), indent=4)}\nINFO next\n{INDENTED}\n{THREE}\n"
    ),
    "several objects on a line that is not the first": f"{ONE}\n{TWO}{THREE}\n",
    "each object behind the text of a logger": (
        f"2025-01-01 10:00:00,123 INFO app - {ONE}\n[worker 2] {TWO}\nresponse: {THREE}\n"
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_mixed_layout_costs_no_call(layout: str, tmp_path: Path) -> None:
    calls, report = read(tmp_path / "calls.log", LAYOUTS[layout])
    assert outputs(calls) == [1, 2, 3]
    assert set(report.unread) <= {"not JSON"}


def test_a_line_that_is_cut_off_before_its_end_gives_no_call_of_its_parts(tmp_path: Path) -> None:
    nested = json.dumps({"response": completion(1), "more": "x"})
    calls, report = read(tmp_path / "calls.jsonl", f"{nested[:-6]}\n{TWO}\n")
    assert outputs(calls) == [2]
    assert report.unread["not JSON"].line == 1


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bz2", "xz"])
def test_bz2_and_xz_are_read(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    content = pack(f"{ONE}\n{TWO}\n".encode()) + pack(f"{THREE}\n".encode())
    calls, report = read(tmp_path / "calls.jsonl.packed", content)
    assert outputs(calls) == [1, 2, 3]
    assert not list(report.omissions())


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress], ids=["gzip", "bz2"])
def test_what_follows_a_packed_file_costs_no_line_of_it(
    pack: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    calls, report = read(tmp_path / "calls", pack(f"{ONE}\n{TWO}".encode()) + b"garbage")
    assert outputs(calls) == [1, 2]
    (cut,) = report.cut_off.values()
    assert "something else follows its end" in cut.reason


def zip_by_zstd(members: dict[str, bytes]) -> bytes:
    """A zip whose members are packed by zstd, as newer versions of inspect write their logs.

    Source: https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT (method 93)
    """
    if sys.version_info >= (3, 14):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_ZSTANDARD) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return buffer.getvalue()
    compressor = pytest.importorskip("zstandard", reason="zstd needs it below Python 3.14")
    body, directory = b"", b""
    for name, content in members.items():
        packed = compressor.ZstdCompressor().compress(content)
        sizes = (zlib.crc32(content), len(packed), len(content), len(name))
        where = struct.pack("<4s6H3I5H2I", b"PK\1\2", 63, 63, 0, 93, 0, 33, *sizes, *[0] * 5,
                            len(body))  # fmt: skip
        directory += where + name.encode()
        start = struct.pack("<4s5H3I2H", b"PK\3\4", 63, 0, 93, 0, 33, *sizes, 0)
        body += start + name.encode() + packed
    counts = (0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + struct.pack("<4s4H2IH", b"PK\5\6", *counts)


def test_an_archive_of_inspect_packed_by_zstd_is_read(tmp_path: Path) -> None:
    usage = {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}
    event = {"event": "model", "uuid": "e1", "model": "openai/gpt-4o", "output": {"usage": usage}}
    sample = {"id": 1, "epoch": 1, "uuid": "s1", "events": [event]}
    header = {"version": 2, "status": "success", "eval": {"run_id": "r"}}
    members = {
        "samples/1_epoch_1.json": json.dumps(sample).encode(),
        "header.json": json.dumps(header).encode(),
    }
    calls, report = read(tmp_path / "log.eval", zip_by_zstd(members))
    assert [(call.model, call.tokens) for call in calls] == [("openai/gpt-4o", 30)]
    assert not list(report.omissions())


def test_a_locked_archive_is_reported(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("calls.jsonl", ONE)
    # Bit 0 of a member's flags, in its own header and in the directory.
    locked = bytearray(buffer.getvalue())
    locked[6] |= 1
    locked[locked.index(b"PK\1\2") + 8] |= 1
    calls, report = read(tmp_path / "calls.zip", bytes(locked))
    assert calls == []
    (cut,) = report.cut_off.values()
    assert "encrypted" in cut.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_a_damaged_archive_is_reported_wherever_the_damage_is(method: int, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("calls.jsonl", f"{ONE}\n{TWO}\n")
    content = buffer.getvalue()
    for place in range(4, len(content), 7):
        damaged = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        calls, report = read(tmp_path / "calls.zip", damaged)
        assert len(calls) == 2 or report.cut_off or report.unread


def test_a_folder_of_bedrock_batches_is_searched_for_its_outputs(tmp_path: Path) -> None:
    for name in ("calls.jsonl.out", "manifest.json.out", "nohup.out"):
        (tmp_path / name).write_text("")
    found = {Path(path).name for path in find_files([tmp_path])}
    assert found == {"calls.jsonl.out", "manifest.json.out"}


# What is around a response.

WRAPPED: dict[str, Any] = {
    "a container's log": {"log": json.dumps(completion(1)) + "\n", "stream": "stdout"},
    "names of an application": {"ts": 1, "llm": {"req": {"model": "x"}, "resp": completion(1)}},
    "a text of JSON": {"custom": "x", "response_body": json.dumps(completion(1))},
    "a request beside the response": {
        "body": json.dumps({"model": "x", "messages": []}),
        "message": json.dumps({"model": "x"}),
        "response_body": json.dumps(completion(1)),
    },
    "a response beside a line": {
        "msg": json.dumps({"event": "done"}),
        "payload": {"deep": {"resp": completion(1)}},
    },
    "metrics of something else": {
        "steps": [{"id": 1, "metrics": {"seconds": 5}, "made": {"resp": completion(1)}}]
    },
    "a recorded exchange": {
        "log": {"entries": [{"response": {"content": {"text": json.dumps(completion(1))}}}]}
    },
    "events in a text": {
        "request": {"body": {"model": "x"}},
        "response": {
            "status_code": 200,
            "body_raw": "event: message_start\ndata: "
            + json.dumps(
                {
                    "type": "message_start",
                    "message": {
                        "id": "m",
                        "model": "x",
                        "usage": {"input_tokens": 4, "output_tokens": 1},
                    },
                }
            )
            + '\n\nevent: message_delta\ndata: {"type": "message_delta", "delta": {}, '
            + '"usage": {"output_tokens": 20}}\n\ndata: {"type": "message_stop"}\n',
        },
    },
    "a prompt and an answer beside a usage": {
        "file_traj": {
            "prompt": "...",
            "response": "...",
            "usage": {"completion_tokens": 20, "prompt_tokens": 4},
        }
    },
    "a text beside a usage": {
        "chatResponse": {"text": "...", "usage": {"completionTokens": 20, "promptTokens": 4}}
    },
    "a response of a batch of Gemini's": {
        "response": {"inlinedResponses": {"inlinedResponses": [{"response": completion(1)}]}}
    },
}


@pytest.mark.parametrize("around", WRAPPED)
def test_a_response_is_found_in_whatever_is_around_it(around: str, tmp_path: Path) -> None:
    calls, report = read(tmp_path / "calls.json", json.dumps(WRAPPED[around]))
    assert outputs(calls) == [20]
    assert not report.unrecognised


def test_a_call_without_a_time_has_that_of_what_is_around_it(tmp_path: Path) -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 2}
    one, two, three, four = ({"id": name, "model": "x", "usage": counts} for name in "abcd")
    documents = [
        {"timestamp": "2026-01-02T03:04:05Z", "jsonPayload": one},
        {"events": [{"timestamp": 1_741_569_952_000, "message": json.dumps(two)}]},
        {"date": "2026-01-02", "log": {"deep": {"resp": three}}},
        {"time": "2026-01-02", "body": four | {"created": 1_741_569_952}},
    ]
    calls, _ = read(tmp_path / "calls.jsonl", "\n".join(map(json.dumps, documents)))
    times = [call.time and call.time.isoformat() for call in calls]
    assert times == [
        "2026-01-02T03:04:05+00:00",
        "2025-03-10T01:25:52+00:00",
        "2026-01-02T00:00:00+00:00",
        "2025-03-10T01:25:52+00:00",
    ]


def test_a_response_has_the_time_and_the_model_nearest_to_it(tmp_path: Path) -> None:
    counts = {"prompt_tokens": 1, "completion_tokens": 2}
    steps = [
        {
            "timestamp": f"2026-01-02T03:04:0{n}Z",
            "model": model,
            "made": {"id": "", "usage": counts},
        }
        for n, model in enumerate("xy")
    ]
    run = {"end_time": "2026-01-02T09:00:00Z", "model": "z", "steps taken": steps}
    calls, _ = read(tmp_path / "run.json", json.dumps(run))
    assert [(call.model, call.time and call.time.second) for call in calls] == [("x", 0), ("y", 1)]


def test_a_list_of_the_same_responses_again_is_left_out(tmp_path: Path) -> None:
    # As trajectories of Trae Agent have them.
    counts = [{"input_tokens": 10 * n, "output_tokens": n} for n in (1, 2)]
    said = [{"content": "...", "model": "x", "usage": usage} for usage in counts]
    run = {
        "llm_interactions": [{"response": one} for one in said],
        "agent_steps": [{"state": "completed", "llm_response": one} for one in said],
    }
    calls, report = read(tmp_path / "run.json", json.dumps(run))
    assert outputs(calls) == [1, 2]
    assert [each.count for each in report.assumed.values()] == [1]


@pytest.mark.parametrize(("alone", "right"), [(7, [7, 20, 40]), (40, [20, 40]), (60, [20, 40])])
def test_a_response_outside_of_a_list_is_a_sum_only_if_it_is_as_large(
    alone: int, right: list[int], tmp_path: Path
) -> None:
    # A tree of attempts: the first one, and those that followed.
    tree = {"made": completion(9, alone) | {"id": "a"}, "after": [completion(1), completion(9, 40)]}
    calls, _ = read(tmp_path / "tree.json", json.dumps({"root": tree}))
    assert sorted(outputs(calls)) == right


def test_a_sum_beside_a_list_of_responses_is_no_call(tmp_path: Path) -> None:
    run = {"total": completion(9, 60) | {"id": "sum"}, "steps": [completion(1), completion(2, 40)]}
    calls, _ = read(tmp_path / "run.json", json.dumps(run))
    assert outputs(calls) == [20, 40]


def test_a_document_of_nothing_known_stays_unrecognised(tmp_path: Path) -> None:
    content = json.dumps({"usage": {"disk": 5}, "model": "laptop", "deep": [[[[[[{"a": "{"}]]]]]]})
    calls, report = read(tmp_path / "disk.json", content)
    assert calls == []
    assert len(report.unrecognised) == 1


def test_steps_of_opencode_before_their_message_are_of_its_model(tmp_path: Path) -> None:
    tokens = {"input": 100, "output": 50, "reasoning": 0, "cache": {"read": 0, "write": 0}}
    step = {"id": "prt_1", "messageID": "msg_1", "sessionID": "s", "type": "step-finish",
            "tokens": tokens}  # fmt: skip
    message = {"id": "msg_1", "role": "assistant", "sessionID": "s", "modelID": "gpt-5",
               "providerID": "openai", "tokens": tokens,
               "time": {"completed": 1_741_569_953_000}}  # fmt: skip
    documents = [step, step | {"id": "prt_2", "tokens": tokens | {"output": 7}}, message]
    calls, _ = read(tmp_path / "export.jsonl", "\n".join(map(json.dumps, documents)))
    assert outputs(calls) == [50, 7]
    assert {(call.model, call.provider) for call in calls} == {("gpt-5", "openai")}
    assert all(call.time is not None for call in calls)


NAMES = "model,input_tokens,output_tokens"
BEGINNINGS = {
    "the line that Excel writes": "sep=,\n" + NAMES,
    "comments": f"# exported 2026-01-02, by x\n#\n{NAMES}",
    "comments behind a mark": f"\ufeff# exported\n\n{NAMES}",
    "a unit in brackets": NAMES + ",duration [ms]",
    "names that are a comment": f"# exported\n#{NAMES}",
}


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("beginning", BEGINNINGS)
def test_a_table_may_begin_with(beginning: str, ending: str, tmp_path: Path) -> None:
    content = f"{BEGINNINGS[beginning]}\ngpt-4o,10,20\ngpt-4o,1,x\n"
    path = tmp_path / "calls.csv"
    calls, report = read(path, content.replace("\n", ending))
    assert [(call.model, call.tokens) for call in calls] == [("gpt-4o", 30)]
    (unread,) = report.unread.values()
    assert unread.line == content.count("\n")
    columns = {"input": "input_tokens", "output": "output_tokens"}
    assert len(list(read_logs([path], columns=columns))) == 1


@pytest.mark.parametrize(
    ("cell", "right"),
    [
        ('"1,234"', 1234),
        ('"12,345,678"', 12_345_678),
        ("1'234", 1234),
        ("1\u202f234", 1234),
        ("1.234.567", 1_234_567),
        ("12.000", 12),
        ('"1,23"', None),
        ('"1,2345"', None),
        ("1.234", None),
    ],
)
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_count_may_set_its_thousands_apart(
    cell: str, right: int | None, separator: str, tmp_path: Path
) -> None:
    if separator == ";":
        # There a comma sets decimals apart, and a point the thousands.
        cell = cell.strip('"').replace(",", ".")
        right = {"12.000": 12_000, "1.234": 1234}.get(cell, right)
    content = f"input_tokens{separator}output_tokens\n{cell}{separator}1\n"
    calls, report = read(tmp_path / "calls.csv", content)
    assert [call.counts.input_tokens for call in calls if call.counts] == [right][: len(calls)]
    assert (len(calls), len(report.unread)) == ((1, 0) if right is not None else (0, 1))


@pytest.mark.parametrize(
    ("name", "cell", "right"),
    [
        ("Input tokens", "12.3k", 12_300),
        ("Input tokens", "1.25 M", 1_250_000),
        ("Input tokens", "1,234,567K", 1_234_567_000),
        ("Input tokens", "0.002B", 2_000_000),
        ("Input tokens (k)", "12.3", 12_300),
        ("Input Tokens (K)", "12", 12_000),
        ("Input Tokens (in thousands)", "1.5", 1500),
        ("input_tokens_millions", "0.5", 500_000),
        ("Input tokens (M)", "2", 2_000_000),
        # Twelve thousand three hundred, or thousand times as many; and no unit at all.
        ("Input tokens", "12,300k", None),
        ("Input tokens", "12.3x", None),
        ("Input tokens (text)", "12", None),
    ],
)
@pytest.mark.parametrize("is_given", [False, True])
def test_counts_in_thousands_or_millions_are_multiplied_out_where_that_is_said(
    name: str, cell: str, right: int | None, is_given: bool, tmp_path: Path
) -> None:
    columns = {"input": name, "output": "Output tokens"} if is_given else None
    path = tmp_path / "calls.csv"
    path.write_text(f'Requests,{name},Output tokens\n9,"{cell}",1\n', "utf-8")
    report = ReadReport()
    counts = [call.counts for call in read_logs([path], columns=columns, report=report)]
    if name.endswith("(text)"):
        right = 12 if is_given else 0
    assert [one.input_tokens for one in counts if one] == ([] if right is None else [right])
    assert (SCALED in report.assumed) == (right is not None and right > 12)


@pytest.mark.parametrize("end", ["1", "1,", "1,2"])
def test_a_last_row_without_all_its_cells_is_reported(end: str, tmp_path: Path) -> None:
    content = f"input_tokens,output_tokens,model\n1,20,gpt-4o\n{end}"
    calls, report = read(tmp_path / "calls.csv", content)
    assert outputs(calls) == [20]
    (cut,) = report.cut_off.values()
    assert (cut.reason, cut.line) == ("its last row is cut off", 2)
    assert not read(tmp_path / "calls.csv", content + "\n")[1].cut_off


def test_sessions_of_codex_in_one_file_are_apart(tmp_path: Path) -> None:
    def lines(session: str, *totals: int) -> str:
        return "".join(
            json.dumps(document) + "\n"
            for document in (
                {"type": "session_meta", "payload": {"id": session}},
                {"type": "turn_context", "payload": {"model": f"gpt-of-{session}"}},
                *(
                    {"type": "event_msg", "payload": {"type": "token_count", "info": {
                        "total_token_usage": {"input_tokens": 0, "output_tokens": total}}}}
                    for total in totals
                ),
            )
        )  # fmt: skip

    # The second begins with as many tokens as the first ended with.
    calls, _ = read(tmp_path / "all.jsonl", lines("a", 10, 30) + lines("b", 30, 35))
    assert outputs(calls) == [10, 20, 30, 5]
    assert [call.session for call in calls] == ["a", "a", "b", "b"]
    assert [call.model for call in calls] == ["gpt-of-a"] * 2 + ["gpt-of-b"] * 2


def printed_by_node(span: str, parent: str | None, operation: str) -> str:
    """A span as ``console.dir`` prints it.

    Source: https://github.com/open-telemetry/opentelemetry-js (ConsoleSpanExporter)
    """
    around = f"{{\n    traceId: 't1',\n    spanId: '{parent}',\n    traceFlags: 1\n  }}"
    return f"""{{
  resource: {{
    attributes: {{
      'service.name': 'it\\'s an "app"',
      'process.command_args': [Array]
    }}
  }},
  instrumentationScope: {{ name: 'ai', version: undefined, schemaUrl: undefined }},
  traceId: 't1',
  parentSpanContext: {around if parent else "undefined"},
  traceState: undefined,
  name: 'chat gpt-4o',
  id: '{span}',
  kind: 2,
  timestamp: 1741569952000000,
  duration: 1500000.25,
  attributes: {{
    'gen_ai.operation.name': '{operation}',
    'gen_ai.response.model': "gpt-4o",
    'gen_ai.prompt': 'a brace: {{\\n' +
      '}}\\n' +
      'name: "x", undefined',
    'gen_ai.usage.input_tokens': 10,
    'gen_ai.usage.output_tokens': 20,
    flags: [ true, null, NaN, 3n, ... 2 more items ]
  }},
  status: {{ code: 0 }},
  events: [],
  links: []
}}
"""


def test_spans_that_node_prints_are_read(tmp_path: Path) -> None:
    content = "server listening on 3000\n" + printed_by_node("b", "a", "chat")
    content += printed_by_node("a", None, "invoke_agent") + ONE + "\n"
    calls, report = read(tmp_path / "server.log", content)
    assert [(call.model, call.tokens) for call in calls] == [("gpt-4o", 30), ("gpt-4o", 11)]
    assert calls[0].time is not None
    assert calls[0].time.isoformat() == "2025-03-10T01:25:53.500000+00:00"
    assert {reason: unread.count for reason, unread in report.unread.items()} == {"not JSON": 1}


# Times.

ODD_TIMES = {
    "2025/01/02 10:00:00": "2025-01-02T10:00:00+00:00",
    "2025-1-2 9:05": "2025-01-02T09:05:00+00:00",
    "2025/1/2 9:05:01,25": "2025-01-02T09:05:01.250000+00:00",
    "2025-01-02 10:00:00.000 Z": "2025-01-02T10:00:00+00:00",
    "2025-01-02t10:00:00z": "2025-01-02T10:00:00+00:00",
    "2025-01-02T10:00:00.5+01:00[Europe/Paris]": "2025-01-02T10:00:00.500000+01:00",
    "2025-01-02 10:00:00 America/New_York": "2025-01-02T10:00:00-05:00",
    "Thu, 02 Jan 2025 10:00:00 GMT": "2025-01-02T10:00:00+00:00",
    "Thu Jan  2 10:00:00 2025": "2025-01-02T10:00:00+00:00",
    "Thu Jan 02 2025 10:00:00 GMT+0100 (Central European Standard Time)": (
        "2025-01-02T10:00:00+01:00"
    ),
    "1/2/2025, 1:00:00.123 PM": "2025-01-02T13:00:00.123000+00:00",
    "2.1.2025 10:00": "2025-01-02T10:00:00+00:00",
    "02.01.2025, 10:00:05": "2025-01-02T10:00:05+00:00",
    "02.01.2025": "2025-01-02T00:00:00+00:00",
}


@pytest.mark.parametrize("written", ODD_TIMES)
def test_a_time_is_read_as_other_programs_write_it(written: str) -> None:
    time = time_of(written)
    assert time is not None
    assert time.isoformat() == ODD_TIMES[written]


@pytest.mark.parametrize(
    "written",
    ["01/02/2025 10:00", "Jan 2, 2025 10:00 PM", "2025-13-01 9:00", "2025-01-02 9:00 X/Y"],
)
def test_a_time_that_cannot_be_read_is_reported(written: str, tmp_path: Path) -> None:
    content = f'model,input_tokens,output_tokens,time\ngpt-4o,1,2,"{written}"\ngpt-4o,1,2,\n'
    calls, report = read(tmp_path / "calls.csv", content)
    assert [call.time for call in calls] == [None, None]
    (assumed,) = report.assumed.items()
    assert (assumed[0], assumed[1].count) == ("whose time cannot be read, counted without one", 1)


YEARLESS_TIMES = {
    "Nov 12 09:31:02": "2025-11-12T09:31:02",
    "Nov  2 09:31:02.250": "2025-11-02T09:31:02.250000",
    "Jan 31, 12:03 AM": "2026-01-31T00:03:00",
    "Jan 31, 2:03 PM": "2026-01-31T14:03:00",
    # The file was changed on the last of January; zones may differ.
    "Feb 1 00:30:00": "2026-02-01T00:30:00",
    "Feb 2 00:30:00": "2025-02-02T00:30:00",
    "Feb 29 10:00:00": "2024-02-29T10:00:00",
}


@pytest.mark.parametrize("written", YEARLESS_TIMES)
def test_a_time_without_a_year_is_of_the_last_one_before_the_file_was_changed(
    written: str, tmp_path: Path
) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(f'model,input_tokens,output_tokens,time\ngpt-4o,1,2,"{written}"\n', "utf-8")
    changed = datetime(2026, 1, 31, 9, tzinfo=UTC).timestamp()
    os.utime(path, (changed, changed))
    report = ReadReport()
    (call,) = read_logs([path], report=report)
    assert call.time is not None
    assert call.time.isoformat() == YEARLESS_TIMES[written] + "+00:00"
    assert list(report.assumed) == [YEAR_TAKEN]


@pytest.mark.parametrize("start", ["", "<34>"])
@pytest.mark.parametrize("behind", ["host app[7]: ", "host app: 2026-01-02T03:04:05Z "])
def test_a_line_of_syslog_has_its_time_unless_another_follows(
    start: str, behind: str, tmp_path: Path
) -> None:
    line = f"{start}Nov 12 09:31:02 {behind}{json.dumps({'response': completion(1)})}\n"
    line = line.replace('"created": 1741569952, ', "")
    (call,), report = read(tmp_path / "syslog", line)
    assert call.time is not None
    assert (call.time.month, call.time.day) == ((1, 2) if "2026" in behind else (11, 12))
    assert list(report.assumed) == ([] if "2026" in behind else [YEAR_TAKEN])


@pytest.mark.parametrize("written", ["Nov 31 09:31:02", "Xyz 12 09:31:02", "Nov 12 25:31:02"])
def test_a_day_that_there_is_in_no_year_is_no_time(written: str) -> None:
    assert time_of(written) is None


def test_a_time_of_a_year_before_all_logs_stays_as_it_is(tmp_path: Path) -> None:
    row = {"time": "0001-01-01T00:00:00Z", "model": "o1", "input_tokens": 1, "output_tokens": 2}
    (call,), _ = read(tmp_path / "calls.jsonl", json.dumps(row))
    assert call.time is not None
    assert call.time.year == 1


# What is said of many files.


def test_entries_left_out_of_several_files_name_the_first_and_how_many_others(
    tmp_path: Path,
) -> None:
    for name in "abc":
        (tmp_path / f"{name}.jsonl").write_text(f"{ONE}\nnone\nnone\n", "utf-8")
    report = ReadReport()
    list(read_logs([tmp_path], report=report))
    first = tmp_path / "a.jsonl"
    assert list(report.omissions()) == [
        f"{first} and 2 other files: 6 entries left out: not JSON (first: line 2)"
    ]


@pytest.mark.parametrize(("many", "others"), [(14, "4 more files"), (11, "1 more file")])
def test_of_many_files_of_no_format_some_are_named_and_all_are_counted(
    tmp_path: Path, many: int, others: str
) -> None:
    for number in range(many):
        (tmp_path / f"{number:02}.json").write_text('{"todo": 1}', "utf-8")
        (tmp_path / f"{number:02}.jsonl").write_text("", "utf-8")
    report = ReadReport()
    list(read_logs([tmp_path], report=report))
    said = list(report.omissions())
    assert sum("nothing recognised; its first entry" in line for line in said) == 10
    assert sum("it is empty, or a header alone" in line for line in said) == 10
    assert f"nothing recognised in {others}" in said
    assert f"no entry in {others}" in said
