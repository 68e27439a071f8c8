"""Pronunciation entries, IPA and pinyin, and the marks that carry sounds to engines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.normalization import normalize
from intone.server.text.pronunciation import Pronunciation, Reading, SpanReading, check_pronunciation
from intone.server.text.pronunciation.entries import may_occur
from intone.server.text.pronunciation.ipa import check_ipa, respelled, to_misaki
from intone.server.text.pronunciation.marks import for_engine, marked, spelled
from intone.server.text.pronunciation.pinyin import homophones, syllables

NIKE = Pronunciation("Nike", ipa="ˈnaɪki")
SQL = Pronunciation("SQL", spoken_as="sequel")
CHONG = Pronunciation("重", pinyin="chóng")


@pytest.mark.parametrize(
    ("text", "entries", "expected"),
    [
        ("I like Nike.", [NIKE], "I like [Nike](/ˈnaɪki/)."),
        ("NIKE and nike, but not Nikes.", [NIKE], "[NIKE](/ˈnaɪki/) and [nike](/ˈnaɪki/), but not Nikes."),
        ("**Nike**'s shoes", [NIKE], "[Nike's](/ˈnaɪkiz/) shoes"),
        ("SQL is not sql.", [SQL], "sequel is not sql."),
        ("SQL's age", [SQL], "sequel's age"),
        ("重新开始", [CHONG], "[重](/chong2/)新开始"),
        ("5G on a 5GB plan", [Pronunciation("5G", spoken_as="five gee")], "five gee on a five gigabyte plan"),
        ("New York, York", [Pronunciation("York", ipa="jɔːk"), Pronunciation("New York", ipa="nuːˈjɔːrk")],
         "[New York](/nuːˈjɔːrk/), [York](/jɔːk/)"),
        ("call me @5", [Pronunciation("call", spoken_as="ring 2 times")], "ring two times me at five"),
        ("Cats'", [Pronunciation("cats", ipa="kæts")], "[Cats](/kæts/)'"),
        ("the cat's and the bus's", [Pronunciation("cat", ipa="kæt"), Pronunciation("bus", ipa="bʌs")],
         "the [cat's](/kæts/) and the [bus's](/bʌsɪz/)"),
    ],
)  # fmt: skip
def test_entries(text, entries, expected):
    for entry in entries:
        check_pronunciation(entry)
    normalized = normalize(text, "", entries)
    assert normalized.marked == expected
    assert "".join(piece.spoken for piece in normalized.pieces) == normalized.spoken


def test_spans_of_entries_are_those_of_the_original():
    text = "See **Nike** for $5 &amp; SQL."
    pieces = {piece.spoken.strip(): piece for piece in normalize(text, "", [NIKE, SQL]).pieces}
    assert text[pieces["Nike"].start : pieces["Nike"].end] == "Nike"
    assert text[pieces["sequel"].start : pieces["sequel"].end] == "SQL"


@pytest.mark.parametrize(
    ("language", "entry_language", "word", "applies"),
    [
        ("en-US", "en", "Paris", True),
        ("en", "fr", "Paris", False),
        ("zh", "en", "Paris", True),  # a Latin word in a Chinese conversation
        ("", "fr", "Paris", True),
        ("en", "zh", "重", True),
        ("en", "", "Paris", True),
    ],
)
def test_language_of_an_entry(language, entry_language, word, applies):
    entry = Pronunciation(word, spoken_as="said", language=entry_language)
    assert ("said" in normalize(word, language, [entry]).spoken) is applies


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Pronunciation("a"), "none of ipa, pinyin and spoken_as is set: expected one"),
        (Pronunciation("a", ipa="a", spoken_as="b"), "ipa and spoken_as of ipa, pinyin and spoken_as is set"),
        (Pronunciation("!", ipa="a"), "word: '!' has no letter and no digit"),
        (Pronunciation("a", ipa="ab$"), "ipa: '$' (U+0024) at character 2 is no symbol of IPA"),
        (Pronunciation("a", ipa="ˈˌ"), "ipa: there is no vowel and no consonant in it"),
        (Pronunciation("重", pinyin="zhang9"), "pinyin: 'zhang9'"),
        (Pronunciation("重", pinyin="qxz4"), "pinyin: 'qxz4' is no syllable of Mandarin with a tone"),
        (Pronunciation("a" * 129, ipa="a"), "word: 129 characters; at most 128 are accepted"),
    ],
)
def test_refused_entries(entry, message):
    with pytest.raises(ValueError) as caught:
        check_pronunciation(entry)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("ipa", "misaki", "spelling"),
    [
        ("təˈmɑːtoʊ", "təmˈɑtO", "tuh-mah-toh"),
        ("/ˈnaɪki/", "nˈIki", "nigh-kee"),
        ("ʃɪˈvɔːn", "ʃɪvˈɔn", "shih-vawn"),
        ("d͡ʒɪf", "ʤˈɪf", "jihf"),
        ("ˈbɜːrd", "bˈɜɹd", "burd"),
        ("həlˈO", "həlˈO", "huh-loh"),  # the packaged voices' own phonemes
        ("ˈkuːbɚˌnɛtiːz", "kˈubəɹnˌɛtiz", "koo-ber-neh-teez"),
        ("ˈbʌtn̩", "bˈʌtᵊn", "buh-tun"),
    ],
)
def test_ipa(ipa, misaki, spelling):
    check_ipa(ipa)
    assert (to_misaki(ipa), respelled(ipa)) == (misaki, spelling)


def test_pinyin():
    assert syllables("zhòng yào") == syllables("zhong4yao4") == syllables("Zhong4 yao4") == ["zhong4", "yao4"]
    assert syllables("lǜ") == syllables("lü4") == syllables("lv4") == ["lv4"]
    assert syllables("de") == ["de5"]
    assert homophones("zhong4yao4") == "仲药"
    with pytest.raises(ValueError, match="there is no syllable in it"):
        syllables(" ")


def test_an_engine_gets_the_sounds_that_it_takes_and_spellings_of_the_others():
    text = f"{marked('tomato', 'təˈmɑːtoʊ')} {marked('重', 'chong2')}"
    assert for_engine(text, ("ipa", "pinyin"), ("en", "zh")) == (text, [])
    spoken, warnings = for_engine(text, ("ipa",), ("en",))
    assert spoken == "[tomato](/təˈmɑːtoʊ/) chong"
    assert warnings == ["'重' is said as it is spelled, 'chong': the engine takes no pinyin"]
    spoken, warnings = for_engine(text, (), ("zh",))
    assert spoken == "tuh-mah-toh 崇" and len(warnings) == 2
    assert spelled("no marks [1] here") == "no marks [1] here"


@pytest.mark.parametrize(
    ("written", "reading", "words"),
    [
        ("555-1234", Reading(say_as="digits"), "five five five, one two three four"),
        ("+44 20", Reading(say_as="telephone"), "plus four four, two zero"),
        ("10/2/2024", Reading(say_as="date", format="dmy"), "February tenth twenty twenty four"),
        ("10/2/2024", Reading(say_as="date", format="mdy"), "October second twenty twenty four"),
        ("20240305", Reading(say_as="date"), "March fifth twenty twenty four"),
        ("1999", Reading(say_as="date", format="y"), "nineteen ninety nine"),
        ("3/4", Reading(say_as="date", format="md"), "March fourth"),
        ("3/4", Reading(say_as="fraction"), "three quarters"),
        ("12", Reading(say_as="ordinal"), "twelfth"),
        ("1234", Reading(say_as="cardinal"), "one thousand two hundred and thirty four"),
        ("a-1*", Reading(say_as="spell-out"), "A dash one star"),
        ("$3.50", Reading(say_as="currency"), "three dollars and fifty cents"),
        ("2pm", Reading(say_as="time"), "two P M"),
        ("WWW", Reading(spoken_as="World Wide Web"), "World Wide Web"),
        ("<b>*x*</b>", Reading(ipa="ɛks"), "<b>*x*</b>"),
        ("ten", Reading(say_as="cardinal"), "ten"),
        ("99/99/2024", Reading(say_as="date", format="dmy"), None),
    ],
)
def test_spans_with_a_reading(written, reading, words):
    text = f"It is {written} now"
    normalized = normalize(text, "", (), [SpanReading(6, 6 + len(written), reading)])
    (piece,) = (piece for piece in normalized.pieces if piece.kind == "reading")
    assert (piece.start, piece.end, piece.sounds) == (6, 6 + len(written), reading.ipa)
    if words is not None and "<" not in written:
        assert piece.spoken == words


def test_readings_in_chinese():
    text = "号码是1234。"
    read = lambda name: normalize(text, "", (), [SpanReading(3, 7, Reading(say_as=name))]).spoken  # noqa: E731
    assert (read("digits"), read("cardinal")) == ("号码是一二三四。", "号码是一千二百三十四。")


def test_private_use_characters_are_not_taken_for_marks():
    assert normalize("a\ue000b \ue001 5").spoken == "a b five"
    assert normalize("\ue001 x 5", "", (), [SpanReading(2, 3, Reading(spoken_as="ex"))]).spoken == "ex five"


@pytest.mark.slow
def test_the_packaged_voices_say_exactly_the_sounds():
    pytest.importorskip("hibari")
    pytest.importorskip("misaki")
    from intone.server.engines.phonemes import phonemizer

    phonemize = phonemizer("hibari", ("en", "zh"))
    assert phonemize("I say [tomato](/təˈmɑːtoʊ/) now.") == phonemize("I say tomato now.").replace("təmˈATO", "təmˈɑtO")
    assert "ꭧʰʊ↗ŋ" in phonemize("[重](/chong2/)新") and "ꭧʰʊ↗ŋ" not in phonemize("重要")
    assert "nˈIki" in phonemize("我买[Nike](/ˈnaɪki/)。")


@pytest.mark.parametrize("written", ["Café", "CAFÉ", "**Ca**fé", "Ca\u200bfé", "Caf&eacute;", "Ｃafé", "a café."])
def test_a_word_may_occur_in_a_text_however_it_is_written(written):
    entry, other = Pronunciation("café", spoken_as="cafe"), Pronunciation("Nguyen", ipa="wɪn")
    assert may_occur(written, [entry, other]) == (entry,)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(["Ada", "'s ", " ", "*", "**", "ADA", "&amp;", "\u200b", "重", "庆", "。", "[x](y)"]),
        max_size=8,
    )
)
def test_no_word_with_an_entry_is_missed_by_the_quick_filter(parts):
    text = "".join(parts)
    entries = [Pronunciation("Ada", spoken_as="lovelace"), Pronunciation("重庆", spoken_as="mountain")]
    assert normalize(text, "en", may_occur(text, entries)) == normalize(text, "en", entries)
