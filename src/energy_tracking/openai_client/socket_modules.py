"""Which modules of the SDK open sockets; what follows those is loaded with the first of them."""

from __future__ import annotations

import sys
from types import ModuleType

import wrapt

# Module of the SDK that opens sockets -> the operation that such a connection is as a whole,
# where its model runs all the time and reports seconds, not tokens.
MODULES: dict[str, str | None] = {
    "openai.resources.responses.responses": None,
    "openai.resources.beta.responses.responses": None,
    "openai.resources.realtime.realtime": None,
    "openai.resources.beta.realtime.realtime": None,
    "openai.resources.realtime.translations.translations": "translation",
    "openai.resources.live.live": "live",
    "openai.resources.live.forks": "live",
    "openai.resources.live.sideband": "live",
}

_followed: dict[str, ModuleType | None] = {}
"""The modules whose managers are wrapped; None where that waits for a module to be imported."""


def follow_sockets() -> None:
    """Follow the sockets that the SDK opens for tracked clients from now on.

    What is wrapped stays so, and asks ``tracker_of`` about each client anew: a module of
    the SDK may be imported, and a client tracked, at any later time.
    """
    for name in MODULES:
        # A program may have imported the SDK anew.
        if _followed.get(name, False) is not sys.modules.get(name):
            _followed[name] = None
            wrapt.register_post_import_hook(_follow_module, name)


def _follow_module(module: ModuleType) -> None:
    from energy_tracking.openai_client.sockets import wrap_managers  # most programs open none

    name = module.__name__
    _followed[name] = module
    wrap_managers(module, MODULES[name])
