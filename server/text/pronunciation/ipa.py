"""IPA to the phonemes of the packaged voices, and to a spelling for engines that read letters only.

The packaged voices use the American English alphabet of misaki (https://github.com/hexgrad/misaki, EN_PHONES.md):
one character per phoneme, stress marks before the vowel, capitals for diphthongs.
"""

import re
import unicodedata

from intone.server.text.patterns import alternatives

_MISAKI = {
    "t͡ʃ": "ʧ", "tʃ": "ʧ", "d͡ʒ": "ʤ", "dʒ": "ʤ", "t͡s": "ts", "d͡z": "dz",
    "eɪ": "A", "aɪ": "I", "oʊ": "O", "əʊ": "O", "aʊ": "W", "ɔɪ": "Y", "ɪə": "ɪɹ", "eə": "ɛɹ", "ʊə": "ʊɹ",
    "ei": "A", "ai": "I", "ou": "O", "au": "W", "ɔi": "Y",
    "ɜːr": "ɜɹ", "ɜːɹ": "ɜɹ", "ɜr": "ɜɹ", "ɜɹ": "ɜɹ", "ɜː": "ɜɹ", "ɜ": "ɜɹ", "ɝː": "ɜɹ", "ɝ": "ɜɹ", "ɚ": "əɹ",
    "l̩": "ᵊl", "n̩": "ᵊn", "m̩": "ᵊm", "ɹ̩": "əɹ", "r̩": "əɹ",
    "r": "ɹ", "ɻ": "ɹ", "ʁ": "ɹ", "ʀ": "ɹ", "ɽ": "ɹ", "g": "ɡ", "ɣ": "ɡ", "ɢ": "ɡ", "ɫ": "l", "ɭ": "l", "ʎ": "lj",
    "ɾ": "T", "ʈ": "t", "ɖ": "d", "ɲ": "nj", "ɳ": "n", "ɱ": "m", "ʍ": "w", "ʋ": "v", "β": "v", "ɸ": "f", "x": "k",
    "χ": "k", "q": "k", "c": "k", "ç": "h", "ħ": "h", "ɦ": "h", "ɕ": "ʃ", "ʂ": "ʃ", "ʑ": "ʒ", "ʐ": "ʒ", "ɟ": "ʤ",
    "e": "ɛ", "a": "ɑ", "o": "O", "ɒ": "ɑ", "ɐ": "ʌ", "ɨ": "ᵻ", "ʉ": "u", "ɯ": "u", "ɤ": "ʌ", "ɵ": "ə", "ɘ": "ə",
    "y": "u", "ʏ": "ʊ", "ø": "ɜ", "œ": "ɜ", "ʔ": "",
}  # fmt: skip
"""Phonemes of IPA that misaki writes differently, or that English lacks: the nearest one."""

_SAME = frozenset("bdfhjklmnpstvwziuæðŋɑɔəɛɡɪɹʃʊʌʒʤʧθᵊᵻ" + "AIOWYT")
_MARKS = frozenset("ˈˌ")
_IGNORED = frozenset("ːˑ.‿|‖ʰʲʷˠˤʼ˞͜͡ˀⁿˡ()-/[] ’'")
_PHONEME = re.compile(alternatives(_MISAKI) + "|.", re.DOTALL)
_VOWELS = "AIOWYaeiouæɑɔəɛɜɪʊʌᵊᵻ"
_STRESS = re.compile(rf"([ˈˌ])([^{_VOWELS}ˈˌ]*)(?=[{_VOWELS}])")
_SYLLABLE = re.compile(rf"[^{_VOWELS}]*?(?:[^{_VOWELS}]?[{_VOWELS}]ɹ?|$)(?:[^{_VOWELS}]*$)?")

_LETTERS = {
    "A": "ay", "I": "igh", "O": "oh", "W": "ow", "Y": "oy", "i": "ee", "u": "oo", "æ": "a", "ɑ": "ah", "ɔ": "aw",
    "ə": "uh", "ɛ": "eh", "ɜ": "u", "ɪ": "ih", "ʊ": "oo", "ʌ": "uh", "ᵊ": "u", "ᵻ": "ih", "ð": "th", "ŋ": "ng",
    "ɡ": "g",
    "ɹ": "r", "ʃ": "sh", "ʒ": "zh", "ʤ": "j", "ʧ": "ch", "θ": "th", "j": "y", "T": "t", "əɹ": "er", "ɑɹ": "ar",
    "ɔɹ": "or", "ks": "x", "ɡz": "gz",
}  # fmt: skip
"""A respelling key for readers of English, as dictionaries use."""

_LETTER = re.compile(alternatives(_LETTERS) + "|.", re.DOTALL)


def check_ipa(ipa: str) -> None:
    """Refuse what is not IPA.

    Raises:
        ValueError: a character is no symbol of IPA (nor one of the packaged voices' phonemes), named with its position;
            or nothing in it sounds.
    """
    for position, character in enumerate(unicodedata.normalize("NFD", ipa)):
        known = character in _SAME | _MARKS | _IGNORED or character in _MISAKI or unicodedata.combining(character)
        if not known:
            raise ValueError(f"{character!r} (U+{ord(character):04X}) at character {position} is no symbol of IPA")
    if not to_misaki(ipa):
        raise ValueError("there is no vowel and no consonant in it")


def to_misaki(ipa: str) -> str:
    """The phonemes of the packaged voices for a word in IPA, which may already be written in them."""
    composed = unicodedata.normalize("NFD", ipa.replace("ɚ", "əɹ"))
    phonemes = "".join(_phoneme(found.group()) for found in _PHONEME.finditer(composed))
    phonemes = _STRESS.sub(r"\2\1", phonemes).strip("ˈˌ")
    if "ˈ" not in phonemes and sum(character in _VOWELS for character in phonemes) > 0:
        phonemes = re.sub(f"([{_VOWELS}])", r"ˈ\1", phonemes, count=1)
    return re.sub("ɜɹɹ", "ɜɹ", phonemes)


def _phoneme(symbol: str) -> str:
    if symbol in _MISAKI:
        return _MISAKI[symbol]
    return symbol if symbol in _SAME | _MARKS else ""


def respelled(ipa: str) -> str:
    """English letters that are read nearly as `ipa` sounds: "nˈIki" is "nigh-kee"."""
    plain = re.sub("[ˈˌ]", "", to_misaki(ipa))
    syllables = [found.group() for found in _SYLLABLE.finditer(plain) if found.group()]
    return "-".join("".join(_LETTERS.get(part, part) for part in _LETTER.findall(syllable)) for syllable in syllables)
