"""Speaks one utterance: chooses emotion and engine of each unit, and another engine if that one fails."""

import logging

from intone.server.conversation.context import StreamContext
from intone.server.conversation.emotion_resolver import EmotionResolver
from intone.server.conversation.outbox import UtteranceEnd
from intone.server.conversation.unit_synthesis import UnitSynthesizer
from intone.server.conversation.utterance import Utterance
from intone.server.domain import EngineInfo, Unit
from intone.server.errors import CallerError, EngineError, Fault, IntoneError, UnsupportedVoiceError
from intone.server.events import (
    DoneReason,
    EmotionSource,
    Flush,
    Flushed,
    Notice,
    Rerouted,
    ResolvedEmotion,
    ServerEvent,
    Started,
    WarningCode,
)
from intone.server.routing.router import Candidate, Route
from intone.server.routing.ttfa_forecast import TYPICAL_CHARACTERS
from intone.server.runtime.worker import Worker
from intone.server.text.characters import detect_language, is_speakable

logger = logging.getLogger(__name__)


class UtteranceRunner:
    """Speaks one utterance; `run` is called once. Cancelling its task stops the engine within one step."""

    def __init__(self, context: StreamContext, utterance: Utterance) -> None:
        self._context, self._utterance = context, utterance
        server = context.server
        self._emotions = EmotionResolver(utterance.given_emotion, server.analyzers, server.router.emotion_threshold)
        self._synthesizer = UnitSynthesizer(context, utterance, self._warn)
        self._route: Route | None = None  # of the last unit
        self._emotion = ResolvedEmotion()  # of the last unit
        self._warnings_sent: set[tuple[WarningCode, str]] = set()
        self._error: IntoneError | None = None  # because of which some text was not spoken
        self._has_spoken = False

    async def run(self) -> None:
        """Speak unit after unit until the text ends, then queue the end of the utterance."""
        utterance, context = self._utterance, self._context
        while True:
            item = await utterance.next_unit(context.server.wait_ms, lambda: context.playback.silent_in_ms)
            if item is None:
                break
            if isinstance(item, Flush):
                context.outbox.put("", Flushed(item.flush_id))
            elif item.speakable:
                emotion = await self._emotions.resolve(item)
                context.language.update(item.untagged_text)
                normalized = await context.server.normalize(
                    item.untagged_text, context.settings.normalize, context.language.code
                )
                if is_speakable(normalized):
                    await self._speak(item, normalized, emotion)
        context.outbox.put(utterance.id, self._end())

    def stop(self) -> None:
        """Stop engine and filler at once; the caller then cancels the task of `run`."""
        self._synthesizer.stop()

    def _end(self) -> UtteranceEnd:
        if self._error is not None:
            return UtteranceEnd(self._utterance.id, DoneReason.FAILED, self._error)
        if not self._has_spoken:
            error = CallerError("text.delta", "there is nothing to speak in it: no letter and no digit")
            return UtteranceEnd(self._utterance.id, DoneReason.REJECTED, error)
        return UtteranceEnd(self._utterance.id, DoneReason.COMPLETED)

    # ---- one unit

    async def _speak(self, unit: Unit, normalized: str, emotion: ResolvedEmotion) -> None:
        """Speak a unit with the engine of its route; if that fails before any audio, with the next engine."""
        self._has_spoken = True
        tried: set[str] = set()
        while True:
            try:
                route = self._choose_route(unit, normalized, emotion, tried)
                tried.add(route.engine)
                await self._synthesizer.synthesize(unit, normalized, emotion.emotion, route.engine)
                return
            except CallerError as error:
                if isinstance(error, UnsupportedVoiceError) and len(tried) < len(self._context.server.workers):
                    self._warn(WarningCode.ENGINE_SUBSTITUTED, f"{route.engine} cannot speak: {error.message}")
                    continue
                self._error = self._wire_error(error)
                message = f"characters {unit.start} to {unit.end} were left out: {error.message}"
                self._warn(WarningCode.TEXT_NOT_SPOKEN, message)
                return
            except EngineError as error:
                logger.warning("utterance %s: unit %d failed: %s", self._utterance.id, unit.index, error)
                if self._utterance.progress.unit_has_audio(unit) or len(tried) == len(self._context.server.workers):
                    self._error = error
                    message = f"characters {unit.start} to {unit.end} were cut short: {error}"
                    self._warn(WarningCode.ENGINE_FAILED, message)
                    return

    def _wire_error(self, error: CallerError) -> CallerError:
        """An engine's error with the field's path on the wire in place of the path in `SpeakRequest`."""
        if error.field.startswith("emotion."):
            return error.under("text" if self._emotion.source is EmotionSource.UTTERANCE else "config")
        fault = error.fault if error.fault is Fault.TOO_LARGE else Fault.PRECONDITION
        return CallerError("text.delta", error.message, fault)

    def _choose_route(self, unit: Unit, normalized: str, emotion: ResolvedEmotion, tried: set[str]) -> Route:
        """Route a unit; send `Started`, `Rerouted` and warnings where they are due."""
        server = self._context.server
        candidates = [self._candidate(worker, tried) for worker in server.workers.values()]
        language = detect_language(normalized)
        route = server.router.route(candidates, emotion, self._context.settings.engine, language)
        self._announce(unit, route, emotion)
        for code, message in route.warnings:
            self._warn(code, message)
        if emotion.approximate:
            message = f"no model reads descriptions here, keywords decided ({emotion.explanation})"
            self._warn(WarningCode.EMOTION_APPROXIMATED, message)
        self._check_speed(route.engine)
        if language not in self._info(route.engine).languages:
            message = f"{route.engine} does not speak {language!r}: it leaves out what it cannot read"
            self._warn(WarningCode.TEXT_NOT_SPOKEN, message)
        self._route, self._emotion = route, emotion
        return route

    def _candidate(self, worker: Worker, tried: set[str]) -> Candidate:
        name, whole = worker.info.name, self._context.settings.buffered
        expected_ms = self._context.server.forecast.ttfa_ms(name, TYPICAL_CHARACTERS, worker.load, whole)
        return Candidate(worker.info, worker.failing, worker.load, expected_ms, ruled_out=name in tried)

    def _announce(self, unit: Unit, route: Route, emotion: ResolvedEmotion) -> None:
        utterance, before = self._utterance, self._route
        decision = (route.engine, route.reason, route.explanation)
        event: ServerEvent
        if before is None:
            event = Started(utterance.id, *decision, utterance.voice.name, utterance.seed, emotion)
        elif route.engine != before.engine or emotion.emotion != self._emotion.emotion:
            event = Rerouted(utterance.id, *decision, emotion, unit.start, unit.end)
        else:
            return
        self._context.outbox.put(utterance.id, event)

    def _warn(self, code: WarningCode, message: str) -> None:
        """Send a warning, unless the same one was sent for this utterance."""
        if (code, message) not in self._warnings_sent:
            self._warnings_sent.add((code, message))
            self._context.outbox.put(self._utterance.id, Notice(code, message, self._utterance.id))

    def _check_speed(self, engine: str) -> None:
        if self._utterance.options.speed not in (None, 1.0) and not self._info(engine).changes_speed:
            self._warn(WarningCode.SPEED_UNCHANGED, f"{engine} cannot change its pace and speaks at its own")

    def _info(self, engine: str) -> EngineInfo:
        return self._context.server.workers[engine].info
