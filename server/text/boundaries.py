"""Where text may be cut: ends of sentences and clauses, and word boundaries. Pure functions.

Streaming-safe: a punctuation mark is classified only when no further text can change the result, else as UNDECIDED.
"""

import re
from dataclasses import dataclass
from enum import Enum

from sentencex import get_sentence_boundaries

from intone.server.text.characters import CJK, splits_grapheme

_WIDE = re.compile(f"[{CJK}\u3000-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff61-\uff65]")
_CLOSERS = "\"'”’»)]}〉》」』】〕）］｝*_~`"
_OPENERS = "([{“‘«〈《「『【〔（［｛"
_QUOTE_PAIRS = tuple(zip("“「『（《【(", "”」』）》】)", strict=True))
_FINAL_MARKS = "。；｡，、："  # only a closing quote can follow these
_SENTENCE_MARKS = ".!?…‽。！？；｡؟।۔"
_CLAUSE_MARKS = ",;:–—，、："
_MARKS = re.compile(f"[\n{_SENTENCE_MARKS}{_CLAUSE_MARKS}]")
_SENTENCE_RUN = re.compile(f"[{_SENTENCE_MARKS}]+")
_CLAUSE_RUN = re.compile(f"[{_CLAUSE_MARKS}]+")
_CLOSER_RUN = re.compile(f"[{re.escape(_CLOSERS)}]*")
_WHITESPACE = re.compile(r"\s*")
_SENTENCE_END = re.compile(rf"[{_SENTENCE_MARKS}][{re.escape(_CLOSERS)}]{{0,8}}\Z")
_LAST_WORD = re.compile(rf"(?:^|[\s{re.escape(_OPENERS)}\"'*_~`])([^\s{re.escape(_OPENERS)}]{{0,32}})$")
_NEXT_WORD = re.compile(r"\w+")
_LIST_NUMBER = re.compile(r"(?:^|\n)[^\S\n]*\d{1,3}$")
_COMPLETE_TAIL = re.compile(
    r"""[!?…")\]}”»]$|[^\d\s][,;]$|(?:^|\s)(?:[^\W\d_]\.)*[^\W\d_]{2,}\.$|(?:^|\s)(?:[^\W\d_]\.){2,}$"""
)
_ADDRESS_BEGINS = re.compile(r"(?:^|\W)(?:www\.|(?:https?|ftp|mailto|tel):)$")
_PLAIN_WORD = re.compile(r"[A-Za-z][a-z]*(?:['’][a-z]+)?|[A-Z]{2,}")
_PAUSED_MARKS = {*_SENTENCE_MARKS, *_CLAUSE_MARKS} - {"–"}  # no range: "pages 5–"
_MAX_TAIL = 600  # characters that are looked at
_AFTER_WORD = re.compile(r"[\s,;:!?]|\.(?=\s)")
_TOP_LEVEL_DOMAINS = frozenset("com org net edu gov io ai dev app co uk de fr cn jp info biz xyz tv js ts py".split())  # noqa: SIM905
_CONVERSATION_WORDS = frozenset({"art", "may", "no", "ok", "sun"})  # sentencex takes them for abbreviations
_ABBREVIATIONS = frozenset({"approx", "est", "ext", "vol"})  # sentencex takes them for words


class BoundaryKind(Enum):
    """What ends at a punctuation mark."""

    SENTENCE = "sentence"
    CLAUSE = "clause"
    NONE = "none"
    UNDECIDED = "undecided"  # depends on text that has not arrived


@dataclass(frozen=True, slots=True)
class Boundary:
    """The classification of a mark.

    Attributes:
        kind: what ends there.
        position: where to cut; for NONE, where to continue the search; for UNDECIDED, the mark.
    """

    kind: BoundaryKind
    position: int


def next_mark(text: str, position: int) -> int | None:
    """Index of the first line break or punctuation mark at or after `position`; None if there is none."""
    found = _MARKS.search(text, position)
    return found.start() if found else None


