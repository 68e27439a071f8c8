"""Names of voices: any script, composed, short enough for a file; errors name the character."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intone.server.errors import CallerError, Reason
from intone.server.voices.voice_name import MAX_NAME_BYTES, check_name

VALID = ["a", "A.b-c_9", "x" * 64, "0", "é", "小明", "Анна", "हिन्दी", "٣", "Zoë-2", "龦" * 64, "ß", "ﬁ"]


@pytest.mark.parametrize("name", VALID)
def test_valid_names(name):
    assert check_name(name) == unicodedata.normalize("NFC", name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", r"U\+002E \(full stop\) at character 0"),
        (".hidden", r"U\+002E"),
        ("..", r"U\+002E"),
        ("-a", r"U\+002D \(hyphen-minus\) at character 0"),
        ("_a", r"U\+005F"),
        ("my voice", r"U\+0020 \(space\) at character 2"),
        ("a/b", r"U\+002F \(solidus\) at character 1"),
        ("a\\b", r"U\+005C"),
        ("a:b", r"U\+003A"),
        ("a\n", r"U\+000A at character 1"),
        ("a\0", r"U\+0000"),
        ("a\u200b", r"U\+200B \(zero width space\)"),
        ("a\u202eb", r"U\+202E"),
        ("a\ud800", r"U\+D800"),
        ("😀", r"U\+1F600 \(grinning face\)"),
        ("½", r"U\+00BD"),
        ("\u0301a", r"U\+0301 \(combining acute accent\) at character 0"),
        ("x" * 65, "has 65 characters; a voice's name is 1 to 64"),
        ("\u0958" * 64, "has 128 characters"),  # composed, each is two
        ("\U00020000" * 64, "has 256 bytes of UTF-8; .* at most 192"),
    ],
)
def test_invalid_names(name, message):
    with pytest.raises(CallerError, match=f"^voice: {message}") as caught:
        check_name(name, "voice")
    assert caught.value.reason is Reason.VALUE_INVALID


def test_a_missing_name():
    with pytest.raises(CallerError, match="^voice: is empty") as caught:
        check_name("", "voice")
    assert caught.value.reason is Reason.VALUE_MISSING


@given(st.text(max_size=70))
def test_what_is_accepted_is_stable_and_fits_a_file(name):
    try:
        checked = check_name(name)
    except CallerError:
        return
    assert check_name(checked) == checked
    assert len(checked) <= 64 and len(checked.encode()) <= MAX_NAME_BYTES
    assert not set(checked) & set("/\\:\0\n ") and not checked.startswith(".")
