"""Pronunciation entries: a word, and how it is said; and single spans with a reading of their own, as SSML has them."""

import functools
import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from intone.server.text.characters import detect_language, has_cjk
from intone.server.text.pronunciation.ipa import check_ipa, to_misaki
from intone.server.text.pronunciation.pinyin import syllables

MAX_WORD_CHARACTERS = 128
"""Of the word, and of how it is said."""

_SIBILANTS = "szʃʒʧʤ"
_VOICELESS = "ptkfθ"
_POSSESSIVE = r"(?P<possessive>['’][sS](?!\w))?"


@dataclass(frozen=True, slots=True)
class Reading:
    """How a word or a span is said: one of `ipa`, `pinyin`, `spoken_as` and `say_as`.

    Attributes:
        ipa: IPA, or the phonemes of the packaged voices.
        pinyin: syllables with a tone each, "zhong4 yao4" or "zhòng yào".
        spoken_as: other words.
        say_as: class of SSML's `say-as`, as `interpret-as` has it: "digits", "date" …
        format: of `say-as`; may be empty.
    """

    ipa: str = ""
    pinyin: str = ""
    spoken_as: str = ""
    say_as: str = ""
    format: str = ""

    @property
    def sounds(self) -> str:
        """Sounds as engines are given them: IPA, or syllables with tone digits; empty for other words."""
        return self.ipa or " ".join(syllables(self.pinyin)) if self.ipa or self.pinyin else ""


@dataclass(frozen=True, slots=True)
class SpanReading:
    """`text[start:end]` has a reading of its own."""

    start: int
    end: int
    reading: Reading

    def shifted(self, by: int) -> "SpanReading":
        """The same in a text that has `by` more characters before it."""
        return SpanReading(self.start + by, self.end + by, self.reading)


@dataclass(frozen=True, slots=True)
class Pronunciation:
    """An entry of a conversation's pronunciation list.

    Attributes:
        word: found as a whole word; in capitals only where it is written in capitals, else in any case. A possessive 's
            may follow. Other inflections are entries of their own.
        ipa, pinyin, spoken_as: how it is said, in sounds or in other words: one of them.
        language: BCP 47 code; the entry is not used in conversations in another language, unless the word is written
            in its script. Empty: in every language.
    """

    word: str
    ipa: str | None = None
    pinyin: str | None = None
    spoken_as: str | None = None
    language: str = ""

    @property
    def reading(self) -> Reading:
        """How the word is said."""
        return Reading(self.ipa or "", self.pinyin or "", self.spoken_as or "")


def check_pronunciation(entry: Pronunciation) -> None:
    """Refuse an entry that cannot be used.

    Raises:
        ValueError: with the attribute and the fault.
    """
    if not any(character.isalnum() for character in entry.word):
        raise ValueError(f"word: {entry.word!r} has no letter and no digit")
    for name in ("word", "ipa", "pinyin", "spoken_as"):
        value = getattr(entry, name) or ""
        if len(value) > MAX_WORD_CHARACTERS:
            raise ValueError(f"{name}: {len(value)} characters; at most {MAX_WORD_CHARACTERS} are accepted")
    given = [name for name in ("ipa", "pinyin", "spoken_as") if getattr(entry, name)]
    if len(given) != 1:
        raise ValueError(f"{' and '.join(given) or 'none'} of ipa, pinyin and spoken_as is set: expected one")
    _check_sounds("ipa", entry.ipa or "")
    _check_sounds("pinyin", entry.pinyin or "")


def _check_sounds(name: str, value: str) -> None:
    if not value:
        return
    try:
        check_ipa(value) if name == "ipa" else syllables(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def may_occur(text: str, entries: Sequence[Pronunciation]) -> tuple[Pronunciation, ...]:
    """The entries whose word may occur in a text that was not cleaned yet. Cheap: most texts have few of many words."""
    plain = _letters(html.unescape(text))
    return tuple(entry for entry in entries if _letters_of_word(entry.word) in plain)


def _letters(text: str) -> str:
    """Letters and digits alone: markup and invisible characters may stand between those of a word."""
    return "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold()))


_letters_of_word = functools.lru_cache(maxsize=4096)(_letters)


def find_pronunciations(
    text: str, entries: Sequence[Pronunciation], language: str = ""
) -> Iterator[tuple[int, int, Reading]]:
    """Start, end and reading of the words of `text` that have an entry, in order; the longest entry wins."""
    usable = {_key(entry.word): entry for entry in reversed(entries) if _applies(entry, language)}
    if not usable:
        return
    for found in _pattern(tuple(usable)).finditer(text):
        entry = usable.get(found["word"]) or usable.get(found["word"].casefold())
        if entry is not None:
            yield found.start(), found.end(), _possessive(entry.reading, found["possessive"] or "")


def _key(word: str) -> str:
    return word if word.isupper() and len(word) > 1 else word.casefold()


def _pattern(keys: tuple[str, ...]) -> re.Pattern[str]:
    ordered = sorted(keys, key=lambda key: (-len(key), key))
    parts = [re.escape(key) if key.isupper() and len(key) > 1 else f"(?i:{re.escape(key)})" for key in ordered]
    bounded = [
        part if has_cjk(key[0]) else rf"(?<![A-Za-z0-9_]){part}" for part, key in zip(parts, ordered, strict=True)
    ]
    bounded = [
        part if has_cjk(key[-1]) else rf"{part}(?![A-Za-z0-9_])" for part, key in zip(bounded, ordered, strict=True)
    ]
    return re.compile(f"(?P<word>{'|'.join(bounded)}){_POSSESSIVE}")


def _applies(entry: Pronunciation, language: str) -> bool:
    own, spoken = entry.language.split("-")[0].lower(), language.split("-")[0].lower()
    return not own or not spoken or own == spoken or own == detect_language(entry.word)


def _possessive(reading: Reading, suffix: str) -> Reading:
    if not suffix:
        return reading
    if not reading.ipa:
        return replace(reading, spoken_as=f"{reading.spoken_as}'s" if reading.spoken_as else "")
    last = to_misaki(reading.ipa)[-1:]
    sound = "ɪz" if last in _SIBILANTS else "s" if last in _VOICELESS else "z"
    return replace(reading, ipa=reading.ipa.rstrip("/]") + sound)
