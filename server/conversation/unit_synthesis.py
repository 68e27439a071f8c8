"""Synthesizes units with an engine and sends their audio, at matched loudness, after a filler or a pause."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial

import numpy as np

from intone.server.audio.encoding import Resampler
from intone.server.conversation.audio_chunker import AudioChunker
from intone.server.conversation.context import StreamContext
from intone.server.conversation.filler_player import FillerPlayer
from intone.server.conversation.pauses import pause_ms
from intone.server.conversation.spoken_unit import SpokenUnit
from intone.server.conversation.tagged_text import TextUnit
from intone.server.conversation.unit_trace import UnitTrace
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Emotion, Filler, PreparedVoice, Samples, SpeakRequest, SynthesisOptions
from intone.server.errors import IntoneError
from intone.server.events import NoticeCode
from intone.server.runtime.worker import Job, Worker
from intone.server.settings import FillerPolicy
from intone.server.spans import NO_SPAN, current_span
from intone.server.text.characters import detect_language, primary_language
from intone.server.voices.loudness import matching_gain

logger = logging.getLogger(__name__)

Notify = Callable[[NoticeCode, str], None]

HEAD_START_S = 1.0
"""An answer in a conversation goes before the first words of streams that were opened up to so much earlier: many that
come at once must not make those late that are talking."""


class UnitSynthesizer:
    """Synthesizes the units of one utterance, one after another."""

    def __init__(self, context: StreamContext, utterance: Utterance, notify: Notify) -> None:
        """`notify` sends a notice to the client, each one once."""
        self._context, self._utterance, self._notify = context, utterance, notify
        self._chunker = AudioChunker(context, utterance)
        self._pause_ms = 0.0  # before the next unit, by punctuation
        self._asked_pause_ms: float | None = None  # in its place, by cues
        self._filler_texts: dict[int, list[str]] = {}  # by unit index: fillers played before it
        self._job: Job | None = None
        self._filler_player: FillerPlayer | None = None
        self._text_wait: asyncio.Task[None] | None = None  # plays fillers until there is text
        self._text_wait_fillers: list[str] = []

    def cover_text_wait(self, after_ms: float, emotion: Emotion) -> None:
        """Play fillers after so much silence, until `synthesize` or `end_text_wait`."""
        server, voice = self._context.server, self._utterance.voice
        language = self._language() or (voice.fillers[0].language if voice.fillers else "en")
        choose = partial(self._choose_filler, self._text_wait_fillers, language, emotion)
        player = self._filler_player = FillerPlayer(server.filler, self._chunker, choose, server.clock)
        waiting = player.run(self._utterance.started_s, None, after_ms)
        self._text_wait = asyncio.create_task(waiting, name="fillers")

    def end_text_wait(self) -> None:
        """No speech follows the wait for text: let the current filler end, and play no other."""
        if self._text_wait is not None and self._filler_player is not None:
            self._filler_player.finish()
            self._text_wait.cancel()
            self._text_wait = None
        self._text_wait_fillers = []

    def end_chunk(self) -> None:
        """Send audio that waits for a chunk of exact length to be full."""
        self._chunker.end_chunk()

    def ask_pause(self, duration_ms: float) -> None:
        """A cue asks for a pause before the next unit, in place of the one by punctuation. Pauses add up."""
        self._asked_pause_ms = (self._asked_pause_ms or 0.0) + duration_ms

    def end_pause(self) -> None:
        """No unit follows: send the pause that cues ask for at the end of the text."""
        if self._asked_pause_ms is not None:
            self._chunker.silence(max(0.0, self._asked_pause_ms - self._chunker.trailing_silence_ms))
            self._asked_pause_ms = None

    async def synthesize(self, spoken: SpokenUnit, emotion: Emotion, engine: str) -> None:
        """Send the audio of a unit, spoken by `engine`.

        Raises:
            CallerError: the engine cannot speak it.
            EngineError: the engine failed.
        """
        server, utterance, unit = self._context.server, self._utterance, spoken.unit
        worker = server.workers[engine]
        text, warnings = spoken.for_engine(worker.info)
        for warning in warnings:
            self._notify(NoticeCode.PRONUNCIATION_APPROXIMATED, warning)
        request = SpeakRequest(
            text,
            unit_seed(utterance.seed, unit.index),
            self._prepared_voice(worker),
            server.with_clip(emotion) if worker.info.voices_emotion else emotion,
            SynthesisOptions(utterance.settings.speed, utterance.settings.engine_parameters),
            whole=self._context.settings.buffered,
        )
        expected_ms = self._predict_ttfa_ms(worker, spoken.text)
        load, submitted_s = worker.active, server.clock()
        job = self._job = worker.submit(request, self._slack_s())
        trace = UnitTrace(current_span(), job, engine)
        player, text_wait = self._player_for(unit, emotion)
        playing = asyncio.create_task(self._play_fillers(player, expected_ms, text_wait), name="fillers")
        try:
            async for pcm, stage_ms in self._engine_audio(job, worker, unit, trace):
                if len(pcm) and not player.ended:
                    took_ms = 1000 * (server.clock() - submitted_s)
                    if not utterance.settings.engine_parameters:  # others would wait as long only with the same ones
                        server.forecast.learn(worker.info.name, len(spoken.text), load, took_ms, request.whole)
                    self._start_speech(player, spoken)
                await self._chunker.speech(pcm, unit, engine, stage_ms)
            player.finish()
        except IntoneError:
            player.finish()
            raise
        finally:
            playing.cancel()
            job.cancel()
            trace.end()
            server.audio_counts.unsent_s += job.unread_samples / worker.info.sample_rate_hz
            utterance.latency.engine_finished(job.synthesis_ms, job.queue_ms)
        utterance.progress.complete_unit(spoken)
        told = "utterance %s: unit %d, %d characters by %s: waited %.0f ms, expected first sound %s ms, steps %.0f ms"
        expected = "?" if expected_ms is None else round(expected_ms)
        waited_ms = job.queue_ms or 0.0
        logger.debug(told, utterance.id, unit.index, len(text), engine, waited_ms, expected, job.synthesis_ms)
        self._pause_ms = pause_ms(unit.untagged_text) * server.pause_scale

    def stop(self) -> None:
        """Stop engine and filler now; cancelling their tasks alone takes effect only when these run next."""
        if self._job is not None:
            self._job.cancel()
        if self._filler_player is not None:
            self._filler_player.abort()
        if self._text_wait is not None:
            self._text_wait.cancel()

    def _slack_s(self) -> float:
        """How long the next unit may take: what the listener still has to hear, less the head start."""
        context = self._context
        heard_s = max(0.0, self._chunker.silent_from_s - context.server.clock())
        return heard_s - (HEAD_START_S if context.activity.has_spoken else 0.0)

    def _predict_ttfa_ms(self, worker: Worker, text: str) -> float | None:
        """Predicted time to the first sound; for the first unit it goes into the report."""
        whole = self._context.settings.buffered
        expected_ms = self._context.server.forecast.ttfa_ms(worker.info.name, len(text), worker.active, whole)
        if self._utterance.progress.unit_count == 0:
            self._utterance.latency.ttfa_predicted(expected_ms)
        return expected_ms

    def _player_for(self, unit: TextUnit, emotion: Emotion) -> tuple[FillerPlayer, "asyncio.Task[None] | None"]:
        """The player of fillers before a unit; the one that covered the wait for its text plays on, in its task."""
        server, text_wait = self._context.server, self._text_wait
        played = self._filler_texts.setdefault(unit.index, [])
        if text_wait is not None and self._filler_player is not None:
            self._filler_player.hold()
            played += self._text_wait_fillers
            self._text_wait, self._text_wait_fillers = None, []
            return self._filler_player, text_wait
        language = self._language() or detect_language(unit.untagged_text)
        choose = partial(self._choose_filler, played, language, emotion)
        self._filler_player = FillerPlayer(server.filler, self._chunker, choose, server.clock)
        return self._filler_player, None

    def _language(self) -> str:
        """Of the utterance, else of the conversation so far; empty if unknown."""
        return primary_language(self._utterance.settings.language) or self._context.language.code

    async def _play_fillers(
        self, player: FillerPlayer, expected_ms: float | None, text_wait: "asyncio.Task[None] | None"
    ) -> None:
        """Play fillers if the policy asks for them: AUTO before the first unit, EAGER before every unit."""
        if text_wait is not None:
            try:
                await text_wait
            finally:
                text_wait.cancel()
        policy, progress = self._utterance.settings.filler, self._utterance.progress
        is_first = progress.unit_count == 0
        if policy is FillerPolicy.EAGER or (is_first and policy is FillerPolicy.AUTO):
            now_s = self._context.server.clock()
            since_s = progress.ready_s if is_first and progress.ready_s is not None else now_s
            await player.run(since_s, expected_ms)

    def _choose_filler(
        self, played: list[str], language: str, emotion: Emotion, wait_ms: float
    ) -> tuple[Filler, float] | None:
        """A filler for a wait, with its gain; None to stay silent. It is added to the texts `played` in this wait."""
        server, voice = self._context.server, self._utterance.voice
        if len(played) == server.filler.max_in_a_row:  # played before an engine failed at this unit
            return None
        filler = self._context.filler_chooser.choose(voice.fillers, emotion.label, language, wait_ms)
        if filler is None:
            if server.has_fillers:
                message = f"the voice {voice.name!r} has no filler in {language!r} yet: the wait is silent"
                self._notify(NoticeCode.FILLER_UNAVAILABLE, message)
            return None
        if filler.text in played:
            return None
        played.append(filler.text)
        worker = server.workers.get(filler.engine)
        return filler, 1.0 if worker is None else self._gain(worker)

    def _start_speech(self, player: FillerPlayer, spoken: SpokenUnit) -> None:
        """The unit's first audio is ready: end the filler, add the gap after it or the pause after the last unit."""
        progress, now_s = self._utterance.progress, self._context.server.clock()
        player.finish()
        if progress.unit_count == 0 and self._utterance.latency.first_chunk is NO_SPAN:
            self._utterance.latency.first_chunk = current_span().child("first chunk")
        if progress.ready_s is not None:
            self._utterance.latency.wait_covered(player.covered_ms(progress.ready_s, now_s))
        if self._filler_texts.get(spoken.unit.index):
            silent_ms = max(0.0, 1000 * (now_s - self._chunker.silent_from_s))
            silence_ms = self._context.server.filler.gap_ms - silent_ms
        else:  # independent of the clock: the same text and seed give the same audio
            pause_ms = self._pause_ms if self._asked_pause_ms is None else self._asked_pause_ms
            silence_ms = pause_ms - self._chunker.trailing_silence_ms
        self._asked_pause_ms = None
        self._chunker.silence(max(0.0, silence_ms))
        progress.start_unit(spoken)

    async def _engine_audio(
        self, job: Job, worker: Worker, unit: TextUnit, trace: UnitTrace
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
            trace.stepped(step)
            if step.cut:
                self._notify(NoticeCode.AUDIO_CUT, f"unit {unit.index} ran into its length limit and was cut")
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
        """The utterance's voice for this engine; None, with a notice, if the engine has not prepared it."""
        voice = self._utterance.voice
        if not voice.spoken_by(worker.info.name, worker.fingerprint):
            message = f"{worker.info.name} does not have the voice {voice.name!r} and speaks with its own"
            self._notify(NoticeCode.VOICE_SUBSTITUTED, message)
        return voice.prepared_for(worker.info.name, worker.fingerprint)


def unit_seed(seed: int, index: int) -> int:
    """The seed of one unit, statistically independent of its neighbours' (splitmix64, Steele et al. 2014)."""
    mask = (1 << 64) - 1
    mixed = (seed + (index + 1) * 0x9E3779B97F4A7C15) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)
