"""Words in capitals: shouted words become ordinary ones, initialisms stay."""

import re

from intone.server.text.normalization.tables import words as word_list

_WORDS = frozenset(word_list("words"))
_SHORT_WORDS = frozenset(word_list("short_words"))
_INITIALISMS = frozenset(word_list("initialisms"))
_ALSO_WORDS = frozenset(("US", "IT", "WHO", "PIN", "AM", "AD", "ALL"))
_KEPT = (_INITIALISMS - _ALSO_WORDS) | {"I"}
_AMBIGUOUS = frozenset(("US", "IT", "WHO", "PIN", "AM", "AD", "PM", "OR", "IN", "ID", "OK", "ME", "HI", "OH", "PA"))
"""Short words that are shouted in a run of capitals only."""

_SUFFIXES = (
    ("s", ("",)), ("es", ("",)), ("ies", ("y",)), ("ed", ("", "e")), ("ied", ("y",)), ("ing", ("", "e")), ("ly", ("",)),
    ("er", ("", "e")), ("ers", ("", "e")), ("est", ("", "e")), ("'s", ("",)),
)  # fmt: skip
"""Endings of inflected words, and what stands in their place in the word itself."""

_SENTENCE_START = re.compile(r"(?:^|[.!?。！？][\"'”’]?\s{0,3})[\"'“‘(]?$")
_WORD = re.compile(r"(?<![\w.'&-])[A-Z][A-Z']*[A-Z](?![\w'&])(?!-[A-Z]?\d)|(?<![\w.'-])[AI](?![\w'.-])")
_RUN = re.compile(r"(?<![\w.'-])[A-Z']+(?:[ ,;:!-]{1,2}[A-Z']+)+(?![\w'-])")
_PARTS = re.compile(r"[A-Z']+")


def find_shouted(text: str) -> list[tuple[int, int, str]]:
    """Start, end and ordinary spelling of the words that are in capitals for emphasis."""
    found: dict[int, tuple[int, int, str]] = {}
    for run in _RUN.finditer(text):
        words = _PARTS.findall(run.group())
        common = sum(_is_word(word) or word in _AMBIGUOUS for word in words)
        if common < 2 or 2 * common < len(words) or not any(_is_word(word) and len(word) > 1 for word in words):
            continue
        for word in _WORD.finditer(text, run.start(), run.end()):
            if word.group() not in _KEPT:
                found[word.start()] = (word.start(), word.end(), word.group().lower())
    for word in _WORD.finditer(text):
        if word.start() not in found and len(word.group()) > 1 and _is_word(word.group()):
            found[word.start()] = (word.start(), word.end(), word.group().lower())
    return [
        (start, end, word.capitalize() if _SENTENCE_START.search(text[max(0, start - 6) : start]) else word)
        for start, end, word in sorted(found.values())
    ]


def _is_word(word: str) -> bool:
    plain = word.lower().strip("'")
    if word in _INITIALISMS or word in _AMBIGUOUS:
        return False
    if plain in _WORDS or plain in _SHORT_WORDS:
        return True
    return any(
        plain.endswith(suffix) and any(plain[: -len(suffix)] + end in _WORDS for end in ends)
        for suffix, ends in _SUFFIXES
    )
