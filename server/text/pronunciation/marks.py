"""Words with sounds inside a text for engines: `[tomato](/təˈmɑːtoʊ/)`, `[重](/zhong4/)`.

The notation is that of misaki, which the phonemizer of the packaged voices understands. Normalized text has no square
brackets of its own, so a mark is never mistaken.
"""

import re
from collections.abc import Collection

from intone.server.text.pronunciation.ipa import respelled
from intone.server.text.pronunciation.pinyin import homophones, plain_letters

MARK = re.compile(r"\[(?P<word>[^\[\]\n]{1,400})\]\(/(?P<sounds>[^()/\n]{1,400})/\)")
_NOT_IN_SOUNDS = re.compile(r"[()/\[\]\n]")
_PINYIN = re.compile(r"[a-z]+[1-5](?: [a-z]+[1-5])*")


def marked(word: str, sounds: str) -> str:
    """The mark for a word with its sounds."""
    return f"[{word}](/{_NOT_IN_SOUNDS.sub('', sounds)}/)"


def is_pinyin(sounds: str) -> bool:
    """Whether the sounds of a mark are pinyin, and not IPA."""
    return _PINYIN.fullmatch(sounds) is not None


def for_engine(text: str, alphabets: Collection[str], languages: Collection[str]) -> tuple[str, list[str]]:
    """`text` with the marks that an engine understands, other words in the nearest spelling, and warnings about these.

    Args:
        text: with marks.
        alphabets: what sounds the engine takes, of "ipa" and "pinyin".
        languages: of the engine, BCP 47 codes.
    """
    warnings: list[str] = []

    def replace(found: re.Match[str]) -> str:
        word, sounds = found["word"], found["sounds"]
        kind = "pinyin" if is_pinyin(sounds) else "ipa"
        if kind in alphabets:
            return found.group()
        spelled = _spelled(word, sounds, languages)
        warnings.append(f"{word!r} is said as it is spelled, {spelled!r}: the engine takes no {_NAMES[kind]}")
        return spelled

    plain = MARK.sub(replace, text)
    return plain, list(dict.fromkeys(warnings))


def spelled(text: str, languages: Collection[str] = ("en", "zh")) -> str:
    """`text` for an engine that takes no sounds."""
    return for_engine(text, (), languages)[0]


_NAMES = {"ipa": "IPA", "pinyin": "pinyin"}


def _spelled(word: str, sounds: str, languages: Collection[str]) -> str:
    if not is_pinyin(sounds):
        return respelled(sounds)
    return homophones(sounds) if "zh" in languages else plain_letters(sounds)
