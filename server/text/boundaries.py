"""Where text may be cut: sentence ends, clause ends, word borders. Pure functions; knows no units and no sizes.

Every verdict is made from the text up to the first character that settles it, so it stays the same when more follows.
"""

import re
from dataclasses import dataclass
from enum import Enum

from sentencex import get_sentence_boundaries

from intone.server.text.characters import CJK, splits_character

_WIDE = re.compile(f"[{CJK}\u3000-\u3003\u3008-\u3011\u3014-\u301f\uff01-\uff0f\uff1a-\uff20\uff61-\uff65]")
_CLOSERS = "\"'”’»)]}〉》」』】〕）］｝*_~`"
_OPENERS = "([{“‘«〈《「『【〔（［｛"
_PAIRS = tuple(zip("“「『（《【(", "”」』）》】)", strict=True))
_SETTLED = "。；｡，、："  # nothing but a closing quote is expected after these
_ENDS = ".!?…‽。！？；｡؟।۔"
_CLAUSES = ",;:–—，、："
_MARKS = re.compile(f"[\n{_ENDS}{_CLAUSES}]")
_END_RUN = re.compile(f"[{_ENDS}]+")
_CLAUSE_RUN = re.compile(f"[{_CLAUSES}]+")
_CLOSER_RUN = re.compile(f"[{re.escape(_CLOSERS)}]*")
_BLANKS = re.compile(r"\s*")
_LAST_WORD = re.compile(rf"(?:^|[\s{re.escape(_OPENERS)}\"'*_~`])([^\s{re.escape(_OPENERS)}]{{0,32}})$")
_NEXT_WORD = re.compile(r"\w+")
_LIST_NUMBER = re.compile(r"(?:^|\n)\s*\d{1,3}$")
_SETTLED_TAIL = re.compile(
    r"""[!?…")\]}”»]$|[^\d\s][,;]$|(?:^|\s)(?:[^\W\d_]\.)*[^\W\d_]{2,}\.$|(?:^|\s)(?:[^\W\d_]\.){2,}$"""
)
_TALK_WORDS = frozenset({"art", "may", "no", "ok", "sun"})  # abbreviations to sentencex, often words in conversation
_SHORT_WORDS = frozenset({"approx", "est", "ext", "vol"})  # words to sentencex, often abbreviations


