"""What voices lack, and which engine provides it. Pure: it neither speaks nor changes anything."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from intone.server.domain import EMOTIONS, Emotion, Level, Voice
from intone.server.runtime.worker import Worker
from intone.server.voices.filler_phrases import CALIBRATION_SENTENCES, EMOTIONS_WITH_PHRASES, PHRASES
from intone.server.voices.fillers import same_language, user_clips
from intone.server.voices.voice_file import DEFAULT_VOICE


@dataclass(frozen=True, slots=True)
class RenderTask:
    """Something a voice lacks: an engine's loudness or, with an emotion, the fillers of that emotion in a language."""

    voice: Voice
    engine: str
    language: str
    emotion: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Identity of the task, whatever fillers the voice has by now."""
        return self.voice.name, self.voice.created_s, self.engine, self.language, self.emotion

    @property
    def rank(self) -> int:
        """Place of its kind among all tasks: loudness, then neutral fillers, then those of each emotion."""
        return -1 if self.emotion is None else EMOTIONS_WITH_PHRASES.index(self.emotion)


_DEFAULT = Voice(DEFAULT_VOICE)


@dataclass(frozen=True, slots=True)
class RenderPlan:
    """What voices lack, and which engine provides it.

    Attributes:
        workers: the loaded engines by name, at least one.
        plain_engine: name of the engine for neutral speech, to whose loudness everything is matched.
    """

    workers: Mapping[str, Worker]
    plain_engine: str

    def plain_loudness_db(self, voice: Voice) -> float | None:
        """Loudness of neutral speech in this voice, where known."""
        level = self._level(self.plain_engine, voice)
        return None if level is None else level.loudness_db

    def language(self, engine: str) -> str | None:
        """A language of the engine for which there are calibration sentences."""
        return next((language for language in CALIBRATION_SENTENCES if self._supports(engine, language)), None)

    def loudness_tasks(self, voices: Iterable[Voice]) -> Iterator[RenderTask]:
        """The missing measurements; in each voice that of the plain engine first."""
        for voice in voices:
            if voice.engine:
                continue  # it has the levels of the default voice
            for name in sorted(self.workers, key=lambda name: name != self.plain_engine):
                language = self.language(name)
                if language and self._level(name, voice) is None and self._has_voice(name, voice):
                    yield RenderTask(voice, name, language)

    def filler_tasks(self, voices: Iterable[Voice]) -> Iterator[RenderTask]:
        """The missing fillers; the neutral ones of every voice first."""
        listed = list(voices)
        for emotion in EMOTIONS_WITH_PHRASES:
            for voice in listed:
                for language in PHRASES:
                    engine = self._filler_engine(voice, emotion, language)
                    if engine is None or (voice.engine and engine == self._filler_engine(_DEFAULT, emotion, language)):
                        continue  # the built-in voice of an engine has those that it renders for the default voice
                    task = RenderTask(voice, engine, language, emotion)
                    if self.missing_phrases(task):
                        yield task

    def missing_phrases(self, task: RenderTask) -> list[str]:
        """The texts that a filler task has to render; none where the user provided clips."""
        assert task.emotion is not None
        if user_clips(task.voice.fillers, task.emotion, task.language):
            return []
        wanted = (task.engine, self.workers[task.engine].fingerprint, task.emotion, task.language)
        rendered = {
            one.text for one in task.voice.fillers if (one.engine, one.fingerprint, one.emotion, one.language) == wanted
        }
        return [text for text in PHRASES[task.language][task.emotion] if text not in rendered]

    def _filler_engine(self, voice: Voice, emotion: str, language: str) -> str | None:
        """The engine that renders fillers: for an emotion one that voices it, else the plain one, else any that can.

        Untrained engines are left out: noise is not a filler.
        """
        trained = [name for name, worker in self.workers.items() if worker.info.trained]
        able = [name for name in trained if self._has_voice(name, voice) and self._supports(name, language)]
        if emotion != "neutral":
            able = [name for name in able if self.workers[name].info.voices_emotion] or able
        return self.plain_engine if self.plain_engine in able else next(iter(able), None)

    def _level(self, engine: str, voice: Voice) -> Level | None:
        """The loudness of an engine in a voice, if it was measured with the engine's current weights."""
        level = voice.levels.get(engine)
        return level if level is not None and level.fingerprint == self.workers[engine].fingerprint else None

    def _has_voice(self, engine: str, voice: Voice) -> bool:
        return voice.spoken_by(engine, self.workers[engine].fingerprint)

    def _supports(self, engine: str, language: str) -> bool:
        return any(same_language(language, known) for known in self.workers[engine].info.languages)


def full_weight(emotion: str) -> Emotion:
    """The named emotion at full weight and intensity."""
    if emotion == "neutral":
        return Emotion()
    return Emotion(tuple(float(name == emotion) for name in EMOTIONS), 1.0)
