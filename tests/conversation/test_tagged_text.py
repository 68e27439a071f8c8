"""Cues in units: not spoken, not split, part of the text's positions, in effect from their position on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.conversation.tagged_text import TaggedText
from intone.server.text.cues import SsmlError, TextFormat
from intone.server.text.normalizer import Normalizer
from intone.server.text.segmenter import Segmenter

SSML, TAGS, PLAIN = TextFormat.SSML, TextFormat.TAGS, TextFormat.PLAIN


def tagged_text(text_format=TAGS):
    return TaggedText(Segmenter(unit_min_characters=1, first_unit_min_characters=199), text_format)


def units_of(*deltas, text_format=TAGS):
    text = tagged_text(text_format)
    return [unit for delta in deltas for unit in text.push(delta)] + text.finish()


def check_positions(units, text):
    """Units have the text as received, without a gap."""
    assert "".join(unit.text for unit in units) == text
    position = 0
    for index, unit in enumerate(units):
        assert (unit.index, unit.start, unit.text) == (index, position, text[unit.start : unit.end])
        position = unit.end


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


def test_a_tag_holds_to_the_end_of_the_paragraph():
    text = "[happy] I won!\nSo nice.\n \nNow then. [sad] No.\n\n"
    assert labels(text) == [
        (" I won!", "happy"),
        ("\nSo nice.", "happy"),
        ("\n \nNow then.", None),
        ("  No.", "sad"),
        ("\n\n", "sad"),
    ]
    assert labels(*text) == labels(text)


def test_the_end_of_a_paragraph_ends_a_unit_that_would_be_joined():
    text = TaggedText(Segmenter(unit_min_characters=40))
    units = text.push("[happy] This is the first one. Yes!\n\nNo, and this is another paragraph.") + text.finish()
    assert [(unit.untagged_text, unit.emotion is not None) for unit in units] == [
        (" This is the first one.", True),
        (" Yes!\n\n", True),
        ("No, and this is another paragraph.", False),
    ]


def test_a_tag_on_a_line_or_in_a_paragraph_of_its_own_holds_for_the_next_one():
    assert labels("Hm.\n[happy]\n\nI won!")[-1] == ("\n\n\nI won!", "happy")
    assert labels("Hm.\n\n[happy]\nI won!\n\nBye.")[-2:] == [("\n\n\nI won!", "happy"), ("\n\nBye.", None)]


def pauses(*deltas, text_format=TAGS):
    return [(unit.untagged_text, unit.pause_ms) for unit in units_of(*deltas, text_format=text_format)]


def test_a_break_ends_a_unit_and_is_a_pause_before_the_next_one():
    text = 'Wait <break time="2s"/> for it. <break time="100ms"/><break strength="weak"/>Now.'
    assert pauses(text) == [("Wait ", None), (" for it.", 2000.0), (" Now.", 350.0)]
    assert pauses(text, text_format=SSML) == pauses(text)
    assert pauses("A pause. [pause] Then.") == [("A pause.", None), ("  Then.", 500.0)]


def test_breaks_at_both_ends_of_the_text():
    assert pauses('<break time="1s"/>Hi.') == [("Hi.", 1000.0)]
    assert pauses('Hi.<break time="1s"/>') == [("Hi.", None), ("", 1000.0)]


def test_a_break_of_no_length_divides_no_sentence_and_one_in_code_is_none():
    assert pauses('Not <break strength="none"/>here.') == [("Not here.", None)]
    assert [unit.pause_ms for unit in units_of('Look: ```\n<break time="1s"/>[happy][sigh]\n``` so.')] == [None]


@pytest.mark.parametrize("name", ["think", "thinking", "Thought", "reasoning"])
def test_thinking_is_neither_spoken_nor_a_cue(name):
    text = f"<{name}>I am [happy]. Let me see.</{name}>Hello."
    for deltas in ([text], list(text)):
        (unit,) = units_of(*deltas)
        assert unit.speakable and unit.emotion is None and unit.text == text
    assert Normalizer()(unit.untagged_text, "") == "Hello."
    (unit,) = units_of(f"<{name}>Hm.</{name}>")
    assert not unit.speakable


def test_plain_text_keeps_everything():
    text = 'Press [1] or [happy] <break time="1s"/> *laughs* (sighs) &amp; end.'
    (unit,) = units_of(text, text_format=PLAIN)
    assert (unit.untagged_text, unit.emotion, unit.pause_ms) == (text, None, None)


def test_cues_without_effect_are_named_once():
    text = tagged_text()
    units = text.push("Oh [sigh] well. *coughs* [sigh] [happy] Good.") + text.finish()
    assert text.ignored_cues == ["sigh", "coughs"]
    assert "".join(unit.untagged_text for unit in units) == "Oh  well.    Good."


SPEAK = (
    "<speak><p>Dial <say-as interpret-as='digits'>911</say-as> &amp; ask <sub alias='Ada'>A.</sub>.</p>"
    "<p><mstts:express-as style='sad' xmlns:mstts='x'>Sorry.</mstts:express-as> Bye.</p></speak>"
)


def test_ssml():
    units = units_of(SPEAK, text_format=SSML)
    check_positions(units, SPEAK)
    assert [(unit.untagged_text, unit.emotion and unit.emotion.label) for unit in units if unit.speakable] == [
        ("Dial 911 & ask A..", None),
        ("\nSorry.", "sad"),
        (" Bye.", "neutral"),
    ]
    readings = [piece.reading for piece in units[0].pieces if piece.reading is not None]
    assert [(reading.say_as, reading.spoken_as) for reading in readings] == [("digits", ""), ("", "Ada")]
    digits = next(piece for piece in units[0].pieces if piece.text == "911")
    assert SPEAK[digits.start : digits.end] == "<say-as interpret-as='digits'>911</say-as>"


def test_text_that_is_no_ssml():
    with pytest.raises(SsmlError, match="<s> at character 0 is not closed"):
        units_of("<s>Hello.", text_format=SSML)
    with pytest.raises(SsmlError, match="& at character 3"):
        units_of("A. & B.", text_format=SSML)


PIECES = {
    TAGS: [
        *("Good.", " Yes", "[happy]", "[sad:0.4]", "[1]", "[sigh]", "(x)", "(sighs)", "[", "]", "*laughs*", "*"),
        *('<break time="1s"/>', '<expr type="expression" label="angry"/>', "<expr", "</happy>"),
        *("。", "你好", "\n", "\n\n", "`", "```"),
    ],
    PLAIN: ["Good.", " Yes", "[happy]", "[", "]", '<break time="1s"/>', "&amp;", "。", "你好", "\n", "`"],
    SSML: [
        *("Good.", " Yes", "&amp;", "&#39;", "\r\n", "\n", "。", "你好", "<!-- note -->", '<mark name="m"/>'),
        *('<break time="1s"/>', '<break strength="none"/>', "<s>Hm</s>", "<p>No.</p>", "<emphasis>so</emphasis>"),
        *(
            '<sub alias="a b">c</sub>',
            '<phoneme ph="a">d</phoneme>',
            '<x:express-as xmlns:x="y" style="sad">oh</x:express-as>',
        ),
        '<say-as interpret-as="digits">12</say-as>',
    ],
}


def texts(text_format):
    return st.lists(st.sampled_from(PIECES[text_format]), max_size=10).map("".join)


@settings(deadline=None)
@given(st.sampled_from(TextFormat).flatmap(lambda one: st.tuples(st.just(one), texts(one))), st.data())
def test_units_do_not_depend_on_the_deltas_and_lose_nothing(drawn, data):
    text_format, text = drawn
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    deltas = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    whole = units_of(text, text_format=text_format)
    assert units_of(*deltas, text_format=text_format) == whole
    assert units_of(*text, text_format=text_format) == whole
    check_positions(whole, text)
    joined = [piece for unit in whole for piece in unit.pieces]
    assert all(before.end <= after.start for before, after in zip(joined, joined[1:], strict=False))
