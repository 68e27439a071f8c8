"""Speaks one utterance: chooses emotion and engine of each unit, and another engine if that one fails."""

import asyncio
import logging

from intone.server.conversation.context import StreamContext
from intone.server.conversation.emotion_resolver import EmotionResolver
from intone.server.conversation.outbox import UtteranceEnd
from intone.server.conversation.spoken_unit import SpokenUnit
from intone.server.conversation.tagged_text import TextUnit
from intone.server.conversation.unit_synthesis import UnitSynthesizer
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Emotion, EngineInfo
from intone.server.errors import CallerError, EngineError, IntoneError, Reason, UnsupportedVoiceError
from intone.server.events import (
    DoneReason,
    Flush,
    Flushed,
    Notice,
    NoticeCode,
    Rerouted,
    ResolvedEmotion,
    ServerEvent,
    Started,
)
from intone.server.routing.router import Candidate, Route
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.runtime.worker import Worker
from intone.server.settings import FillerPolicy
from intone.server.spans import current_span
from intone.server.text.characters import is_speakable, languages_of, primary_language
from intone.server.text.cues import join_texts
from intone.server.text.foreign import foreign_language
from intone.server.text.normalizer import WrittenText
from intone.server.text.pronunciation.entries import may_occur
from intone.server.voices.voice_file import DEFAULT_VOICE

logger = logging.getLogger(__name__)

_MAX_CUES_NAMED = 10


