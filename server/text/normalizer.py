"""Text normalization: verbalize numbers, dates and symbols, and remove markup, by WeTextProcessing's rules."""

import logging
import re
from collections.abc import Callable
from typing import Any

from intone.server.text.characters import CJK, has_cjk, is_speakable
from intone.server.text.spelled_digits import spell_digits

logger = logging.getLogger(__name__)

_LINK = re.compile(r"!?\[([^\]\n]*)\]\([^)\s]*\)")
_LINE_MARKUP = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]+|>[ \t]?|[-*+•][ \t]+|\|?[ \t]*(?:[-=*_]{3,}[ \t|:]*)+$)", re.MULTILINE
)
_INLINE_MARKUP = re.compile(r"\*{2,}|(?<![\w*])\*(?=\S)|(?<=\S)\*(?!\w)|`+|~~|(?<!\w)_+|_+(?!\w)")
_EMOJI = re.compile("[\u200d\ufe0e\ufe0f\u20e3\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001faff\U000e0020-\U000e007f]")
_TABLE_BAR = re.compile(r"[ \t]*\|[ \t]*")
_LINE_BREAK = re.compile(r"(?<=[^\W_])[ \t\r]*\n\s*(?=\S)")
_WHITESPACE = re.compile(r"\s+")
_LEADING_MARKS = re.compile(r"^(?:[\s,;:!?…，、；：。！？”’」』）》】)\]]|\.(?!\d))+(?=\S)")
# The English rules always read "No." as "number". Unless a digit follows, it is hidden from them.
_NO_WORD = re.compile(r"\b(No)(?=\.(?!\s*\d))")
_HYPHEN_IN_NAME = re.compile(r"(?<=[A-Za-z])-(?=\d)")
_DECADES = ("twenties", "thirties", "forties", "fifties", "sixties", "seventies", "eighties", "nineties")
# Input that the English rules misread: the scheme of a URL, rates, "24/7", "~5" ("approximatelyfive") and decades
# ("1990s", as seconds).
_REWRITES: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"\bhttps?://"), lambda found: ""),
    (re.compile(r"(?<=\d)/(?=[A-Za-z]{2})"), lambda found: " per "),
    (re.compile(r"\b24/7\b"), lambda found: "24 7"),
    (re.compile(r"~(?=\d)"), lambda found: "about "),
    (re.compile(r"\b(1[1-9]|20)([2-9])0s\b"), lambda found: f"{found[1]} {_DECADES[int(found[2]) - 2]}"),
)
# They read "1,234" as "thousand two hundred and …".
_THOUSAND = re.compile(r"(?:\b(\w+) )?\bthousand\b")
_BEFORE_THOUSAND = re.compile(
    "one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    "(?:twen|thir|for|fif|six|seven|eigh|nine)ty|hundred"
)
# They read "$1,234 million" as one dollar and 234 million.
_GROUPED_MILLIONS = re.compile(r"([$€£])?\b(\d{1,3}(?:,\d{3})+) ((?:m|b|tr)illion)\b")
_CURRENCIES = {"$": " dollars", "€": " euros", "£": " pounds", None: ""}
# The Chinese rules read "$1,234" as one dollar and a number.
_GROUPED_PRICE = re.compile(r"(?<=[$€£¥￥])\d{1,3}(?:,\d{3})+(?![\d,]\d)")
_STOP_BEFORE_COMMA = re.compile(r"(?<=\w)\.(?=,)")
_MARK_BEFORE_DIGIT = re.compile(r"(?<!\S)([^\w\s$€£¥(\"'.-])(?=\d)")
_STRAIGHT_QUOTES = str.maketrans("“”„‘’", '"""\'\'')
_ESCAPE = re.compile(r'\\(["\\])')