def classify_mark(text: str, mark: int) -> Boundary:
    """Classify the mark `text[mark]`; `text` begins at the last cut and ends with the text received so far."""
    if text[mark] == "\n":
        return Boundary(BoundaryKind.SENTENCE, mark + 1)
    kind = BoundaryKind.SENTENCE if text[mark] in _SENTENCE_MARKS else BoundaryKind.CLAUSE
    if text[mark] in _FINAL_MARKS and not _quote_is_open(text[:mark]):
        return Boundary(kind, mark + 1)
    run = _SENTENCE_RUN if kind is BoundaryKind.SENTENCE else _CLAUSE_RUN
    run_end = _end(run, text, mark)
    cut = _end(_CLOSER_RUN, text, run_end)
    if cut == len(text):
        return Boundary(BoundaryKind.UNDECIDED, mark)
    after = text[cut]
    marks = text[mark:run_end]
    if _WIDE.match(marks[-1]) or _WIDE.match(after) or marks[-1] == "—" or after == "\n":
        return Boundary(kind, cut)
    if not after.isspace():
        return _classify_without_blank(text, mark, run_end, cut)
    if kind is BoundaryKind.CLAUSE:
        return Boundary(kind, cut)
    return _classify_latin_marks(text, mark, run_end, cut)


def _classify_without_blank(text: str, mark: int, run_end: int, cut: int) -> Boundary:
    """Classify marks with a letter behind them: those of "OK.No problem" end a sentence, of "example.com" none."""
    none = Boundary(BoundaryKind.NONE, run_end)
    word = _LAST_WORD.search(text[:mark])
    if cut != run_end or text[mark:run_end] not in (".", "!", "?") or not word or not _are_words(word[1]):
        return none
    following = _PLAIN_WORD.match(text, cut)
    if following is None or (text[mark] == "." and not following.group()[0].isupper()):
        return none
    if text[following.end() :] in ("", "."):  # a blank may come behind the full stop
        return Boundary(BoundaryKind.UNDECIDED, mark)
    ends = _AFTER_WORD.match(text, following.end())
    if ends is None or (text[mark] == "." and not _starts_sentence(word[1], following.group(), ends.group())):
        return none
    return Boundary(BoundaryKind.SENTENCE, cut)


def _are_words(text: str) -> bool:
    """Whether it is a word, or words with only the ends of sentences between them; no address, no path."""
    *before, last = _SENTENCE_RUN.split(text)
    return all(map(_PLAIN_WORD.fullmatch, [*before, last])) and not (before and last.lower() in _TOP_LEVEL_DOMAINS)


def _starts_sentence(word: str, following: str, mark: str) -> bool:
    long_enough = len(word) > 1 and (len(following) > 1 or following in "AI")
    address = following.lower() in _TOP_LEVEL_DOMAINS or mark == "/"
    return long_enough and not address and (word.lower() in _CONVERSATION_WORDS or _is_word(word))


def _classify_latin_marks(text: str, mark: int, run_end: int, cut: int) -> Boundary:
    """Classify sentence marks `text[mark:run_end]` that are followed by closing marks up to `cut` and white space."""
    marks, closed = text[mark:run_end], cut > run_end
    word = _LAST_WORD.search(text[:mark])
    plain_stop = marks == "." and not closed
    if not closed and set(marks) & set("!?‽؟।۔"):
        return Boundary(BoundaryKind.SENTENCE, cut)
    if plain_stop and _LIST_NUMBER.search(text[:mark]):
        return Boundary(BoundaryKind.NONE, cut)
    if plain_stop and word and _is_word(word.group(1)):
        return Boundary(BoundaryKind.SENTENCE, cut)
    following = _end(_WHITESPACE, text, cut)
    line_end = text.find("\n", cut, following)
    if line_end >= 0:
        return Boundary(BoundaryKind.SENTENCE, cut)
    if following == len(text):
        return Boundary(BoundaryKind.UNDECIDED, mark)
    if not plain_stop or word is None:
        return Boundary(BoundaryKind.NONE if text[following].islower() else BoundaryKind.SENTENCE, cut)
    return _classify_abbreviation(text, mark, cut, following, word.group(1))


