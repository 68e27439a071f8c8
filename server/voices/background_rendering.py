"""Render the fillers of every voice, and measure each engine's loudness in it, while the engines are idle.

`BackgroundRenderer` works through the tasks of a `RenderPlan` and saves the results; `IdleSynthesizer` lets live speech
preempt this work.
"""

import asyncio
import dataclasses
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from intone.server.audio.encoding import is_audible
from intone.server.domain import Emotion, Filler, Level, Samples, SpeakRequest, SynthesisOptions, Voice
from intone.server.errors import CallerError, EngineError, OverloadError, ShutdownError, StorageError
from intone.server.runtime.thread_pools import ThreadPools
from intone.server.runtime.worker import Worker
from intone.server.voices.filler_phrases import CALIBRATION_SENTENCES, FIRST_SENTENCE
from intone.server.voices.fillers import make_filler, with_rendered
from intone.server.voices.loudness import loudness_db, match_loudness
from intone.server.voices.render_plan import RenderPlan, RenderTask, full_weight
from intone.server.voices.store import VoiceStore

logger = logging.getLogger(__name__)

SEEDS = (20_011, 20_021)
"""Fixed, so that a server always renders the same; the second is used where the first gives no usable filler."""

MAX_FILLER_MS = 3000
MAX_SENTENCE_MS = 8000
LOUDNESS_TOLERANCE_DB = 1.0
"""Fillers within this distance of the wanted loudness are not changed."""

IDLE_POLL_S = 0.05
"""How often a busy server is checked for being idle."""


# ---- synthesis while idle -------------------------------------------------------------------------------------------


class TTFALearner(Protocol):
    """The forecast of an engine's time to first audio."""

    def learn(self, engine: str, characters: int, load: int, ttfa_ms: float) -> None:
        """A unit of `characters`, submitted while `load` other units were spoken, took `ttfa_ms` to first audio."""


class IdleSynthesizer:
    """Synthesizes one text at a time, only while no engine has live speech.

    Live speech preempts it within one step of the engine, and the text is synthesized again later.
    """

    def __init__(self, workers: Mapping[str, Worker], forecast: TTFALearner) -> None:
        """`forecast` learns each text's time to first audio."""
        self._workers, self._forecast = workers, forecast

    async def synthesize(self, engine: str, request: SpeakRequest) -> tuple[Samples, bool]:
        """The audio of a request, `[T]` at the engine's rate, and whether its length limit cut it.

        Raises:
            CallerError: the engine cannot speak the text.
            EngineError: the engine failed.
            ShutdownError: the engine was shut down.
        """
        while True:
            while self._is_live(own=0):  # noqa: ASYNC110 - engines' threads end units without an event
                await asyncio.sleep(IDLE_POLL_S)
            finished = await self._attempt(engine, request)
            if finished is not None:
                return finished

    async def _attempt(self, engine: str, request: SpeakRequest) -> tuple[Samples, bool] | None:
        """As `synthesize`; None if it was preempted."""
        pieces, cut, audible = [np.zeros(0, np.float32)], False, False
        started_s = time.monotonic()
        job = self._workers[engine].submit(request)
        try:
            async for step in job:
                if not step.done and self._is_live(own=1):
                    return None
                cut = cut or step.cut
                if step.pcm is None:
                    continue
                pieces.append(step.pcm)
                if not audible and is_audible(step.pcm):
                    audible = True
                    self._forecast.learn(engine, len(request.text), 0, 1000 * (time.monotonic() - started_s))
        finally:
            job.cancel()
        return np.concatenate(pieces), cut

    def _is_live(self, own: int) -> bool:
        """Whether any engine has more units than `own`. All engines count, because they share the machine."""
        return sum(worker.load for worker in self._workers.values()) > own


