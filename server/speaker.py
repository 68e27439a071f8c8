"""Speaks one utterance: unit after unit through the engine of its route, into the outbox as encoded chunks."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from intone.server.audio import Encoder, Resampler, is_audible, slices
from intone.server.domain import EngineInfo, PreparedVoice, Samples, SpeakRequest, Step, Unit
from intone.server.errors import CallerError, EngineError, Fault, IntoneError
from intone.server.events import (
    Audio,
    AudioKind,
    Done,
    DoneReason,
    Feeling,
    Flush,
    Flushed,
    Notice,
    Started,
    StreamSettings,
    WarningCode,
)
from intone.server.job import Job
from intone.server.outbox import Outbox
from intone.server.pacing import Playback
from intone.server.router import Candidate, Route
from intone.server.services import Services
from intone.server.text import has_cjk, speakable
from intone.server.utterance import Utterance
from intone.server.worker import Worker

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stage:
    """What all utterances of a stream are spoken with."""

    settings: StreamSettings
    services: Services
    outbox: Outbox
    playback: Playback


class Speaker:
    """One utterance being spoken; `run` once. Cancelling the task that runs it stops the engine within one step."""

    def __init__(self, stage: Stage, utterance: Utterance, ended: Callable[[], None]) -> None:
        """`ended` is called when `done` leaves the server."""
        self._stage, self._utterance, self._ended = stage, utterance, ended
        self._encoder = Encoder(stage.settings.encoding)
        self._resampler: Resampler | None = None
        self._route: Route | None = None
        self._warned: set[tuple[WarningCode, str]] = set()
        self._sequence = 0
        self._offset_samples = 0
        self._lost: IntoneError | None = None
        self._spoke = False

    async def run(self) -> None:
        """Speak until the text ends."""
        utterance, stage = self._utterance, self._stage
        while True:
            piece = await utterance.take(stage.services.wait_ms, lambda: stage.playback.lead_ms)
            if piece is None:
                break
            if isinstance(piece, Flush):
                stage.outbox.put("", Flushed(piece.flush_id))
            elif piece.speakable:
                spoken = await stage.services.normalize(piece.text, stage.settings.normalize)
                if speakable(spoken):
                    await self._speak(piece, spoken)
        self._finish()

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

    async def _speak(self, unit: Unit, spoken: str) -> None:
        """Speak a unit with the engine of its route; where that one fails before it was heard, with the next."""
        self._spoke = True
        tried: set[str] = set()
        while True:
            try:
                route = self._choose(unit, tried)
                if route.engine in tried:
                    raise EngineError(route.engine, "no other engine is left to speak")
                tried.add(route.engine)
                await self._run_job(unit, spoken, route.engine)
                return
            except CallerError as error:
                if error.field == "voice" and len(tried) < len(self._stage.services.workers):
                    self._warn(WarningCode.ENGINE_SUBSTITUTED, f"{route.engine} cannot speak: {error.words}")
                    continue
                self._lost = CallerError("text.delta", error.words, Fault.PRECONDITION)
                self._warn(
                    WarningCode.TEXT_NOT_SPOKEN, f"characters {unit.start} to {unit.end} were left out: {error.words}"
                )
                return
            except EngineError as error:
                log.warning("utterance %s: unit %d failed: %s", self._utterance.id, unit.index, error)
                if not self._heard_nothing(unit) or len(tried) == len(self._stage.services.workers):
                    self._lost = error
                    words = f"characters {unit.start} to {unit.end} were cut short: {error}"
                    self._warn(WarningCode.ENGINE_FAILED, words)
                    return

    def _choose(self, unit: Unit, tried: set[str]) -> Route:
        """Route a unit, and tell the client where that is news."""
        workers = self._stage.services.workers.values()
        loaded = [Candidate(worker.info, worker.failing or worker.info.name in tried) for worker in workers]
        language = "zh" if has_cjk(unit.text) else "en"
        utterance = self._utterance
        route = self._stage.services.router.route(loaded, utterance.emotion, self._stage.settings.preference, language)
        if self._route is None:
            self._announce(route)
        for code, words in route.warnings:
            self._warn(code, words)
        if self._route is not None and route.engine != self._route.engine:
            self._warn(WarningCode.ENGINE_SUBSTITUTED, route.explanation)
        self._check_speed(route.engine)
        if language not in self._info(route.engine).languages:
            words = f"{route.engine} does not speak {language!r}: it leaves out what it cannot read"
            self._warn(WarningCode.TEXT_NOT_SPOKEN, words)
        self._route = route
        return route

    def _announce(self, route: Route) -> None:
        utterance = self._utterance
        self._stage.outbox.put(
            utterance.id,
            Started(
                utterance.id,
                route.engine,
                route.reason,
                route.explanation,
                utterance.voice.name,
                utterance.seed,
                Feeling(utterance.emotion),
            ),
        )

    def _warn(self, code: WarningCode, words: str) -> None:
        if (code, words) not in self._warned:
            self._warned.add((code, words))
            self._stage.outbox.put(self._utterance.id, Notice(code, words, self._utterance.id))

    def _check_speed(self, engine: str) -> None:
        if self._utterance.options.speed not in (None, 1.0) and not self._info(engine).changes_speed:
            self._warn(WarningCode.SPEED_UNCHANGED, f"{engine} cannot change its pace and speaks at its own")

    def _info(self, engine: str) -> EngineInfo:
        return self._stage.services.workers[engine].info

    def _prepared(self, worker: Worker) -> PreparedVoice | None:
        voice = self._utterance.voice
        if voice.built_in:
            return None
        prepared = voice.made_for(worker.info.name, worker.fingerprint)
        if prepared is not None:
            return prepared
        words = f"{worker.info.name} does not have the voice {voice.name!r} and speaks with its own"
        self._warn(WarningCode.VOICE_SUBSTITUTED, words)
        return None

    async def _run_job(self, unit: Unit, spoken: str, engine: str) -> None:
        worker, utterance = self._stage.services.workers[engine], self._utterance
        request = SpeakRequest(
            spoken,
            unit_seed(utterance.seed, unit.index),
            self._prepared(worker),
            utterance.emotion,
            utterance.options,
            whole=self._stage.settings.buffered,
        )
        self._resampler = Resampler(worker.info.sample_rate_hz, self._stage.settings.sample_rate_hz)
        utterance.begin_unit(unit)
        job = worker.submit(request)
        try:
            await self._drain(job, unit, engine)
        finally:
            job.cancel()
            self._account(job)
        utterance.end_unit()

    def _account(self, job: Job) -> None:
        account = self._utterance.account
        account.synthesis_ms += job.synthesis_ms
        if account.queue_ms is None:
            account.queue_ms = job.queue_ms

    async def _drain(self, job: Job, unit: Unit, engine: str) -> None:
        """Turn steps into chunks; when buffered, all at the end."""
        held: list[Samples] = []
        async for step in job:
            self._utterance.account.spent(dict(step.stage_ms))
            pcm = self._resample(step)
            if step.cut:
                self._warn(WarningCode.AUDIO_CUT, f"unit {unit.index} ran into its length limit and was cut")
            if self._stage.settings.buffered:
                held.append(pcm)
                if not step.done:
                    continue
                pcm = np.concatenate(held)
            await self._send(pcm, unit, engine, step)

    def _resample(self, step: Step) -> Samples:
        assert self._resampler is not None
        pcm = step.pcm if step.pcm is not None else np.zeros(0, np.float32)
        return self._resampler.push(pcm, last=step.done)

    async def _send(self, pcm: Samples, unit: Unit, engine: str, step: Step) -> None:
        rate_hz = self._stage.settings.sample_rate_hz
        stage_ms = step.stage_ms
        for piece in slices(pcm, max(1, round(rate_hz * self._stage.services.chunk_ms / 1000))):
            await self._stage.outbox.room()
            duration_ms = 1000 * len(piece) / rate_hz
            self._utterance.grow_unit(duration_ms)
            chunk = Audio(
                utterance_id=self._utterance.id,
                sequence=self._sequence,
                offset_samples=self._offset_samples,
                kind=AudioKind.SPEECH,
                data=self._encoder.encode(piece),
                duration_ms=duration_ms,
                engine=engine,
                start=unit.start,
                end=unit.end,
                audible=is_audible(piece),
                stage_ms=stage_ms,
            )
            self._stage.outbox.put(self._utterance.id, chunk)
            self._sequence += 1
            self._offset_samples += len(piece)
            stage_ms = {}

    def _heard_nothing(self, unit: Unit) -> bool:
        return self._utterance.unit_audio_ms(unit) == 0.0


def unit_seed(seed: int, index: int) -> int:
    """The seed of one unit: well mixed, so that neighbours share nothing (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)
