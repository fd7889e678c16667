"""Count calls of any client: hand over the usage its responses come with.

Runs offline: the two responses below have the shape that anthropic and google-genai return.
"""

from types import SimpleNamespace

from energy_tracking import Tracker, energy_session

# anthropic: the input count leaves out the cached tokens.
message = SimpleNamespace(
    id="msg_01",
    model="claude-sonnet-4-5",
    usage=SimpleNamespace(
        input_tokens=25,
        cache_read_input_tokens=1800,
        cache_creation_input_tokens=0,
        output_tokens=310,
    ),
)
# google-genai: the thoughts are not among the candidates' tokens.
generated = SimpleNamespace(
    response_id="r-1",
    model_version="gemini-2.5-flash",
    usage_metadata=SimpleNamespace(
        prompt_token_count=120,
        candidates_token_count=80,
        thoughts_token_count=400,
        total_token_count=600,
    ),
)

tracker = Tracker()

with energy_session("any-client") as session:
    tracker.record(model=message.model, usage=message.usage, provider="anthropic")
    tracker.record(
        model=generated.model_version, usage=generated.usage_metadata, provider="gcp.gemini"
    )

print(session)
