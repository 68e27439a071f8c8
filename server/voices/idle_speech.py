"""Speech that nobody waits for: spoken while no engine speaks for anyone. Knows no voices' needs, no streams."""

import asyncio
import time
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from intone.server.audio.encoding import is_audible
from intone.server.domain import Samples, SpeakRequest
from intone.server.runtime.worker import Worker

LOOK_S = 0.05
"""How often a busy server is looked at again."""


class Learner(Protocol):
    """Whoever predicts how long an engine takes."""

    def learn(self, engine: str, characters: int, load: int, ttfa_ms: float) -> None:
        """A unit of `characters`, submitted while `load` others were spoken, took `ttfa_ms` to its first sound."""


class IdleSpeech:
    """Speaks one text at a time, only while no engine has anything else to speak, and gives way within a step when one
    has: live speech never waits for more than one such text."""

    def __init__(self, workers: Mapping[str, Worker], learner: Learner) -> None:
        """`learner` is told how long each text took to its first sound."""
        self._workers, self._learner = workers, learner

    async def speak(self, engine: str, request: SpeakRequest) -> tuple[Samples, bool]:
        """The audio of a request, `[T]` at the engine's rate, and whether its limit cut it.

        Raises:
            CallerError: the engine cannot speak the text.
            EngineError: it failed.
            ShutdownError: it was shut down.
        """
        while True:
            while self._live(0):  # noqa: ASYNC110 - engines' threads end units without an event
                await asyncio.sleep(LOOK_S)
            spoken = await self._attempt(engine, request)
            if spoken is not None:
                return spoken

    async def _attempt(self, engine: str, request: SpeakRequest) -> tuple[Samples, bool] | None:
        """The same; None where it gave way."""
        pieces, cut, heard = [np.zeros(0, np.float32)], False, False
        began_s = time.monotonic()
        job = self._workers[engine].submit(request)
        try:
            async for step in job:
                if not step.done and self._live(1):
                    return None
                cut = cut or step.cut
                if step.pcm is None:
                    continue
                pieces.append(step.pcm)
                if not heard and is_audible(step.pcm):
                    heard = True
                    self._learner.learn(engine, len(request.text), 0, 1000 * (time.monotonic() - began_s))
        finally:
            job.cancel()
        return np.concatenate(pieces), cut

    def _live(self, own: int) -> bool:
        """Whether any engine has more to speak than our `own` units; all of them count, since they share a machine."""
        return sum(worker.load for worker in self._workers.values()) > own
