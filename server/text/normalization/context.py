"""A text while its tokens are verbalized: the text around each token, its language, and what is done already."""

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from intone.server.text.characters import CJK

logger = logging.getLogger(__name__)

TAKEN = "\ue000"
"""Replaces every character that a rule has verbalized in the working text, so that no later rule matches it."""

_LATIN_RUN = re.compile("[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]+")
_IDEOGRAPHS = re.compile(f"[{CJK}]+")
_IDEOGRAPH = re.compile(f"[{CJK}]")
_WORD_BEFORE = re.compile(r"([A-Za-z\u00c0-\u024f']+)[^A-Za-z\u00c0-\u024f']*$")
_WORD_AFTER = re.compile(r"[^A-Za-z\u00c0-\u024f]*([A-Za-z\u00c0-\u024f']+)")
_CHINESE_MARKS = re.compile("[。，、；：？！《》（）]")
_SENTENCE_ENDS = re.compile(r"$|[\"'”’)]?[ ][A-Z\"“]|[\"'”’)]?$")
_AFTER_TIME = re.compile(
    r"[ ](?:[ECMP][SD]?T|[CE]E?S?T|GMT|UTC|BST|IST|JST|KST|AEST"
    r"|(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day|Eastern|Pacific)\b"
)
_WITHIN_SENTENCES = frozenset(
    [
        "versus",
        "including",
        "excluding",
        "approximately",
        "average",
        "square",
        "also known as",
        "estimated",
        "established",
        "circa",
        "dozen",
        "century",
        "compare",
        "Reverend",
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
        "North",
        "South",
        "East",
        "West",
        "Northeast",
        "Northwest",
        "Southeast",
        "Southwest",
    ]
)
_NAME_BEFORE = re.compile(f"(?:([{CJK}，。！？：；（《])|^)[ ]?[A-Za-z]*[A-Z][A-Za-z]*(?:[ ][A-Z][A-Za-z]*)?[ -]?$")
_NAME_AFTER = re.compile(f"[ -]?[A-Z][A-Za-z]*(?:[ ][A-Z][A-Za-z]*)?[ ]?(?:([{CJK}，。！？：；）》])|$)")
_ACRONYM_BEFORE = re.compile(f"[{CJK}，。！？：；（《、][ ]?[A-Za-z]{{1,12}}[ +-]?$")
_LATIN_WORD = re.compile("[A-Za-z\u00c0-\u024f]{2,}")
_QUOTES = re.compile('["“”‘’「」『』]')
_STOPS = re.compile("[、，。！？；]")
_DOLLAR = re.compile(r"\$")
_LETTER_MARK = re.compile(rb"[zl]")
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
    """A class of tokens: the pattern that finds them and the function that verbalizes them.

    Attributes:
        kind: name of the class.
        pattern: matches a token.
        verbalize: the words for a match.
        begins: matches the beginning of every match of `pattern`, and little else, so that `pattern` is tried at few
            places: most patterns are slow to search, as each begins with a look behind. None where it is fast.
        needs: characters of which every match or its surroundings have one; empty where there are none.
    """

    kind: str
    pattern: re.Pattern[str]
    verbalize: Verbalize
    begins: re.Pattern[str] | None = None
    needs: str = ""


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
    _numbers: dict[str, int] = field(default_factory=dict)
    _characters: frozenset[str] = frozenset()
    _places: dict[re.Pattern[str], tuple[list[int], int]] = field(default_factory=dict)
    _marks: bytearray = field(default_factory=bytearray)
    """For each character: z ideograph, l Latin letter that is not verbalized, q quotation mark, s Chinese stop, or else
    a blank."""
    _chinese_alone: bool = False
    _mostly_chinese: bool = False

    def __post_init__(self) -> None:
        self.working = self.text
        self._taken = bytearray(len(self.text))
        self._characters = frozenset(self.text)
        ideographs = sum(1 for _ in _IDEOGRAPH.finditer(self.text))
        self._mostly_chinese = 2 * ideographs > 3 * sum(1 for _ in _LATIN_WORD.finditer(self.text))
        self._marks = _marks(self.text)
        self._chinese_alone = bool(_CHINESE_MARKS.search(self.text)) or self.language.startswith("zh")

    def apply(self, rule: Rule) -> None:
        """Verbalize everything that a rule recognizes."""
        found = []
        for match in self.matches(rule):
            if match.group() and TAKEN not in match.group():
                words = self._words(rule, match)
                if words is not None:
                    words += self._swallowed_stop(match, words, rule.kind)
                    found.append(Token(match.start(), match.end(), words, rule.kind))
                    self._mark(found[-1])  # now: later matches of the same rule look at the text around them
        if found:
            self._replace(found)

    def matches(self, rule: Rule) -> Iterable[re.Match[str]]:
        """What `rule.pattern` matches in the working text, as its `finditer` finds it."""
        if rule.needs and self._characters.isdisjoint(rule.needs):
            return ()
        if rule.begins is None:
            return rule.pattern.finditer(self.working)
        places = self._places_of(rule.begins)
        return self._matches_at(rule.pattern, places) if places else ()

    def _places_of(self, begins: re.Pattern[str]) -> list[int]:
        """Where `begins` matches in the working text, and perhaps elsewhere."""
        places, known = self._places.get(begins, (None, 0))
        count = len(self.tokens)
        if places is None:
            places = [found.start() for found in begins.finditer(self.working)]
        elif known < count:  # a token changes what may begin inside of it and right behind it
            ends = [token.end for token in self.tokens[known:] if token.end < len(self.text)]
            places = sorted({place for place in [*places, *ends] if not self._taken[place]})
        else:
            return places
        self._places[begins] = (places, count)
        return places

    def _matches_at(self, pattern: re.Pattern[str], places: Sequence[int]) -> Iterator[re.Match[str]]:
        working, end = self.working, 0  # a token changes the working text after the last match only
        for place in places:
            if place >= end and (match := pattern.match(working, place)):
                yield match
                end = match.end()

    def _words(self, rule: Rule, match: re.Match[str]) -> str | None:
        try:
            return rule.verbalize(self, match)
        except Exception:
            logger.exception("verbalizing a token of class %s with %d characters failed", rule.kind, len(match.group()))
            return None

    def _swallowed_stop(self, match: re.Match[str], words: str, kind: str) -> str:
        """The full stop of a sentence, where a token such as "5 p.m." or "Elm Ave." took it along."""
        if (
            not match.group().endswith(".")
            or words.endswith(".")
            or (kind == "abbreviation" and words in _WITHIN_SENTENCES)
        ):
            return ""
        if kind == "time" and _AFTER_TIME.match(self.text[match.end() : match.end() + 12]):
            return ""
        return "." if _SENTENCE_ENDS.match(self.text[match.end() : match.end() + 3]) else ""

    def _mark(self, token: Token) -> None:
        number = self._numbers.setdefault(token.kind, len(self._numbers) + 1)
        self._taken[token.start : token.end] = bytes([number]) * (token.end - token.start)
        self._marks[token.start : token.end] = self._marks[token.start : token.end].replace(b"l", b" ")

    def take(self, tokens: Sequence[Token]) -> None:
        """Add tokens, in order; they do not overlap."""
        for token in tokens:
            self._mark(token)
        if tokens:
            self._replace(tokens)

    def _replace(self, tokens: Sequence[Token]) -> None:
        pieces, position = [], 0
        for token in tokens:
            pieces += [self.working[position : token.start], TAKEN * (token.end - token.start)]
            position = token.end
        self.working = "".join([*pieces, self.working[position:]])
        self.tokens += tokens

    def kind_at(self, position: int) -> str:
        """Class of the token at a position of the text; empty if there is none."""
        number = self._taken[position] if 0 <= position < len(self._taken) else 0
        return next((kind for kind, known in self._numbers.items() if known == number), "")

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
        left, right = self._letter_before(start, b"q"), self._letter_after(end, b"qs")
        if not left and not right:
            left, right = self._letter_before(start), self._letter_after(end)
        if left and right and left != right:
            return self._mixed(left, start, end)
        if left == "l" and not right and self._mostly_chinese and _ACRONYM_BEFORE.search(self.before(start)):
            return True
        if left or right:
            return (left or right) == "z" or (left == right == "l" and self._within_name(start, end))
        return self._chinese_alone

    def _mixed(self, left: str, start: int, end: int) -> bool:
        """Between a Chinese and a Latin letter: a counted English noun takes the number, else Chinese does.

        With blanks on both sides the language of most of the text decides.
        """
        if left == "z" and re.match(r" ?([a-z]{3,})", self.text[end : end + 24]):
            return False
        apart = self.text[start - 1 : start] == " " and self.text[end : end + 1] in (" ", ",", ".", "!", "?")
        return self._mostly_chinese if apart else True

    def _within_name(self, start: int, end: int) -> bool:
        """Whether the token is part of a short Latin name in a Chinese sentence: the 15 of 我买了iPhone 15 Pro。"""
        before = _NAME_BEFORE.search(self.text[max(0, start - CONTEXT_CHARACTERS) : start])
        after = _NAME_AFTER.match(self.text[end : end + CONTEXT_CHARACTERS])
        return bool(before and after and (before[1] or after[1]))

    def _letter_before(self, position: int, stops: bytes = b"") -> str:
        low = max(0, position - CONTEXT_CHARACTERS + 1)
        ideograph, letter = (self._marks.rfind(mark, low, position) for mark in (b"z", b"l"))
        nearest = max(ideograph, letter)
        if nearest < 0 or any(self._marks.rfind(stop, nearest, position) >= 0 for stop in stops):
            return ""
        return "z" if nearest == ideograph else "l"

    def _letter_after(self, position: int, stops: bytes = b"") -> str:
        found = _LETTER_MARK.search(self._marks, position, position + CONTEXT_CHARACTERS)
        if found is None or any(self._marks.find(stop, position, found.start()) >= 0 for stop in stops):
            return ""
        return found.group().decode()


def _marks(text: str) -> bytearray:
    marks = bytearray(b" " * len(text))
    for pattern, mark in ((_QUOTES, b"q"), (_STOPS, b"s"), (_IDEOGRAPHS, b"z")):
        for found in pattern.finditer(text):
            marks[found.start() : found.end()] = mark * (found.end() - found.start())
    for found in _LATIN_RUN.finditer(text):
        start, end = found.span()
        article = found.group() in ("a", "A", "I") and text[end : end + 1] == " "
        if end - start > 1 or article:  # a single letter belongs to no language
            marks[start:end] = b"l" * (end - start)
    for found in _DOLLAR.finditer(text):  # HK$: the letters before it are no word
        for place in range(max(0, found.start() - 2), found.start()):
            if text[place].isupper():
                marks[place : place + 1] = b" "
    return marks
