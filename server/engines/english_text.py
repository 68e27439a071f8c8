"""Text for English phonemizers: readable characters, numbers, and words with their sounds."""

import re
import unicodedata

from intone.server.text.pronunciation.ipa import to_misaki
from intone.server.text.pronunciation.marks import MARK, for_engine, marked

MAX_PARTS_CHARACTERS, MAX_WORD_CHARACTERS = 24, 60
"""Longest run without blanks that the phonemizer gets: of mixed characters, and of letters alone."""

_LONG_RUN = re.compile(rf"\S{{{MAX_PARTS_CHARACTERS + 1},}}")
_PARTS = re.compile(rf".{{1,{MAX_PARTS_CHARACTERS}}}(?<=\W)|.{{1,{MAX_PARTS_CHARACTERS}}}")
_SAME_SYMBOL = re.compile(r"([^\w\s])\1{3,}")
_LONG_NUMBER = re.compile(r"\d[\d,]{14,}\d")  # read digit by digit: the phonemizer's numbers end at 10**36


def readable(character: str) -> bool:
    """Whether a character is read out: a Latin letter or an ASCII digit."""
    if character.isascii():
        return character.isalnum()
    return character.isalpha() and "LATIN" in unicodedata.name(character, "")


def plain_text(text: str) -> str:
    """`text` as the phonemizer can read it in little time, its marked words in misaki's alphabet."""
    parts, position = [], 0
    for mark in [*MARK.finditer(text), None]:
        parts.append(_short_runs(_plain_numbers(text[position : mark.start() if mark else None])))
        if mark is not None:
            parts.append(mark.group())
            position = mark.end()
    return misaki_marks("".join(parts))


def _short_runs(text: str) -> str:
    """`text` without long runs: the phonemizer's time is cubic in the parts of a run without blanks.

    It also fails on a letter whose lower case is two characters, such as İ: that loses its mark.
    """
    single = "".join(one if len(one.lower()) == 1 else unicodedata.normalize("NFD", one)[0] for one in text)
    return _LONG_RUN.sub(_parts, _SAME_SYMBOL.sub(r"\1", single))


def _parts(found: re.Match[str]) -> str:
    run = found.group()
    return run if run.isalpha() and len(run) <= MAX_WORD_CHARACTERS else " ".join(_PARTS.findall(run))


def _plain_numbers(text: str) -> str:
    """`text` with numbers that the phonemizer can read: no superscript or circled digits, no very long ones."""
    plain = "".join(
        str(unicodedata.digit(character)) if character.isdigit() and not character.isdecimal() else character
        for character in text
    )
    return _LONG_NUMBER.sub(lambda found: " ".join(found[0].replace(",", "")), plain)


def misaki_marks(text: str) -> str:
    """`text` with the sounds of its marked words in misaki's alphabet; words with pinyin are spelled."""
    text, _ = for_engine(text, ("ipa",), ("en",))
    return MARK.sub(lambda found: marked(found["word"], to_misaki(found["sounds"])), text)
