"""Cues in text: what is one, in every dialect; SSML; and that any chunking gives the same pieces."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.emotion.cues import cue_reader, emotion_of, ignored_cues, read_cues
from intone.server.text.cues import Cue, Pause, SsmlError, TextFormat, TextPiece, join_texts, merged


def one_cue(text):
    (cue,) = (piece for piece in read_cues(text) if not isinstance(piece, TextPiece))
    return cue


def spoken(text, text_format=TextFormat.TAGS):
    return join_texts(read_cues(text, text_format)).text.text


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("[happy] Hello!", "happy"),
        ("[ a bit sad ]", "sad"),
        ("［难过］", "sad"),
        ("【生气：0.5】", "angry"),
        ("（生气）你走！", "angry"),
        ("[tired but relieved]", "happy"),
        ("[excited]", "happy"),
        ("*laughs*", "happy"),
        ("<emotion value='sad'/>", "sad"),
        ("<excited>", "happy"),
        ("</excited>", "neutral"),
        ('<expr type="expression" label="angry"/>', "angry"),
        ('<mstts:express-as style="cheerful">', "happy"),
        ('<amazon:emotion name="excited" intensity="medium">', "happy"),
    ],
)
def test_cues_with_an_emotion(text, label):
    assert emotion_of(one_cue(text)).label == label


def test_the_intensity_of_a_cue():
    assert emotion_of(one_cue("[happy:0.4]")).emotion.intensity == pytest.approx(0.4)
    assert one_cue("[happy:0.4]").name == "happy"


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ('<break time="0.4s"/>', 400),
        ('<break time="300ms" />', 300),
        ("<break/>", 500),
        ("<break strength='weak'/>", 250),
        ('<break time="99s"/>', 10_000),
        ("[pause]", 500),
        ("[long pause]", 1000),
        ("*pauses*", 500),
        ("（停顿）", 500),
        ("[uv_break]", 150),
    ],
)
def test_pauses(text, ms):
    assert one_cue(text).ms == ms


@pytest.mark.parametrize(
    "text",
    [
        "[clears throat]", "[sigh]", "[laughs harder]", "[starts laughing]", "[strong French accent]", "[music]",
        "[whispers]", "[applause]", "*sniffs*", "**groans**", "*looks at you and smiles*", "(coughs)",
        "(nervous laughter)", "（轻轻叹了口气）", "【笑声】", "[door slams]", "<chuckle>", "<sniff/>",
        "<volume ratio='0.8'/>",
        '<prosody rate="slow">', "</prosody>", "<expr type='sound' label='sigh'/>", "[upbeat music]", "*点头*",
    ],
)  # fmt: skip
def test_cues_that_are_not_spoken(text):
    assert isinstance(one_cue(f"{text} Well."), (Cue, Pause))
    assert spoken(f"{text} Well.").strip() == "Well."


@pytest.mark.parametrize(
    "text",
    [
        "[1]", "[sic]", "[see below]", "[]", "[happy](https://x.org)", "![sad](a.png)", "see [a] b", "[happy\n]",
        "(see page 5)", "(happy)", "(a small one)", "（见下文）", "（2024年）", "*very* good", "2 * 3 * 4", "a*b*c",
        "It *takes time* to learn.", "**Note** this", "x < y > z", "if a<b and c>d", "<name>", "<b>bold</b>", "5 < 6",
        "List<int>", "【重要】通知", "snake_*x*_y", "[Your Name]", "(i)", "*", "**", "[", "<", "[happy】",
    ],
)  # fmt: skip
def test_text_stays_text(text):
    assert read_cues(text) == [TextPiece(text, 0, len(text))]


def test_words_on_both_sides_of_a_cue_stay_apart():
    assert spoken("go[happy]on, 你[开心]好") == "go on, 你好"


def test_ignored_cues_are_named_once():
    pieces = read_cues("[whispers] a [sigh] b [whispers] c [happy] d <break/> <volume ratio='1'/>")
    assert ignored_cues(pieces) == ["whispers", "sigh", "volume"]


def test_plain_text_has_no_cues():
    assert read_cues("[sigh] <break/>", TextFormat.PLAIN) == [TextPiece("[sigh] <break/>", 0, 15)]


# ---- SSML


def test_ssml():
    text = (
        '<?xml version="1.0"?>\n<speak version="1.1">Hello <sub alias="World Wide Web">WWW</sub> &amp; '
        '<phoneme alphabet="ipa" ph="təˈmɑːtoʊ">tomato</phoneme><break time="400ms"/> on '
        '<say-as interpret-as="date" format="dmy">1/2/2024</say-as>. <prosody rate="slow">x</prosody><p>Hi</p></speak>'
    )
    pieces = read_cues(text, TextFormat.SSML)
    joined = join_texts(pieces)
    assert joined.text.text == "\nHello WWW & tomato on 1/2/2024. xHi\n"
    assert [joined.text.text[one.start : one.end] for one in joined.readings] == ["WWW", "tomato", "1/2/2024"]
    assert [(one.reading.spoken_as, one.reading.ipa, one.reading.say_as) for one in joined.readings] == [
        ("World Wide Web", "", ""), ("", "təˈmɑːtoʊ", ""), ("", "", "date"),
    ]  # fmt: skip
    assert [piece.ms for piece in pieces if isinstance(piece, Pause)] == [400]
    assert ignored_cues(pieces) == ["prosody"]
    assert_spans(text, pieces)


def assert_spans(text, pieces):
    """Pieces are in order without overlap; text as it is written is at its span."""
    position = 0
    for piece in pieces:
        assert position <= piece.start <= piece.end <= len(text), piece
        position = piece.end
        if isinstance(piece, TextPiece) and len(piece.text) == piece.end - piece.start:
            assert text[piece.start : piece.end] == piece.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('<sub alias="x">a</phoneme>', "</phoneme> at character 16 closes <sub>, which begins at character 0"),
        ("<sub>a", "<sub> at character 0 is not closed"),
        ("a</b>", "</b> at character 1 closes nothing"),
        ("a & b", "& at character 2 must be written &amp;"),
        ("5 < 6", "< at character 2 must be written &lt;"),
        ("<!DOCTYPE a []>", "a document type declaration at character 0: none is accepted"),
        ("a &nbsp; b", "undefined entity at character 2"),
        ('<break time="long"/>', "<break> at character 0: 'long' is neither a time, such as 400ms, nor a strength"),
        ("你好<a", "the tag at character 2 is not closed"),
        (
            '<phoneme ph="$">x</phoneme>',
            "<phoneme> at character 0: ph: '$' (U+0024) at character 0 is no symbol of IPA",
        ),
        ('<phoneme alphabet="pinyin" ph="zh">x</phoneme>', "<phoneme> at character 0: ph: 'zh5' is no syllable"),
        ("<p>" * 40, "<p> at character 93 is nested deeper than 32 elements"),
        ("<sub alias='a'>" + "b" * 500, "<sub> at character 0 has more than 400 characters"),
        ("<a b='" + "c" * 9000, "a tag has more than 4000 bytes at character 0"),
        ("<a x='1' x='2'/>", "duplicate attribute at character 9"),
    ],
)
def test_malformed_ssml_names_the_fault(text, message):
    for chunks in ([text], list(text)):
        reader = cue_reader(TextFormat.SSML)
        with pytest.raises(SsmlError) as caught:
            for chunk in chunks:
                reader.push(chunk)
            reader.finish()
        if len(chunks) == 1 or "more than" not in message:
            assert str(caught.value).startswith(message)


def test_an_unknown_attribute_value_is_named_and_the_text_spoken():
    pieces = read_cues(
        '<phoneme alphabet="x-sampa" ph="a">Ann</phoneme> <say-as interpret-as="song">5</say-as>', TextFormat.SSML
    )
    assert join_texts(pieces).text.text == "Ann 5"
    assert ignored_cues(pieces) == ["phoneme alphabet='x-sampa'", "say-as interpret-as='song'"]


def test_an_element_arrives_when_it_is_complete():
    reader = cue_reader(TextFormat.SSML)
    assert reader.push('Hi <sub alias="x">a')[-1].text == "Hi "
    assert reader.push("b</sub") == []
    (piece,) = reader.push(">")
    assert (piece.text, piece.start, piece.end) == ("ab", 3, 26)


# ---- any chunking

TAG_PARTS = st.sampled_from(
    ["[", "]", "*", "**", "(", ")", "（", "）", "<", ">", "【", "】", " ", "\n", "sigh", "happy", "laughs", "leans in",
     "生气", "break", '<break time="1s"/>', "<b", '<expr type="expression" label="sad"/>', "a", "1", "/", "=", '"',
     ":0.4", "[happy]", "*sighs*", "(x)", ".", "<name>", "</excited>"]
)  # fmt: skip
SSML_PARTS = st.sampled_from(
    ["<speak>", "</speak>", "<p>", "</p>", '<sub alias="x y">', "</sub>", "W3C", " ", "你好", "&amp;", "&lt;", "\r\n",
     "<break/>", "<break time='1s'/>", "<emphasis>", "</emphasis>", "é", "<!-- c -->", "😀",
     "<![CDATA[a<b]]>", "<mark name='>'/>"]
)  # fmt: skip


def outcome(reader, chunks):
    pieces = []
    try:
        for chunk in chunks:
            pieces += reader.push(chunk)
        pieces += reader.finish()
    except SsmlError as error:
        return str(error)
    return merged(pieces)


@settings(max_examples=500, deadline=None)
@given(st.lists(TAG_PARTS, max_size=16).map("".join) | st.text(max_size=40))
def test_tags_one_character_at_a_time(text):
    whole = outcome(cue_reader(TextFormat.TAGS), [text])
    assert outcome(cue_reader(TextFormat.TAGS), text) == whole
    assert_spans(text, whole)


@settings(max_examples=500, deadline=None)
@given(st.lists(SSML_PARTS, max_size=16).map("".join))
def test_ssml_one_character_at_a_time(text):
    whole = outcome(cue_reader(TextFormat.SSML), [text])
    assert outcome(cue_reader(TextFormat.SSML), text) == whole
    if not isinstance(whole, str):
        assert_spans(text, whole)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_ssml_or_refused_with_its_own_error(text):
    outcome(cue_reader(TextFormat.SSML), [text])
