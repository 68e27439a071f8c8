"""A text while its tokens are verbalized: the text around each token, its language, and what is done already."""

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from intone.server.text.characters import CJK

logger = logging.getLogger(__name__)

TAKEN = "\ue000"
"""Replaces every character that a rule has verbalized in the working text, so that no later rule matches it."""

_LETTER = re.compile(f"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]|[{CJK}]")
_IDEOGRAPH = re.compile(f"[{CJK}]")
_WORD_BEFORE = re.compile(r"([A-Za-z\u00c0-\u024f']+)[^A-Za-z\u00c0-\u024f']*$")
_WORD_AFTER = re.compile(r"[^A-Za-z\u00c0-\u024f]*([A-Za-z\u00c0-\u024f']+)")
_CHINESE_MARKS = re.compile("[。，、；：？！《》（）]")
_SENTENCE_ENDS = re.compile(r"$|[\"'”’)]?[ ][A-Z\"“]|[\"'”’)]?$")
_TITLES = frozenset(
    [
        "Mister",
        "Missus",
        "Miz",
        "Doctor",
        "Professor",
        "Saint",
        "Governor",
        "Senator",
        "General",
        "Captain",
        "Sergeant",
        "Lieutenant",
        "Mount",
        "Fort",
    ]
)
CONTEXT_CHARACTERS = 60
"""How far a rule looks to either side."""


@dataclass(frozen=True, slots=True)
class Token:
    """A stretch of the text and the words for it.

    Attributes:
        start, end: in the text without markup.
        words: as they are spoken.
        kind: class of the token: "money", "time", …
        sounds: IPA or pinyin that the words are said by; empty where an engine finds them itself.
    """

    start: int
    end: int
    words: str
    kind: str
    sounds: str = ""


Verbalize = Callable[["Context", re.Match[str]], "str | None"]
"""Words for a match, or None where it is something else."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A class of tokens: the pattern that finds them and the function that verbalizes them."""

    kind: str
    pattern: re.Pattern[str]
    verbalize: Verbalize


@dataclass
class Context:
    """A text on one line, and the tokens that were found in it so far.

    Attributes:
        text: without markup.
        working: the same with `TAKEN` for what is verbalized.
        language: of the conversation, where it is known: decides where nothing in the text does.
    """

    text: str
    language: str = ""
    working: str = ""
    tokens: list[Token] = field(default_factory=list)
    _taken: bytearray = field(default_factory=bytearray)
    _chinese_alone: bool = False

    def __post_init__(self) -> None:
        self.working = self.text
        self._taken = bytearray(len(self.text))
        self._chinese_alone = bool(_CHINESE_MARKS.search(self.text)) or self.language.startswith("zh")

    def apply(self, rule: Rule) -> None:
        """Verbalize everything that a rule recognizes."""
        found = []
        for match in rule.pattern.finditer(self.working):
            if match.group() and TAKEN not in match.group():
                words = self._words(rule, match)
                if words is not None:
                    words += self._swallowed_stop(match, words, rule.kind)
                    found.append(Token(match.start(), match.end(), words, rule.kind))
                    self._taken[match.start() : match.end()] = b"\1" * (match.end() - match.start())
        self.take(found)

    def _words(self, rule: Rule, match: re.Match[str]) -> str | None:
        try:
            return rule.verbalize(self, match)
        except Exception:
            logger.exception("verbalizing a token of class %s with %d characters failed", rule.kind, len(match.group()))
            return None

    def _swallowed_stop(self, match: re.Match[str], words: str, kind: str) -> str:
        """The full stop of a sentence, where a token such as "5 p.m." or "Elm Ave." took it along."""
        if not match.group().endswith(".") or words.endswith(".") or (kind == "abbreviation" and words in _TITLES):
            return ""
        return "." if _SENTENCE_ENDS.match(self.text[match.end() : match.end() + 3]) else ""

    def take(self, tokens: list[Token]) -> None:
        """Add tokens; they do not overlap."""
        pieces, position = [], 0
        for token in tokens:
            pieces += [self.working[position : token.start], TAKEN * (token.end - token.start)]
            position = token.end
        self.working = "".join([*pieces, self.working[position:]])
        self.tokens += tokens

    def before(self, position: int) -> str:
        """The text before a position, as far as rules look."""
        return self.text[max(0, position - CONTEXT_CHARACTERS) : position]

    def after(self, position: int) -> str:
        """The text from a position on, as far as rules look."""
        return self.text[position : position + CONTEXT_CHARACTERS]

    def word_before(self, position: int) -> str:
        """The last Latin word before a position, in lower case; empty if there is none near."""
        found = _WORD_BEFORE.search(self.before(position))
        return found[1].lower() if found else ""

    def word_after(self, position: int) -> str:
        """The first Latin word from a position on, in lower case; empty if there is none near."""
        found = _WORD_AFTER.match(self.after(position))
        return found[1].lower() if found else ""

    def chinese(self, start: int, end: int) -> bool:
        """Whether the token at `start` to `end` is verbalized in Chinese: by the nearest letters on both sides."""
        left = self._letter_before(start)
        right = self._letter_after(end)
        if left and right and (left in "zh") is not (right in "zh"):
            return self._mixed(left, end)
        if left or right:
            return (left or right) == "z"
        return self._chinese_alone

    def _mixed(self, left: str, end: int) -> bool:
        """Between a Chinese and a Latin letter: a counted English noun takes the number, else Chinese does."""
        after = self.text[end : end + 24]
        counted = re.match(r" ?([a-z]{3,})", after)
        return not (left == "z" and counted)

    def _letter_before(self, position: int) -> str:
        for index in range(position - 1, max(-1, position - CONTEXT_CHARACTERS), -1):
            kind = self._kind(index)
            if kind:
                return kind
        return ""

    def _letter_after(self, position: int) -> str:
        for index in range(position, min(len(self.text), position + CONTEXT_CHARACTERS)):
            kind = self._kind(index)
            if kind:
                return kind
        return ""

    def _kind(self, index: int) -> str:
        character = self.text[index]
        if not _LETTER.match(character):
            return ""
        if _IDEOGRAPH.match(character):
            return "z"
        if self._taken[index] or self.working[index] == TAKEN:
            return ""
        alone = not (self.text[index - 1 : index].isalpha() or self.text[index + 1 : index + 2].isalpha())
        article = character in "aAI" and self.text[index + 1 : index + 2] == " "
        return "" if alone and not article else "l"
