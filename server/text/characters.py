"""Properties of characters and texts: accepted input, language, whether and how long it sounds, graphemes."""

import re
import unicodedata

from intone.server.errors import CallerError, Reason

CJK = "\u2e80-\u2fdf\u3005-\u3007\u3040-\u30ff\u31c0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
"""Ranges of ideographs and kana, scripts written without spaces. For use inside `[...]` of a regular expression."""

_CJK = re.compile(f"[{CJK}]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]")
_REFUSED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_REGIONAL_INDICATORS = re.compile("(?<![\U0001f1e6-\U0001f1ff])[\U0001f1e6-\U0001f1ff]*$")
_ZERO_WIDTH_JOINER = "\u200d"


def has_cjk(text: str) -> bool:
    """Whether `text` has an ideograph or kana."""
    return _CJK.search(text) is not None


def detect_language(text: str) -> str:
    """BCP 47 code of the language of `text`: "zh" if it has an ideograph or kana, else "en"."""
    return "zh" if has_cjk(text) else "en"


def languages_of(text: str, language: str = "") -> tuple[str, ...]:
    """The languages that an engine has to speak for `text`, the main one first.

    Args:
        text: in scripts that tell "zh" (ideographs and kana) from "en" (Latin letters).
        language: the main language where it is known, as `primary_language` gives it.
    """
    main = language or detect_language(text)
    found = [main]
    if has_cjk(text):
        found += ["zh", *(["en"] if _LATIN.search(text) else [])]
    return tuple(dict.fromkeys(found))


def primary_language(code: str) -> str:
    """The language of a BCP 47 code, without script and region: "zh" for "zh-Hant-TW"."""
    return code.partition("-")[0].lower()


def is_speakable(text: str) -> bool:
    """Whether `text` has a letter or digit of any script."""
    return any(character.isalnum() for character in text)


def spoken_length(text: str) -> int:
    """Approximate duration of `text` in Latin characters: an ideograph or kana counts two, anything else one."""
    return len(text) + sum(1 for _ in _CJK.finditer(text))


def check_text(text: str, field: str, max_characters: int) -> None:
    """Refuse text that is too long or has invalid characters.

    Raises:
        CallerError: `text` has over `max_characters` code points (TOO_LARGE), or has a lone surrogate or a control
            character other than tab, line feed and carriage return (INVALID, with the character and its position).
    """
    if len(text) > max_characters:
        raise CallerError(
            field,
            f"{len(text)} characters; at most {max_characters} are accepted",
            Reason.TEXT_TOO_LONG,
            limit=max_characters,
        )
    found = _REFUSED.search(text)
    if found:
        kind = "a lone surrogate" if "\ud800" <= found.group() <= "\udfff" else "a control character"
        raise CallerError(
            field, f"U+{ord(found.group()):04X} at character {found.start()} is {kind}", Reason.TEXT_INVALID
        )


def splits_grapheme(text: str, position: int) -> bool:
    """Whether a cut at `position` splits a grapheme, which readers see as one character. False at both ends.

    Covers combining marks, variation selectors, emoji modifiers, joined emoji and flags.
    """
    if not 0 < position < len(text):
        return False
    before, after = text[position - 1], text[position]
    if before == _ZERO_WIDTH_JOINER or after == _ZERO_WIDTH_JOINER or unicodedata.category(after).startswith("M"):
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or (before == "\r" and after == "\n"):
        return True
    flags = _REGIONAL_INDICATORS.search(text[:position])
    return "\U0001f1e6" <= after <= "\U0001f1ff" and flags is not None and len(flags.group()) % 2 == 1
