"""One conversation: takes the client's messages, speaks utterances in order of their start, handles interruptions."""

import asyncio
import logging
from typing import NamedTuple

from intone.server.conversation.context import ServerContext, StreamContext
from intone.server.conversation.outbox import Outbox, QueuedEvent, UtteranceEnd
from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.conversation.utterance import Utterance
from intone.server.conversation.utterance_progress import UtteranceState
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
    InvalidMessage,
    LatencyReport,
    Notice,
    PlaybackProgress,
    RequestRefused,
    ServerEvent,
    StreamSettings,
    TextInput,
    WarningCode,
)

logger = logging.getLogger(__name__)

MAX_ENDED_IDS = 1000
"""Ids of ended utterances that are kept, to tell a late message from the start of a new utterance."""


class _Current(NamedTuple):
    """The utterance being synthesized, its runner, and the task of the runner."""

    utterance: Utterance
    runner: UtteranceRunner
    task: "asyncio.Task[None]"


class Session:
    """A conversation. `receive` takes the client's messages; iterating the session gives what the client is sent.

    Belongs to one event loop and one RPC.
    """

    def __init__(self, settings: StreamSettings, server: ServerContext) -> None:
        self._settings, self._server = settings, server
        self._playback = Playback(server.clock)
        self._outbox = Outbox(self._playback, LeadLimiter(self._playback, settings.max_lead_ms))
        self._context = StreamContext(settings, server, self._outbox, self._playback)
        self._utterances: dict[str, Utterance] = {}  # QUEUED, SPEAKING or SENT, in order of their start
        self._ended: dict[str, bool] = {}  # ids that take no more text -> whether late text was warned about
        self._changed = asyncio.Event()
        self.active_s = server.clock()
        """When the last message was received or sent."""
        self._half_closed = False
        self._draining = False
        self._current: _Current | None = None
        self._task = asyncio.create_task(self._speak_all(), name="session")

    # ---- from the client

    def receive(self, event: ClientEvent) -> None:
        """Handle one message; errors in it are answered by events."""
        self.active_s = self._server.clock()
        try:
            match event:
                case TextInput():
                    self._receive_text(event)
                case Flush():
                    self._receive_flush(event)
                case Interrupt():
                    self._receive_interrupt(event)
                case PlaybackProgress():
                    self._playback.report(event.played_ms)
                    self._outbox.wake()
                case InvalidMessage():
                    raise event.error
        except CallerError as error:
            self._outbox.put_urgent(RequestRefused(error, getattr(event, "utterance_id", "")))

    def half_close(self) -> None:
        """The client sends no more: open utterances are spoken to the end of their text, then the events end."""
        self._half_closed = True
        self._playback.end_reports()
        self._outbox.wake()
        for utterance in self._open_utterances():
            if not utterance.text_ended:
                utterance.push("", end=True)
        self._changed.set()

    def drain(self) -> None:
        """The server shuts down: finish open utterances, start no new one, then end with `ShutdownError`."""
        if self._draining:
            return
        self._draining = True
        message = "the server is shutting down: open utterances are finished, then reconnect"
        self._outbox.put_urgent(Notice(WarningCode.DRAINING, message))
        self._changed.set()

    def fail(self, failure: Exception) -> None:
        """End the events at once by raising `failure`."""
        self._outbox.close(failure)

    async def close(self) -> None:
        """Stop everything at once. Idempotent."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            logger.error("a session failed", exc_info=error)

    # ---- to the client

    def __aiter__(self) -> "Session":
        return self

    async def __anext__(self) -> ServerEvent:
        """Wait for the next event to send to the client.

        Raises:
            Exception: given to `fail`; `ShutdownError` after `drain`.
        """
        return self._send(await anext(self._outbox))

    def _send(self, queued: QueuedEvent) -> ServerEvent:
        """An event leaves the server: record it. The end of an utterance becomes `Done`."""
        self.active_s = self._server.clock()
        if isinstance(queued, UtteranceEnd):
            return self._send_end(queued)
        if isinstance(queued, AudioChunk) and (utterance := self._utterances.get(queued.utterance_id)) is not None:
            utterance.latency.audio_sent(queued)
        return queued

    def _send_end(self, end: UtteranceEnd) -> Done:
        """SPEAKING → SENT. All audio of the utterance has left, so its report is complete."""
        utterance = self._utterances[end.utterance_id]
        utterance.progress.advance(UtteranceState.SENT)
        self._forget_heard()
        self._note_ended(end.utterance_id)
        self._answer_flushes(utterance)  # which arrived after its last unit
        return Done(end.utterance_id, end.reason, _report(utterance), end.error)

    # ---- text

    def _receive_text(self, message: TextInput) -> None:
        utterance_id = message.utterance_id
        if utterance_id in self._ended:
            self._warn_late_text(utterance_id)
            return
        utterance = self._utterances.get(utterance_id)
        if utterance is not None and utterance.text_ended:
            raise CallerError("text.utterance_id", "the text of this utterance has ended", Fault.PRECONDITION)
        try:
            if message.fault is not None:
                raise message.fault
            if utterance is None:
                utterance = self._start_utterance(message)
            else:
                _check_continuation(message)
            length, max_length = utterance.length + len(message.delta), self._server.max_utterance_characters
            if length > max_length:
                error_message = f"makes {length} characters; an utterance has at most {max_length}"
                raise CallerError("text.delta", error_message, Fault.TOO_LARGE)
        except IntoneError as error:
            self._end_with_error(utterance_id, DoneReason.REJECTED, error)
            return
        utterance.push(message.delta, message.end)
        self._changed.set()

    def _open_utterances(self) -> list[Utterance]:
        return [utterance for utterance in self._utterances.values() if utterance.progress.state.is_open]

    def _start_utterance(self, message: TextInput) -> Utterance:
        if self._draining:
            raise ShutdownError("the server is shutting down and starts no new utterance")
        open_count, max_open = len(self._open_utterances()), self._server.max_open_utterances
        if open_count >= max_open:
            error_message = f"{open_count} utterances of this stream are open; at most {max_open} may be"
            raise OverloadError(error_message, retry_after_s=1.0)
        utterance = self._utterances[message.utterance_id] = self._server.new_utterance(message, self._settings)
        return utterance

    def _warn_late_text(self, utterance_id: str) -> None:
        if not self._ended[utterance_id]:
            self._ended[utterance_id] = True
            self._warn_ended("the utterance has ended; text that came after its end is ignored", utterance_id)

    def _warn_ended(self, message: str, utterance_id: str = "") -> None:
        self._outbox.put_urgent(Notice(WarningCode.UTTERANCE_ENDED, message, utterance_id))

    def _receive_flush(self, flush: Flush) -> None:
        """Flush every open utterance; the last one answers."""
        open_utterances = self._open_utterances()
        if not open_utterances:
            self._outbox.put("", Flushed(flush.flush_id))
            return
        for utterance in open_utterances[:-1]:
            utterance.flush(None)
        open_utterances[-1].flush(flush)

    def _answer_flushes(self, utterance: Utterance) -> None:
        """Answer the flushes that wait for an utterance that speaks no more."""
        for flush in utterance.take_flushes():
            self._outbox.put("", Flushed(flush.flush_id))

    # ---- interruption

    def _receive_interrupt(self, interrupt: Interrupt) -> None:
        if interrupt.played_ms is not None:
            try:
                self._playback.report(interrupt.played_ms, "cancel.played_ms")
            except CallerError as error:  # a wrong position must not prevent the interruption
                self._outbox.put_urgent(RequestRefused(error, interrupt.utterance_id))
        self._forget_heard()
        targets = [interrupt.utterance_id] if interrupt.utterance_id else list(self._utterances)
        if not targets:
            self._warn_ended("nothing is being spoken or played")
        for utterance_id in targets:
            if utterance_id in self._utterances:
                self._interrupt(self._utterances[utterance_id])
            elif utterance_id in self._ended:
                self._warn_ended("the utterance has ended and was played: there is nothing to stop", utterance_id)
            else:
                error_message = f"no utterance {utterance_id!r} was started on this stream"
                raise CallerError("cancel.utterance_id", error_message, Fault.NOT_FOUND)

    def _forget_heard(self) -> None:
        """SENT → HEARD for utterances that were played to their end: they cannot be interrupted any more."""
        for utterance in list(self._utterances.values()):
            if utterance.progress.state is UtteranceState.SENT and self._playback.unheard_ms(utterance.id) <= 0:
                utterance.progress.advance(UtteranceState.HEARD)
                del self._utterances[utterance.id]

    def _interrupt(self, utterance: Utterance) -> None:
        self._stop(utterance)
        heard_ms = self._playback.heard_ms(utterance.id)
        self._playback.drop(utterance.id)
        text = utterance.text
        position = utterance.progress.heard_characters(text, heard_ms)
        heard, unheard = text[:position], text[position:]
        self._outbox.put_urgent(Interrupted(utterance.id, heard, unheard, round(heard_ms), _report(utterance)))
        self._answer_flushes(utterance)

    def _end_with_error(self, utterance_id: str, reason: DoneReason, error: IntoneError) -> None:
        """End an utterance that is open, or that was refused at its start, because of an error."""
        utterance = self._utterances.get(utterance_id)
        if utterance is None:
            self._note_ended(utterance_id)
            self._outbox.put_urgent(Done(utterance_id, reason, LatencyReport(), error))
        else:
            self._stop(utterance)
            self._outbox.put_urgent(Done(utterance_id, reason, _report(utterance), error))
            self._answer_flushes(utterance)

    def _stop(self, utterance: Utterance) -> None:
        """Any state → STOPPED: end synthesis and discard what has not left the server."""
        utterance.progress.advance(UtteranceState.STOPPED)
        del self._utterances[utterance.id]
        if self._current is not None and self._current.utterance is utterance:
            self._current.runner.stop()
            self._current.task.cancel()
        self._outbox.discard(utterance.id)
        self._note_ended(utterance.id)

    def _note_ended(self, utterance_id: str) -> None:
        self._ended.setdefault(utterance_id, False)
        while len(self._ended) > MAX_ENDED_IDS:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self._playback.forget(oldest)
        self._changed.set()

    # ---- speaking

    async def _speak_all(self) -> None:
        """Speak the utterances one after another until there will be no more."""
        try:
            while (utterance := await self._next_utterance()) is not None:
                runner = UtteranceRunner(self._context, utterance)
                task = asyncio.create_task(runner.run(), name="utterance")
                self._current = _Current(utterance, runner, task)
                await asyncio.wait({task})
                self._current = None
                self._check_failure(utterance, task)
        finally:
            if self._current is not None:
                self._current.task.cancel()
                await asyncio.wait({self._current.task})
        cut_off = self._draining and not self._half_closed  # a client that has half-closed has missed nothing
        self._outbox.close(ShutdownError("the server is shutting down: reconnect") if cut_off else None)

    async def _next_utterance(self) -> Utterance | None:
        """QUEUED → SPEAKING for the next utterance, waiting for one to start; None when there will be none."""
        while True:
            for utterance in self._utterances.values():
                if utterance.progress.state is UtteranceState.QUEUED:
                    utterance.progress.advance(UtteranceState.SPEAKING)
                    return utterance
            if not self._open_utterances() and (self._half_closed or self._draining):
                return None
            self._changed.clear()
            await self._changed.wait()

    def _check_failure(self, utterance: Utterance, task: "asyncio.Task[None]") -> None:
        """End an utterance whose runner failed unexpectedly."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        logger.error("utterance %s: speaking it failed", utterance.id, exc_info=error)
        if utterance.progress.state is UtteranceState.SPEAKING:
            known = error if isinstance(error, IntoneError) else IntoneError("internal error: see the server's log")
            self._end_with_error(utterance.id, DoneReason.FAILED, known)


def _report(utterance: Utterance) -> LatencyReport:
    return utterance.latency.report(utterance.progress.unit_count)


def _check_continuation(message: TextInput) -> None:
    """Raise `CallerError` for settings in a message that does not start its utterance."""
    for name in ("emotion", "voice", "options"):
        if getattr(message, name) is not None:
            raise CallerError(f"text.{name}", "counts on the first message of an utterance only", Fault.PRECONDITION)
