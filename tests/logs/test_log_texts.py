"""What programs print for people: spans, timings, names with values, objects over several lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from energy_tracking.logs.read_report import ReadReport
from energy_tracking.logs.reading import read_logs
from log_samples.common import Right, right
from log_samples.reading import read, shown
from log_samples.wrappings import WRAPPINGS

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"

AT = "2026-03-04T05:06:07"

# Source: https://github.com/open-telemetry/opentelemetry-java (LoggingSpanExporter)
JAVA = (
    "[otel.javaagent 2026-03-04 05:06:07:123 +0000] [main] INFO io.opentelemetry.exporter.logging"
    f".LoggingSpanExporter - 'chat gpt-4o' : {TRACE} {SPAN} CLIENT [tracer: io.opentelemetry"
    ".openai-java-1.1:2.19.0-alpha] AttributesMap{data={gen_ai.operation.name=chat, "
    "gen_ai.response.model=gpt-4o, gen_ai.usage.input_tokens=10, gen_ai.usage.output_tokens=20, "
    "gen_ai.response.finish_reasons=[stop], thread.name=main}, capacity=128, totalAddedValues=9}"
)

# Source: https://github.com/open-telemetry/opentelemetry-dotnet (ConsoleActivityExporter)
DOTNET = f"""\
info: Microsoft.Hosting.Lifetime[14]
      Now listening on: http://localhost:5000
Activity.TraceId:            {TRACE}
Activity.SpanId:             {SPAN}
Activity.TraceFlags:         Recorded
Activity.ParentSpanId:       0011223344556677
Activity.DisplayName:        chat gpt-4o
Activity.StartTime:          2026-03-04T05:06:07.1234567Z
Activity.Duration:           00:00:01.5000000
Activity.Tags:
    gen_ai.operation.name: chat
    gen_ai.response.model: gpt-4o
    gen_ai.usage.input_tokens: 10
    gen_ai.usage.output_tokens: 20
    server.address: api.openai.com
Resource associated with Activity:
    service.name: x

Activity.TraceId:            {TRACE}
Activity.SpanId:             0011223344556677
Activity.StartTime:          2026-03-04T05:06:06.1234567Z
Activity.Duration:           00:00:03.5000000
Activity.Tags:
    gen_ai.operation.name: invoke_agent
    gen_ai.usage.input_tokens: 10
    gen_ai.usage.output_tokens: 20

Activity.TraceId:            {TRACE}
Activity.SpanId:             8811223344556677
Activity.StartTime:          2026-03-04T05:06:06.1234567Z
Activity.Duration:           00:00:03.5000000
Activity.Tags:
    gen_ai.operation.name: chat
    gen_ai.response.model: gpt-4o
    gen_ai.usage.input_tokens: 100
    gen_ai.usage.output_tokens: 200
"""

# Source: https://github.com/ggml-org/llama.cpp/tree/master/tools/server
LLAMA_CPP = """\
srv    load_model: loading model '/models/Qwen3-8B-Q4_K_M.gguf'
slot launch_slot_: id  0 | task 0 | processing task
slot update_slots: id  0 | task 0 | new prompt, n_ctx_slot = 4096, n_keep = 0, task.n_tokens = 16
slot update_slots: id  1 | task 1 | new prompt, n_ctx_slot = 4096, n_keep = 0, task.n_tokens = 100
slot print_timing: id  0 | task 0 |
prompt eval time =     100.00 ms /    10 tokens (   10.00 ms per token,   100.00 tokens per second)
       eval time =     200.00 ms /    20 tokens (   10.00 ms per token,   100.00 tokens per second)
      total time =     300.00 ms /    30 tokens
slot print_timing: id  1 | task 1 |
prompt eval time =     100.00 ms /   100 tokens (   10.00 ms per token,   100.00 tokens per second)
       eval time =     200.00 ms /   200 tokens (   10.00 ms per token,   100.00 tokens per second)
      total time =     300.00 ms /   300 tokens
