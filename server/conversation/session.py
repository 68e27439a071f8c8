"""One conversation: takes the client's messages, speaks utterances in order of their start, handles interruptions."""

import asyncio
import logging
from collections.abc import Sequence

from intone.server.conversation.context import ServerContext, StreamContext
from intone.server.conversation.cuts import cut_of, shortened
from intone.server.conversation.message_limits import MessageLimits
from intone.server.conversation.outbox import Outbox, QueuedEvent, UtteranceEnd
from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.conversation.speech_activity import SpeechActivity
from intone.server.conversation.text_reader import TextReader
from intone.server.conversation.utterance import Utterance
from intone.server.conversation.utterance_progress import UtteranceState
from intone.server.conversation.utterance_queue import StreamEnd, UtteranceQueue
from intone.server.conversation.utterance_registry import Ended, UtteranceRegistry
from intone.server.errors import CallerError, IntoneError, OverloadError, Reason, ShutdownError
from intone.server.events import (
    AudioChunk,
    ClientEvent,
    Closed,
    Configured,
    Cut,
    Done,
    DoneReason,
    Finish,
    Flush,
    Flushed,
    GoingAway,
    HeardSource,
    Interrupt,
    Interrupted,
    InvalidMessage,
    Notice,
    NoticeCode,
    PlaybackProgress,
    RequestRefused,
    ServerEvent,
    StartUtterance,
    TextInput,
    Usage,
)
from intone.server.settings import StreamSettings

logger = logging.getLogger(__name__)


