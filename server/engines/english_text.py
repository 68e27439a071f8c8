"""What an English lexicon of sounds can read: which characters, which numbers. Pure; knows no engine."""

import re
import unicodedata

_LONG_NUMBER = re.compile(r"\d[\d,]{14,}\d")  # read digit by digit: the lexicon's numbers end at 10**36


def readable(character: str) -> bool:
    """Whether it is read out: a Latin letter or an ASCII digit."""
    if character.isascii():
        return character.isalnum()
    return character.isalpha() and "LATIN" in unicodedata.name(character, "")


def plain_numbers(text: str) -> str:
    """`text` with numbers that the lexicon can read: no raised or circled digits, none of endless length."""
    plain = "".join(
        unicodedata.normalize("NFKC", character) if character.isdigit() and not character.isdecimal() else character
        for character in text
    )
    return _LONG_NUMBER.sub(lambda found: " ".join(found[0].replace(",", "")), plain)
