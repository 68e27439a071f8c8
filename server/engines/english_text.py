"""Text for English phonemizers: readable characters, numbers, and words with their sounds."""

import re
import unicodedata

from intone.server.text.pronunciation.ipa import to_misaki
from intone.server.text.pronunciation.marks import MARK, for_engine, marked

_LONG_NUMBER = re.compile(r"\d[\d,]{14,}\d")  # read digit by digit: the phonemizer's numbers end at 10**36


def readable(character: str) -> bool:
    """Whether a character is read out: a Latin letter or an ASCII digit."""
    if character.isascii():
        return character.isalnum()
    return character.isalpha() and "LATIN" in unicodedata.name(character, "")


def plain_numbers(text: str) -> str:
    """`text` with numbers that the phonemizer can read: no superscript or circled digits, no very long ones."""
    plain = "".join(
        unicodedata.normalize("NFKC", character) if character.isdigit() and not character.isdecimal() else character
        for character in text
    )
    return _LONG_NUMBER.sub(lambda found: " ".join(found[0].replace(",", "")), plain)


def misaki_marks(text: str) -> str:
    """`text` with the sounds of its marked words in misaki's alphabet; words with pinyin are spelled."""
    text, _ = for_engine(text, ("ipa",), ("en",))
    return MARK.sub(lambda found: marked(found["word"], to_misaki(found["sounds"])), text)
