"""One conversation: utterances in the order they were started, interruption, and everything the client is told.

Events of the client go in through `receive`; `events` gives out what the client is to be told. No torch, no gRPC.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial
from typing import NamedTuple

from intone.server.conversation.context import ServerContext, StreamContext
from intone.server.conversation.outbox import Outbox
from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.conversation.utterance import Utterance
from intone.server.conversation.utterance_runner import UtteranceRunner
from intone.server.errors import CallerError, Fault, IntoneError, OverloadError, ShutdownError
from intone.server.events import (
    AudioChunk,
    ClientEvent,
    Done,
    DoneReason,
    Flush,
    Flushed,
    Interrupt,
    Interrupted,
    LatencyReport,
    Notice,
    PlaybackProgress,
    Refusal,
    RequestRefused,
    ServerEvent,
    StreamSettings,
    TextInput,
    WarningCode,
)

log = logging.getLogger(__name__)

REMEMBERED = 1000
"""Ids of ended utterances that are remembered, so that a late message to one can be told from a new utterance."""


class _Speaking(NamedTuple):
    """The utterance that is being spoken, by whom, and the task that runs that."""

    utterance_id: str
    speaker: UtteranceRunner
    task: "asyncio.Task[None]"


class Session:
    """A conversation; belongs to one event loop and one RPC."""

    def __init__(self, settings: StreamSettings, services: ServerContext) -> None:
        self._settings, self._services = settings, services
        self._playback = Playback(services.clock)
        limiter = LeadLimiter(self._playback, settings.lead_limit_ms)
        self._outbox = Outbox(self._playback, limiter, self._left)
        self._stage = StreamContext(settings, services, self._outbox, self._playback)
        self._open: dict[str, Utterance] = {}
        self._playing: dict[str, Utterance] = {}  # done, but perhaps not heard to the end yet
        self._ended: dict[str, bool] = {}  # id -> whether a late message was already warned of
        self._changed = asyncio.Event()
        self.active_s = services.clock()
        """When something last came from the client or went to it."""
        self._half_closed = False
        self._draining = False
        self._speaking: _Speaking | None = None
        self._runner = asyncio.create_task(self._run(), name="session")

    # ---- from the client

    def receive(self, event: ClientEvent) -> None:
        """Take in one message; what is wrong with it is answered through `events`."""
        self.active_s = self._services.clock()
        try:
            match event:
                case TextInput():
                    self._text(event)
                case Flush():
                    self._flush(event)
                case Interrupt():
                    self._cancel(event)
                case PlaybackProgress():
                    self._playback.report(event.played_ms)
                    self._outbox.wake()
                case Refusal():
                    raise event.error
        except CallerError as error:
            self._outbox.put_urgent(RequestRefused(error, getattr(event, "utterance_id", "")))

    def half_close(self) -> None:
        """The client sends no more: what is open is ended and spoken, then `events` ends."""
        self._half_closed = True
        for utterance in self._open.values():
            if not utterance.text_ended:
                utterance.push("", end=True)
        self._changed.set()

    def drain(self) -> None:
        """The server is going away: finish what is open, start nothing new, then end with ShutdownError."""
        if self._draining:
            return
        self._draining = True
        words = "the server is shutting down: open utterances are finished, then reconnect"
        self._outbox.put_urgent(Notice(WarningCode.DRAINING, words))
        self._changed.set()

    def fail(self, failure: Exception) -> None:
        """End `events` at once by raising `failure`."""
        self._outbox.close(failure)

    async def close(self) -> None:
        """Stop everything at once; safe to call at any time, more than once."""
        self._runner.cancel()
        await asyncio.wait({self._runner})
        if not self._runner.cancelled() and (error := self._runner.exception()) is not None:
            log.error("a session's runner failed", exc_info=error)

    def events(self) -> AsyncIterator[ServerEvent]:
        """What the client is to be told, until the conversation ends."""
        return self._outbox

    # ---- text

    def _text(self, piece: TextInput) -> None:
        if piece.utterance_id in self._ended:
            return self._late(piece.utterance_id)
        known = self._open.get(piece.utterance_id)
        if known is not None and known.text_ended:
            raise CallerError("text.utterance_id", "the text of this utterance has ended", Fault.PRECONDITION)
        try:
            if piece.fault is not None:
                raise piece.fault
            if known is None:
                known = self._open_utterance(piece)
            else:
                _check_continuation(piece)
            length, limit = known.length + len(piece.delta), self._services.max_utterance_characters
            if length > limit:
                words = f"makes {length} characters; an utterance has at most {limit}"
                raise CallerError("text.delta", words, Fault.TOO_LARGE)
        except IntoneError as error:
            return self._give_up(piece.utterance_id, DoneReason.REJECTED, error)
        known.push(piece.delta, piece.end)
        self._changed.set()
        return None

    def _open_utterance(self, piece: TextInput) -> Utterance:
        if self._draining:
            raise ShutdownError("the server is shutting down and starts no new utterance")
        most = self._services.max_open_utterances
        if len(self._open) >= most:
            words = f"{len(self._open)} utterances of this stream are open; at most {most} may be"
            raise OverloadError(words, retry_after_s=1.0)
        utterance = self._open[piece.utterance_id] = self._services.utterance(piece, self._settings)
        return utterance

    def _late(self, utterance_id: str) -> None:
        if not self._ended[utterance_id]:
            self._ended[utterance_id] = True
            words = "the utterance has ended; text that came after its end is ignored"
            self._outbox.put_urgent(Notice(WarningCode.UTTERANCE_ENDED, words, utterance_id))

    def _give_up(self, utterance_id: str, reason: DoneReason, error: IntoneError) -> None:
        """End an utterance, open or never begun, for what is wrong with it or with us."""
        utterance = self._stop(utterance_id)
        report = utterance.account.report() if utterance else LatencyReport()
        self._end(utterance_id)
        self._outbox.put_urgent(Done(utterance_id, reason, report, error))
        self._answer_marks(utterance)

    def _flush(self, mark: Flush) -> None:
        """Every open utterance speaks what it holds; the last of them gives the answer."""
        if not self._open:
            self._outbox.put("", Flushed(mark.flush_id))
            return
        *others, last = self._open.values()
        for utterance in others:
            utterance.flush(None)
        last.flush(mark)

    # ---- interruption

    def _cancel(self, cancel: Interrupt) -> None:
        if cancel.played_ms is not None:
            try:
                self._playback.report(cancel.played_ms, "cancel.played_ms")
            except CallerError as error:  # an interruption must not fail for a wrong number
                self._outbox.put_urgent(RequestRefused(error, cancel.utterance_id))
        self._forget_heard()
        targets = [cancel.utterance_id] if cancel.utterance_id else [*self._playing, *self._open]
        if not targets:
            self._outbox.put_urgent(Notice(WarningCode.UTTERANCE_ENDED, "nothing is being spoken or played"))
        for utterance_id in targets:
            if utterance_id in self._open or utterance_id in self._playing:
                self._interrupt(utterance_id)
            elif utterance_id in self._ended:
                words = "the utterance has ended and was played: there is nothing to stop"
                self._outbox.put_urgent(Notice(WarningCode.UTTERANCE_ENDED, words, utterance_id))
            else:
                words = f"no utterance {utterance_id!r} was started on this stream"
                raise CallerError("cancel.utterance_id", words, Fault.NOT_FOUND)

    def _forget_heard(self) -> None:
        """Utterances that were heard to the end cannot be interrupted any more."""
        self._playing = {name: one for name, one in self._playing.items() if self._playback.unheard_ms(name) > 0}

    def _interrupt(self, utterance_id: str) -> None:
        utterance = self._stop(utterance_id) or self._playing.pop(utterance_id)
        heard_ms = self._playback.heard_ms(utterance_id)
        self._playback.drop(utterance_id)
        self._end(utterance_id)
        text, cut = utterance.text, utterance.heard_characters(heard_ms)
        report = utterance.account.report()
        self._outbox.put_urgent(Interrupted(utterance_id, text[:cut], text[cut:], round(heard_ms), report))
        self._answer_marks(utterance)

    def _stop(self, utterance_id: str) -> Utterance | None:
        """Stop speaking an open utterance and take back what has not left."""
        utterance = self._open.pop(utterance_id, None)
        if self._speaking is not None and self._speaking.utterance_id == utterance_id:
            self._speaking.speaker.stop()
            self._speaking.task.cancel()
        self._outbox.discard(utterance_id)
        return utterance

    def _end(self, utterance_id: str) -> None:
        self._ended.setdefault(utterance_id, False)
        while len(self._ended) > REMEMBERED:
            forgotten = next(iter(self._ended))
            del self._ended[forgotten]
            self._playback.forget(forgotten)
        self._changed.set()

    def _answer_marks(self, utterance: Utterance | None) -> None:
        for mark in utterance.marks() if utterance else ():
            self._outbox.put("", Flushed(mark.flush_id))

    # ---- speaking

    async def _run(self) -> None:
        """Speak the open utterances one after another."""
        try:
            while (utterance := await self._next()) is not None:
                speaker = UtteranceRunner(self._stage, utterance, partial(self._done, utterance))
                task = asyncio.create_task(speaker.run(), name="speaker")
                self._speaking = _Speaking(utterance.id, speaker, task)
                await asyncio.wait({task})
                self._speaking = None
                self._settle(utterance, task)
        finally:
            if self._speaking is not None:
                self._speaking.task.cancel()
                await asyncio.wait({self._speaking.task})
        cut = self._draining and not self._half_closed  # who has sent everything and heard everything misses nothing
        self._outbox.close(ShutdownError("the server is shutting down: reconnect") if cut else None)

    async def _next(self) -> Utterance | None:
        """The next utterance to speak; None when there will be none."""
        while True:
            for utterance in self._open.values():
                if not utterance.claimed:
                    utterance.claimed = True
                    return utterance
            if not self._open and (self._half_closed or self._draining):
                return None
            self._changed.clear()
            await self._changed.wait()

    def _settle(self, utterance: Utterance, task: "asyncio.Task[None]") -> None:
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("utterance %s: speaking it failed", utterance.id, exc_info=error)
        known = error if isinstance(error, IntoneError) else IntoneError("the server failed; its log says more")
        self._give_up(utterance.id, DoneReason.FAILED, known)

    def _done(self, utterance: Utterance) -> None:
        """Its `done` is leaving."""
        self._open.pop(utterance.id, None)
        self._playing[utterance.id] = utterance
        self._forget_heard()
        self._end(utterance.id)
        self._answer_marks(utterance)  # a flush that came after its last audio was made

    def _left(self, event: ServerEvent) -> None:
        """An event has left the server."""
        self.active_s = self._services.clock()
        if isinstance(event, AudioChunk) and event.utterance_id in self._open:
            self._open[event.utterance_id].account.sent(event)


def _check_continuation(piece: TextInput) -> None:
    """Settings count on the first message of an utterance only."""
    for name in ("emotion", "voice", "options"):
        if getattr(piece, name) is not None:
            raise CallerError(f"text.{name}", "counts on the first message of an utterance only", Fault.PRECONDITION)
