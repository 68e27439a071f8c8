"""Who decides an emotion: the client, else a tag, else the text; and how long a mood lasts."""

import asyncio

from intone.server.conversation.emotion_resolver import EmotionResolver
from intone.server.domain import Emotion, Unit
from intone.server.emotion.analyzers import EmotionAnalyzers
from intone.server.emotion.labels import describe
from intone.server.emotion.reading import neutral, reading
from intone.server.events import EmotionSource, ResolvedEmotion

HAPPY = Emotion((1.0, 0, 0, 0, 0, 0, 0, 0), 1.0)


async def read(text):
    """Reads "sad 0.8" and the like."""
    name, _, strength = text.strip().partition(" ")
    return reading({name: float(strength)}, f"says {name}") if strength else neutral("plain")


async def described(text):
    return describe(text)


ANALYZERS = EmotionAnalyzers("test", read, described)


def unit(words, index=0, emotion=None):
    return Unit(index, 0, len(words), words, True, words, emotion)


def emotions_of(*units, given=None, analyzers=ANALYZERS):
    async def main():
        resolver = EmotionResolver(given, analyzers, strong_intensity=0.5)
        return [await resolver.resolve(one) for one in units]

    return asyncio.run(main())


def test_the_order_of_who_decides():
    said = ResolvedEmotion(HAPPY, EmotionSource.STREAM)
    sad_tag = unit("angry 0.9", emotion=Emotion((0, 0, 1.0, 0, 0, 0, 0, 0), 1.0))
    assert emotions_of(sad_tag, given=said) == [said]
    (by_tag,) = emotions_of(sad_tag)
    assert by_tag.source is EmotionSource.TAG and by_tag.emotion.label == "sad"
    (by_text,) = emotions_of(unit("angry 0.9"))
    assert by_text.source is EmotionSource.TEXT and by_text.emotion.label == "angry" and by_text.explanation
    assert emotions_of(unit("plain"))[0].source is EmotionSource.NONE
    assert emotions_of(unit("angry 0.9"), analyzers=EmotionAnalyzers("none", None, described)) == [ResolvedEmotion()]


def test_a_mood_lasts_until_another_or_the_end_of_the_line():
    texts = ["angry 0.9", "plain", "sad 0.3", "sad 0.8", "plain\n", "plain", "happy 0.2", "plain"]
    found = emotions_of(*(unit(text, i) for i, text in enumerate(texts)))
    labels = [resolved.emotion.label for resolved in found]
    assert labels == ["angry", "angry", "angry", "sad", "sad", "neutral", "happy", "neutral"]


def test_a_description_is_read_once_and_said_to_be_a_guess():
    asked = []

    async def counted(text):
        asked.append(text)
        return describe(text)

    given = ResolvedEmotion(Emotion(intensity=0.5, description="very sad"), EmotionSource.UTTERANCE)
    analyzers = EmotionAnalyzers("none", None, counted)
    first, second = emotions_of(unit("one"), unit("two", 1), given=given, analyzers=analyzers)
    assert asked == ["very sad"] and first == second and first.approximate
    assert first.emotion.label == "sad" and 0 < first.emotion.intensity <= 0.5 and first.emotion.description == ""
    exact = emotions_of(unit("one"), given=given, analyzers=EmotionAnalyzers("qwen", None, counted, understands=True))
    assert not exact[0].approximate