slot      release: id  1 | task 1 | stop processing: n_past = 299, truncated = 0
"""

# Source: https://lmstudio.ai/docs/app (server logs)
LM_STUDIO = """\
[2026-03-04 05:06:07][INFO][gpt-oss-20b] Running chat completion on conversation with 1 messages.
[2026-03-04 05:06:09][INFO][gpt-oss-20b] Generated prediction: {
  "id": "chatcmpl-abcdefghijklmnopqrst",
  "model": "gpt-oss-20b",
  "choices": [
    {
      "index": 0
    }
  ],
  "usage": {
    "prompt_tokens": 10,
    "completion_tokens": 20,
    "total_tokens": 30
  }
}
[2026-03-04 05:06:10][INFO][gpt-oss-20b] Client disconnected.
"""

# Source: https://agentgateway.dev/docs (access logs)
AGENT_GATEWAY = (
    "2026-03-04T05:06:07.123456Z\tinfo\trequest gateway=default/agw route=default/openai "
    "http.status=200 protocol=llm gen_ai.operation.name=chat gen_ai.provider.name=openai "
    "gen_ai.response.model=gpt-4o gen_ai.usage.input_tokens=10 gen_ai.usage.output_tokens=20 "
    "duration=1200ms"
)
# Source: https://brandur.org/logfmt
PAIRS = (
    'time=2026-03-04T05:06:07Z level=info msg="an answer, \\"done\\"" model=gpt-4o '
    "prompt_tokens=10 completion_tokens=20 id=r1"
)

# A response as the SDK prints it.
PRINTED_RESPONSE = (
    f"{AT} DEBUG ChatCompletion(id='chatcmpl-{'a' * 29}', choices=[Choice(finish_reason='stop', "
    "message=ChatCompletionMessage(content='model=x, it is \\'done\\'', role='assistant', "
    "tool_calls=[ToolCall(id='call_1')]))], model='gpt-4o', object='chat.completion', "
    "usage=CompletionUsage(completion_tokens=20, prompt_tokens=10, total_tokens=30, "
    "completion_tokens_details=CompletionTokensDetails(audio_tokens=0, reasoning_tokens=2), "
    "prompt_tokens_details=PromptTokensDetails(audio_tokens=0, cached_tokens=4)))"
)

# Source: https://github.com/open-telemetry/opentelemetry-collector (debugexporter, detailed)
COLLECTOR = f"""\
2026-03-04T05:06:09.000Z\tinfo\tTraces\t{{"otelcol.component.id": "debug", "spans": 2}}
2026-03-04T05:06:09.000Z\tinfo\tResourceSpans #0
Resource attributes:
     -> service.name: Str(app)
ScopeSpans #0
InstrumentationScope opentelemetry.instrumentation.openai_v2
Span #0
    Trace ID       : {TRACE}
    Parent ID      : 0011223344556677
    ID             : {SPAN}
    Name           : chat gpt-4o
    Start time     : 2026-03-04 05:06:07.123 +0000 UTC
    End time       : 2026-03-04 05:06:08.623456789 +0000 UTC
    Status code    : Unset
Attributes:
     -> gen_ai.operation.name: Str(chat)
     -> gen_ai.response.model: Str(gpt-4o)
     -> gen_ai.usage.input_tokens: Int(10)
     -> gen_ai.usage.output_tokens: Int(20)
Span #1
    Trace ID       : {TRACE}
    Parent ID      :
    ID             : 0011223344556677
    End time       : 2026-03-04 05:06:08.623456789 +0000 UTC
Attributes:
     -> gen_ai.operation.name: Str(invoke_agent)
     -> gen_ai.usage.input_tokens: Int(10)
     -> gen_ai.usage.output_tokens: Int(20)
"""

# Source: https://github.com/ollama/ollama/blob/main/docs/faq.md (ollama run --verbose)
OLLAMA = """\
>>> hi
Hello!

