"""Words in capitals: shouted words become ordinary ones, initialisms stay."""

import re

from intone.server.text.normalization.tables import words as word_list

_EMPHASIZED = frozenset(word_list("emphasized"))
_INITIALISMS = frozenset(word_list("initialisms"))
_ALSO_WORDS = frozenset(("US", "IT", "WHO", "PIN"))
_KEPT = (_INITIALISMS - _ALSO_WORDS) | {"I"}
_SENTENCE_START = re.compile(r"(?:^|[.!?。！？]\s{0,3})$")
_WORD = re.compile(r"(?<![\w.'-])[A-Z][A-Z']*[A-Z](?![\w'-])|(?<![\w.'-])[AI](?![\w'.-])")
_RUN = re.compile(r"(?<![\w.'-])[A-Z']+(?:[ ,;:-]{1,2}[A-Z']+){2,}(?![\w'-])")


def find_shouted(text: str) -> list[tuple[int, int, str]]:
    """Start, end and ordinary spelling of the words that are in capitals for emphasis."""
    found: dict[int, tuple[int, int, str]] = {}
    for run in _RUN.finditer(text):
        words = re.findall(r"[A-Z']+", run.group())
        if sum(len(word) > 2 for word in words) < 2 or sum(word in _KEPT for word in words) > len(words) // 2:
            continue
        for word in _WORD.finditer(text, run.start(), run.end()):
            if word.group() not in _KEPT:
                found[word.start()] = (word.start(), word.end(), word.group().lower())
    for word in _WORD.finditer(text):
        if word.group() in _EMPHASIZED and word.start() not in found:
            found[word.start()] = (word.start(), word.end(), word.group().lower())
    return [
        (start, end, word.capitalize() if _SENTENCE_START.search(text[max(0, start - 4) : start]) else word)
        for start, end, word in sorted(found.values())
    ]