class Session:
    """A conversation. `receive` takes the client's messages; iterating the session gives what the client is sent.

    Belongs to one event loop and one RPC. The first event is `Configured`, the last one `Closed`.
    """

    def __init__(self, settings: StreamSettings, server: ServerContext, stream_id: str) -> None:
        self.stream_id = stream_id
        self.settings, self._server = settings, server
        live_counts = None if settings.offline else server.audio_counts  # offline audio is not played as it comes
        self._playback = Playback(server.clock, settings.sample_rate_hz, settings.playback_delay_ms, live_counts)
        self._outbox = Outbox(self._playback, LeadLimiter(self._playback, settings.max_lead_ms), server.audio_counts)
        engine = settings.defaults.engine or server.plain_engine
        self.activity = SpeechActivity(server.clock, engine, lambda: self._outbox.unwanted_s)
        self._context = StreamContext(settings, server, self._outbox, self._playback, self.activity)
        self._utterances = UtteranceRegistry(self._playback, server.clock)
        self._end = StreamEnd()
        self._queue = UtteranceQueue(self._context, self._utterances, self._end, self._failed, self._end_text)
        self._active_s = server.clock()  # when the last message was received or sent
        self._request_count = 1  # the config was the first
        self._message_limits = MessageLimits(server.limits)
        self._texts = TextReader(lambda utterance, error: self._end_with_error(utterance, DoneReason.REJECTED, error))
        self._is_over = False
        self.usage = Usage()
        """What was spoken in utterances that have ended."""
        self._closed: Closed | None = None
        self._outbox.put_urgent(Configured(stream_id, settings, server.limits, server.features))
        if settings.timings and "timings" not in server.features:
            self.notify(NoticeCode.FEATURE_UNAVAILABLE, "this server sends no word times: `timings` is ignored")
        self._task = asyncio.create_task(self._speak_all(), name="session")

    @property
    def idle_s(self) -> float:
        """Time since a message was last received or sent, or playback has ended; negative until it ends."""
        now_s = self._server.clock()
        if not self.settings.offline and (silent_in_ms := self._playback.silent_in_ms) > 0:
            self._active_s = now_s + silent_in_ms / 1000
        return now_s - self._active_s

    @property
    def queued(self) -> tuple[int, int, float]:
        """Utterances that have not ended, events that wait to be sent, and milliseconds of audio among them."""
        return len(self._utterances.open()), self._outbox.queued_count, self._outbox.queued_ms

    @property
    def unplayed_s(self) -> float:
        """How long what was sent takes to play from now on."""
        return self._playback.silent_in_ms / 1000

    @property
    def received_count(self) -> int:
        """Messages received, the config included."""
        return self._request_count

    def notify(self, code: NoticeCode, message: str) -> None:
        """Send a notice about the stream."""
        self._outbox.put_urgent(Notice(code, message))

    # ---- from the client

    def receive(self, event: ClientEvent) -> None:
        """Handle one message; errors in it are answered by events. After `fail` it is ignored."""
        if self._is_over:
            return
        self._texts.read_all()
        self._active_s = self._server.clock()
        try:
            self._handle(event)
        except CallerError as error:
            utterance_id = getattr(event, "utterance_id", "")
            self._outbox.put_urgent(RequestRefused(self._request_count, error, utterance_id))
        self._request_count += 1
        self._queue.wake()
        if (failure := self._message_limits.broken(self._outbox.urgent_count)) is not None:
            self.fail(failure)

    async def settle(self) -> None:
        """Wait until the text received has been made into units. `receive` does it at once where it has to."""
        await self._texts.settled()

    def _handle(self, event: ClientEvent) -> None:
        match event:
            case TextInput():
                self._receive_text(event)
            case StartUtterance():
                self._receive_start(event)
            case Flush():
                self._receive_flush(event)
            case Interrupt():
                self._receive_interrupt(event)
            case PlaybackProgress():
                if self._playback.report(event.played):
                    self._outbox.wake()
            case Finish():
                self._end.finishing = True
            case InvalidMessage():
                self._message_limits.malformed_count += event.error.reason is Reason.MESSAGE_MALFORMED
                raise event.error

    def half_close(self) -> None:
        """The client sends no more: open utterances are spoken to the end of their text, then the events end."""
        self._end.half_closed = True
        self._playback.end_reports()
        self._outbox.wake()
        for utterance in self._utterances.open():
            if not utterance.text_ended:
                self._end_text(utterance)
        self._queue.wake()

    def resent(self, chunks: Sequence[AudioChunk]) -> None:
        """The client has resumed the stream and lacks these chunks, the last that were sent."""
        self._active_s = self._server.clock()
        firsts: dict[str, int] = {}
        for chunk in chunks:
            firsts.setdefault(chunk.utterance_id, chunk.offset_samples)
        self._playback.resent(firsts)
        self._outbox.wake()

    def leave(self) -> None:
        """The client ends the stream now: nothing more is spoken or sent but `Closed`."""
        self._task.cancel()
        self._outbox.clear()
        self._outbox.close()

    def drain(self, grace_ms: int) -> None:
        """The server shuts down: finish and play open utterances, start no new one, then end with `ShutdownError`."""
        if not self._end.draining:
            self._end.draining = True
            self._outbox.put_urgent(GoingAway(grace_ms))
            self._queue.wake()

    def fail(self, failure: Exception) -> None:
        """End open utterances and the events at once, with `failure`."""
        self._is_over = True
        if isinstance(failure, IntoneError):
            for utterance in self._utterances.open():
                self._failed(utterance, failure)
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
        """Wait for the next event to send to the client; the last one is `Closed`.

        Raises:
            Exception: given to `fail`; `ShutdownError` after `drain`.
        """
        if self._closed is not None:
            raise self._closed.error or StopAsyncIteration
        try:
            return self._send(await anext(self._outbox))
        except StopAsyncIteration:
            self._closed = Closed(None, self.usage)
        except Exception as failure:  # noqa: BLE001  (raised after `Closed`)
            self._closed = Closed(failure, self.usage)
        return self._closed

    def _send(self, queued: QueuedEvent) -> ServerEvent:
        """An event leaves the server: record it. The end of an utterance becomes `Done`."""
        self._active_s = self._server.clock()
        if isinstance(queued, UtteranceEnd):
            return self._send_end(queued)
        self._message_limits.flush_count -= isinstance(queued, Flushed)
        if isinstance(queued, AudioChunk) and (utterance := self._utterances.get(queued.utterance_id)) is not None:
            utterance.latency.audio_sent(queued)
        return queued

    def _send_end(self, end: UtteranceEnd) -> Done:
        """SPEAKING → SENT. All audio of the utterance has left, so its figures are complete."""
        utterance = self._utterances[end.utterance_id]
        self._utterances.sent(utterance)
        self._queue.wake()
        self._answer_flushes(utterance)  # which arrived after its last unit
        return self._done(utterance, end.reason, end.error)

    def _done(self, utterance: Utterance, reason: DoneReason, error: IntoneError | None = None) -> Done:
        latency = utterance.latency
        usage = latency.usage(utterance.length, utterance.progress)
        self.usage += usage
        return Done(utterance.id, reason, latency.sent_samples, usage, latency.report(), error)

    # ---- utterances

    def _receive_start(self, message: StartUtterance) -> None:
        utterance_id = message.utterance_id
        if self._has_ended(utterance_id):
            return
        utterance = self._utterances.get(utterance_id)
        if utterance is None:
            try:
                self._start_utterance(message)
            except IntoneError as error:
                self._refuse_start(utterance_id, error)
        elif message.fault is not None or utterance.differs_from(message):
            text = "the utterance has started with other settings; these are ignored"
            self._outbox.put_urgent(Notice(NoticeCode.SETTINGS_IGNORED, text, utterance_id))

    def _receive_text(self, message: TextInput) -> None:
        utterance_id = message.utterance_id
        if self._has_ended(utterance_id):
            return
        utterance = self._utterances.get(utterance_id)
        if utterance is None:
            try:
                utterance = self._start_utterance(StartUtterance(utterance_id))
            except IntoneError as error:
                self._refuse_start(utterance_id, error)
                return
        try:
            delta = utterance.unreceived(message, self._server.limits.max_utterance_characters)
            self._utterances.check_length(len(delta), self._server.limits.max_stream_characters)
        except (CallerError, OverloadError) as error:
            if (
                isinstance(error, CallerError) and error.reason is Reason.TEXT_GAP
            ):  # the client can send what is missing
                raise
            self._end_with_error(utterance, _refusal(error), error)
            return
        if not utterance.text_ended:
            self._texts.push(utterance, delta, message.end)
        elif delta:
            self._note_late(utterance_id, "the text of the utterance has ended; text after its end is ignored")

    def _end_text(self, utterance: Utterance) -> None:
        """The text of an utterance ends here, without a message that says so."""
        self._texts.push(utterance, "", end=True)

    def _start_utterance(self, message: StartUtterance) -> Utterance:
        if message.fault is not None:
            raise message.fault
        if self._end.draining:
            raise ShutdownError("the server is shutting down and starts no new utterance: connect again")
        if self._end.finishing:
            text = "starts a new utterance, but `finish` was sent"
            raise CallerError("utterance_id", text, Reason.FINISHING)
        open_count, max_open = len(self._utterances.open()), self._server.limits.max_open_utterances
        if open_count >= max_open:
            text = f"{open_count} utterances of this stream are open; at most {max_open} may be"
            raise OverloadError(text, 1.0, Reason.TOO_MANY_UTTERANCES, max_open)
        utterance = self._server.new_utterance(message, self.settings)
        self._utterances.add(utterance)
        return utterance

    def _refuse_start(self, utterance_id: str, error: IntoneError) -> None:
        self._utterances.note(utterance_id, Ended.ENDED)
        self._outbox.put_urgent(Done(utterance_id, _refusal(error), error=error))

    def _has_ended(self, utterance_id: str) -> bool:
        """Whether the id belongs to an utterance that was sent, stopped or barred; the client is told once."""
        ended = self._utterances.ended.get(utterance_id)
        if ended is Ended.BARRED:
            self._utterances.ended[utterance_id] = Ended.ENDED
            self._outbox.put_urgent(Done(utterance_id, DoneReason.INTERRUPTED))
        elif ended is not None:
            self._note_late(utterance_id, "the utterance has ended; what comes for it is ignored")
        return ended is not None

    def _note_late(self, utterance_id: str, message: str) -> None:
        ended = self._utterances.ended
        if ended.get(utterance_id) is not Ended.NOTED:
            ended[utterance_id] = Ended.NOTED
            self._outbox.put_urgent(Notice(NoticeCode.UTTERANCE_ENDED, message, utterance_id))

    # ---- flush

    def _receive_flush(self, flush: Flush) -> None:
        """Flush one utterance, or all; the answer does not wait for utterances behind one whose text has not ended."""
        self._message_limits.flush_count += 1
        targets = self._utterances.open()
        if flush.utterance_id:
            targets = [utterance for utterance in targets if utterance.id == flush.utterance_id]
        answering: Utterance | None = None
        for utterance in targets:
            if answering is None or answering.text_ended:
                answering = utterance
        for utterance in targets:
            utterance.flush(flush if utterance is answering else None)
        if answering is None:
            self._outbox.put("", Flushed(flush.flush_id))

    def _answer_flushes(self, utterance: Utterance) -> None:
        """Answer the flushes that wait for an utterance that speaks no more."""
        for flush in utterance.take_flushes():
            self._outbox.put("", Flushed(flush.flush_id))

    # ---- interruption

    def _receive_interrupt(self, interrupt: Interrupt) -> None:
        source = HeardSource.EXTRAPOLATED if self._playback.has_reports else HeardSource.ESTIMATED
        reported, positions = self._playback.at_interruption(interrupt.played)
        if reported:
            source = HeardSource.REPORTED
            self._outbox.wake()
        cuts: list[Cut] = []
        for utterance in self._utterances:
            if interrupt.utterance_ids and utterance.id not in interrupt.utterance_ids:
                continue
            heard, unheard = positions.get(utterance.id, (0.0, 0.0))
            if utterance.progress.state is UtteranceState.SENT and unheard < 1:
                self._utterances.heard(utterance)
            else:
                cuts.append(self._cut(utterance, round(heard), source))
        for utterance_id in interrupt.utterance_ids:
            self._utterances.bar(utterance_id)
        self._outbox.put_urgent(Interrupted(interrupt.interrupt_id, shortened(cuts)))

    def _cut(self, utterance: Utterance, heard_samples: int, source: HeardSource) -> Cut:
        """Stop an utterance that was not heard to its end."""
        was_open = utterance.progress.state.is_open
        self._stop(utterance)
        self._playback.drop(utterance.id)
        if was_open:
            self._outbox.put_urgent(self._done(utterance, DoneReason.INTERRUPTED))
        self._answer_flushes(utterance)
        return cut_of(utterance, heard_samples, source)

    def _failed(self, utterance: Utterance, error: IntoneError) -> None:
        self._end_with_error(utterance, DoneReason.FAILED, error)

    def _end_with_error(self, utterance: Utterance, reason: DoneReason, error: IntoneError) -> None:
        """End an open utterance because of an error."""
        if not utterance.progress.state.is_open:
            return
        self._stop(utterance)
        self._outbox.put_urgent(self._done(utterance, reason, error))
        self._answer_flushes(utterance)

    def _stop(self, utterance: Utterance) -> None:
        """Any state → STOPPED: end synthesis and discard what has not left the server."""
        self._utterances.stop(utterance)
        self._queue.stop(utterance)
        self._outbox.discard(utterance.id)
        self._queue.wake()

    async def _speak_all(self) -> None:
        await self._queue.run()
        cut_off = self._end.draining and not (self._end.half_closed or self._end.finishing)
        self._outbox.close(ShutdownError("the server is shutting down: connect again") if cut_off else None)


def _refusal(error: IntoneError) -> DoneReason:
    return DoneReason.REJECTED if isinstance(error, CallerError) else DoneReason.FAILED
