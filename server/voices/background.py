"""Gives every voice its levels and its fillers, in the background, while nobody speaks. Knows no streams, no gRPC."""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from intone.server.domain import Emotion, Filler, Level, Samples, SpeakRequest, SynthesisOptions, Voice
from intone.server.errors import CallerError, EngineError, ShutdownError
from intone.server.runtime.worker import Worker
from intone.server.voices import fillers
from intone.server.voices.background_plan import Plan, Task, full
from intone.server.voices.filler_phrases import CALIBRATION, GREETING
from intone.server.voices.idle_speech import IdleSpeech, Learner
from intone.server.voices.loudness import loudness_db, matched
from intone.server.voices.store import VoiceStore

log = logging.getLogger(__name__)

SEEDS = (20_011, 20_021)
"""Of everything that is spoken here; the second where the first made nothing that can be used."""

MAX_FILLER_MS = 3000
MAX_SENTENCE_MS = 8000
TOLERANCE_DB = 1.0
"""A filler this near to the loudness that it should have is left as it is."""

_NEUTRAL = Emotion()


class BackgroundRenderer:
    """One task of the event loop: `run`. What it makes is kept after each emotion, so that a restart goes on there.

    Whatever a voice lacks is tried once; an engine that fails is left alone until `voice_added`.
    """

    def __init__(
        self,
        store: VoiceStore,
        workers: Mapping[str, Worker],
        plain_engine: str,
        learner: Learner,
        *,
        measure: bool = True,
        render: bool = True,
    ) -> None:
        """`plain_engine` speaks plain talk, to whose loudness everything is matched; without `measure` voices are given
        no levels, without `render` no fillers."""
        self._store, self._workers, self._measures, self._renders = store, workers, measure, render
        self._plan = Plan(workers, plain_engine)
        self._speech = IdleSpeech(workers, learner)
        self._tried: set[tuple[object, ...]] = set()
        self._failed: set[str] = set()  # engines
        self._wake = asyncio.Event()
        self._settled = asyncio.Event()

    def voice_added(self, name: str) -> None:
        """There is a new voice of this name, or it has other clips."""
        others = {voice.name for voice in self._store.list()} - {name}
        self._tried = {key for key in self._tried if key[0] in others}
        self._failed.clear()
        self._settled.clear()
        self._wake.set()

    async def settled(self) -> None:
        """Until there is nothing left to do."""
        await self._settled.wait()

    def evened(self, voice: Voice) -> Voice:
        """The voice with its fillers evened; itself where they are: a rendered one is as loud as its engine's plain
        talk, so that both are played with the same gain, and a clip of the user's as loud as plain talk."""
        evened = tuple(_evened(filler, self._wanted_db(voice, filler)) for filler in voice.fillers)
        same = all(new is old for new, old in zip(evened, voice.fillers, strict=True))
        return voice if same else dataclasses.replace(voice, fillers=evened)

    async def run(self) -> None:
        """Make each engine known to the learner, then give voices what they lack; until it is cancelled or the engines
        are shut down. A single engine that renders nothing has nothing to be compared with, and is left in peace."""
        if not self._renders and len(self._workers) == 1:
            self._settled.set()
            return
        try:
            for name in self._workers:
                await self._greet(name)
            for voice in self._store.list():
                await self._save(voice, self.evened)  # plain talk may have another engine than last time
            while True:
                task = next(self._tasks(), None)
                if task is not None:
                    await self._do(task)
                else:
                    self._wake.clear()
                    self._settled.set()
                    await self._wake.wait()
        except ShutdownError:
            log.info("voices are given nothing more: the engines are shut down")

    def _tasks(self) -> Iterator[Task]:
        """What voices lack and was not tried yet."""
        steps = [(self._measures, self._plan.level_tasks), (self._renders, self._plan.filler_tasks)]
        lacking = (task for wanted, step in steps if wanted for task in step(self._store.list()))
        return (task for task in lacking if task.engine not in self._failed and task.key not in self._tried)

    async def _greet(self, engine: str) -> None:
        language = self._plan.language(engine)
        if language is None:
            return
        try:
            await self._speak(engine, GREETING[language], None, MAX_FILLER_MS)
        except CallerError as error:  # it has no voice of its own, say
            log.info("%s did not speak its first sentence: %s", engine, error.message)
        except EngineError as error:
            self._failed.add(engine)
            log.warning("%s did not speak its first sentence: %s", engine, error)

    async def _do(self, task: Task) -> None:
        self._tried.add(task.key)
        try:
            if task.emotion is None:
                await self._measure(task)
            else:
                await self._fill(task, task.emotion)
        except CallerError as error:
            log.warning("voice %s: %s cannot speak for it: %s", task.voice.name, task.engine, error.message)
        except EngineError as error:
            self._failed.add(task.engine)
            log.warning("voice %s: %s", task.voice.name, error)

    async def _measure(self, task: Task) -> None:
        """Find the loudness of an engine in a voice, from two sentences together."""
        worker = self._workers[task.engine]
        spoken = [
            (await self._speak(task.engine, sentence, task.voice, MAX_SENTENCE_MS))[0]
            for sentence in CALIBRATION[task.language]
        ]
        found_db = await asyncio.to_thread(loudness_db, np.concatenate(spoken), worker.info.sample_rate_hz)
        if found_db is None:
            log.warning("voice %s: nothing can be heard of %s", task.voice.name, task.engine)
            return
        level = Level(worker.fingerprint, found_db)
        await self._save(
            task.voice,
            lambda voice: self.evened(dataclasses.replace(voice, levels={**voice.levels, task.engine: level})),
        )
        log.info("voice %s: %s speaks at %.1f LUFS", task.voice.name, task.engine, found_db)

    async def _fill(self, task: Task, emotion: str) -> None:
        """Render the fillers of one emotion in one language."""
        made: list[Filler] = []
        for text in self._plan.phrases(task):
            try:
                filler = await self._rendered(task, emotion, text)
            except CallerError as error:
                log.warning("%s refuses a filler of %d characters: %s", task.engine, len(text), error.message)
                continue
            if filler is not None:
                made.append(filler)
        if made:
            await self._save(task.voice, lambda voice: self.evened(with_rendered(voice, made)))
            words = "voice %s: %d fillers, %s, %s, rendered by %s"
            log.info(words, task.voice.name, len(made), task.language, emotion, task.engine)

    async def _rendered(self, task: Task, emotion: str, text: str) -> Filler | None:
        """A filler, as loud as the engine made it; None where none of the seeds gives one."""
        info, fingerprint = self._workers[task.engine].info, self._workers[task.engine].fingerprint
        for seed in SEEDS:
            samples, cut = await self._speak(task.engine, text, task.voice, MAX_FILLER_MS, full(emotion), seed)
            filler = await asyncio.to_thread(
                fillers.make, text, emotion, task.language, samples, info.sample_rate_hz, task.engine, fingerprint
            )
            if filler is not None and not (cut and info.trained):
                return filler
        log.warning("%s makes no filler of %d characters: silent or too long", task.engine, len(text))
        return None

    async def _speak(
        self,
        engine: str,
        text: str,
        voice: Voice | None,
        max_audio_ms: int,
        emotion: Emotion = _NEUTRAL,
        seed: int = SEEDS[0],
    ) -> tuple[Samples, bool]:
        prepared = None if voice is None else voice.prepared_for(engine, self._workers[engine].fingerprint)
        request = SpeakRequest(text, seed, prepared, emotion, SynthesisOptions(max_audio_ms=max_audio_ms))
        return await self._speech.speak(engine, request)

    async def _save(self, voice: Voice, change: Callable[[Voice], Voice]) -> None:
        try:
            await asyncio.to_thread(self._store.outfit, voice, change)
        except OSError as error:
            log.warning("voice %s: its fillers and levels cannot be saved: %s", voice.name, error)

    def _wanted_db(self, voice: Voice, filler: Filler) -> float | None:
        if not filler.engine:
            return self._plan.plain_db(voice)
        level = voice.levels.get(filler.engine)
        return level.loudness_db if level is not None and level.fingerprint == filler.fingerprint else None


