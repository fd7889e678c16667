"""A log is read the same however it is packed, encoded and laid out, in memory that stays flat."""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from counts import the_only
from energy_tracking import ConfigurationError, UnreadableLogError
from energy_tracking.logs.files.opening import find_files
from energy_tracking.logs.logged import LoggedCall
from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import COMPLETION, DATA

DOCUMENTS: list[dict[str, Any]] = [
    COMPLETION | {"id": f"chatcmpl-{number:024}", "note": 'a "brace": {[\n\\'}
    for number in range(3)
]
TOKENS = (57, 30)


def tokens(calls: list[LoggedCall]) -> tuple[int, int]:
    return (
        sum(call.counts.input_tokens for call in calls if call.counts),
        sum(call.counts.output_tokens for call in calls if call.counts),
    )


def lines(separator: str = "\n") -> str:
    return separator.join(map(json.dumps, DOCUMENTS))


LAYOUTS: dict[str, str] = {
    "lines": lines() + "\n",
    "lines without an end": lines(),
    "lines ending in CRLF": lines("\r\n") + "\r\n",
    "lines with blank ones": "\n" + lines("\n\n") + "\n\n",
    "an array": json.dumps(DOCUMENTS),
    "an indented array": json.dumps(DOCUMENTS, indent=4),
    "an array of lines": "[\n" + lines(",\n") + "\n]\n",
    "objects one after the other": lines(""),
    "indented objects": "\n".join(json.dumps(document, indent=2) for document in DOCUMENTS),
    "indented objects with CRLF": "\r\n".join(
        json.dumps(document, indent=2).replace("\n", "\r\n") for document in DOCUMENTS
    ),
    "arrays in lines": "\n".join(json.dumps([document]) for document in DOCUMENTS),
    "a list in an object": json.dumps({"object": "list", "data": DOCUMENTS}),
    "a record separator": "".join(f"\x1e{json.dumps(document)}\n" for document in DOCUMENTS),
    "server-sent events": "".join(f"event: x\ndata: {json.dumps(one)}\n\n" for one in DOCUMENTS)
    + "data: [DONE]\n\n",
}