class BackgroundRenderer:
    """Provides voices with what they lack: run `run` as a task of the event loop.

    Results are saved after each emotion, so a restarted server continues there. Every task is tried once, and an engine
    that fails is not used again, until `voice_added`.
    """

    def __init__(
        self,
        store: VoiceStore,
        workers: Mapping[str, Worker],
        plain_engine: str,
        forecast: TTFALearner,
        pools: ThreadPools,
        *,
        measure: bool = True,
        render: bool = True,
    ) -> None:
        """Set up without starting.

        Args:
            store: the voices.
            workers: the loaded engines by name.
            plain_engine: name of the engine for neutral speech, to whose loudness everything is matched.
            forecast: learns the time to first audio of each engine.
            pools: threads for what takes long.
            measure: whether to measure loudness.
            render: whether to render fillers.
        """
        self._store, self._workers, self._measures, self._renders = store, workers, measure, render
        self._pools = pools
        self._plan = RenderPlan(workers, plain_engine)
        self._synthesizer = IdleSynthesizer(workers, forecast)
        self._tried: set[tuple[object, ...]] = set()
        self._failed_engines: set[str] = set()
        self._rendered_counts: Counter[str] = Counter()  # by voice, since they were last logged
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    def voice_added(self, name: str) -> None:
        """A voice of this name was added, or has other clips: try again what it lacks, and engines that failed."""
        others = {voice.name for voice in self._store.list()} - {name}
        self._tried = {key for key in self._tried if key[0] in others}
        self._failed_engines.clear()
        self._idle.clear()
        self._wake.set()

    async def wait_idle(self) -> None:
        """Wait until there is nothing left to do."""
        await self._idle.wait()

    def loudness_matched(self, voice: Voice) -> Voice:
        """The voice with all fillers at the right loudness; the same object where they are already.

        A rendered filler is as loud as its engine's neutral speech, so that the gain of the engine applies to both. A
        user's clip is as loud as the plain engine.
        """
        matched = tuple(_loudness_matched(filler, self._wanted_db(voice, filler)) for filler in voice.fillers)
        same = all(new is old for new, old in zip(matched, voice.fillers, strict=True))
        return voice if same else dataclasses.replace(voice, fillers=matched)

    async def run(self) -> None:
        """Have every engine speak once for the forecast, then provide voices with what they lack.

        Runs until it is cancelled or the engines are shut down. With one engine and no fillers there is nothing to do.
        """
        if not self._renders and len(self._workers) == 1:
            self._idle.set()
            return
        try:
            for name in self._workers:
                await self._speak_first_sentence(name)
            for voice in self._store.list():
                await self._save(voice, self.loudness_matched)  # the plain engine may be another than in the last run
            while True:
                self._wake.clear()
                for task in await self._tasks():
                    if self._wake.is_set():  # there is a new voice, whose neutral fillers come first
                        break
                    await self._do(task)
                else:
                    self._log_rendered()
                    self._idle.set()
                    await self._wake.wait()
        except ShutdownError:
            logger.info("background rendering ends: the engines are shut down")

    def _log_rendered(self) -> None:
        for name, count in self._rendered_counts.items():
            logger.info("voice %s: %d fillers are rendered", name, count)
        self._rendered_counts.clear()

    async def _tasks(self) -> list[RenderTask]:
        """What voices lack and was not tried yet, in the order of `RenderTask.rank`. Other work goes on meanwhile."""
        found: list[RenderTask] = []
        for voice in self._store.list():
            found += self._plan.loudness_tasks([voice]) if self._measures else ()
            found += self._plan.filler_tasks([voice]) if self._renders else ()
            await asyncio.sleep(0)
        return sorted((task for task in found if task.key not in self._tried), key=lambda task: task.rank)

    async def _speak_first_sentence(self, engine: str) -> None:
        language = self._plan.language(engine)
        if language is None:
            return
        try:
            await self._synthesize(engine, FIRST_SENTENCE[language], None, MAX_FILLER_MS)
        except CallerError as error:  # for instance, the engine has no voice of its own
            logger.info("%s did not speak its first sentence: %s", engine, error.message)
        except EngineError as error:
            self._failed_engines.add(engine)
            logger.warning("%s did not speak its first sentence: %s", engine, error)

    async def _do(self, task: RenderTask) -> None:
        if task.engine in self._failed_engines or not self._store.has(task.voice):
            return
        self._tried.add(task.key)
        try:
            if task.emotion is None:
                await self._measure(task)
            else:
                await self._render(task, task.emotion)
        except CallerError as error:
            logger.warning("voice %s: %s cannot speak with it: %s", task.voice.name, task.engine, error.message)
        except EngineError as error:
            self._failed_engines.add(task.engine)
            logger.warning("voice %s: %s", task.voice.name, error)

    async def _measure(self, task: RenderTask) -> None:
        """Measure the loudness of an engine in a voice, over all calibration sentences together."""
        worker = self._workers[task.engine]
        spoken = [
            (await self._synthesize(task.engine, sentence, task.voice, MAX_SENTENCE_MS))[0]
            for sentence in CALIBRATION_SENTENCES[task.language]
        ]
        measured_db = await self._pools.decoding.run(loudness_db, np.concatenate(spoken), worker.info.sample_rate_hz)
        if measured_db is None:
            logger.warning("voice %s: the calibration sentences are silent with %s", task.voice.name, task.engine)
            return
        level = Level(worker.fingerprint, measured_db)
        await self._save(
            task.voice,
            lambda voice: self.loudness_matched(
                dataclasses.replace(voice, levels={**voice.levels, task.engine: level})
            ),
        )
        logger.info("voice %s: the loudness of %s is %.1f LUFS", task.voice.name, task.engine, measured_db)

    async def _render(self, task: RenderTask, emotion: str) -> None:
        """Render the missing fillers of one emotion in one language."""
        rendered: list[Filler] = []
        for text in self._plan.missing_phrases(task):
            try:
                filler = await self._rendered(task, emotion, text)
            except CallerError as error:
                logger.warning("%s refuses a filler of %d characters: %s", task.engine, len(text), error.message)
                continue
            if filler is not None:
                rendered.append(filler)
        if rendered:
            await self._save(task.voice, lambda voice: self.loudness_matched(with_rendered(voice, rendered)))
            message = "voice %s: rendered %d fillers, %s, %s, with %s"
            logger.debug(message, task.voice.name, len(rendered), task.language, emotion, task.engine)
            self._rendered_counts[task.voice.name] += len(rendered)

    async def _rendered(self, task: RenderTask, emotion: str, text: str) -> Filler | None:
        """A filler at the engine's own loudness; None if no seed gives a usable one."""
        info, fingerprint = self._workers[task.engine].info, self._workers[task.engine].fingerprint
        for seed in SEEDS:
            samples, cut = await self._synthesize(
                task.engine, text, task.voice, MAX_FILLER_MS, full_weight(emotion), seed
            )
            filler = await self._pools.decoding.run(
                make_filler, text, emotion, task.language, samples, info.sample_rate_hz, task.engine, fingerprint
            )
            if filler is not None and not (cut and info.trained):
                return filler
        logger.warning("%s renders no filler of %d characters: silent or too long", task.engine, len(text))
        return None

    async def _synthesize(
        self,
        engine: str,
        text: str,
        voice: Voice | None,
        max_audio_ms: int,
        emotion: Emotion | None = None,
        seed: int = SEEDS[0],
    ) -> tuple[Samples, bool]:
        prepared = None if voice is None else voice.prepared_for(engine, self._workers[engine].fingerprint)
        options = SynthesisOptions(parameters={"max_audio_ms": max_audio_ms})
        request = SpeakRequest(text, seed, prepared, emotion or Emotion(), options)
        return await self._synthesizer.synthesize(engine, request)

    async def _save(self, voice: Voice, change: Callable[[Voice], Voice]) -> None:
        try:
            await self._pools.disk.run(self._store.update_assets, voice, change)
        except (CallerError, OverloadError, StorageError) as error:
            logger.warning("voice %s: its fillers and loudness cannot be saved: %s", voice.name, error)

    def _wanted_db(self, voice: Voice, filler: Filler) -> float | None:
        if not filler.engine:
            return self._plan.plain_loudness_db(voice)
        level = voice.levels.get(filler.engine)
        return level.loudness_db if level is not None and level.fingerprint == filler.fingerprint else None


def _loudness_matched(filler: Filler, wanted_db: float | None) -> Filler:
    measured_db = loudness_db(filler.samples, filler.sample_rate_hz)
    if wanted_db is None or measured_db is None or abs(measured_db - wanted_db) <= LOUDNESS_TOLERANCE_DB:
        return filler
    samples = match_loudness(filler.samples, filler.sample_rate_hz, wanted_db)
    return filler if samples is filler.samples else dataclasses.replace(filler, samples=samples)