total duration:       4.9s
prompt eval count:    26 token(s)
prompt eval rate:     216.67 tokens/s
eval count:           298 token(s)
eval rate:            119.20 tokens/s
"""

TEXTS: dict[str, tuple[str, Right]] = {
    "Java's spans": (JAVA, right(1, (10, 20), "gpt-4o", first=f"{AT}.123000+00:00")),
    ".NET's spans": (
        DOTNET, right(2, (110, 220), "gpt-4o", first="2026-03-04T05:06:08.623456+00:00")),
    "llama.cpp": (LLAMA_CPP, right(2, (116, 220), "Qwen3-8B-Q4_K_M", cached=6)),
    "the Collector's spans": (
        COLLECTOR, right(1, (10, 20), "gpt-4o", first="2026-03-04T05:06:08.623456+00:00")),
    "Ollama": (OLLAMA, right(1, (26, 298), None)),
    "LM Studio": (
        LM_STUDIO, right(1, (10, 20), "gpt-oss-20b", first="2026-03-04T05:06:09+00:00")),
    "agentgateway": (AGENT_GATEWAY, right(1, (10, 20), "gpt-4o", first=f"{AT}.123456+00:00")),
    "a printed response": (
        PRINTED_RESPONSE,
        right(1, (10, 20), "gpt-4o", cached=4, reasoning=2, first=f"{AT}+00:00")),
    "names with values": (PAIRS, right(1, (10, 20), "gpt-4o", first=f"{AT}+00:00")),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_rightly(name: str, ending: str, tmp_path: Path) -> None:
    content, like = TEXTS[name]
    path = tmp_path / "app.log"
    path.write_bytes(content.replace("\n", ending).encode())
    entries, report = read(path)
    assert shown(entries, report, like) == like
    assert not report.unrecognised


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_behind_the_name_of_a_container_is_read_rightly(name: str, tmp_path: Path) -> None:
    content, like = TEXTS[name]
    path = tmp_path / "compose.log"
    path.write_text("".join(f"app-1  | {line}\n" for line in content.splitlines()))
    entries, report = read(path)
    assert shown(entries, report, like) == like


@pytest.mark.parametrize("around", ["Docker", "Kubernetes", "journalctl -o json", "Loki"])
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_in_the_lines_of_a_log_is_read_rightly(
    name: str, around: str, tmp_path: Path
) -> None:
    content, like = TEXTS[name]
    path = tmp_path / "app.log"
    path.write_text(WRAPPINGS[around](content.splitlines()), "utf-8")
    entries, report = read(path)
    assert shown(entries, report, like) == like
    assert all(entry.time is not None for entry in entries)


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_is_cut_off_anywhere_has_no_call_too_many(name: str, tmp_path: Path) -> None:
    content, like = TEXTS[name]
    path = tmp_path / "app.log"
    for end in range(0, len(content), 23):
        path.write_text(content[:end], "utf-8")
        assert len(list(read_logs([path]))) <= like.calls


def test_an_output_of_llama_cpp_without_its_prompt_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text(LLAMA_CPP.split("\n", 6)[6])
    report = ReadReport()
    assert len(list(read_logs([path], report=report))) == 1
    assert report.unread["an output of llama.cpp's without its prompt"].count == 1


def test_a_usage_that_a_line_without_a_model_mentions_is_no_call(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("INFO CompletionUsage(completion_tokens=20, prompt_tokens=10, total_tokens=30)")
    report = ReadReport()
    assert not list(read_logs([path], report=report))
    assert list(report.unread) == ["not JSON"]


def test_an_object_behind_text_that_does_not_end_costs_its_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text(f"function run() {{\n  x();\n{PAIRS}\nInput: {{\n  a\n")
    report = ReadReport()
    assert len(list(read_logs([path], report=report))) == 1
    assert report.unread["not JSON"].count == 4


def test_a_table_with_such_words_in_its_cells_stays_a_table(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    path.write_text(
        "model,prompt,input_tokens,output_tokens\ngpt-4o,eval time = of max_tokens=5,10,20\n"
    )
    assert len(list(read_logs([path]))) == 1
