"""Tokenize text, and find the longest entry of a phrase table at a token.

A token is a Latin word, a single ideograph, an emoji or emoticon, or a run of punctuation. Tables are walked token by
token, so an entry may be one word, several words, or a piece of a text written without spaces.
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
_CHARACTER_VARIANTS = str.maketrans({"’": "'", "‘": "'", "\ufe0f": None, "\u200d": None})
_ENDINGS = ("", "s", "es", "ed", "ing", "ly", "er", "est", "ingly", "edly")


class TokenKind(Enum):
    """What a token is. The values are the group names of the pattern."""

    WORD = "word"
    IDEOGRAPH = "ideograph"
    ASK = "ask"  # a run of exclamation and question marks
    TRAIL = "trail"  # an ellipsis
    FACE = "face"
    STOP = "stop"
    PAUSE = "pause"
    OPEN = "open"  # opening bracket of a title
    CLOSE = "close"
    DIGITS = "digits"


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of text.

    Attributes:
        key: its spelling in tables: lower case, without stretched letters.
        capitals: a word of at least three letters, all of them capitals.
        capitalized: a word of one capital and then small letters.
        stretched: a word with the same letter at least three times in a row.
    """

    kind: TokenKind
    key: str
    capitals: bool = False
    capitalized: bool = False
    stretched: bool = False


_KINDS = {kind.value: kind for kind in TokenKind}


class PhraseTable(Generic[T]):
    """A trie of entries, each with a value. Of equal entries the later one wins.

    Args:
        entries: value of each entry, by its text. A "~" at the end adds the English inflections of the last word.
        characters: replacements, as for `str.translate`, applied to entries and texts.
    """

    def __init__(self, entries: Mapping[str, T], characters: Mapping[int, str] | None = None) -> None:
        self._characters: dict[int, int | str | None] = {**_CHARACTER_VARIANTS, **(characters or {})}
        self._root: dict[str, Any] = {}
        self._words: set[str] = set()
        for entry, value in entries.items():
            for form in inflections(entry):
                self._add(form, value)

    def replace_characters(self, text: str) -> str:
        """`text` in the characters that tables use."""
        return text.translate(self._characters)

    def tokens(self, text: str) -> list[Token]:
        """The tokens of `text`; anything else in it is skipped."""
        found = []
        for match in _TOKEN.finditer(self.replace_characters(text)):
            kind, piece = _KINDS[match.lastgroup or ""], match.group()
            if kind is TokenKind.WORD:
                found.append(self._word(piece))
            else:
                found.append(Token(kind, piece))
        return found

    def longest_match(self, tokens: list[Token], start: int) -> tuple[int, T] | None:
        """The longest entry that begins at token `start`: the index after its last token, and its value; or None."""
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
        return Token(TokenKind.WORD, key, piece.isupper() and len(piece) > 2, piece.istitle(), stretched)

    def _add(self, form: str, value: T) -> None:
        node = self._root
        for match in _TOKEN.finditer(self.replace_characters(form)):
            key = match.group().lower() if match.lastgroup == TokenKind.WORD.value else match.group()
            self._words.add(key)
            node = node.setdefault(key, {})
        assert node is not self._root, f"no token in the entry {form!r}"
        node[""] = value


def is_tokenizable(text: str) -> bool:
    """Whether there is a token in `text`."""
    return _TOKEN.search(text.translate(_CHARACTER_VARIANTS)) is not None


def inflections(entry: str) -> Iterable[str]:
    """The forms of an entry; only itself without a "~" at its end.

    The rules overgenerate: some forms are not English words, and never match.
    """
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
