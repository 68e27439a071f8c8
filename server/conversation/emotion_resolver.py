"""How an utterance sounds, unit by unit: what the client says, else the tags in the text, else what the text suggests.

Knows no engine and no router, only the intensity from which an emotion counts as strong.
"""

from dataclasses import replace

from intone.server.domain import Emotion, Unit
from intone.server.emotion.analyzers import EmotionAnalyzers, Read
from intone.server.events import EmotionSource, ResolvedEmotion


class EmotionResolver:
    """The emotion of one utterance as it goes on.

    What is read from the text is kept while the text says nothing stronger, so that a mood outlasts the sentence that
    shows it and one reply is not spoken by two engines in turn; a new line begins afresh.
    """

    def __init__(self, given: ResolvedEmotion | None, readers: EmotionAnalyzers, strong: float) -> None:
        """`given` is what the client said; `strong` is the intensity from which an emotion is strong."""
        self._given, self._readers, self._strong = given, readers, strong
        self._kept = ResolvedEmotion()
        self._line_ended = True

    async def at(self, unit: Unit) -> ResolvedEmotion:
        """The emotion of the next unit; units in their order."""
        if self._given is not None:
            if self._given.emotion.description:
                self._given = await self._described(self._given)
            return self._given
        if unit.emotion is not None:
            return ResolvedEmotion(unit.emotion, EmotionSource.TAG, "an inline tag of the text")
        if self._readers.read is None:
            return ResolvedEmotion()
        return await self._from_text(unit, self._readers.read)

    async def _from_text(self, unit: Unit, read: Read) -> ResolvedEmotion:
        reading = await read(unit.words)
        fresh = self._line_ended or self._kept.emotion.intensity < self._strong
        if fresh or reading.emotion.intensity >= self._strong:
            source = EmotionSource.NONE if reading.emotion.calm else EmotionSource.TEXT
            self._kept = ResolvedEmotion(reading.emotion, source, reading.explanation)
        self._line_ended = unit.text.rstrip(" \t").endswith("\n")
        return self._kept

    async def _described(self, given: ResolvedEmotion) -> ResolvedEmotion:
        asked = given.emotion
        reading = await self._readers.describe(asked.description)
        weights = tuple(asked.intensity * weight for weight in reading.emotion.weights)
        emotion = Emotion(weights, asked.intensity * reading.emotion.intensity)
        approximate = not self._readers.understands
        return replace(given, emotion=emotion, explanation=reading.explanation, approximate=approximate)
