"""Decorate functions: each gets a span with the sum over the calls inside it.

Run with OPENAI_API_KEY set: ``python examples/decorate_functions.py``.

The spans are printed here; in an application they go where its OpenTelemetry setup
sends them.
"""

from openai import OpenAI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from energy_tracking import instrument_openai, process_session, track_energy


def in_a_line(span: ReadableSpan) -> str:
    """The span's name and the energy on it."""
    attributes = span.attributes or {}
    energy = {name: value for name, value in attributes.items() if name.endswith("_energy_wh")}
    return f"{span.name}: {energy}\n"


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=in_a_line)))
trace.set_tracer_provider(provider)

instrument_openai()
client = OpenAI()


@track_energy
def summarise(text: str) -> str:
    """One call."""
    response = client.responses.create(model="gpt-5-nano", input=f"Summarise: {text}")
    return response.output_text


@track_energy(name="answer with sources")
def answer(question: str) -> str:
    """Two calls and a decorated function inside, summed up on this function's span."""
    draft = client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": question}]
    )
    return summarise(draft.choices[0].message.content or "")


print(answer("Who invented the battery?"))
print(process_session())