Encode = Callable[[str], bytes]
ENCODINGS: dict[str, Encode] = {
    "utf-8": str.encode,
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-16-be": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-32": lambda text: text.encode("utf-32"),
    "gzip": lambda text: gzip.compress(text.encode()),
    "gzip in two parts": lambda text: (
        gzip.compress(text[:700].encode()) + gzip.compress(text[700:].encode())
    ),
    "gzip of utf-16": lambda text: gzip.compress(text.encode("utf-16")),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_in_every_encoding_is_read(layout: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(ENCODINGS[encoding](LAYOUTS[layout]))
    report = ReadReport()
    calls = list(read_logs([path], report=report))
    assert (len(calls), tokens(calls)) == (3, TOKENS)
    assert not report.unread


def test_zstd_is_read_or_what_it_needs_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl.zst"
    if sys.version_info >= (3, 14):
        from compression import zstd

        path.write_bytes(zstd.compress(LAYOUTS["lines"].encode()))
    else:
        try:
            import zstandard
        except ImportError:
            path.write_bytes(b"\x28\xb5\x2f\xfd")
            _, unread, report = losses(path)
            (reason,) = unread
            assert "needs the package 'zstandard'; install it with: pip install" in reason
            assert report.found_nothing
            return
        path.write_bytes(zstandard.compress(LAYOUTS["lines"].encode()))
    assert tokens(list(read_logs([path]))) == TOKENS


def test_parquet_is_read_or_what_it_needs_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    try:
        import duckdb
    except ImportError:
        path.write_bytes(b"PAR1")
        (reason,) = losses(path)[1]
        assert "pip install 'energy-tracking[report]'" in reason
        return
    rows = (
        "SELECT 'gpt-4o' AS model, 10 AS prompt_tokens, 20 AS completion_tokens,"
        " TIMESTAMP '2026-01-02 03:04:05' AS created_at FROM range(5000)"
    )
    duckdb.sql(f"COPY ({rows}) TO '{path}' (FORMAT parquet)")
    calls = list(read_logs([path]))
    assert (len(calls), tokens(calls)) == (5000, (50_000, 100_000))
    assert str(calls[0].time) == "2026-01-02 03:04:05+00:00"


def test_an_archive_of_inspect_has_the_calls_of_its_samples_once(tmp_path: Path) -> None:
    path = tmp_path / "log.eval"
    log = json.loads((DATA / "inspect_log.json").read_text("utf-8"))
    samples = log.pop("samples")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps(log))
        for sample in samples:
            archive.writestr(f"samples/{sample['id']}_epoch_1.json", json.dumps(sample))
        archive.writestr("summaries.json", json.dumps(samples))
        archive.writestr("header.json", json.dumps(log))
    calls = list(read_logs([path]))
    assert (len(calls), tokens(calls)) == (3, (192, 6))
    assert {call.model for call in calls} == {"openai/gpt-4o-mini"}


TABLE = 'model,prompt_tokens,completion_tokens,prompt\ngpt-4o,10,20,"a, b\nc"\no1,1,2,\n'


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8 with a mark", "utf-16", "gzip"])
def test_a_table_is_read_with_its_delimiter(delimiter: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "table"
    text = TABLE.replace('"a, b\nc"', "x").replace(",", delimiter)
    path.write_bytes(ENCODINGS[encoding](text))
    calls = list(read_logs([path]))
    assert (len(calls), tokens(calls)) == (2, (11, 22))
    assert [call.model for call in calls] == ["gpt-4o", "o1"]


def test_a_cell_may_hold_lines_and_a_whole_conversation(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(TABLE.replace('c"', "c" * 200_000 + '"'), "utf-8")
    calls = list(read_logs([path]))
    assert [(call.model, call.line) for call in calls] == [("gpt-4o", 3), ("o1", 4)]


def test_columns_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("wann,was,rein,raus,cache\n2026-01-02,gpt-4o,10,20,4\n", "utf-8")
    named = {"input": "rein", "output": "raus", "cached": "cache", "model": "was", "time": "wann"}
    call = the_only(read_logs([path], columns=named))
    assert (call.model, str(call.time)) == ("gpt-4o", "2026-01-02 00:00:00+00:00")
    assert call.usage is not None
    assert (call.usage.input_tokens, call.usage.cached_input_tokens) == (10, 4)
    assert call.usage.output_tokens == 20


def test_names_of_columns_may_be_any_words(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("Tokens' Ein;Tokens + Aus;Größe (€)\n10;20;1\n", "utf-8")
    (call,) = read_logs([path], columns={"input": "Tokens' Ein", "output": "Tokens + Aus"})
    assert tokens([call]) == (10, 20)


def test_a_named_column_may_lie_inside_of_an_object(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({"llm": {"in": 10, "out": 20}, "m": "gpt-4o"}), "utf-8")
    call = the_only(
        read_logs([path], columns={"input": "llm.in", "output": "llm.out", "model": "m"})
    )
    assert (call.model, tokens([call])) == ("gpt-4o", (10, 20))


@pytest.mark.parametrize("kind", ["csv", "gzip", "utf-16", "parquet"])
@pytest.mark.parametrize("header_only", [False, True])
def test_a_named_column_that_a_table_lacks_is_refused(
    kind: str, header_only: bool, tmp_path: Path
) -> None:
    path = tmp_path / "table"
    if kind == "parquet":
        duckdb = pytest.importorskip("duckdb", reason="Parquet needs it")
        limit = " LIMIT 0" if header_only else ""
        with duckdb.connect() as connection:
            connection.execute(
                f'COPY (SELECT 1 AS "Prompt", 2 AS "Antwort"{limit}) TO \'{path}\' (FORMAT parquet)'
            )
    else:
        text = "Prompt;Antwort\n" if header_only else "Prompt;Antwort\n7;3\n"
        encode = {"csv": str.encode} | ENCODINGS
        path.write_bytes(encode[kind](text))
    with pytest.raises(ConfigurationError, match="got 'Promptt'; did you mean 'Prompt'"):
        list(read_logs([path], columns={"input": "Promptt", "output": "Antwort"}))


@pytest.mark.parametrize(
    ("cells", "reason", "example"),
    [
        ('"1,23",10', "input must be a whole number", "'1,23'"),
        ("10,abc", "output must be a whole number", "'abc'"),
        ("-5,10", "input must be a whole number", "'-5'"),
        ("nan,10", "input must be a whole number", "'nan'"),
        ("10,5.5", "output must be a whole number", "'5.5'"),
    ],
)
@pytest.mark.parametrize(
    ("names", "columns"),
    [
        ("prompt_tokens,completion_tokens", None),
        ("rein,raus", {"input": "rein", "output": "raus"}),
        ("ContextTokens,GeneratedTokens", None),
    ],
    ids=["known", "given", "trace"],
)
def test_a_cell_that_is_no_count_is_left_out_with_its_line(
    cells: str, reason: str, example: str, names: str, columns: Any, tmp_path: Path
) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"{names}\n1,2\n{cells}\n3,4\n", "utf-8")
    calls, unread, report = losses(path, columns=columns)
    assert (calls, unread) == (2, {reason: (1, 3)})
    assert f"{reason}, got {example} (first: line 3)" in next(report.omissions())
    with pytest.raises(UnreadableLogError, match=f"line 3: {reason}, got {example}"):
        list(read_logs([path], columns=columns, strict=True))


GATEWAY_ROWS = {
    "helicone": (
        "request_id,request_created_at,request_model,prompt_tokens,completion_tokens",
        "{number},2026-01-01T00:00:00Z,gpt-4o,{cells}",
    ),
    "litellm": (
        "request_id,call_type,startTime,model,prompt_tokens,completion_tokens",
        "{number},acompletion,2026-01-01T00:00:00Z,gpt-4o,{cells}",
    ),
    "langfuse": (
        "id,type,traceId,startTime,model,inputUsage,outputUsage",
        "{number},GENERATION,t,2026-01-01T00:00:00Z,gpt-4o,{cells}",
    ),
    "langsmith": (
        "id,run_type,start_time,total_tokens,prompt_tokens,completion_tokens",
        "{number},llm,2026-01-01T00:00:00Z,120,{cells}",
    ),
}


@pytest.mark.parametrize("name", GATEWAY_ROWS)
def test_a_cell_of_a_gateways_table_that_is_no_count_is_left_out_with_its_line(
    name: str, tmp_path: Path
) -> None:
    header, row = GATEWAY_ROWS[name]
    cells = ["100,20", "12a,20", "100,-4", ",20"]
    path = tmp_path / "export.csv"
    rows = [row.format(number=number, cells=each) for number, each in enumerate(cells)]
    path.write_text("\n".join([header, *rows]), "utf-8")
    calls, unread, report = losses(path)
    assert (calls, unread) == (
        2,
        {
            "input must be a whole number": (1, 3),
            "output must be a whole number": (1, 4),
        },
    )
    assert [*report.omissions()][-1].endswith(
        "1 entry without a count of input, taken as 0 tokens (first: line 5)"
    )


@pytest.mark.parametrize(
    "row",
    [
        {"gen_ai.request.model": "gpt-4o", "gen_ai.usage.input_tokens": "1x0",
         "gen_ai.usage.output_tokens": 20},
        {"id": "r", "object": "chat.completion", "model": "gpt-4o",
         "usage": {"prompt_tokens": 100, "completion_tokens": -4}},
        {"type": "assistant", "sessionId": "s", "message": {
            "id": "m", "model": "claude-opus-4",
            "usage": {"input_tokens": [], "output_tokens": 20}}},
    ],
    ids=["span", "response", "transcript"],
)  # fmt: skip
def test_a_count_that_cannot_be_read_is_reported_in_every_format(
    row: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps(row), "utf-8")
    calls, unread, report = losses(path)
    assert (calls, unread) == (1, {})
    assert list(report.omissions()) == [
        f"{path}: 1 entry with a count that is missing or none, taken as 0 tokens (first: line 1)"
    ]


def test_an_empty_cell_is_fine_where_it_is_optional_and_reported_where_it_is_a_count(
    tmp_path: Path,
) -> None:
    path = tmp_path / "table.csv"
    path.write_text("prompt_tokens,completion_tokens,cached_tokens\n1,2,\n3,,\n,,\n", "utf-8")
    calls, unread, report = losses(path)
    assert (calls, unread) == (2, {"no token counts": (1, 4)})
    assert [*report.omissions()][1].endswith(
        "1 entry without a count of output, taken as 0 tokens (first: line 3)"
    )
    with pytest.raises(UnreadableLogError, match="line 3: without a count of output"):
        list(read_logs([path], strict=True))


def test_a_named_column_that_no_entry_has_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [{"rein": 10, "raus": 5, "was": "gpt-4o"}, {"rein": 7, "raus": 3, "zeit": 5}]
    path.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    columns = {"input": "rein", "output": "raus", "model": "was", "time": "zeit"}
    assert list(losses(path, columns=columns)[2].omissions()) == []
    columns["cached"] = "cachd"
    calls, _, report = losses(path, columns=columns)
    assert calls == 2
    assert "without the column 'cachd', which was named" in next(report.omissions())
    with pytest.raises(UnreadableLogError, match="without the column 'cachd'"):
        list(read_logs([path], columns=columns, strict=True))


def test_a_column_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="got 'inputs'; did you mean 'input'"):
        list(read_logs([tmp_path], columns={"inputs": "x"}))


def test_folders_and_patterns_lead_to_their_files(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/one.json", "a/b/two.csv", ".hidden/x.jsonl", "picture.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("", "utf-8")
    found = [os.path.relpath(path, tmp_path) for path in find_files([tmp_path])]
    assert found == ["b.jsonl", os.path.join("a", "one.json"), os.path.join("a", "b", "two.csv")]
    pattern = os.path.join(str(tmp_path), "**", "*.csv")
    assert list(find_files([pattern])) == [str(tmp_path / "a" / "b" / "two.csv")]
    for nothing in (tmp_path / "none.jsonl", tmp_path / "*.xyz", tmp_path / ".hidden" / "*.csv"):
        with pytest.raises(FileNotFoundError):
            list(find_files([nothing]))


@pytest.mark.parametrize("encoding", ["utf-8", "gzip", "utf-16"])
def test_standard_input_is_read(encoding: str) -> None:
    code = (
        "from energy_tracking import read_logs; "
        "print(sum(call.counts.input_tokens for call in read_logs(['-'])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=ENCODINGS[encoding](LAYOUTS["an indented array"]),
        capture_output=True,
        check=True,
    )
    assert done.stdout.split() == [b"57"]


# What cannot be read.


def losses(path: Path, **arguments: Any) -> tuple[int, dict[str, tuple[int, int]], ReadReport]:
    report = ReadReport()
    calls = list(read_logs([path], report=report, **arguments))
    unread = {reason: (one.count, one.line) for reason, one in report.unread.items()}
    cut_off = {one.reason: (1, one.line) for one in report.cut_off.values()}
    return len(calls), unread | cut_off, report


def test_a_broken_object_among_indented_ones_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.json"
    first, second, third = (json.dumps(document, indent=2) for document in DOCUMENTS)
    path.write_text("\n".join((first, second.replace('"id"', "id", 1), third)), "utf-8")
    calls, unread, _ = losses(path)
    assert calls == 2
    assert unread["not JSON"][1] == first.count("\n") + 2


def test_a_line_that_is_cut_off_costs_no_other(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first, second, third = map(json.dumps, DOCUMENTS)
    path.write_text(f"{first[:100]}\n{second}\n{third[:50]}\n{third}\n{first[:20]}", "utf-8")
    assert losses(path)[:2] == (2, {"not JSON": (3, 1)})


def pack_zstd(content: bytes) -> bytes:
    if sys.version_info >= (3, 14):
        from compression import zstd

        return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})
    zstandard = pytest.importorskip("zstandard", reason="zstd needs it below Python 3.14")
    packed: bytes = zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return packed


PACKINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zstd": pack_zstd}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("cut", [1, 100])
def test_a_packed_file_that_is_cut_off_gives_what_it_has(
    packing: str, cut: int, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl.packed"
    # Of long names zstd packs several blocks.
    many = "\n".join(
        json.dumps(COMPLETION | {"id": hashlib.sha256(b"%d" % n).hexdigest()}) for n in range(5000)
    )
    path.write_bytes(PACKINGS[packing](many.encode())[:-cut])
    calls, unread, report = losses(path)
    assert calls > 1000
    assert unread == {"the file is damaged: it ended before the end-of-stream marker was reached":
                      (1, calls)}  # fmt: skip
    assert next(report.omissions()).startswith(f"{path}: all after line {calls:,} left out: the")


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_of_a_damaged_packed_file_every_whole_line_before_the_damage_counts(
    packing: str, small: bool, damage: str, tmp_path: Path
) -> None:
    rows = [f"{n * 7919 % 100_000},{n * 104_729 % 1000}" for n in range(60 if small else 40_000)]
    packed = bytearray(PACKINGS[packing]("\n".join(["input_tokens,output_tokens", *rows]).encode()))
    place = len(packed) * 2 // 3
    if damage == "cut":
        del packed[place:]
    else:
        packed[place : place + 8] = b"\xff" * 8
    path = tmp_path / "table.csv.packed"
    path.write_bytes(packed)
    report = ReadReport()
    found = [tokens([call]) for call in read_logs([path], report=report)]
    # A block of zstd comes out whole or not at all.
    if packing == "gzip" or not small:
        assert len(found) > len(rows) // 3
    if damage == "cut":
        assert found == [tuple(map(int, row.split(","))) for row in rows[: len(found)]]
    assert "the file is damaged" in report.cut_off[str(path)].reason


def test_of_several_files_that_break_off_each_is_named(tmp_path: Path) -> None:
    for name in ("a.jsonl.gz", "b.jsonl.gz"):
        (tmp_path / name).write_bytes(gzip.compress(LAYOUTS["lines"].encode())[:-9])
    _, _, report = losses(tmp_path)
    assert [remark.partition(": ")[0] for remark in report.omissions()] == [
        str(tmp_path / "a.jsonl.gz"),
        str(tmp_path / "b.jsonl.gz"),
    ]


@pytest.mark.parametrize("content", ["", "\n", "input_tokens,output_tokens\n"])
def test_a_file_without_an_entry_is_reported(content: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(content, "utf-8")
    _, _, report = losses(path)
    assert not report.found_nothing
    assert f"{path}: no entry: it is empty, or a header alone" == next(report.omissions())


def test_what_is_skipped_in_a_folder_is_reported_once(tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl.bak", "c.BAK", "trace", ".hid/x.jsonl"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("input_tokens,output_tokens\n1,2\n", "utf-8")
    calls, _, report = losses(tmp_path)
    assert calls == 1
    assert list(report.omissions()) == [
        "skipped in folders, and read where they are named: 2 .bak, 1 hidden folders, 1 no ending"
    ]


def test_a_quotation_mark_before_what_looks_like_a_header_hides_no_json_behind_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "log.txt"
    lines = ["started", 'said: "', "prompt_tokens,completion_tokens", json.dumps(COMPLETION)]
    path.write_text("\n".join(lines), "utf-8")
    calls, unread, _ = losses(path)
    assert (calls, unread) == (1, {"not JSON": (3, 1)})


def test_a_folder_that_cannot_be_read_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text(json.dumps(COMPLETION), "utf-8")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    if os.access(closed, os.R_OK):
        pytest.skip("nothing is closed to this user")
    for path in (closed, tmp_path):
        with pytest.raises(PermissionError) as raised:
            list(find_files([path]))
        assert raised.value.filename == str(closed)


def test_standard_input_that_is_closed_is_an_error_of_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(OSError, match="standard input is closed"):
        list(read_logs(["-"]))


def test_a_file_of_no_format_names_the_nearest_and_what_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text('{"run_typ": "llm", "modelInput": {}, "tok_in": 5}\n{"x": 1}\n', "utf-8")
    calls, unread, report = losses(path)
    assert (calls, unread) == (0, {"no token counts": (2, 1)})
    assert report.found_nothing
    missing = the_only(report.unrecognised.values())
    assert "its first entry has 'run_typ', 'modelInput', 'tok_in'" in missing
    assert "nearest: 'bedrock-batch' (no error or modelOutput)" in missing
    assert "--columns input=NAME,output=NAME" in missing


def test_strict_reading_stops_at_the_first_loss(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{json.dumps(DOCUMENTS[0])}\n{{"x": 1}}\n', "utf-8")
    with pytest.raises(UnreadableLogError, match=r"log\.jsonl, line 2: no token counts"):
        list(read_logs([path], strict=True))
    path.write_text("x = 1\n", "utf-8")
    with pytest.raises(UnreadableLogError, match="line 1: not JSON"):
        list(read_logs([path], strict=True))


# Memory.

MEASURE = """
import resource, sys
from energy_tracking import read_logs
calls = 0
for call in read_logs(sys.argv[1:]):
    calls += 1
    if calls == 75_000:
        early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
late = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(calls, late - early)
"""


def many_lines(file: io.TextIOBase, count: int) -> None:
    for number in range(count):
        file.write(json.dumps({"id": f"resp-{number:030}", "model": "gpt-4o", "usage": {
            "prompt_tokens": 10, "completion_tokens": 20}}) + "\n")  # fmt: skip


def many_elements(file: io.TextIOBase, count: int) -> None:
    file.write("[")
    for number in range(count):
        file.write("," * (number > 0) + json.dumps({"ts": 1_741_569_952 + number, "pad": "x" * 200,
            "model": "gpt-4o", "prompt_tokens": 10, "completion_tokens": 20}))  # fmt: skip
    file.write("]")


def many_rows(file: io.TextIOBase, count: int) -> None:
    file.write("TIMESTAMP,ContextTokens,GeneratedTokens\n")
    for number in range(count):
        file.write(f"2023-11-16 18:17:03.97996{number % 10}0,{number % 5000},{number % 100}\n")


@pytest.mark.skipif(sys.platform != "linux", reason="units of ru_maxrss differ")
@pytest.mark.parametrize("write", [many_lines, many_elements, many_rows])
def test_memory_does_not_grow_with_the_file(
    write: Callable[[io.TextIOBase, int], None], tmp_path: Path
) -> None:
    path = tmp_path / "log"
    with path.open("w", encoding="utf-8") as file:
        write(file, 150_000)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(path)], capture_output=True, text=True, check=True
    )
    calls, growth = map(int, done.stdout.split())
    assert calls == 150_000
    # [KiB]; the lines are 20,000 and more.
    assert growth < 6_000
