"""What is known of how one call was served, beside its tokens: the server's clock, its batch.

Most calls have nothing of it, and carry None in place of a value here. A further fact is a field.
"""

from __future__ import annotations

from energy_tracking.frozen import frozen
from energy_tracking.usage.server_timing import ServerTiming


@frozen(kw_only=True)
class ServerLoad:
    """How busy a server was while a call ran there, as its metrics page states it.

    Attributes:
        running_requests: Requests that shared a step, mean over the call [1].
        num_gpus: GPUs that hold the model, where the page tells them apart [1].
        source: The engine and the address of the page.
        model: Name of the model there, where the page names one.
        output_tokens_per_second: What the server generated for all its requests meanwhile
            [tokens/s], where it counts that and two samples are in the call.
        cached_share: Part of its prompt tokens that came out of its prefix cache [1], meanwhile,
            or else since it was started.
    """

    running_requests: float
    num_gpus: int | None = None
    source: str
    model: str | None = None
    output_tokens_per_second: float | None = None
    cached_share: float | None = None


@frozen()
class ServingEvidence:
    """What was seen of the server while it served one call; None: nothing was.

    Attributes:
        tokens_per_second: Rate at which the visible output of a stream arrived here [tokens/s].
        timing: What the server's clock says.
        load: How busy the server was.
    """

    tokens_per_second: float | None = None
    timing: ServerTiming | None = None
    load: ServerLoad | None = None
