"""Text normalization: verbalized numbers, removed markup, and no exception for any input."""

import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.normalizer import Normalizer, collapse_whitespace, strip_markup


@pytest.fixture(scope="module")
def normalize():
    return Normalizer()


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("It is 20°C and $3.50.", "It is twenty degrees Celsius and three point five dollars."),
        ("Meet Dr. Smith on 2024-05-06.", "Meet doctor Smith on the sixth of may twenty twenty four."),
        ("No. I said no. No...", "No. I said no. No..."),
        ("The No. 5 bus", "The Number. five bus"),
        ("#1 is “5 dogs”.", 'number one is "five dogs".'),
        ('"Yes," she said.', '"Yes," she said.'),
        ("a\\b 5", "a\\b five"),
        ("“5", "“five"),
        ("I don't know", "I don't know"),
        ("x\u00a05", "x five"),
        (".5 of it", "point five of it"),
        (
            "It is $15/month, 24/7, and/or 10km/h.",
            "It is fifteen dollars per month, twenty four seven, and/or ten kilometers per hour.",
        ),
        ("It has 1,234 pages.", "It has one thousand two hundred and thirty four pages."),
        ("It cost $1,234 million.", "It cost one thousand two hundred and thirty four million dollars."),
        ("12,345 billion stars", "twelve thousand three hundred and forty five billion stars"),
        (
            "$1,234.56 or 1,000",
            "one thousand two hundred and thirty four point five six dollars or one thousand",
        ),
        ("21,500 of 1,001,500", "twenty one thousand five hundred of one million one thousand five hundred"),
        ("a thousand, several thousand", "a thousand, several thousand"),
        ("~5 minutes", "about five minutes"),
        ("Call 555-1234 now", "Call five five five, one two three four now"),
        ("for 500-1000 people", "for five hundred to one thousand people"),
        ("Dial +44 20 7946 0958.", "Dial plus four four, two zero, seven nine four six, zero nine five eight."),
        ("价格$1,234,567", "价格一百二十三万四千五百六十七美元"),
        ("电话+86 138 0013 8000。", "电话加八六幺三八零零幺三八零零零。"),
        ("1-800-555-1234", "one, eight hundred, five five five, one two three four"),
        ("the 1990s and 1920s", "the nineteen nineties and nineteen twenties"),
        ("at 12 Main St., Suite 4", "at twelve Main Street, Suite four"),
        ("see https://example.com/a", "see example dot com slash a"),
        ("今天是2024年5月6日，气温20℃，涨了3.5%。", "今天是二零二四年五月六日，气温二十摄氏度，涨了百分之三点五。"),
        ("电话13800138000", "电话幺三八零零幺三八零零零"),
        ("花儿开了", "花开了"),
        ("女儿来了", "女儿来了"),
        ("温度-5度", "温度负五度"),
        ("用GPT-4做的", "用GPT 四做的"),
        ('他说："5个"', '他说："五个"'),
        ("", ""),
        (" \n ", ""),
    ],
)
def test_verbalization(normalize, text, spoken):
    assert normalize(text) == spoken


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("# Title\n\n**Bold** and *it* and `code`", "Title, Bold and it and code"),
        ("- one\n- two.\n* three", "one, two. three"),
        ("> quoted\n---\nnext", "quoted, next"),
        ("| a | b |\n|---|---|\n| 1 | 2 |", "a, b, , 1, 2,"),
        ("see [the page](https://x.org/a_b) now", "see the page now"),
        ("snake_case _stays_ 2 * 3", "snake_case stays 2 * 3"),
        ("hi 👍🏽 👩‍👩‍👧 ❤️ 🇩🇪 1️⃣ there", "hi 1 there"),
        ("一\n二", "一，二"),
        ("！好的", "好的"),
        ("...and then", "and then"),
        ("  a\t b\r\nc ", "a b, c"),
        ("🎉", ""),
        ("**", ""),
    ],
)
def test_markup(text, plain):
    assert strip_markup(text) == plain


def test_disabled(normalize):
    assert Normalizer(enabled=False)(" **5**\n dogs  😀 ") == "**5** dogs 😀"


def test_rules_are_loaded_once(normalize):
    normalize.load()
    before = dict(normalize._rules)
    normalize("2 二"), normalize("two")
    assert normalize._rules == before and set(before) == {"en", "zh"}


def test_a_failure_is_logged_without_the_text(caplog):
    def broken(text):
        raise RuntimeError("secret")

    normalize = Normalizer()
    normalize._rules["zh"] = broken
    with caplog.at_level(logging.WARNING):
        assert normalize(" **秘密** 5 ") == "秘密 5"
    assert [record.getMessage() for record in caplog.records] == [
        "text of 10 characters is spoken as written: the normalizer failed on it"
    ]
    assert caplog.records[0].exc_info is None


NORMALIZE = Normalizer()
ODD = st.sampled_from([*"0159.,:/-+#%$€@&=*_\"'()[]|\\ \n中儿年月:", "No.", "p.m.", "\x00", "\ud800"])


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.lists(ODD, max_size=25).map("".join))
def test_never_raises(text):
    spoken = NORMALIZE(text)
    assert spoken == collapse_whitespace(spoken)