class Normalizer:
    """Callable: text → normalized text for an engine. Never raises, and never logs the text.

    Texts with ideographs or kana go through WeTextProcessing's Chinese rules, without the retroflex "儿" as in the
    training of VoxCPM, others through its English rules. With `enabled=False` it only collapses white space.
    """

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled
        self._rules: dict[str, Callable[[str], str]] = {}

    def __call__(self, text: str) -> str:
        """`text` as it is spoken, on one line; without letters or empty if nothing in it can be spoken."""
        if not self._enabled:
            return collapse_whitespace(text)
        plain = strip_markup(text)
        if not is_speakable(plain):
            return plain
        try:
            return collapse_whitespace(self._verbalize(plain))
        except Exception:  # noqa: BLE001 - what the generated automata raise is not documented
            logger.warning("text of %d characters is spoken as written: the normalizer failed on it", len(text))
            return plain

    def load(self) -> None:
        """Load the rules, so that the first call does not have to. Takes about half a second."""
        if self._enabled:
            for sample in ("1", "一1"):
                self(sample)

    def _verbalize(self, text: str) -> str:
        chinese = has_cjk(text)
        text = spell_digits(text, chinese)
        if chinese:
            text = _GROUPED_PRICE.sub(lambda found: found.group().replace(",", ""), text)
            return self._apply("zh", _HYPHEN_IN_NAME.sub(" ", text))
        for pattern, replacement in _REWRITES:
            text = pattern.sub(replacement, text)
        has_thousand = "thousand" in text.lower()
        text = _GROUPED_MILLIONS.sub(self._verbalize_millions, text)
        spoken = "".join(self._verbalize_english(piece) for piece in _NO_WORD.split(text))
        if not has_thousand:
            spoken = _THOUSAND.sub(_with_one, spoken)
        return _STOP_BEFORE_COMMA.sub("", spoken)

    def _verbalize_english(self, piece: str) -> str:
        if piece == "No" or not is_speakable(piece):
            return piece
        head, tail = piece[: len(piece) - len(piece.lstrip())], piece[len(piece.rstrip()) :]
        body = piece.strip()
        separated = _MARK_BEFORE_DIGIT.sub(r"\1 ", body.translate(_STRAIGHT_QUOTES))
        for attempt in (body, separated):
            try:
                return head + self._apply("en", attempt) + tail
            except AssertionError:  # no rule for a digit right after most marks, as in "#1"
                continue
        return head + " ".join(self._verbalize_word(word) for word in separated.split()) + tail

    def _verbalize_millions(self, found: re.Match[str]) -> str:
        return f"{self._apply('en', found[2])} {found[3]}{_CURRENCIES[found[1]]}"

    def _verbalize_word(self, word: str) -> str:
        bare = word.lstrip("\"'(-")
        try:
            return word[: len(word) - len(bare)] + self._apply("en", bare)
        except AssertionError:
            return word

    def _apply(self, language: str, text: str) -> str:
        return _ESCAPE.sub(r"\1", self._rule(language)(text))

    def _rule(self, language: str) -> Callable[[str], str]:
        if language not in self._rules:
            from wetext import Normalizer as Rules  # imported late: it loads 45 MB of automata

            options: dict[str, Any] = {"remove_erhua": True} if language == "zh" else {}
            self._rules[language] = Rules(lang=language, operator="tn", **options).normalize
        return self._rules[language]


def _with_one(thousand: re.Match[str]) -> str:
    """ "one thousand" for a "thousand" without a number before it."""
    found = thousand.group()
    counted = _BEFORE_THOUSAND.fullmatch(thousand[1] or "")
    return found if counted else found.removesuffix("thousand") + "one thousand"


def collapse_whitespace(text: str) -> str:
    """`text` on one line, with single spaces and none at the ends."""
    return _WHITESPACE.sub(" ", text).strip()


def strip_markup(text: str) -> str:
    """`text` on one line without Markdown, emoji and leading punctuation; line breaks become commas."""
    text = _LINK.sub(r"\1", text)
    text = _INLINE_MARKUP.sub("", _LINE_MARKUP.sub("", text))
    text = _TABLE_BAR.sub(", ", _EMOJI.sub("", text))
    text = _LINE_BREAK.sub(lambda found: _comma_after(text[found.start() - 1]), text)
    return _LEADING_MARKS.sub("", collapse_whitespace(text))


def _comma_after(before: str) -> str:
    """The comma for a line break after the character `before`."""
    return "，" if re.match(f"[{CJK}]", before) else ", "
