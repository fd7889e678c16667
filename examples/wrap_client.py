"""Wrap an OpenAI client, make calls, read the sum.

Run with OPENAI_API_KEY set: ``python examples/wrap_client.py``.
"""

from openai import OpenAI

from energy_tracking import energy_of, energy_session, wrap_openai

client = wrap_openai(OpenAI(), gpu="H100")

with energy_session("wrap-client") as session:
    response = client.chat.completions.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "Why is the sky blue? One sentence."}],
    )
    client.responses.create(model="gpt-5-nano", input="And why is it red in the evening?")
    client.embeddings.create(model="text-embedding-3-small", input="sky")

record = energy_of(response)  # the record of that call, or None where nobody tracked it
if record is not None and record.estimate is not None:
    print(f"the first call: {record.estimate.total_energy_joules:.2g} J")
print(session)
print(f"{session.total_energy_wh:.2g} Wh in all; per model:")
for model, totals in session.by_model.items():
    print(f"  {model}: {totals.calls} calls, {totals.output_tokens} output tokens")
