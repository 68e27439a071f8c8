"""Speaks the utterances of a stream one after another, until the stream ends."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from intone.server.conversation.context import StreamContext
from intone.server.conversation.utterance import Utterance
from intone.server.conversation.utterance_progress import UtteranceState
from intone.server.conversation.utterance_registry import UtteranceRegistry
from intone.server.conversation.utterance_runner import UtteranceRunner
from intone.server.conversation.waiting import wait_for_event
from intone.server.errors import IntoneError
from intone.server.events import Notice, NoticeCode

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class StreamEnd:
    """Why a stream is going to end."""

    half_closed: bool = False
    """The client sends no more."""
    finishing: bool = False
    """The client starts no more utterances."""
    draining: bool = False
    """The server shuts down."""

    @property
    def is_near(self) -> bool:
        """Whether the stream ends after the utterances that are open."""
        return self.half_closed or self.finishing or self.draining


class _Current(NamedTuple):
    """The utterance being synthesized, its runner, and the task of the runner."""

    utterance: Utterance
    runner: UtteranceRunner
    task: "asyncio.Task[None]"


class UtteranceQueue:
    """QUEUED → SPEAKING for one utterance at a time. `run` is called once."""

    def __init__(
        self,
        context: StreamContext,
        utterances: UtteranceRegistry,
        end: StreamEnd,
        failed: Callable[[Utterance, IntoneError], None],
        end_text: Callable[[Utterance], None],
    ) -> None:
        """`failed` is called for an utterance whose runner failed unexpectedly, `end_text` to end a text."""
        self._context, self._utterances, self._end = context, utterances, end
        self._failed, self._end_text = failed, end_text
        self._clock = context.server.clock
        self._changed = asyncio.Event()
        self._current: _Current | None = None

    def wake(self) -> None:
        """Utterances, their text, playback or the end of the stream have changed."""
        self._changed.set()

    def stop(self, utterance: Utterance) -> None:
        """Stop an utterance at once, if it is being spoken."""
        if self._current is not None and self._current.utterance is utterance:
            self._current.runner.stop()
            self._current.task.cancel()

    async def run(self) -> None:
        """Speak until the stream ends and everything was sent and, if somebody can still say so, heard."""
        try:
            while (utterance := await self._next()) is not None:
                runner = UtteranceRunner(self._context, utterance)
                task = asyncio.create_task(runner.run(), name="utterance")
                task.add_done_callback(lambda _: self._changed.set())
                self._current = _Current(utterance, runner, task)
                await self._watch_text(utterance, task)
                self._current = None
                self._check_failure(utterance, task)
        finally:
            if self._current is not None:
                self._current.task.cancel()
                await asyncio.wait({self._current.task})

    async def _next(self) -> Utterance | None:
        """The next utterance, waiting for one to start; None when there will be none."""
        while True:
            if (utterance := self._utterances.next_queued()) is not None:
                utterance.progress.advance(UtteranceState.SPEAKING)
                return utterance
            wait_s = self._time_left_s() if self._end.is_near and not self._utterances.open() else None
            if wait_s == 0:
                return None
            self._changed.clear()
            await wait_for_event(self._changed, wait_s)

    def _time_left_s(self) -> float:
        """How long the stream stays open after everything was sent."""
        if self._end.half_closed or self._context.settings.offline:
            return 0.0
        left_s = self._context.playback.silent_in_ms / 1000
        return left_s if left_s > 1e-3 else 0.0

    async def _watch_text(self, utterance: Utterance, task: "asyncio.Task[None]") -> None:
        """Wait for the end of an utterance; end its text if that is silent for too long while others wait."""
        while not task.done():
            left_s = self._text_left_s(utterance)
            if left_s == 0:
                timeout_ms = self._text_timeout_ms(utterance)
                message = f"no text came for {timeout_ms} ms while others waited: the text is taken as ended"
                self._context.outbox.put_urgent(Notice(NoticeCode.TEXT_TIMEOUT, message, utterance.id))
                self._end_text(utterance)
                continue
            self._changed.clear()
            await wait_for_event(self._changed, left_s)

    def _text_left_s(self, utterance: Utterance) -> float | None:
        """Time until the text of the utterance being spoken is taken as ended; None if nothing waits for its end."""
        others_wait = self._end.is_near or len(self._utterances.open()) > 1
        if utterance.text_ended or not utterance.progress.state.is_open or not others_wait:
            return None
        left_s = utterance.last_text_s + self._text_timeout_ms(utterance) / 1000 - self._clock()
        return left_s if left_s > 1e-3 else 0.0

    def _text_timeout_ms(self, utterance: Utterance) -> int:
        own = utterance.start.text_timeout_ms
        return self._context.server.limits.text_timeout_ms if own is None else own

    def _check_failure(self, utterance: Utterance, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("utterance %s: speaking it failed", utterance.id, exc_info=error)
        if utterance.progress.state is UtteranceState.SPEAKING:
            known = error if isinstance(error, IntoneError) else IntoneError("internal error: see the server's log")
            self._failed(utterance, known)
