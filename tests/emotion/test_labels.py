"""Names and descriptions of emotions → weights, and the limits of estimates."""

import pytest

from intone.server.domain import EMOTIONS
from intone.server.emotion.estimate import MAX_WEIGHT_SUM, EmotionEstimate
from intone.server.emotion.labels import parse_description, parse_label


def nonzero(found):
    return {name: weight for name, weight in zip(EMOTIONS, found.emotion.weights, strict=True) if weight}


@pytest.mark.parametrize("name", EMOTIONS)
def test_the_name_of_an_emotion_gives_full_weight(name):
    found = parse_label(name)
    assert found.label == name and found.emotion.intensity == 1.0 and nonzero(found) == {name: 1.0}


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("Happy", {"happy": 1.0}),
        ("FURIOUS", {"angry": 1.0}),
        ("cheerfully", {"happy": 1.0}),
        ("in a sad voice", {"sad": 1.0}),
        ("excited", {"happy": 0.9, "surprised": 0.3}),
        ("tired but relieved", {"happy": 0.5, "calm": 0.5, "melancholic": 0.3}),
        ("very annoyed", {"angry": 0.75}),
        ("a bit angry", {"angry": 0.6}),
        ("sad, not angry", {"sad": 1.0}),
        ("开心", {"happy": 1.0}),
        ("開心", {"happy": 1.0}),
        ("激动地", {"happy": 0.9, "surprised": 0.3}),
        ("有点难过", {"sad": 0.6}),
        ("非常生气的语气", {"angry": 1.0}),
        ("温柔", {"calm": 1.0}),
        ("neutral", {}),
        ("平淡", {}),
    ],
)
def test_labels(label, expected):
    found = parse_label(label)
    assert found is not None
    assert nonzero(found) == pytest.approx(expected)
    assert found.emotion.intensity == pytest.approx(max(expected.values(), default=0.0))
    assert found.label == max(expected, key=expected.get, default="neutral")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "sic",
        "laughs at him",
        "happy customers only",
        "not angry",
        "very",
        "note",
        "content",
        "TODO",
        "开心果干",
        "📎",
    ],
)
def test_text_with_unknown_words_is_not_a_label(text):
    assert parse_label(text) is None


@pytest.mark.parametrize(
    ("description", "label"),
    [
        ("like somebody who just won the lottery: thrilled", "happy"),
        ("barely holding back her fury", "angry"),
        ("一个刚刚失恋的人,非常伤心", "sad"),
        ("whispering, scared of being heard", "afraid"),
        ("surprised, as if by a gift", "surprised"),
        ("like a newsreader", "neutral"),
        ("", "neutral"),
        ("not sad", "neutral"),
        ("plain and neutral", "neutral"),
    ],
)
def test_descriptions(description, label):
    found = parse_description(description)
    assert found.label == label
    assert found.emotion.is_plain == (label in ("calm", "neutral"))


def test_explanations_quote_the_word_lists_and_not_the_text():
    secret = "Ulrike"
    assert "“thrilled”" in parse_description(f"{secret} is thrilled").explanation
    assert secret not in parse_description(f"{secret} is thrilled").explanation
    assert secret not in parse_description(secret).explanation


def test_a_misspelt_label_is_told_what_was_meant():
    assert parse_description("Hapy").explanation == "no word of the description is known; did you mean 'happy'?"
    assert parse_description("xyzzy").explanation == "no word of the description is known"
    assert parse_description("hapy " * 40).explanation == "no word of the description is known"


def test_estimates_keep_the_limits_of_the_wire():
    largest = EmotionEstimate.from_strengths(dict.fromkeys(EMOTIONS, 3.0), "")
    assert largest.emotion.intensity == max(largest.emotion.weights) == 1.0
    assert sum(largest.emotion.weights) <= MAX_WEIGHT_SUM
    mixed = EmotionEstimate.from_strengths({"sad": 0.8, "angry": 0.39, "calm": 0.4}, "")
    assert mixed.emotion.weights == (0, 0, 0.8, 0, 0, 0, 0, 0.4)
    assert EmotionEstimate.from_strengths({"sad": 0.0}, "why") == EmotionEstimate.neutral("why")


def test_intensity_can_be_set():
    found = parse_label("excited").with_intensity(0.3)
    assert found.emotion.intensity == 0.3 and nonzero(found) == pytest.approx({"happy": 0.3, "surprised": 0.1})
    assert parse_label("excited").with_intensity(7.0).emotion.intensity == 1.0
    assert parse_label("excited").with_intensity(0.0).label == "neutral" and not any(
        parse_label("sad").with_intensity(0.0).emotion.weights
    )
    assert EmotionEstimate.neutral("").with_intensity(0.5) == EmotionEstimate.neutral("")
