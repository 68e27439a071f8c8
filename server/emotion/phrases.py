"""Text → tokens, and the longest entry of a table at each of them. Knows no emotions and no grammar.

A token is a Latin word, one ideograph, one emoji or emoticon, or a run of marks; tables of entries are walked token by
token, so an entry may be a word, several words, or a piece of a text written without spaces.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

from intone.server.text.characters import CJK

T = TypeVar("T")

_TOKEN = re.compile(
    rf"(?P<word>[^\W\d_{CJK}]+(?:'[^\W\d_{CJK}]+)*)|(?P<ideograph>[{CJK}])"
    r"|(?P<ask>[!?！？‽⁉‼]+)|(?P<trail>\.{3,}|…+|。{2,})"
    r"|(?P<face>[:;=]-?'?[()DPpoO](?!\w)|:'\(|\^[_.o]?\^|>[_.]+<|<3|[\u2600-\u27bf\U0001f000-\U0001faff])"
    r"|(?P<stop>[.。\n])|(?P<pause>[,，;；:：、—–])|(?P<open>[《])|(?P<close>[》])|(?P<digits>\d+)"
)
_STRETCH = re.compile(r"(.)\1{2,}")
_NO_MARKS = str.maketrans({"’": "'", "‘": "'", "\ufe0f": None, "\u200d": None})
_ENDINGS = ("", "s", "es", "ed", "ing", "ly", "er", "est", "ingly", "edly")


class Kind(Enum):
    """What a token is."""

    WORD = "word"
    IDEOGRAPH = "ideograph"
    ASK = "ask"  # a run of exclamation and question marks
    TRAIL = "trail"  # dots that trail off
    FACE = "face"
    STOP = "stop"
    PAUSE = "pause"
    OPEN = "open"  # of a title
    CLOSE = "close"
    DIGITS = "digits"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text.

    Attributes:
        key: how tables spell it: lower case, without stretched letters.
        capitals: a word of three letters or more, all of them capitals.
        name: a word that begins with a capital and goes on in small letters.
        stretched: it has a letter three times running.
    """

    kind: Kind
    key: str
    capitals: bool = False
    name: bool = False
    stretched: bool = False


_KINDS = {kind.value: kind for kind in Kind}


class Table(Generic[T]):
    """Entries of any length with a value each; a later entry replaces an equal earlier one.

    Args:
        entries: text of an entry → its value. A `~` after the last word adds its English inflections.
        characters: replaced before a text is read, as in `str.translate`.
    """

    def __init__(self, entries: Mapping[str, T], characters: Mapping[int, str] | None = None) -> None:
        self._characters: dict[int, int | str | None] = {**_NO_MARKS, **(characters or {})}
        self._root: dict[str, Any] = {}
        self._words: set[str] = set()
        for entry, value in entries.items():
            for form in inflections(entry):
                self._add(form, value)

    def plain(self, text: str) -> str:
        """`text` with the characters that tables are written in."""
        return text.translate(self._characters)

    def tokens(self, text: str) -> list[Token]:
        """The tokens of `text`; what is none of the kinds is passed over."""
        found = []
        for match in _TOKEN.finditer(self.plain(text)):
            kind, piece = _KINDS[match.lastgroup or ""], match.group()
            if kind is Kind.WORD:
                found.append(self._word(piece))
            else:
                found.append(Token(kind, piece))
        return found

    def longest(self, tokens: list[Token], start: int) -> tuple[int, T] | None:
        """Where the longest entry that begins at token `start` ends, and its value; None where none begins."""
        node, best = self._root, None
        for position in range(start, len(tokens)):
            following = node.get(tokens[position].key)
            if following is None:
                break
            node = following
            if "" in node:
                best = position + 1, node[""]
        return best

    def _word(self, piece: str) -> Token:
        key = piece.lower()
        stretched = _STRETCH.search(key) is not None
        if stretched and key not in self._words:
            twice, once = _STRETCH.sub(r"\1\1", key), _STRETCH.sub(r"\1", key)
            key = twice if twice in self._words else once
        return Token(Kind.WORD, key, piece.isupper() and len(piece) > 2, piece.istitle(), stretched)

    def _add(self, form: str, value: T) -> None:
        node = self._root
        for match in _TOKEN.finditer(self.plain(form)):
            key = match.group().lower() if match.lastgroup == Kind.WORD.value else match.group()
            self._words.add(key)
            node = node.setdefault(key, {})
        assert node is not self._root, f"no token in the entry {form!r}"
        node[""] = value


def is_tokenizable(text: str) -> bool:
    """Whether there is a token in `text`."""
    return _TOKEN.search(text.translate(_NO_MARKS)) is not None


def inflections(entry: str) -> Iterable[str]:
    """The forms of an entry; without a `~` at its end only itself. Some of them are no words, which does no harm."""
    if not entry.endswith("~"):
        return [entry]
    stem = entry[:-1]
    forms = [stem + ending for ending in _ENDINGS]
    if stem.endswith("e"):
        forms += [stem[:-1] + ending for ending in ("ed", "ing", "er", "est", "ingly", "edly", "y")]
    elif stem.endswith("y"):
        forms += [stem[:-1] + ending for ending in ("ied", "ies", "ier", "iest", "ily")]
    else:
        forms += [stem + stem[-1] + ending for ending in ("ed", "ing", "er", "est")]
    return forms
