"""Voices one unit: the engine's steps, in the voice's loudness, behind a filler or a pause where one is due."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

import numpy as np

from intone.server.audio.encoding import Resampler
from intone.server.conversation.audio_chunker import AudioChunker
from intone.server.conversation.context import StreamContext
from intone.server.conversation.filler_player import FillerPlayer
from intone.server.conversation.pauses import pause_ms
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Emotion, Filler, PreparedVoice, Samples, SpeakRequest, Unit
from intone.server.errors import IntoneError
from intone.server.events import FillerPolicy, WarningCode
from intone.server.runtime.job import Job
from intone.server.runtime.worker import Worker
from intone.server.text.characters import language_of
from intone.server.voices.loudness import matching_gain

Warn = Callable[[WarningCode, str], None]


class UnitSynthesizer:
    """Turns the units of one utterance into audio, one after another."""

    def __init__(self, stage: StreamContext, utterance: Utterance, warn: Warn) -> None:
        """`warn` tells the client something once."""
        self._stage, self._utterance, self._warn = stage, utterance, warn
        self._sender = AudioChunker(stage, utterance)
        self._rest_ms = 0.0  # due before the next unit
        self._said: dict[int, list[str]] = {}  # by unit: the words of the fillers before it
        self._job: Job | None = None
        self._cover: FillerPlayer | None = None

    async def voice(self, unit: Unit, spoken: str, emotion: Emotion, engine: str) -> None:
        """Have an engine speak `spoken`, the normalized text of `unit`.

        Raises:
            CallerError: the engine cannot speak it.
            EngineError: the engine failed.
        """
        services, utterance = self._stage.services, self._utterance
        worker = services.workers[engine]
        request = SpeakRequest(
            spoken,
            unit_seed(utterance.seed, unit.index),
            self._prepared(worker),
            emotion,
            utterance.options,
            whole=self._stage.settings.buffered,
        )
        expected_ms = self._expected_ms(worker, spoken)
        load, submitted_s = worker.load, services.clock()
        job = self._job = worker.submit(request)
        choose = partial(self._choose_filler, unit, emotion)
        cover = self._cover = FillerPlayer(services.cover, self._sender, choose, services.clock)
        waiting = asyncio.create_task(self._wait(cover, expected_ms), name="cover")
        try:
            async for pcm, stage_ms in self._pieces(job, worker, unit):
                if len(pcm) and not cover.over:
                    took_ms = 1000 * (services.clock() - submitted_s)
                    services.forecast.learn(worker.info.name, len(spoken), load, took_ms, request.whole)
                    self._join(cover, unit)
                await self._sender.speech(pcm, unit, engine, stage_ms)
            cover.end()
        except IntoneError:
            cover.end()
            raise
        finally:
            waiting.cancel()
            job.cancel()
            self._account(job)
        utterance.end_unit(unit)
        self._rest_ms = pause_ms(unit.words) * services.pause_scale

    def stop(self) -> None:
        """Have engine and filler stop now, not when the tasks that run them come to know of it."""
        if self._job is not None and self._cover is not None:
            self._job.cancel()
            self._cover.abandon()

    def _expected_ms(self, worker: Worker, spoken: str) -> float | None:
        """How long the first sound will take; for the first unit that is noted for the report, too."""
        account, whole = self._utterance.account, self._stage.settings.buffered
        expected_ms = self._stage.services.forecast.ttfa_ms(worker.info.name, len(spoken), worker.load, whole)
        if account.units == 0:
            account.predicted_ttfa_ms = expected_ms
        return expected_ms

    async def _wait(self, cover: FillerPlayer, expected_ms: float | None) -> None:
        """FillerPlayer the wait for speech, where that is wanted."""
        policy, account = self._stage.settings.filler, self._utterance.account
        first = account.units == 0
        if policy is FillerPolicy.EAGER or (first and policy is FillerPolicy.AUTO):
            now_s = self._stage.services.clock()
            await cover.run(account.ready_s if first and account.ready_s is not None else now_s, expected_ms)

    def _choose_filler(self, unit: Unit, emotion: Emotion, wait_ms: float) -> tuple[Filler, float] | None:
        """A filler for a wait, with its gain, which then counts as said; None for silence."""
        stage, voice = self._stage, self._utterance.voice
        said = self._said.get(unit.index, [])
        if len(said) == stage.services.cover.most:  # an engine failed after them
            return None
        filler = stage.chooser.choose(voice.fillers, emotion.label, language_of(unit.words), wait_ms)
        if filler is None:
            if stage.services.has_fillers:
                words = f"the voice {voice.name!r} has no filler in {language_of(unit.words)!r} yet: the wait is silent"
                self._warn(WarningCode.FILLER_UNAVAILABLE, words)
            return None
        if filler.text in said:
            return None
        self._said[unit.index] = [*said, filler.text]
        self._utterance.account.fillers += 1
        worker = stage.services.workers.get(filler.engine)
        return filler, 1.0 if worker is None else self._gain(worker)

    def _join(self, cover: FillerPlayer, unit: Unit) -> None:
        """Speech is ready: it follows the filler, or the pause that is due after the last unit."""
        account, now_s = self._utterance.account, self._stage.services.clock()
        cover.end()
        if account.covered_ms is None and account.ready_s is not None:
            account.covered_ms = cover.covered_ms(account.ready_s, now_s)
        if unit.index in self._said:  # a filler was heard just now
            silent_ms = max(0.0, 1000 * (now_s - self._sender.quiet_from_s))
            rest_ms = self._stage.services.cover.gap_ms - silent_ms
        else:  # whatever the clock says: the same text and seed give the same audio
            rest_ms = self._rest_ms - self._sender.trailing_silence_ms
        self._sender.silence(max(0.0, rest_ms))
        self._utterance.begin_unit(unit)

    async def _pieces(self, job: Job, worker: Worker, unit: Unit) -> AsyncIterator[tuple[Samples, Mapping[str, float]]]:
        """The job's audio at the stream's rate and in the voice's loudness; in one piece when buffered."""
        settings = self._stage.settings
        resampler = Resampler(worker.info.sample_rate_hz, settings.sample_rate_hz)
        gain = np.float32(self._gain(worker))
        held: list[Samples] = []
        async for step in job:
            self._utterance.account.spent(dict(step.stage_ms))
            if step.cut:
                self._warn(WarningCode.AUDIO_CUT, f"unit {unit.index} ran into its length limit and was cut")
            pcm = resampler.push(step.pcm if step.pcm is not None else np.zeros(0, np.float32), last=step.done)
            held.append(pcm if gain == 1 else pcm * gain)
            if step.done or not settings.buffered:
                yield np.concatenate(held), step.stage_ms
                held.clear()

    def _gain(self, worker: Worker) -> float:
        """What makes an engine as loud as the one for plain talk is in this voice."""
        services = self._stage.services
        if not services.matches_loudness:
            return 1.0
        plain = services.workers[services.plain_engine]
        return matching_gain(
            self._utterance.voice, worker.info.name, worker.fingerprint, plain.info.name, plain.fingerprint
        )

    def _prepared(self, worker: Worker) -> PreparedVoice | None:
        voice = self._utterance.voice
        if voice.built_in:
            return None
        prepared = voice.made_for(worker.info.name, worker.fingerprint)
        if prepared is None:
            words = f"{worker.info.name} does not have the voice {voice.name!r} and speaks with its own"
            self._warn(WarningCode.VOICE_SUBSTITUTED, words)
        return prepared

    def _account(self, job: Job) -> None:
        account = self._utterance.account
        account.synthesis_ms += job.synthesis_ms
        if account.queue_ms is None:
            account.queue_ms = job.queue_ms


def unit_seed(seed: int, index: int) -> int:
    """The seed of one unit: well mixed, so that neighbours share nothing (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)
