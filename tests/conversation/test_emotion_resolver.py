"""Emotion of a unit: set by the client, else by a tag, else found in the text; and how long it lasts."""

import asyncio

import pytest

from intone.server.conversation.emotion_resolver import EmotionResolver
from intone.server.conversation.tagged_text import TaggedText, TextUnit
from intone.server.domain import Emotion
from intone.server.emotion.analyzers import EmotionAnalyzers, load_emotion_analyzers
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.labels import parse_description
from intone.server.emotion.lexicon import Lexicon
from intone.server.events import EmotionSource, ResolvedEmotion
from intone.server.text.boundaries import ends_sentence
from intone.server.text.cues import TextPiece
from intone.server.text.segmenter import Segmenter

HAPPY = Emotion((1.0, 0, 0, 0, 0, 0, 0, 0), 1.0)


async def read(text):
    """Analyzes texts such as "sad 0.8"."""
    name, _, strength = text.strip().partition(" ")
    if not strength:
        return EmotionEstimate.neutral("plain")
    return EmotionEstimate.from_strengths({name: float(strength)}, f"says {name}")


async def described(text):
    return parse_description(text)


ANALYZERS = EmotionAnalyzers("test", read, described)


def unit(text, index=0, emotion=None):
    return TextUnit(index, 0, len(text), text, True, (TextPiece(text, 0, len(text)),), emotion)


def emotions_of(*units, given=None, analyzers=ANALYZERS):
    async def main():
        resolver = EmotionResolver(given, analyzers, strong_intensity=0.5)
        return [await resolver.resolve(one) for one in units]

    return asyncio.run(main())


def test_the_client_comes_before_tags_and_tags_before_the_text():
    given = ResolvedEmotion(HAPPY, EmotionSource.STREAM)
    sad_tag = unit("angry 0.9", emotion=Emotion((0, 0, 1.0, 0, 0, 0, 0, 0), 1.0))
    assert emotions_of(sad_tag, given=given) == [given]
    (by_tag,) = emotions_of(sad_tag)
    assert by_tag.source is EmotionSource.TAG and by_tag.emotion.label == "sad"
    (by_text,) = emotions_of(unit("angry 0.9"))
    assert by_text.source is EmotionSource.TEXT and by_text.emotion.label == "angry" and by_text.explanation
    assert emotions_of(unit("plain"))[0].source is EmotionSource.NONE
    assert emotions_of(unit("angry 0.9"), analyzers=EmotionAnalyzers("none", None, described)) == [ResolvedEmotion()]


def test_a_strong_emotion_lasts_until_another_one_or_the_end_of_the_sentence():
    texts = ["angry 0.9", "plain", "sad 0.3", "sad 0.8", "plain.", "plain", "happy 0.2", "plain"]
    found = emotions_of(*(unit(text, i) for i, text in enumerate(texts)))
    labels = [resolved.emotion.label for resolved in found]
    assert labels == ["angry", "angry", "angry", "sad", "sad", "neutral", "happy", "neutral"]


def test_a_mood_ends_with_its_sentence_and_a_tag_with_its_paragraph():
    """As units of a real text, with the lexicon of the server."""
    furious = "I am so furious about this, and I mean every word of it! "
    plain = "Your appointment is at three tomorrow. Please remember to bring your card. "
    assert labels_of(furious + plain) == ["angry", "angry", "neutral", "neutral"]
    assert labels_of("[angry] " + plain + "\n\n" + plain) == ["angry", "angry", "neutral", "neutral"]
    assert labels_of("[angry] Your appointment is at three. [happy] Please remember to bring your card.") == [
        "angry",
        "happy",
    ]
    rude = "我真的气死了，你们这些人做得实在是太过分了！"
    assert labels_of(rude + "你的预约是明天下午三点钟。") == ["angry", "angry", "neutral"]


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("He left.", True),
        ('"Stop!" ', True),
        ("(Really?) ", True),
        ("她走了。”", True),
        ("Wait…", True),
        ("no mark\n", True),
        ("**Done.**\n", True),
        ("He left,", False),
        ("他走了，", False),
        ("at 3.5", False),
        ("", False),
    ],
)
def test_where_a_sentence_ends(text, ends):
    assert ends_sentence(text) is ends


def labels_of(text):
    tagged = TaggedText(Segmenter())
    units = tagged.push(text) + tagged.finish()
    lexicon = Lexicon()

    async def by_lexicon(text):
        return lexicon.analyze(text)

    analyzers = load_emotion_analyzers("lexicon", by_lexicon)
    return [one.emotion.label for one in emotions_of(*(u for u in units if u.speakable), analyzers=analyzers)]


def test_a_description_is_interpreted_once_and_marked_approximate_without_a_model():
    descriptions = []

    async def counted(text):
        descriptions.append(text)
        return parse_description(text)

    given = ResolvedEmotion(Emotion(intensity=0.5, description="very sad"), EmotionSource.UTTERANCE)
    analyzers = EmotionAnalyzers("none", None, counted)
    first, second = emotions_of(unit("one"), unit("two", 1), given=given, analyzers=analyzers)
    assert descriptions == ["very sad"] and first == second and first.approximate
    assert first.emotion.label == "sad" and 0 < first.emotion.intensity <= 0.5 and first.emotion.description == ""
    by_model = EmotionAnalyzers("qwen", None, counted, descriptions_by_model=True)
    exact = emotions_of(unit("one"), given=given, analyzers=by_model)
    assert not exact[0].approximate
