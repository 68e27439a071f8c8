"""Speaks one utterance: decides for each unit how it sounds and which engine speaks, and goes on where one fails."""

import logging
from collections.abc import Callable

from intone.server.conversation.context import StreamContext
from intone.server.conversation.emotion_resolver import EmotionResolver
from intone.server.conversation.unit_synthesis import UnitSynthesizer
from intone.server.conversation.utterance import Utterance
from intone.server.domain import EngineInfo, Unit
from intone.server.errors import CallerError, EngineError, Fault, IntoneError
from intone.server.events import (
    Done,
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
from intone.server.text.characters import language_of, speakable

log = logging.getLogger(__name__)


class UtteranceRunner:
    """One utterance being spoken; `run` once. Cancelling the task that runs it stops the engine within one step."""

    def __init__(self, stage: StreamContext, utterance: Utterance, ended: Callable[[], None]) -> None:
        """`ended` is called when `done` leaves the server."""
        self._stage, self._utterance, self._ended = stage, utterance, ended
        services = stage.services
        self._feelings = EmotionResolver(utterance.feeling, services.readers, services.router.emotion_threshold)
        self._voicing = UnitSynthesizer(stage, utterance, self._warn)
        self._route: Route | None = None
        self._feeling = ResolvedEmotion()
        self._warned: set[tuple[WarningCode, str]] = set()
        self._lost: IntoneError | None = None
        self._spoke = False

    async def run(self) -> None:
        """Speak until the text ends."""
        utterance, stage = self._utterance, self._stage
        while True:
            piece = await utterance.take(stage.services.wait_ms, lambda: stage.playback.quiet_in_ms)
            if piece is None:
                break
            if isinstance(piece, Flush):
                stage.outbox.put("", Flushed(piece.flush_id))
            elif piece.speakable:
                feeling = await self._feelings.at(piece)
                spoken = await stage.services.normalize(piece.words, stage.settings.normalize)
                if speakable(spoken):
                    await self._speak(piece, spoken, feeling)
        self._finish()

    def stop(self) -> None:
        """Stop model work at once; whoever runs `run` cancels that."""
        self._voicing.stop()

    def _finish(self) -> None:
        utterance = self._utterance
        reason, error = DoneReason.COMPLETED, self._lost
        if error is not None:
            reason = DoneReason.FAILED
        elif not self._spoke:
            reason = DoneReason.REJECTED
            error = CallerError("text.delta", "there is nothing to speak in it: no letter and no digit")

        def done() -> Done:
            self._ended()
            return Done(utterance.id, reason, utterance.account.report(), error)

        self._stage.outbox.put(utterance.id, done)

    # ---- one unit

    async def _speak(self, unit: Unit, spoken: str, feeling: ResolvedEmotion) -> None:
        """Speak a unit with the engine of its route; where that one fails before it was heard, with the next."""
        self._spoke = True
        tried: set[str] = set()
        while True:
            try:
                route = self._choose(unit, feeling, tried)
                tried.add(route.engine)
                await self._voicing.voice(unit, spoken, feeling.emotion, route.engine)
                return
            except CallerError as error:
                if error.field == "voice" and len(tried) < len(self._stage.services.workers):
                    self._warn(WarningCode.ENGINE_SUBSTITUTED, f"{route.engine} cannot speak: {error.message}")
                    continue
                self._lost = self._placed(error)
                self._warn(
                    WarningCode.TEXT_NOT_SPOKEN, f"characters {unit.start} to {unit.end} were left out: {error.message}"
                )
                return
            except EngineError as error:
                log.warning("utterance %s: unit %d failed: %s", self._utterance.id, unit.index, error)
                heard = self._utterance.unit_audio_ms(unit) > 0
                if heard or len(tried) == len(self._stage.services.workers):
                    self._lost = error
                    words = f"characters {unit.start} to {unit.end} were cut short: {error}"
                    self._warn(WarningCode.ENGINE_FAILED, words)
                    return

    def _placed(self, error: CallerError) -> CallerError:
        """An engine's complaint, under the name that its field has on the wire."""
        if error.field.startswith("emotion."):
            return error.under("text" if self._feeling.source is EmotionSource.UTTERANCE else "config")
        return CallerError(
            "text.delta", error.message, error.fault if error.fault is Fault.TOO_LARGE else Fault.PRECONDITION
        )

    def _choose(self, unit: Unit, feeling: ResolvedEmotion, tried: set[str]) -> Route:
        """Route a unit, and tell the client where that is news."""
        services = self._stage.services
        loaded = [self._candidate(worker, tried) for worker in services.workers.values()]
        language = language_of(unit.words)
        route = services.router.route(loaded, feeling, self._stage.settings.preference, language)
        self._announce(unit, route, feeling)
        for code, words in route.warnings:
            self._warn(code, words)
        if feeling.approximate:
            words = f"no model reads descriptions here, keywords decided ({feeling.explanation})"
            self._warn(WarningCode.EMOTION_APPROXIMATED, words)
        self._check_speed(route.engine)
        if language not in self._info(route.engine).languages:
            words = f"{route.engine} does not speak {language!r}: it leaves out what it cannot read"
            self._warn(WarningCode.TEXT_NOT_SPOKEN, words)
        self._route, self._feeling = route, feeling
        return route

    def _candidate(self, worker: Worker, tried: set[str]) -> Candidate:
        name, whole = worker.info.name, self._stage.settings.buffered
        expected_ms = self._stage.services.forecast.ttfa_ms(name, TYPICAL_CHARACTERS, worker.load, whole)
        return Candidate(worker.info, worker.failing, worker.load, expected_ms, ruled_out=name in tried)

    def _announce(self, unit: Unit, route: Route, feeling: ResolvedEmotion) -> None:
        utterance, before = self._utterance, self._route
        why = (route.engine, route.reason, route.explanation)
        event: ServerEvent
        if before is None:
            event = Started(utterance.id, *why, utterance.voice.name, utterance.seed, feeling)
        elif route.engine != before.engine or feeling.emotion != self._feeling.emotion:
            event = Rerouted(utterance.id, *why, feeling, unit.start, unit.end)
        else:
            return
        self._stage.outbox.put(utterance.id, event)

    def _warn(self, code: WarningCode, words: str) -> None:
        if (code, words) not in self._warned:
            self._warned.add((code, words))
            self._stage.outbox.put(self._utterance.id, Notice(code, words, self._utterance.id))

    def _check_speed(self, engine: str) -> None:
        if self._utterance.options.speed not in (None, 1.0) and not self._info(engine).changes_speed:
            self._warn(WarningCode.SPEED_UNCHANGED, f"{engine} cannot change its pace and speaks at its own")

    def _info(self, engine: str) -> EngineInfo:
        return self._stage.services.workers[engine].info
