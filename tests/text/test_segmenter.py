"""Segmentation: positions of cuts, contiguous units, chunk invariance; checks of input text and characters."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.errors import CallerError, Reason
from intone.server.text.boundaries import is_word_boundary
from intone.server.text.characters import (
    check_text,
    has_cjk,
    is_speakable,
    splits_grapheme,
    spoken_length,
)
from intone.server.text.segmenter import Segmenter


def segmenter(**sizes):
    return Segmenter(**sizes)


def units_of(*deltas, **sizes):
    """The units of an utterance that is pushed in these deltas."""
    cutter = segmenter(**sizes)
    return [unit for delta in deltas for unit in cutter.push(delta)] + cutter.finish()


def texts_of(*deltas, **sizes):
    return [unit.text for unit in units_of(*deltas, **sizes)]


def sentences(text):
    """Every sentence as a unit of its own."""
    return texts_of(text, first_unit_min_characters=199, unit_min_characters=1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello there. How are you?", ["Hello there.", " How are you?"]),
        ("Dr. Smith paid $3.50. He left.", ["Dr. Smith paid $3.50.", " He left."]),
        ("He came at 5 p.m. Then we ate.", ["He came at 5 p.m.", " Then we ate."]),
        ("He came at 5 p.m. yesterday. Fine.", ["He came at 5 p.m. yesterday.", " Fine."]),
        ("See e.g. the book. Go.", ["See e.g. the book.", " Go."]),
        ("J. K. Rowling wrote it. Yes.", ["J. K. Rowling wrote it.", " Yes."]),
        ("Visit www.example.com/a?b=1. Then call.", ["Visit www.example.com/a?b=1.", " Then call."]),
        ("Version 1.2.3 is out. Get it.", ["Version 1.2.3 is out.", " Get it."]),
        ("OK. Let us go. No. I will not.", ["OK.", " Let us go.", " No.", " I will not."]),
        ("The No. 5 bus. It left.", ["The No. 5 bus.", " It left."]),
        ("It is approx. 5 miles. Go.", ["It is approx. 5 miles.", " Go."]),
        ("Wait... what? Yes!", ["Wait... what?", " Yes!"]),
        ("Wait… What? Yes?!", ["Wait…", " What?", " Yes?!"]),
        ('He said "Go!" and left. Fine.', ['He said "Go!" and left.', " Fine."]),
        ('He said "Go." Then he left.', ['He said "Go."', " Then he left."]),
        ("(It works.) Really.", ["(It works.)", " Really."]),
        ("**Bold.** Next.", ["**Bold.**", " Next."]),
        ("1. First\n2. Second", ["1. First\n", "2. Second"]),
        ("# Title\n\nText here.", ["# Title\n", "\nText here."]),
        ("In 2024. Then in 2025.", ["In 2024.", " Then in 2025."]),
        ("你好。今天！真的？", ["你好。", "今天！", "真的？"]),
        ("他说：“走吧。”然后走了。", ["他说：“走吧。”", "然后走了。"]),
        ("“真的吗？！”她问。「好。」他说。", ["“真的吗？！”", "她问。", "「好。」", "他说。"]),
        ("我……不知道。", ["我……", "不知道。"]),
        ('他说"好。"然后走了。', ['他说"好。"', "然后走了。"]),
        ("用Python 3.5写的。很好。", ["用Python 3.5写的。", "很好。"]),
        ("I like it.我也喜欢。", ["I like it.", "我也喜欢。"]),
        ("क्या हाल है। ठीक है।", ["क्या हाल है।", " ठीक है।"]),
        ("Hello. 😀 Bye.", ["Hello.", " 😀 Bye."]),
        ("OK.No problem. Go.", ["OK.", "No problem.", " Go."]),
        ("I like it.You do too.", ["I like it.", "You do too."]),
        ("Really?Yes!Go on.", ["Really?", "Yes!", "Go on."]),
        ("See https://e.org/Find?Query now. Go.", ["See https://e.org/Find?Query now.", " Go."]),
        ("See e.org/a!B or me@e.org?Yes now. Go.", ["See e.org/a!B or me@e.org?Yes now.", " Go."]),
        ("Visit Example.Com now. Go.", ["Visit Example.Com now.", " Go."]),
        ("Use torch.nn here. Node.js too.", ["Use torch.nn here.", " Node.js too."]),
        ("Call Console.WriteLine(x). Go.", ["Call Console.WriteLine(x).", " Go."]),
        ("Mr.Smith came. J.K.Rowling too.", ["Mr.Smith came.", " J.K.Rowling too."]),
        ("See [a. B? C](https://x.org/a.b?c) now. Go.", ["See [a. B? C](https://x.org/a.b?c) now.", " Go."]),
        ("```\nx = 1. Y\n\nz\n``` Done. Go.", ["```\nx = 1. Y\n\nz\n``` Done.", " Go."]),
        ("<think>Hm. No. Yes.</think>Hello. Go.", ["<think>Hm. No. Yes.</think>Hello.", " Go."]),
        ("So $$a. B = c. D$$ holds. Go.", ["So $$a. B = c. D$$ holds.", " Go."]),
        ('Hi <a href="x. Y">there. You</a>. Go.', ['Hi <a href="x. Y">there.', " You</a>.", " Go."]),
        ("Run `a. B` now. Go.", ["Run `a. B` now.", " Go."]),
        ("It is $5. Or $6. Go.", ["It is $5.", " Or $6.", " Go."]),
        ("[1] One. [2] Two.", ["[1] One.", " [2] Two."]),
        ("Say hi 👍🏽! Bye.", ["Say hi 👍🏽!", " Bye."]),
        ("", []),
    ],
)
def test_sentence_ends(text, expected):
    assert sentences(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Well, I think, so it is.", ["Well, I think,", " so it is."]),
        ("It costs 3,000 dollars at 12:30, yes.", ["It costs 3,000 dollars at 12:30,", " yes."]),
        ("Yes. And then, after all of that, we left.", ["Yes.", " And then, after all of that, we left."]),
        ("一二三四五，六七，八九。", ["一二三四五，六七，", "八九。"]),
        ("“一二三四五六，”他说，“好。”", ["“一二三四五六，”", "他说，“好。”"]),
        ("Something new—then more, and more.", ["Something new—", "then more, and more."]),
    ],
)
def test_first_unit_may_be_a_clause(text, expected):
    assert texts_of(text) == expected


def test_short_sentences_are_joined_after_the_first_unit():
    assert texts_of("Hi. Yes. No. Oh. Well. So it is now.") == ["Hi.", " Yes. No. Oh. Well. So it is now."]
    assert texts_of("好。是。不。啊。我们今天去公园。走。") == ["好。", "是。不。啊。我们今天去公园。", "走。"]


@pytest.mark.parametrize(
    ("deltas", "ready"),
    [
        (("Hello there.",), 0),  # "3." may become "3.50"
        (("Hello there.", " "), 1),
        (("Hello there.", "\n"), 1),
        (("He met Dr.", " "), 0),
        (("He met Dr. ", "Smith"), 0),
        (("你好。",), 1),
        (("“你好。",), 0),
        (("“你好。", "”"), 0),
        (("“你好。”", "她"), 1),
        (("你好！",), 0),
        (("你好！", "我"), 1),
        (("我们今天去公园，",), 1),
        (("Hello there, my",), 1),
    ],
)
def test_no_more_lookahead_than_needed(deltas, ready):
    cutter = segmenter()
    assert sum(len(cutter.push(delta)) for delta in deltas) == ready


PIECES = st.sampled_from(
    [
        *"ab.,;:!?…\"'()*#\n\t -—3，。！？；、：“”「」……你好",
        "Dr.",
        "p.m.",
        " Then",
        "No",
        "3.50",
        "word",
        "👍🏽",
        "👩‍👩‍👧",
        "é",
        "🇩🇪",
        "  ",
        "[a. b](https://x.org/p?q=1.5)",
        "[",
        "](",
        "`x. y`",
        "```",
        "<b>",
        '<break time="1s"/>',
        "<",
        "<think>",
        "</think>",
        "$x. y$",
        "$5",
    ]
)
ATOM = re.compile(r"[\[<`$~\\]")
ATOMS = (
    "[the docs. Really](https://example.org/a/b.html?q=1.5)",
    "[a [b] c. D](https://e.org)",
    "```python\nprint('hi. there')\n\nx = 1\n```",
    '<phoneme alphabet="ipa" ph="a. b">',
    "<think>Let me see. I should answer. Yes.</think>",
    "<!-- a. b. c. -->",
    "<|im_end|>",
    "<https://example.org/a. b>"[:22] + ">",
    "$$a = b. C = d$$",
    "`a.b. c`",
    "\\(x. y\\)",
)
TEXTS = st.lists(PIECES, max_size=120).map("".join) | st.text(max_size=60)
SIZES = st.sampled_from([(12, 20, 200), (1, 1, 20), (5, 30, 40), (12, 20, 60)])


def random_deltas(draw, text):
    deltas = []
    while text:
        size = draw(st.integers(1, 9))
        deltas.append(text[:size])
        text = text[size:]
    return deltas


@settings(max_examples=400, deadline=None)
@given(st.data(), TEXTS, SIZES)
def test_units_are_contiguous_and_chunk_invariant(data, text, sizes):
    names = ("first_unit_min_characters", "unit_min_characters", "unit_max_characters")
    chosen = dict(zip(names, sizes, strict=True))
    whole = units_of(text, **chosen)
    assert units_of(*text, **chosen) == whole
    assert units_of(*random_deltas(data.draw, text), **chosen) == whole
    assert_contiguous(whole, text)
    assert max((spoken_length(unit.text) for unit in whole if not ATOM.search(unit.text)), default=0) <= sizes[2]


@settings(max_examples=300, deadline=None)
@given(st.data(), st.lists(PIECES, max_size=60).map("".join), st.sampled_from(ATOMS), SIZES)
def test_links_tags_and_blocks_are_never_cut(data, text, atom, sizes):
    cutter = segmenter(
        **dict(zip(("first_unit_min_characters", "unit_min_characters", "unit_max_characters"), sizes, strict=True))
    )
    text = re.sub(r"[`$<\[~\\]", "", text) + "\n"
    units = []
    for delta in random_deltas(data.draw, text + atom + " and more. " + text):
        units += cutter.push(delta)
        if data.draw(st.booleans()):
            units += cutter.expire()
    units += cutter.finish()
    start = len(text)
    inside = set(range(start + 1, start + len(atom)))
    assert not inside & {unit.end for unit in units}


def assert_contiguous(units, text):
    assert "".join(unit.text for unit in units) == text
    assert [unit.index for unit in units] == list(range(len(units)))
    assert [unit.start for unit in units] == [0, *(unit.end for unit in units)][: len(units)]
    assert all(unit.text == text[unit.start : unit.end] and unit.text for unit in units)
    assert all(unit.speakable == is_speakable(unit.text) for unit in units if not ATOM.search(unit.text))


@settings(max_examples=200, deadline=None)
@given(st.data(), TEXTS)
def test_flush_and_expire_keep_units_contiguous_and_split_no_word(data, text):
    cutter, units = segmenter(), []
    for delta in random_deltas(data.draw, text):
        units += cutter.push(delta)
        action = data.draw(st.sampled_from(["", "", "flush", "expire"]))
        if action == "flush":
            units += cutter.flush()
            assert not is_speakable(cutter.pending) or ATOM.search(cutter.pending)
        elif action == "expire":
            released = cutter.expire()
            assert not released or not splits_word(released[-1].text, cutter.pending)
            units += released
    assert_contiguous(units + cutter.finish(), text)


def splits_word(before, after):
    return all(character.isalnum() and not has_cjk(character) for character in (before[-1:], after[:1] or " "))


@pytest.mark.parametrize(
    ("text", "released"),
    [
        ("Hello wor", "Hello "),
        ("Hi there, ", "Hi there, "),
        ("Hi there,", "Hi there,"),
        ("Hello there!", "Hello there!"),
        ("Hello there.", "Hello there."),
        ("It costs 3.", "It costs 3."),
        ("It costs 3,", "It costs 3,"),
        ("Your total is $42.", "Your total is $42."),
        ("The code is 4821.", "The code is 4821."),
        ("Visit example.org.", "Visit example.org."),
        ("It is plan B.", "It is plan B."),
        ("Go to www.example.", "Go to www.example."),
        ("Mail bob@example.org.", "Mail bob@example.org."),
        ("See https://example.org/a/b.", "See https://example.org/a/b."),
        ("It has 20°C.", "It has 20°C."),
        ("They won 5–3.", "They won 5–3."),
        ("Take 5A, ", "Take 5A, "),
        ("Learn C++.", "Learn C++."),
        ("COVID-19.", "COVID-19."),
        ("The book (John's).", "The book (John's)."),
        ("It was **42**.", "It was **42**."),
        ("**It was 42.**", "**It was 42.**"),
        ("Run `x`.", "Run `x`."),
        ("Pages 5–", "Pages "),
        ("See https:", "See "),
        ("See http://", "See "),
        ("It costs $3", "It costs "),
        ("Meet at 5 p.m.", "Meet at 5 p.m."),
        ("Go to www.", "Go to "),
        ("I don'", "I "),
        ("A well-", "A "),
        ("我们今天去", "我们今天去"),
        ("我们有3", "我们有"),
        ("我们用GP", "我们用"),
        ("word", ""),
        ("  ", ""),
        ("", ""),
        ("... ", ""),
    ],
)
def test_expire(text, released):
    cutter = segmenter()
    assert cutter.push(text) == []
    assert "".join(unit.text for unit in cutter.expire()) == released
    assert cutter.pending == text[len(released) :]


def test_flush_in_mid_sentence_and_after_it():
    cutter = segmenter()
    assert [unit.text for unit in cutter.push("One two") + cutter.flush()] == ["One two"]
    assert cutter.flush() == [] and cutter.pending == ""
    assert cutter.push(" 😀 ") == [] and cutter.flush() == []
    assert [unit.text for unit in cutter.push("three") + cutter.finish()] == [" 😀 three"]


def test_unspeakable_text_is_a_unit_only_at_the_end():
    units = units_of("😀 Hello there. 🎉 ✨")
    assert [(unit.text, unit.speakable) for unit in units] == [("😀 Hello there.", True), (" 🎉 ✨", False)]
    assert [(unit.text, unit.speakable) for unit in units_of("...")] == [("...", False)]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a" * 30 + ", " + "b" * 30, "a" * 30 + ","),
        ("one two three four five six seven eight nine", "one two three four five six seven eight "),
        ("a" * 90, "a" * 40),
        ("一二三四五六七八九十" * 3, "一二三四五六七八九十" * 2),
        ("一二三四五六七八九十一二，四五六七八九十一", "一二三四五六七八九十一二，"),
        ("a" * 37 + "👩‍👩‍👧" + "b" * 9, "a" * 37),
        ("e" * 40 + "\u0301" + "e" * 9, "e" * 39),
        ("🇩🇪" * 30, "🇩🇪" * 20),
        ("word 12345678 word 12345678 word 1234 5678901234", "word 12345678 word 12345678 word 1234 "),
    ],
)
def test_forced_cuts(text, first):
    assert texts_of(text, first_unit_min_characters=39, unit_max_characters=40)[0] == first


def test_time_is_linear():
    def seconds(count):
        cutter, text = segmenter(), "Some words, and 3.50 more at 5 p.m. then Dr. Who came 你好，世界。 " * 50
        started = time.process_time()
        for position in range(count):
            cutter.push(text[position % len(text)])
        return time.process_time() - started

    seconds(1000)
    small, large = min(seconds(2000) for _ in range(3)), seconds(16_000)
    assert large < 8 * small * 3, f"{small:.3f} s for 2000 characters, {large:.3f} s for 16000"


@pytest.mark.parametrize(
    ("text", "message", "fault"),
    [
        ("a" * 11, "text.delta: 11 characters; at most 10 are accepted", Reason.TEXT_TOO_LONG),
        ("hello\x07", "text.delta: U+0007 at character 5 is a control character", Reason.TEXT_INVALID),
        ("\x00", "text.delta: U+0000 at character 0 is a control character", Reason.TEXT_INVALID),
        ("a\x85", "text.delta: U+0085 at character 1 is a control character", Reason.TEXT_INVALID),
        ("a\ud83d", "text.delta: U+D83D at character 1 is a lone surrogate", Reason.TEXT_INVALID),
    ],
)
def test_invalid_text(text, message, fault):
    with pytest.raises(CallerError) as caught:
        check_text(text, "text.delta", 10)
    assert (str(caught.value), caught.value.field, caught.value.reason) == (message, "text.delta", fault)


def test_valid_text():
    check_text("\t\n\r é你😀\u200d", "text", 9)
    check_text("", "text", 0)


def test_characters():
    assert has_cjk("a你") and has_cjk("の") and not has_cjk("héllo, 한국어。")
    assert is_speakable("...5") and is_speakable("你") and is_speakable("ß") and not is_speakable("—…🙂 \n*")
    assert spoken_length("ab你。") == 5
    assert [splits_grapheme("e\u0301x", at) for at in range(4)] == [False, True, False, False]
    assert [splits_grapheme("🇩🇪🇫🇷", at) for at in range(5)] == [False, True, False, True, False]


def test_word_boundaries():
    text = "go—用GPT3年 3.5"
    assert [at for at in range(1, len(text)) if is_word_boundary(text, at)] == [3, 4, 9, 10]


def test_silent_markup_is_not_speakable():
    (unit,) = units_of("```\nprint(1)\n```")
    assert not unit.speakable
    assert [unit.speakable for unit in units_of("<think>Hm. No.</think>")] == [False]


def test_an_atom_given_by_the_caller_is_not_cut():
    cutter = segmenter(unit_min_characters=1)
    units = (
        cutter.push("Hello there. See ") + cutter.push_atom("Dr. No. Yes") + cutter.push(" now. Bye.") + cutter.finish()
    )
    assert [unit.text for unit in units] == ["Hello there.", " See Dr. No. Yes now.", " Bye."]
