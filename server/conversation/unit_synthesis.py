"""Synthesizes units with an engine and sends their audio, at matched loudness, after a filler or a pause."""

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
from intone.server.runtime.worker import Job, Worker
from intone.server.text.characters import detect_language
from intone.server.voices.loudness import matching_gain

Warn = Callable[[WarningCode, str], None]


class UnitSynthesizer:
    """Synthesizes the units of one utterance, one after another."""

    def __init__(self, context: StreamContext, utterance: Utterance, warn: Warn) -> None:
        """`warn` sends a warning to the client, each one once."""
        self._context, self._utterance, self._warn = context, utterance, warn
        self._chunker = AudioChunker(context, utterance)
        self._pause_ms = 0.0  # before the next unit
        self._filler_texts: dict[int, list[str]] = {}  # by unit index: fillers played before it
        self._job: Job | None = None
        self._filler_player: FillerPlayer | None = None

    async def synthesize(self, unit: Unit, normalized: str, emotion: Emotion, engine: str) -> None:
        """Send the audio of `unit`, whose normalized text is `normalized`, spoken by `engine`.

        Raises:
            CallerError: the engine cannot speak it.
            EngineError: the engine failed.
        """
        server, utterance = self._context.server, self._utterance
        worker = server.workers[engine]
        request = SpeakRequest(
            normalized,
            unit_seed(utterance.seed, unit.index),
            self._prepared_voice(worker),
            emotion,
            utterance.options,
            whole=self._context.settings.buffered,
        )
        expected_ms = self._predict_ttfa_ms(worker, normalized)
        load, submitted_s = worker.load, server.clock()
        job = self._job = worker.submit(request)
        choose = partial(self._choose_filler, unit, emotion)
        player = self._filler_player = FillerPlayer(server.filler, self._chunker, choose, server.clock)
        playing = asyncio.create_task(self._play_fillers(player, expected_ms), name="fillers")
        try:
            async for pcm, stage_ms in self._engine_audio(job, worker, unit):
                if len(pcm) and not player.ended:
                    took_ms = 1000 * (server.clock() - submitted_s)
                    server.forecast.learn(worker.info.name, len(normalized), load, took_ms, request.whole)
                    self._start_speech(player, unit)
                await self._chunker.speech(pcm, unit, engine, stage_ms)
            player.finish()
        except IntoneError:
            player.finish()
            raise
        finally:
            playing.cancel()
            job.cancel()
            utterance.latency.engine_finished(job.synthesis_ms, job.queue_ms)
        utterance.progress.complete_unit(unit)
        self._pause_ms = pause_ms(unit.untagged_text) * server.pause_scale

    def stop(self) -> None:
        """Stop engine and filler now; cancelling their tasks alone takes effect only when these run next."""
        if self._job is not None and self._filler_player is not None:
            self._job.cancel()
            self._filler_player.abort()

    def _predict_ttfa_ms(self, worker: Worker, normalized: str) -> float | None:
        """Predicted time to the first sound; for the first unit it goes into the report."""
        whole = self._context.settings.buffered
        expected_ms = self._context.server.forecast.ttfa_ms(worker.info.name, len(normalized), worker.load, whole)
        if self._utterance.progress.unit_count == 0:
            self._utterance.latency.ttfa_predicted(expected_ms)
        return expected_ms

    async def _play_fillers(self, player: FillerPlayer, expected_ms: float | None) -> None:
        """Play fillers if the policy asks for them: AUTO before the first unit, EAGER before every unit."""
        policy, progress = self._context.settings.filler, self._utterance.progress
        is_first = progress.unit_count == 0
        if policy is FillerPolicy.EAGER or (is_first and policy is FillerPolicy.AUTO):
            now_s = self._context.server.clock()
            since_s = progress.ready_s if is_first and progress.ready_s is not None else now_s
            await player.run(since_s, expected_ms)

    def _choose_filler(self, unit: Unit, emotion: Emotion, wait_ms: float) -> tuple[Filler, float] | None:
        """A filler for a wait, with its gain; None to stay silent. The filler counts as played."""
        server, voice = self._context.server, self._utterance.voice
        played = self._filler_texts.get(unit.index, [])
        if len(played) == server.filler.max_in_a_row:  # played before an engine failed at this unit
            return None
        language = detect_language(unit.untagged_text)
        filler = self._context.filler_chooser.choose(voice.fillers, emotion.label, language, wait_ms)
        if filler is None:
            if server.has_fillers:
                message = f"the voice {voice.name!r} has no filler in {language!r} yet: the wait is silent"
                self._warn(WarningCode.FILLER_UNAVAILABLE, message)
            return None
        if filler.text in played:
            return None
        self._filler_texts[unit.index] = [*played, filler.text]
        self._utterance.latency.filler_started()
        worker = server.workers.get(filler.engine)
        return filler, 1.0 if worker is None else self._gain(worker)

    def _start_speech(self, player: FillerPlayer, unit: Unit) -> None:
        """The unit's first audio is ready: end the filler, add the gap after it or the pause after the last unit."""
        progress, now_s = self._utterance.progress, self._context.server.clock()
        player.finish()
        if progress.ready_s is not None:
            self._utterance.latency.wait_covered(player.covered_ms(progress.ready_s, now_s))
        if unit.index in self._filler_texts:
            silent_ms = max(0.0, 1000 * (now_s - self._chunker.silent_from_s))
            silence_ms = self._context.server.filler.gap_ms - silent_ms
        else:  # independent of the clock: the same text and seed give the same audio
            silence_ms = self._pause_ms - self._chunker.trailing_silence_ms
        self._chunker.silence(max(0.0, silence_ms))
        progress.start_unit(unit)

    async def _engine_audio(
        self, job: Job, worker: Worker, unit: Unit
    ) -> AsyncIterator[tuple[Samples, Mapping[str, float]]]:
        """The engine's audio `[T]` at the stream's rate and matched loudness, and each step's time by stage.

        A buffered stream gets it in one piece.
        """
        settings = self._context.settings
        resampler = Resampler(worker.info.sample_rate_hz, settings.sample_rate_hz)
        gain = np.float32(self._gain(worker))
        held: list[Samples] = []
        async for step in job:
            self._utterance.latency.engine_stepped(step.stage_ms)
            if step.cut:
                self._warn(WarningCode.AUDIO_CUT, f"unit {unit.index} ran into its length limit and was cut")
            pcm = resampler.push(step.pcm if step.pcm is not None else np.zeros(0, np.float32), last=step.done)
            held.append(pcm if gain == 1 else pcm * gain)
            if step.done or not settings.buffered:
                yield np.concatenate(held), step.stage_ms
                held.clear()

    def _gain(self, worker: Worker) -> float:
        """Gain that makes the engine as loud as the plain engine in the utterance's voice."""
        server = self._context.server
        if not server.match_loudness:
            return 1.0
        plain = server.workers[server.plain_engine]
        return matching_gain(
            self._utterance.voice, worker.info.name, worker.fingerprint, plain.info.name, plain.fingerprint
        )

    def _prepared_voice(self, worker: Worker) -> PreparedVoice | None:
        """The utterance's voice for this engine; None, with a warning, if the engine has not prepared it."""
        voice = self._utterance.voice
        if voice.built_in:
            return None
        prepared = voice.prepared_for(worker.info.name, worker.fingerprint)
        if prepared is None:
            message = f"{worker.info.name} does not have the voice {voice.name!r} and speaks with its own"
            self._warn(WarningCode.VOICE_SUBSTITUTED, message)
        return prepared


def unit_seed(seed: int, index: int) -> int:
    """The seed of one unit, statistically independent of its neighbours' (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)