def _classify_abbreviation(text: str, mark: int, cut: int, following: int, word: str) -> Boundary:
    """Classify the full stop after `word`, a possible abbreviation. The next word begins at `following`."""
    if word.lower() in _CONVERSATION_WORDS | _ABBREVIATIONS:
        continues = text[following].islower() or text[following].isdigit()
        return Boundary(BoundaryKind.NONE if continues else BoundaryKind.SENTENCE, cut)
    next_word = _NEXT_WORD.match(text, following)
    if next_word is None:
        return Boundary(BoundaryKind.SENTENCE, cut)
    if next_word.end() == len(text):
        return Boundary(BoundaryKind.UNDECIDED, mark)
    return Boundary(BoundaryKind.SENTENCE if _splits(word, next_word.group()) else BoundaryKind.NONE, cut)


def _is_word(word: str) -> bool:
    """Whether a full stop after `word` ends a sentence before any next word."""
    return word.lower() not in _ABBREVIATIONS and _splits(word, "x") and _splits(word, "Xy")


def _splits(word: str, next_word: str) -> bool:
    """Whether sentencex ends a sentence between `word` with a full stop and `next_word`."""
    return len(get_sentence_boundaries("en", f"{word}. {next_word}")) > 1


def _quote_is_open(text: str) -> bool:
    """Whether a quote or bracket in `text` is not closed."""
    return text.count('"') % 2 == 1 or any(text.count(opener) > text.count(closer) for opener, closer in _QUOTE_PAIRS)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """End of the run of `pattern` at `position`."""
    found = pattern.match(text, position)
    return found.end() if found else position


def is_word_boundary(text: str, position: int) -> bool:
    """Whether a cut of `text` at `position` splits no word, number or grapheme.

    At the end of `text` the next character is unknown: there is no boundary after a letter, a digit, or a mark that can
    occur inside a number, a word or an address.
    """
    if splits_grapheme(text, position) or position == 0:
        return False
    before = text[position - 1]
    if before.isspace() or before == "—":
        return True
    if position == len(text):
        return bool(_WIDE.match(before)) or _ends_complete(text)
    after = text[position]
    if after.isspace():
        return True
    if after in _CLOSERS + _SENTENCE_MARKS + _CLAUSE_MARKS:
        return False
    return bool(_WIDE.match(before)) or (bool(_WIDE.match(after)) and not before.isdigit())


def _ends_complete(text: str) -> bool:
    """Whether `text` ends in a mark after which no word, number or address can continue."""
    return _COMPLETE_TAIL.search(text) is not None and not text.endswith("www.")


def ends_after_pause(text: str) -> bool:
    """Whether `text` ends in a mark: complete once no text came for a while, although "$42." may become "$42.50"."""
    written = text[-_MAX_TAIL:].rstrip().rstrip(_CLOSERS)
    return written[-1:] in _PAUSED_MARKS and not _ADDRESS_BEGINS.search(written)


def ends_sentence(text: str) -> bool:
    """Whether `text`, cut where a unit ends, ends a sentence and not only a clause."""
    written = text.rstrip()
    return "\n" in text[len(written) :] or _SENTENCE_END.search(written[-9:]) is not None


def forced_cut(text: str, max_length: int, min_length: int) -> int:
    """The best position up to `max_length` to cut `text`: after a clause, else between words, else between graphemes.

    A cut after a clause must leave more than `min_length` characters before it. Never 0 unless `max_length` is.
    """
    for position in range(max_length, min_length, -1):
        if text[position - 1] in _CLAUSE_MARKS + _SENTENCE_MARKS and is_word_boundary(text, position):
            return position
    for position in range(max_length, 0, -1):
        if is_word_boundary(text, position):
            return position
    return next((position for position in range(max_length, 0, -1) if not splits_grapheme(text, position)), max_length)
