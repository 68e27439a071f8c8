"""Names and descriptions of emotions → weights, and the readings that hold them."""

import pytest

from intone.server.domain import EMOTIONS
from intone.server.emotion.labels import describe, from_label
from intone.server.emotion.reading import MAX_IN_ALL, neutral, reading


def strongest(found):
    return {name: weight for name, weight in zip(EMOTIONS, found.emotion.weights, strict=True) if weight}


@pytest.mark.parametrize("name", EMOTIONS)
def test_every_emotion_names_itself_in_full(name):
    found = from_label(name)
    assert found.label == name and found.emotion.intensity == 1.0 and strongest(found) == {name: 1.0}


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
    found = from_label(label)
    assert found is not None
    assert strongest(found) == pytest.approx(expected)
    assert found.emotion.intensity == pytest.approx(max(expected.values(), default=0.0))
    assert found.label == max(expected, key=expected.get, default="neutral")


@pytest.mark.parametrize(
    "words",
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
def test_unknown_words_are_no_label(words):
    assert from_label(words) is None


@pytest.mark.parametrize(
    ("description", "label"),
    [
        ("like somebody who just won the lottery: thrilled", "happy"),
        ("barely holding back her fury", "angry"),
        ("一个刚刚失恋的人,非常伤心", "sad"),
        ("whispering, scared of being heard", "afraid"),
        ("surprised, as if by a gift", "surprised"),
        ("like a newsreader", "calm"),
        ("", "calm"),
        ("not sad", "calm"),
        ("plain and neutral", "neutral"),
    ],
)
def test_descriptions(description, label):
    found = describe(description)
    assert found.label == label
    assert found.emotion.calm == (label in ("calm", "neutral"))


def test_explanations_name_only_our_own_words():
    secret = "Ulrike"
    assert "“thrilled”" in describe(f"{secret} is thrilled").explanation
    assert secret not in describe(f"{secret} is thrilled").explanation
    assert secret not in describe(secret).explanation


def test_readings_keep_the_limits_of_the_wire():
    most = reading(dict.fromkeys(EMOTIONS, 3.0), "")
    assert most.emotion.intensity == max(most.emotion.weights) == 1.0
    assert sum(most.emotion.weights) <= MAX_IN_ALL
    assert reading({"sad": 0.8, "angry": 0.39, "calm": 0.4}, "").emotion.weights == (0, 0, 0.8, 0, 0, 0, 0, 0.4)
    assert reading({"sad": 0.0}, "why") == neutral("why")


def test_intensity_can_be_set():
    found = from_label("excited").at(0.3)
    assert found.emotion.intensity == 0.3 and strongest(found) == pytest.approx({"happy": 0.3, "surprised": 0.1})
    assert from_label("excited").at(7.0).emotion.intensity == 1.0
    assert from_label("excited").at(0.0).label == "neutral" and not any(from_label("sad").at(0.0).emotion.weights)
    assert neutral("").at(0.5) == neutral("")
