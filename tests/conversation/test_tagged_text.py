"""Inline tags in units: not spoken, not split, part of the text's positions, valid from their position on."""

from hypothesis import given
from hypothesis import strategies as st

from intone.server.conversation.tagged_text import TaggedText
from intone.server.text.segmenter import Segmenter


def units_of(*deltas):
    text = TaggedText(Segmenter(unit_min_characters=1, first_unit_min_characters=199))
    return [unit for delta in deltas for unit in text.push(delta)] + text.finish()


def labels(*deltas):
    return [(unit.untagged_text, unit.emotion.label if unit.emotion else None) for unit in units_of(*deltas)]


def test_a_tag_is_valid_until_the_next_one():
    text = "Well. [happy] I won! So nice. [sad:0.4]Then I lost. [neutral] Fine."
    assert labels(text) == [
        ("Well.", None),
        ("  I won!", "happy"),
        (" So nice.", "happy"),
        (" Then I lost.", "sad"),
        ("  Fine.", "neutral"),
    ]
    assert units_of(text)[3].emotion.intensity == 0.4


def test_a_tag_ends_a_unit():
    assert labels("I am fine [angry] but you are not.") == [("I am fine ", None), (" but you are not.", "angry")]


def test_markup_without_an_emotion_is_removed_and_ends_no_unit():
    assert labels('I am <expr type="break" time="1s"/>fine.') == [("I am fine.", None)]


def test_brackets_with_other_content_are_text():
    assert labels("See [1] and [sic].") == [("See [1] and [sic].", None)]


def test_a_link_is_text_however_it_is_split_into_deltas():
    assert labels("I am [happy](https://x.org) now.") == [("I am [happy](https://x.org) now.", None)]
    assert labels("I am [happy]", "(https://x.org) now.") == labels("I am [happy](https://x.org) now.")
    assert labels("I am [happy]", " (really) now.") == [("I am ", None), (" (really) now.", "happy")]


def test_positions_of_units_include_the_tags():
    text = '[开心]太好了！[sad]唉。<expr type="expression" label="relieved"/>Good. [happy]'
    units = units_of(text)
    assert "".join(unit.text for unit in units) == text
    assert [unit.untagged_text for unit in units] == ["太好了！", "唉。", "Good.", " ", ""]
    assert [unit.index for unit in units] == list(range(len(units)))


def test_an_incomplete_tag_is_held_and_is_text_at_the_end():
    text = TaggedText(Segmenter())
    assert text.push("Hello there my friend [hap") == []
    first = text.flush()
    assert [unit.untagged_text for unit in first] == ["Hello there my friend "]
    assert text.flush() == [] and text.expire() == []
    assert [(unit.untagged_text, unit.emotion) for unit in text.finish()] == [("[hap", None)]


PIECES = [
    "Good.",
    " Yes",
    "[happy]",
    "[sad:0.4]",
    "[1]",
    "(x)",
    "[",
    "]",
    '<expr type="expression" label="angry"/>',
    "<expr",
    "。",
    "你好",
    "\n",
]


@given(st.lists(st.sampled_from(PIECES), max_size=10), st.data())
def test_units_do_not_depend_on_the_deltas_and_lose_nothing(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    deltas = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    units = units_of(*deltas)
    assert units == units_of(text)
    position = 0
    for unit in units:
        assert (unit.start, unit.text) == (position, text[unit.start : unit.end])
        position = unit.end
    assert position == len(text)
