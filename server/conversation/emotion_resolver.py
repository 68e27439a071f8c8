"""Decides the emotion of each unit: what the client set, else inline tags, else an analyzer's result for the text."""

from dataclasses import replace

from intone.server.conversation.tagged_text import TextUnit
from intone.server.domain import Emotion
from intone.server.emotion.analyzers import AnalyzeEmotion, EmotionAnalyzers
from intone.server.events import EmotionSource, ResolvedEmotion
from intone.server.text.boundaries import ends_sentence


class EmotionResolver:
    """The emotions of one utterance's units, in order.

    A strong emotion found in the text lasts until another strong one or the end of its sentence, so that a sentence of
    several units is not split between two engines. A tag lasts longer: see `TaggedText`.
    """

    def __init__(self, given: ResolvedEmotion | None, analyzers: EmotionAnalyzers, strong_intensity: float) -> None:
        """An emotion is strong from `strong_intensity` on. `given` is set by the client."""
        self._given, self._analyzers, self._strong_intensity = given, analyzers, strong_intensity
        self._from_text = ResolvedEmotion()  # of the last unit
        self._sentence_ended = True

    async def resolve(self, unit: TextUnit) -> ResolvedEmotion:
        """The emotion of the next unit."""
        if self._given is not None:
            if self._given.emotion.description:
                self._given = await self._interpret(self._given)
            return self._given
        if unit.emotion is not None:
            return ResolvedEmotion(unit.emotion, EmotionSource.TAG, "an inline tag of the text")
        if self._analyzers.analyze_text is None:
            return ResolvedEmotion()
        return await self._analyze(unit, self._analyzers.analyze_text)

    async def _analyze(self, unit: TextUnit, analyze: AnalyzeEmotion) -> ResolvedEmotion:
        estimate = await analyze(unit.untagged_text)
        replaceable = self._sentence_ended or self._from_text.emotion.intensity < self._strong_intensity
        if replaceable or estimate.emotion.intensity >= self._strong_intensity:
            source = EmotionSource.NONE if estimate.emotion.is_plain else EmotionSource.TEXT
            self._from_text = ResolvedEmotion(estimate.emotion, source, estimate.explanation)
        self._sentence_ended = ends_sentence(unit.text)
        return self._from_text

    async def _interpret(self, given: ResolvedEmotion) -> ResolvedEmotion:
        """Weights in place of the description, scaled by the intensity that the client asked for."""
        intensity = given.emotion.intensity
        estimate = await self._analyzers.analyze_description(given.emotion.description)
        weights = tuple(intensity * weight for weight in estimate.emotion.weights)
        emotion = Emotion(weights, intensity * estimate.emotion.intensity)
        approximate = not self._analyzers.descriptions_by_model
        return replace(given, emotion=emotion, explanation=estimate.explanation, approximate=approximate)