class Ends(Enum):
    """What ends at a mark."""

    SENTENCE = "sentence"
    CLAUSE = "clause"
    NOTHING = "nothing"
    UNDECIDED = "undecided"  # more text is needed to tell


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a mark means. `position`: where to cut; for NOTHING, where to go on looking."""

    ends: Ends
    position: int


def next_mark(text: str, position: int) -> int | None:
    """Index of the first character at or after `position` that could end something."""
    found = _MARKS.search(text, position)
    return found.start() if found else None


def judge(text: str, mark: int) -> Verdict:
    """What ends at the mark `text[mark]`; `text` begins at a cut and breaks off at what is known so far."""
    if text[mark] == "\n":
        return Verdict(Ends.SENTENCE, mark + 1)
    kind = Ends.SENTENCE if text[mark] in _ENDS else Ends.CLAUSE
    if text[mark] in _SETTLED and not _quote_is_open(text[:mark]):
        return Verdict(kind, mark + 1)
    run = _END_RUN if kind is Ends.SENTENCE else _CLAUSE_RUN
    run_end = _end(run, text, mark)
    cut = _end(_CLOSER_RUN, text, run_end)
    if cut == len(text):
        return Verdict(Ends.UNDECIDED, mark)
    after = text[cut]
    marks = text[mark:run_end]
    if _WIDE.match(marks[-1]) or _WIDE.match(after) or marks[-1] == "—" or after == "\n":
        return Verdict(kind, cut)
    if not after.isspace():
        return Verdict(Ends.NOTHING, run_end)
    if kind is Ends.CLAUSE:
        return Verdict(kind, cut)
    return _judge_latin_end(text, mark, run_end, cut)


def _judge_latin_end(text: str, mark: int, run_end: int, cut: int) -> Verdict:
    """The verdict on full stops and their kin at `mark`..`run_end`, followed by closers up to `cut` and a blank."""
    marks, closed = text[mark:run_end], cut > run_end
    word = _LAST_WORD.search(text[:mark])
    plain_stop = marks == "." and not closed
    if not closed and set(marks) & set("!?‽؟।۔"):
        return Verdict(Ends.SENTENCE, cut)
    if plain_stop and _LIST_NUMBER.search(text[:mark]):
        return Verdict(Ends.NOTHING, cut)
    if plain_stop and word and _is_word(word.group(1)):
        return Verdict(Ends.SENTENCE, cut)
    following = _end(_BLANKS, text, cut)
    line_end = text.find("\n", cut, following)
    if line_end >= 0:
        return Verdict(Ends.SENTENCE, cut)
    if following == len(text):
        return Verdict(Ends.UNDECIDED, mark)
    if not plain_stop or word is None:
        return Verdict(Ends.NOTHING if text[following].islower() else Ends.SENTENCE, cut)
    return _judge_abbreviation(text, mark, cut, following, word.group(1))


def _judge_abbreviation(text: str, mark: int, cut: int, following: int, word: str) -> Verdict:
    """The verdict on the full stop after `word`, which may be short for something; `following` begins the next word."""
    if word.lower() in _TALK_WORDS | _SHORT_WORDS:
        goes_on = text[following].islower() or text[following].isdigit()
        return Verdict(Ends.NOTHING if goes_on else Ends.SENTENCE, cut)
    next_word = _NEXT_WORD.match(text, following)
    if next_word is None:
        return Verdict(Ends.SENTENCE, cut)
    if next_word.end() == len(text):
        return Verdict(Ends.UNDECIDED, mark)
    return Verdict(Ends.SENTENCE if _splits(word, next_word.group()) else Ends.NOTHING, cut)


def _is_word(word: str) -> bool:
    """Whether a full stop after `word` ends a sentence, whatever comes next."""
    return word.lower() not in _SHORT_WORDS and _splits(word, "x") and _splits(word, "Xy")


def _splits(word: str, next_word: str) -> bool:
    """Whether a sentence ends between `word` with a full stop and `next_word`."""
    return len(get_sentence_boundaries("en", f"{word}. {next_word}")) > 1


def _quote_is_open(text: str) -> bool:
    """Whether a quote or bracket in `text` still waits for its closing half."""
    return text.count('"') % 2 == 1 or any(text.count(opener) > text.count(closer) for opener, closer in _PAIRS)


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    """Where the run of `pattern` that begins at `position` ends."""
    found = pattern.match(text, position)
    return found.end() if found else position


def word_border(text: str, position: int) -> bool:
    """Whether `text` may be cut at `position` without splitting a word, a number or a character.

    At the very end of `text` nothing is known of what follows: a letter, a digit or a mark that could stand inside
    a number, a word or an address makes it no border.
    """
    if splits_character(text, position) or position == 0:
        return False
    before = text[position - 1]
    if before.isspace() or before == "—":
        return True
    if position == len(text):
        return bool(_WIDE.match(before)) or _settles(text)
    after = text[position]
    if after.isspace():
        return True
    if after in _CLOSERS + _ENDS + _CLAUSES:
        return False
    return bool(_WIDE.match(before)) or (bool(_WIDE.match(after)) and not before.isdigit())


def _settles(text: str) -> bool:
    """Whether no word, number or address can go on after the mark that `text` ends in."""
    return _SETTLED_TAIL.search(text) is not None and not text.endswith("www.")


def last_cut(text: str, limit: int, least: int) -> int:
    """The best place to cut `text` at or before `limit`: after a clause, else between words, else between characters.

    A clause or a word border counts only at or after `least`. Never 0 for a `limit` of at least 1.
    """
    for position in range(limit, least, -1):
        if text[position - 1] in _CLAUSES + _ENDS and word_border(text, position):
            return position
    for position in range(limit, 0, -1):
        if word_border(text, position):
            return position
    return next((position for position in range(limit, 0, -1) if not splits_character(text, position)), limit)
