"""Pinyin with tones: syllables, and characters that sound like them."""

import functools
import re
import unicodedata
from pathlib import Path

from intone.server.text.tsv import read_rows

_TONES = {"\u0304": "1", "\u0301": "2", "\u030c": "3", "\u0300": "4"}
_DIAERESIS = "\u0308"
_NUMBERED = re.compile(r"(?<![a-zü:])[a-zü:]+[0-5]", re.IGNORECASE)


def syllables(pinyin: str) -> list[str]:
    """Syllables with the tone as a digit, 5 for the neutral one, v for ü: "zhòng yào" and "zhong4yao4" alike.

    Raises:
        ValueError: a syllable does not exist or has no tone; names it. Blanks separate syllables with tone marks.
    """
    found = []
    for word in re.split(r"[\s'’-]+", pinyin.strip()):
        if not word:
            continue
        parts = _NUMBERED.findall(word) if word[-1].isdigit() else [_numbered(word)]
        if word[-1].isdigit() and "".join(parts) != word:
            raise ValueError(f"{word!r} is no sequence of syllables with a tone from 1 to 5 after each")
        found += [_checked(part) for part in parts]
    if not found:
        raise ValueError("there is no syllable in it")
    return found


def homophones(pinyin: str) -> str:
    """Common characters that sound like `pinyin`, one for each syllable; raises what `syllables` raises."""
    table = _characters()
    return "".join(table.get(syllable) or table[_any_tone(syllable)] for syllable in syllables(pinyin))


def plain_letters(pinyin: str) -> str:
    """The syllables without tones, for voices that read Latin letters only."""
    return " ".join(syllable[:-1].replace("v", "u") for syllable in syllables(pinyin))


def _numbered(syllable: str) -> str:
    """ "zhòng" to "zhong4"; neutral without a mark."""
    letters: list[str] = []
    tone = "5"
    for character in unicodedata.normalize("NFD", syllable):
        if character in _TONES:
            tone = _TONES[character]
        elif character == _DIAERESIS and letters and letters[-1] == "u":
            letters[-1] = "v"
        else:
            letters.append(character)
    return "".join(letters) + tone


def _checked(syllable: str) -> str:
    plain = syllable.lower().replace("u:", "v").replace("ü", "v").replace("0", "5")
    if plain[:-1] not in _bases():
        raise ValueError(f"{syllable!r} is no syllable of Mandarin with a tone")
    return plain


def _any_tone(syllable: str) -> str:
    return next(name for name in _characters() if name[:-1] == syllable[:-1])


@functools.cache
def _characters() -> dict[str, str]:
    rows = read_rows(Path(__file__).parent / "data" / "pinyin.tsv", ("syllable", "character"))
    return {syllable: character for _, (syllable, character) in rows}


@functools.cache
def _bases() -> frozenset[str]:
    return frozenset(name[:-1] for name in _characters())
