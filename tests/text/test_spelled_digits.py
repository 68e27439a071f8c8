"""Numbers that are read digit by digit: telephone numbers of several countries, emergency numbers, ids; and others."""

import pytest

from intone.server.text.spelled_digits import spell_digits

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
DIGITS = {"plus": "+", **{word: str(digit) for digit, word in enumerate(WORDS)}}


def as_digits(spoken):
    """Spelled digits as digits again: "plus four four, two zero" gives "+44,20"."""
    return ",".join("".join(DIGITS[word] for word in part.split()) for part in spoken.split(", "))


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("555-1234", "555,1234"),
        ("(212) 555-0199", "212,555,0199"),
        ("(212)555-0199", "212,555,0199"),
        ("212-555-0199", "212,555,0199"),
        ("212.555.0199", "212,555,0199"),
        ("800 555 1234", "800,555,1234"),
        ("+1 555 123 4567", "+1,555,123,4567"),
        ("+1 (212) 555-0199", "+1,212,555,0199"),
        ("+44 20 7946 0958", "+44,20,7946,0958"),
        ("+49 30 901820", "+49,30,901820"),
        ("+15551234567", "+1555,1234,567"),
        ("020 7946 0958", "020,7946,0958"),
        ("0171 1234567", "0171,1234567"),
        ("06 12 34 56 78", "06,12,34,56,78"),
        ("2125550199", "212,555,0199"),
        ("4111111111111111", "4111,1111,1111,1111"),
    ],
)
def test_telephone_numbers_and_ids(text, groups):
    spoken = spell_digits(text, chinese=False)
    assert as_digits(spoken) == groups
    assert spell_digits(f"It is {text}, or {text}.", chinese=False) == f"It is {spoken}, or {spoken}."


@pytest.mark.parametrize(
    "text",
    [
        "500-1000",
        "100-2000",
        "1990-1995",
        "2024-05-06",
        "05-06-2024",
        "3-2",
        "1,234,567",
        "1234567",
        "5000000000",
        "$2125550199",
        "2125550199.5",
        "2125550199%",
        "3.1415926535897",
        "192.168.100.2000",
        "v212-555-0199",
        "12:30",
        "+5 degrees",
        "call 911.5",
        "911 people",
        "call 100 people",
        "打110个电话",
    ],
)
def test_other_numbers_are_not_changed(text):
    assert spell_digits(text, chinese=False) == text


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Call 911!", "Call nine one one!"),
        ("dial 112, now", "dial one one two, now"),
        ("call 911.", "call nine one one."),
    ],
)
def test_emergency_calls(text, spoken):
    assert spell_digits(text, chinese=False) == spoken


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("电话010-12345678。", "电话零幺零幺二三四五六七八。"),
        ("手机13800138000", "手机幺三八零零幺三八零零零"),
        ("打+86 138 0013 8000吧", "打加八六幺三八零零幺三八零零零吧"),
        ("电话 (010) 6888 8888", "电话 零幺零六八八八八八八八"),
        ("请拨打110", "请拨打幺幺零"),
        ("打120个字", "打120个字"),
        ("共1234567人", "共1234567人"),
    ],
)
def test_chinese(text, spoken):
    assert spell_digits(text, chinese=True) == spoken
