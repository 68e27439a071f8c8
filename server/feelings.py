"""How an utterance sounds, unit by unit: what the client says, else the tags in the text, else what the text suggests.

Knows no engine and no router, only the intensity from which an emotion counts as strong.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from intone.server.domain import Emotion, Unit
from intone.server.emotion.reading import Reading
from intone.server.events import EmotionSource, Feeling

Read = Callable[[str], Awaitable[Reading]]
"""Reads the emotion of a text, soon: speech waits for it."""


@dataclass(frozen=True, slots=True)
class EmotionReaders:
    """Who reads emotions from words.

    Attributes:
        name: of the analyzer: "none", "lexicon" or "qwen".
        read: the emotion that a text to be spoken suggests; None without an analyzer.
        describe: the emotion that a description asks for; exact only where `understands`.
        understands: whether a model reads descriptions, rather than a table of keywords.
    """

    name: str
    read: Read | None
    describe: Read
    understands: bool = False


class Feelings:
    """The emotion of one utterance as it goes on.

    What is read from the text is kept while the text says nothing stronger, so that a mood outlasts the sentence that
    shows it and one reply is not spoken by two engines in turn; a new line begins afresh.
    """

    def __init__(self, given: Feeling | None, readers: EmotionReaders, strong: float) -> None:
        """`given` is what the client said; `strong` is the intensity from which an emotion is strong."""
        self._given, self._readers, self._strong = given, readers, strong
        self._kept = Feeling()
        self._line_ended = True

    async def at(self, unit: Unit) -> Feeling:
        """The emotion of the next unit; units in their order."""
        if self._given is not None:
            if self._given.emotion.description:
                self._given = await self._described(self._given)
            return self._given
        if unit.emotion is not None:
            return Feeling(unit.emotion, EmotionSource.TAG, "an inline tag of the text")
        if self._readers.read is None:
            return Feeling()
        return await self._from_text(unit, self._readers.read)

    async def _from_text(self, unit: Unit, read: Read) -> Feeling:
        reading = await read(unit.words)
        fresh = self._line_ended or self._kept.emotion.intensity < self._strong
        if fresh or reading.emotion.intensity >= self._strong:
            source = EmotionSource.NONE if reading.emotion.calm else EmotionSource.TEXT
            self._kept = Feeling(reading.emotion, source, reading.explanation)
        self._line_ended = unit.text.rstrip(" \t").endswith("\n")
        return self._kept

    async def _described(self, given: Feeling) -> Feeling:
        asked = given.emotion
        reading = await self._readers.describe(asked.description)
        weights = tuple(asked.intensity * weight for weight in reading.emotion.weights)
        emotion = Emotion(weights, asked.intensity * reading.emotion.intensity)
        approximate = not self._readers.understands
        return replace(given, emotion=emotion, explanation=reading.explanation, approximate=approximate)
