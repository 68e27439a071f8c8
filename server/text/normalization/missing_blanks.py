"""Blanks that are missing behind a mark: "OK.No problem.", "It costs 5.Then we go.", "Hi,Bob"."""

import re

from intone.server.text.normalization.tables import words
from intone.server.text.spans import SpannedText

_WORD = r"(?:[A-Z][a-z']+|I['’]\w+|[IA])(?=[\s,;:!?]|\.(?:\s|\Z)|\Z)"
_STOP = re.compile(
    r"(?<=[a-z]{2})[.!?](?=[A-Z][a-z'])|(?<=[A-Z]{2})[.!?](?=[A-Z][a-z])|(?<=[a-z])[!?](?=[A-Za-z])"
    rf"|(?<=[a-z]{{2}})[.!?](?=[“‘(]?{_WORD})"
    rf"|(?<=[0-9%°)\]”’'\"])[.!?](?=[“‘(]?{_WORD})"
    rf"|(?<=\.[A-Za-z])\.(?={_WORD})"
    rf"|(?<=[.!?])[”’)](?={_WORD})"
    r"|(?<=[!?])[!?](?=[A-Za-z])"
    r"|(?<=[a-z]{2})[,;](?=[A-Za-z]{2})"
)
_INSIDE = re.compile("[.!?,;)”’][A-Za-z“‘(]")
"""What every place has that `_STOP` matches; most texts have none."""

_MAX_WORD = 60
_INITIALS = re.compile(r"(?:[A-Za-z]{1,2}\.)+[A-Za-z]")
_ADDRESS = re.compile(r"[/@\\]|www\.")
_ADDRESS_GOES_ON = re.compile(r"\w+(?:[(_/@]|\.[a-z])")
_NEXT = re.compile(r"[A-Za-z]+")


def with_blanks(text: SpannedText) -> SpannedText:
    """`text` with a blank between a mark and the word right behind it, except inside of addresses and names."""
    return text.sub(_STOP, _with_blank) if _INSIDE.search(text.text) else text


def _with_blank(found: re.Match[str]) -> str | None:
    mark, text = found.group(), found.string
    before = text[max(0, found.start() - _MAX_WORD) : found.start()]
    word = before[before.rfind(" ") + 1 :]
    ends = mark in "”’)" or (_ends(word, mark) and not (mark == "." and _goes_on(text, found.end())))
    return mark + " " if ends else None


def _ends(word: str, mark: str) -> bool:
    """Whether a word or an address ends before the mark, which may also be a part of it."""
    if "." not in word:
        return not _ADDRESS.search(word)
    number = word.rstrip("%°)]”’").replace(".", "").replace(",", "").lstrip("$€£¥(").isdigit()
    ends_host = mark == "." and "/" not in word and word.rpartition(".")[2].lower() in words("top_level_domains")
    return number or ends_host or _INITIALS.fullmatch(word) is not None


def _goes_on(text: str, start: int) -> bool:
    """Whether the name of a host, a file or a function goes on there."""
    following = _NEXT.match(text, start)
    name = following.group().lower() if following else ""
    is_host = name in words("top_level_domains") and name not in words("short_words")
    return is_host or _ADDRESS_GOES_ON.match(text, start) is not None