def with_rendered(voice: Voice, made: list[Filler]) -> Voice:
    """The voice with new fillers instead of rendered ones that say the same; none where the user has given clips."""
    wanted = [one for one in made if not fillers.own_clips(voice.fillers, one.emotion, one.language)]
    replaced = {(one.text, one.emotion, one.language) for one in wanted}
    kept = [one for one in voice.fillers if not one.engine or (one.text, one.emotion, one.language) not in replaced]
    return dataclasses.replace(voice, fillers=(*kept, *wanted))


def with_clips(voice: Voice, clips: list[Filler]) -> Voice:
    """The voice with the user's clips instead of what was rendered for the same emotion and language, and instead of
    earlier clips that say the same."""
    said = {(clip.text, clip.emotion, clip.language) for clip in clips}
    kept = [
        one
        for one in voice.fillers
        if (one.text, one.emotion, one.language) not in said
        and not (one.engine and fillers.own_clips(clips, one.emotion, one.language))
    ]
    return dataclasses.replace(voice, fillers=(*kept, *clips))


def _evened(filler: Filler, wanted_db: float | None) -> Filler:
    found_db = loudness_db(filler.samples, filler.sample_rate_hz)
    if wanted_db is None or found_db is None or abs(found_db - wanted_db) <= TOLERANCE_DB:
        return filler
    samples = matched(filler.samples, filler.sample_rate_hz, wanted_db)
    return filler if samples is filler.samples else dataclasses.replace(filler, samples=samples)
