"""Inline emotion tags: what counts as a tag, what stays text, and chunk invariance."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.emotion.tags import (
    MAX_LABEL_CHARACTERS,
    MAX_MARKUP_CHARACTERS,
    find_tags,
    open_tag_start,
    without_tags,
)


@pytest.mark.parametrize(
    ("text", "label", "intensity"),
    [
        ("[happy] Hello!", "happy", 1.0),
        ("Hello [happy:0.4] there", "happy", 0.4),
        ("[Sad: .25]", "sad", 0.25),
        ("[angry:9]", "angry", 1.0),
        ("[ a bit sad ]", "sad", 0.6),
        ("[开心]你好", "happy", 1.0),
        ("［难过］", "sad", 1.0),
        ("【生气：0.5】", "angry", 0.5),
        ("[neutral]", "neutral", 0.0),
        ("[happy:0]", "neutral", 0.0),
        ('<expr type="expression" label="angry"/>', "angry", 1.0),
        ("<EXPR LABEL = 'sad'   TYPE='Expression' />", "sad", 1.0),
        ('<expr label="like a pirate" type="expression"/>', "calm", 0.5),
        ('<expr type="expression" label="[happy]"/>', "happy", 1.0),
        ("<expr type='expression'\nlabel='surprised'>", "surprised", 1.0),
    ],
)
def test_tags(text, label, intensity):
    (tag,) = find_tags(text)
    assert (tag.estimate.label, tag.estimate.emotion.intensity) == (label, pytest.approx(intensity))
    assert text[tag.start] in "[［【<" and text[tag.end - 1] in "]］】>"


@pytest.mark.parametrize(
    "text",
    [
        "[1]",
        "[laughs at him]",
        "[sic]",
        "[]",
        "[ ]",
        "[happy",
        "happy]",
        "[happy】",
        "[happy\n]",
        "[very]",
        "[content]",
        "[-happy]",
        "[happy:often]",
        "see [happy](https://x.org)",
        "![sad](a.png)",
        "[happy](",
        "a < b > c",
        "<express>",
        "<expr-x/>",
        "<b>bold</b>",
        "[" + "very " * 5 + "happy]",
        "<expr " + "a" * MAX_MARKUP_CHARACTERS + "/>",
    ],
)
def test_text_stays_text(text):
    assert find_tags(text) == [] and without_tags(text) == text


@pytest.mark.parametrize("kind", ["sound", "break", "prosody", ""])
def test_expr_tags_without_emotion_are_removed_without_effect(kind):
    (tag,) = find_tags(f'Well<expr type="{kind}" label="happy" time="1s"/> then')
    assert tag.estimate is None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[happy] Hello!", "Hello!"),
        ("Hello [happy] there", "Hello there"),
        ("Hello [happy]there", "Hello there"),
        ("Hello[happy] there", "Hello there"),
        ("Hello.[happy]There", "Hello. There"),
        ("Hello [happy], there", "Hello, there"),
        ("你好[开心]再见", "你好再见"),
        ("你好 【开心】 再见", "你好 再见"),
        ("Bye [sad]", "Bye"),
        ("[happy][sad] [angry]", ""),
        ("a [happy] [sad] b", "a b"),
        ("  kept as it is ", "  kept as it is "),
        ('One<expr type="break"/> two', "One two"),
    ],
)
def test_without_tags(text, plain):
    assert without_tags(text) == plain


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("Well [hap", 5),
        ("Well [", 5),
        ("Well [ ", 5),
        ("Well [happy: 0", 5),
        ("【开", 0),
        ("a [1] [b", 6),
        ("x <", 2),
        ("x <e", 2),
        ("x <EXPR", 2),
        ("x </exp", 2),
        ("<expr type='expression' label='[hap", 0),
        ("<expr type='expression' label='[happy]' ", 0),
        ("[" + "a" * MAX_LABEL_CHARACTERS, 0),
        ("<expr " + "a" * (MAX_MARKUP_CHARACTERS - 1), 0),
        ("Well [happy]", 5),
        ("[sad:0.4]", 0),
        ("[" + "a bit sad".ljust(MAX_LABEL_CHARACTERS) + "]", 0),
        ("[sic]", None),
        ("[1]", None),
        ("［happy］", None),
        ("[happy](", None),
        ("[happy] ", None),
        ("[1", None),
        ("[a [1", None),
        ("a < b", None),
        ("<expression", None),
        ("[a\n", None),
        ("[" + "a" * (MAX_LABEL_CHARACTERS + 1), None),
        ("<expr " + "a" * MAX_MARKUP_CHARACTERS, None),
        ("", None),
    ],
)
def test_open_tag_start(text, start):
    assert open_tag_start(text) == start


def streamed(text, cuts):
    """Tags as (start, end, label), with the text in chunks and an open tag held back."""
    found, shown, known = [], 0, ""
    for cut in [*cuts, None]:
        known = text[:cut]
        unsure = open_tag_start(known[shown:]) if cut is not None else None
        end = len(known) if unsure is None else shown + unsure
        for tag in find_tags(known[shown:end]):
            found.append((shown + tag.start, shown + tag.end, tag.estimate and tag.estimate.label))
        shown = end
    return found


PIECES = st.sampled_from(
    [
        "[",
        "]",
        "［",
        "］",
        "【",
        "】",
        "<",
        ">",
        "/>",
        "<expr ",
        "</expr>",
        "type='expression' ",
        'label="sad"',
        "label='[happy]'",
    ]
    + [
        "happy",
        "开心",
        "[happy]",
        "[sad:0.3]",
        "[1]",
        "(",
        "![happy](x)",
        ":0.5",
        " ",
        "\n",
        "a",
        "1",
        "so ",
        "x" * 20,
        "y" * 90,
        "-",
        "expr",
    ]
)


@settings(max_examples=600, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14), data=st.data())
def test_any_chunking_finds_the_same_tags(pieces, data):
    text = "".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=12)))
    whole = [(tag.start, tag.end, tag.estimate and tag.estimate.label) for tag in find_tags(text)]
    assert streamed(text, cuts) == whole
    assert streamed(text, range(len(text) + 1)) == whole


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14))
def test_what_is_held_back_is_short(pieces):
    text = "".join(pieces)
    start = open_tag_start(text)
    assert start is None or len(text) - start <= MAX_MARKUP_CHARACTERS + len("</expr")


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(PIECES, max_size=14))
def test_tags_do_not_overlap_and_are_removed(pieces):
    text = "".join(pieces)
    tags = find_tags(text)
    assert all(before.end <= after.start for before, after in zip(tags, tags[1:], strict=False))
    rest = "".join(
        text[a:b] for a, b in zip([0, *(t.end for t in tags)], [*(t.start for t in tags), len(text)], strict=True)
    )
    assert "".join(without_tags(text).split()) == "".join(rest.split())
