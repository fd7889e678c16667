"""The steps of a decorated async generator, each inside its run."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from typing import Any

from energy_tracking.functions.runs import Run, end_failed


class AsyncSteps:
    """The steps of an async generator, each inside the run."""

    def __init__(self, run: Run, generator: AsyncGenerator[Any, Any], step: Any) -> None:
        """Take a generator.

        Args:
            run: The run.
            generator: The generator.
            step: Its first step.
        """
        self._run = run
        self._generator = generator
        self._step = step
        self.item: Any = None

    async def advance(self) -> bool:
        """Go on to the next item; False, and the run is ended, where there is none."""
        try:
            with self._run.current():
                try:
                    self.item = await self._step
                    return True
                except StopAsyncIteration:
                    pass
        except BaseException as error:
            self._step = None  # It may hold the error, which holds this.
            end_failed(self._run, error)
            raise
        self._run.end()
        return False

    def send(self, value: Any) -> None:
        """Have the next step begin with what was sent."""
        self._step = self._generator.asend(value)

    async def throw(self, error: BaseException) -> None:
        """Have the next step begin with what was thrown in, or close the generator.

        Raises:
            GeneratorExit: It was that, and the generator is closed.
        """
        if not isinstance(error, GeneratorExit):
            self._step = self._generator.athrow(error)
            return
        try:
            with self._run.current():
                await self._generator.aclose()
            raise error
        except BaseException as raised:
            end_failed(self._run, raised)
            raise
        finally:
            # The frame would hold the error, and the error the frame.
            del error


def start_unwatched(generator: AsyncGenerator[Any, Any]) -> Any:
    """The first step of an async generator that the event loop is not to close by itself.

    The generator around it closes it. Where both are left unfinished, the loop would close both
    at once, and log that one is running already.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return generator.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)
