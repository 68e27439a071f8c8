"""What voices lack, and which engine gives it to them. Pure: it speaks nothing and changes nothing."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from intone.server.domain import EMOTIONS, Emotion, Level, Voice
from intone.server.runtime.worker import Worker
from intone.server.voices.filler_phrases import CALIBRATION, FEELINGS, PHRASES
from intone.server.voices.fillers import own_clips, same_language


@dataclass(frozen=True, slots=True)
class Task:
    """Something that a voice lacks: the level of an engine, or, with an emotion, the fillers of it in a language."""

    voice: Voice
    engine: str
    language: str
    emotion: str | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """The same for the same task later, when the voice has other fillers."""
        return self.voice.name, self.voice.created_s, self.engine, self.language, self.emotion


@dataclass(frozen=True, slots=True)
class Plan:
    """Who may speak in which voice.

    Attributes:
        workers: the loaded engines, at least one.
        plain_engine: the one among them that speaks plain talk, to whose loudness everything is matched.
    """

    workers: Mapping[str, Worker]
    plain_engine: str

    def plain_db(self, voice: Voice) -> float | None:
        """How loud plain talk is in this voice, where it is known."""
        level = self._level(self.plain_engine, voice)
        return None if level is None else level.loudness_db

    def language(self, engine: str) -> str | None:
        """A language that the engine speaks and that there are sentences in."""
        return next((language for language in CALIBRATION if self._speaks(engine, language)), None)

    def level_tasks(self, voices: Iterable[Voice]) -> Iterator[Task]:
        """The levels that are missing; that of plain talk first."""
        for voice in voices:
            for name in sorted(self.workers, key=lambda name: name != self.plain_engine):
                language = self.language(name)
                if language and self._level(name, voice) is None and self._has(name, voice):
                    yield Task(voice, name, language)

    def filler_tasks(self, voices: Iterable[Voice]) -> Iterator[Task]:
        """The fillers that are missing; the neutral ones of every voice first."""
        listed = list(voices)
        for emotion in FEELINGS:
            for voice in listed:
                for language in PHRASES:
                    engine = self._renderer(voice, emotion, language)
                    if engine is None:
                        continue
                    task = Task(voice, engine, language, emotion)
                    if self.phrases(task):
                        yield task

    def phrases(self, task: Task) -> list[str]:
        """The texts that a filler task is to render: those that are not there, none where the user gave clips."""
        assert task.emotion is not None
        if own_clips(task.voice.fillers, task.emotion, task.language):
            return []
        wanted = (task.engine, self.workers[task.engine].fingerprint, task.emotion, task.language)
        there = {
            one.text for one in task.voice.fillers if (one.engine, one.fingerprint, one.emotion, one.language) == wanted
        }
        return [text for text in PHRASES[task.language][task.emotion] if text not in there]

    def _renderer(self, voice: Voice, emotion: str, language: str) -> str | None:
        """For an emotion an engine that voices it, else that of plain talk, else any that can.

        None that was never trained: noise is no interjection.
        """
        trained = [name for name, worker in self.workers.items() if worker.info.trained]
        able = [name for name in trained if self._has(name, voice) and self._speaks(name, language)]
        if emotion != "neutral":
            able = [name for name in able if self.workers[name].info.voices_emotion] or able
        return self.plain_engine if self.plain_engine in able else next(iter(able), None)

    def _level(self, engine: str, voice: Voice) -> Level | None:
        """What is known of an engine's loudness in a voice, with the weights that it has now."""
        level = voice.levels.get(engine)
        return level if level is not None and level.fingerprint == self.workers[engine].fingerprint else None

    def _has(self, engine: str, voice: Voice) -> bool:
        return voice.built_in or voice.prepared_for(engine, self.workers[engine].fingerprint) is not None

    def _speaks(self, engine: str, language: str) -> bool:
        return any(same_language(language, known) for known in self.workers[engine].info.languages)


def full(emotion: str) -> Emotion:
    """An emotion by its name, at full weight."""
    if emotion == "neutral":
        return Emotion()
    return Emotion(tuple(float(name == emotion) for name in EMOTIONS), 1.0)