class UtteranceRunner:
    """Speaks one utterance; `run` is called once. Cancelling its task stops the engine within one step."""

    def __init__(self, context: StreamContext, utterance: Utterance) -> None:
        self._context, self._utterance = context, utterance
        server = context.server
        self._emotions = EmotionResolver(utterance.given_emotion, server.analyzers, server.router.emotion_threshold)
        self._synthesizer = UnitSynthesizer(context, utterance, self._notify)
        self._language = primary_language(utterance.settings.language)  # empty: detected for each unit
        self._route: Route | None = None  # of the last unit
        self._emotion = ResolvedEmotion()  # of the last unit
        self._notices_sent: set[tuple[NoticeCode, str]] = set()
        self._error: IntoneError | None = None  # because of which some text was not spoken
        self._has_spoken = False

    async def run(self) -> None:
        """Speak unit after unit until the text ends, then queue the end of the utterance."""
        utterance = self._utterance
        with current_span().child("utterance", utterance.started_s, utterance=utterance.id).active() as span:
            await self._speak_all()
            span.set(characters=utterance.length, units=utterance.progress.unit_count, voice=utterance.voice.name)
            if self._error is not None:
                span.end(error=type(self._error).__name__)

    async def _speak_all(self) -> None:
        utterance, context = self._utterance, self._context
        while (item := await self._next_item()) is not None:
            if isinstance(item, Flush):
                self._synthesizer.end_text_wait()
                self._synthesizer.end_chunk()
                context.outbox.put("", Flushed(item.flush_id))
            else:
                ready_s = utterance.progress.ready_s if not utterance.progress.unit_count else None
                span = current_span().child("unit", ready_s, index=item.index, characters=item.end - item.start)
                with span.active():
                    await self._take(item)
        self._synthesizer.end_text_wait()
        if self._has_spoken:
            self._synthesizer.end_pause()
        self._synthesizer.end_chunk()
        self._note_ignored_cues()
        context.outbox.put(utterance.id, self._end())

    def stop(self) -> None:
        """Stop engine and filler at once; the caller then cancels the task of `run`."""
        self._synthesizer.stop()

    async def _next_item(self) -> TextUnit | Flush | None:
        """The next unit or flush; None at the end of the text. A filler covers the wait, if the client wants it."""
        utterance, playback = self._utterance, self._context.playback
        cover_after_ms = utterance.start.cover_after_ms
        if (
            cover_after_ms is not None
            and utterance.settings.filler is not FillerPolicy.OFF
            and utterance.waits_for_text
        ):
            self._synthesizer.end_text_wait()
            given = None if utterance.given_emotion is None else utterance.given_emotion.emotion
            emotion = given if given is not None and any(given.weights) else Emotion()
            self._synthesizer.cover_text_wait(cover_after_ms, emotion)
        return await utterance.next_unit(self._context.server.wait_ms, lambda: playback.silent_in_ms)

    def _end(self) -> UtteranceEnd:
        if self._error is not None:
            return UtteranceEnd(self._utterance.id, DoneReason.FAILED, self._error)
        return UtteranceEnd(self._utterance.id, DoneReason.COMPLETED if self._has_spoken else DoneReason.EMPTY)

    def _note_ignored_cues(self) -> None:
        if names := self._utterance.ignored_cues:
            more = f" and {len(names) - _MAX_CUES_NAMED} more" if len(names) > _MAX_CUES_NAMED else ""
            message = f"not performed and not spoken: {', '.join(names[:_MAX_CUES_NAMED])}{more}"
            self._notify(NoticeCode.CUE_NOT_PERFORMED, message)

    # ---- one unit

    async def _take(self, unit: TextUnit) -> None:
        """Speak a unit, if there is anything in it to speak."""
        if unit.pause_ms is not None:
            self._synthesizer.ask_pause(unit.pause_ms)
        if not unit.speakable:
            return
        self._context.language.update(unit.untagged_text)
        text = current_span().child("text")
        # In two processes: one after the other, both would wait for a processor.
        emotion, spoken = await asyncio.gather(self._emotions.resolve(unit), self._read(unit))
        text.set(characters=len(spoken.text))
        text.end()
        if is_speakable(spoken.text):
            await self._speak(spoken, emotion)

    async def _read(self, unit: TextUnit) -> SpokenUnit:
        """What is spoken for a unit."""
        utterance, context = self._utterance, self._context
        joined = join_texts(unit.pieces)
        written = WrittenText(
            joined.text.text,
            self._language or context.language.code,
            may_occur(joined.text.text, utterance.settings.pronunciations),
            joined.readings,
            utterance.text_format,
            bool(utterance.settings.normalize),
        )
        result = await context.server.normalize(written)
        if result.fault and written.normalize:
            message = f"numbers and symbols are not read out: {result.fault}"
            self._notify(NoticeCode.TEXT_NOT_SPOKEN, message)
        if result.fault and written.has_readings:
            message = f"words are said as they are written: {result.fault}"
            self._notify(NoticeCode.PRONUNCIATION_APPROXIMATED, message)
        return SpokenUnit.of(unit, joined, result.text)

    async def _speak(self, spoken: SpokenUnit, emotion: ResolvedEmotion) -> None:
        """Speak a unit with the engine of its route; if that fails before any audio, with the next engine."""
        unit = spoken.unit
        self._has_spoken = True
        tried: set[str] = set()
        while True:
            try:
                route = self._choose_route(spoken, emotion, tried)
                tried.add(route.engine)
                with self._context.activity.speaking(route.engine):
                    await self._synthesizer.synthesize(spoken, emotion.emotion, route.engine)
                return
            except CallerError as error:
                if isinstance(error, UnsupportedVoiceError) and len(tried) < len(self._context.server.workers):
                    self._notify(NoticeCode.ENGINE_SUBSTITUTED, f"{route.engine} cannot speak: {error.message}")
                    continue
                self._error = self._wire_error(error)
                message = f"characters {unit.start} to {unit.end} were left out: {error.message}"
                self._notify(NoticeCode.TEXT_NOT_SPOKEN, message)
                return
            except EngineError as error:
                logger.warning("utterance %s: unit %d failed: %s", self._utterance.id, unit.index, error)
                if self._utterance.progress.unit_has_audio(spoken) or len(tried) == len(self._context.server.workers):
                    self._error = error
                    message = f"characters {unit.start} to {unit.end} were cut short: {error}"
                    self._notify(NoticeCode.ENGINE_FAILED, message)
                    return

    def _wire_error(self, error: CallerError) -> CallerError:
        """An engine's error with the field's path on the wire in place of the path in `SpeakRequest`."""
        settings = self._utterance.start.settings
        if isinstance(error, UnsupportedVoiceError):
            return error.under("start.settings" if settings.voice else "config.defaults")
        if error.field.startswith("emotion."):
            return error.under("start.settings" if settings.emotion is not None else "config.defaults")
        reason = error.reason if error.reason is Reason.TEXT_TOO_LONG else Reason.TEXT_UNSPEAKABLE
        return CallerError("text.delta", error.message, reason, **error.values)

    def _choose_route(self, spoken: SpokenUnit, emotion: ResolvedEmotion, tried: set[str]) -> Route:
        """Route a unit; send `Started`, `Rerouted` and notices where they are due."""
        server, settings = self._context.server, self._utterance.settings
        candidates = [self._candidate(worker, tried) for worker in server.workers.values()]
        languages = languages_of(spoken.text, self._language)
        live = not self._context.settings.offline
        route = server.router.route(candidates, emotion, settings.engine, languages, avoid_busy=live)
        self._announce(spoken.unit, route, emotion)
        for code, message in route.notices:
            self._notify(code, message)
        if emotion.approximate:
            message = f"no model reads descriptions here, keywords decided ({emotion.explanation})"
            self._notify(NoticeCode.EMOTION_APPROXIMATED, message)
        if settings.speed not in (None, 1.0) and not self._info(route.engine).changes_speed:
            message = f"{route.engine} cannot change its pace and speaks at its own"
            self._notify(NoticeCode.SPEED_UNCHANGED, message)
        for language in languages:
            if language not in self._info(route.engine).languages:
                message = f"{route.engine} does not speak {language!r}: it leaves out what it cannot read"
                self._notify(NoticeCode.TEXT_NOT_SPOKEN, message)
        self._tell_foreign(spoken.unit, route.engine)
        self._route, self._emotion = route, emotion
        return route

    def _tell_foreign(self, unit: TextUnit, engine: str) -> None:
        """Tell once in a stream that a text is in a language that the engine does not speak, unless the client named
        one."""
        found = None if self._language else foreign_language(unit.untagged_text)
        told = self._context.told_languages
        if found is None or found.code in told or found.code in self._info(engine).languages:
            return
        told.add(found.code)
        message = f"this looks like {found.name}, which {engine} does not speak: "
        if found.latin:
            self._notify(NoticeCode.PRONUNCIATION_APPROXIMATED, f"{message}it is read as if it were English")
        else:
            self._notify(NoticeCode.TEXT_NOT_SPOKEN, f"{message}what it cannot read is left out")

    def _candidate(self, worker: Worker, tried: set[str]) -> Candidate:
        name, whole = worker.info.name, self._context.settings.buffered
        expected_ms = self._context.server.forecast.ttfa_ms(name, TYPICAL_CHARACTERS, worker.active, whole)
        return Candidate(
            worker.info,
            worker.failing,
            worker.active,
            expected_ms,
            has_voice=self._has_voice(worker),
            ruled_out=name in tried,
        )

    def _has_voice(self, worker: Worker) -> bool:
        return self._utterance.voice.spoken_by(worker.info.name, worker.fingerprint)

    def _heard_voice(self, engine: str) -> str:
        """The voice that speaks: the built-in one, where the engine does not have the one that was asked for."""
        return self._utterance.voice.name if self._has_voice(self._context.server.workers[engine]) else DEFAULT_VOICE

    def _announce(self, unit: TextUnit, route: Route, emotion: ResolvedEmotion) -> None:
        utterance, before = self._utterance, self._route
        decision = (route.engine, route.reason, route.explanation)
        event: ServerEvent
        if before is None:
            event = Started(utterance.id, *decision, self._heard_voice(route.engine), utterance.seed, emotion)
        elif route.engine != before.engine or emotion.emotion != self._emotion.emotion:
            event = Rerouted(utterance.id, *decision, emotion, unit.start, unit.end)
        else:
            return
        self._context.outbox.put(utterance.id, event)

    def _notify(self, code: NoticeCode, message: str) -> None:
        """Send a notice, unless the same one was sent for this utterance."""
        if (code, message) not in self._notices_sent:
            self._notices_sent.add((code, message))
            self._context.outbox.put(self._utterance.id, Notice(code, message, self._utterance.id))

    def _info(self, engine: str) -> EngineInfo:
        return self._context.server.workers[engine].info
