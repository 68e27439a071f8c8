"""Text → emotion by words, marks and a little grammar. Knows no model; the words are in the lexicon's tables.

Strengths of the words found are scaled by what stands round them (very, a bit, not, but, if, marks at the end) and
joined as chances are: 1 - Π(1 - strength).
"""

from dataclasses import dataclass, field

from intone.server.domain import EMOTIONS
from intone.server.emotion.phrases import Kind, Table, Token
from intone.server.emotion.reading import Reading, neutral, reading
from intone.server.emotion.word_lists import Entry, Role, character_replacements, lexicon_lists

MAX_CHARACTERS = 2000
LEAST = 0.3  # a sum of signs below this is noise
_LATER_CLAUSE = 0.4  # what a clause keeps when "but" follows it
_CONCEDED = 0.4
_SUPPOSED = 0.3
_NAMED = 0.35
_ASKED = 0.35
_CAPITALS, _STRETCHED = 1.25, 1.2
_EXCLAIMED = (1.0, 1.15, 1.25, 1.35)  # by the number of exclamation marks
_TRAILED = 1.15  # sadness that trails off
_DENIED_JOY = 0.8  # "not happy" is sad, though less than "sad"
_SHARPEST = 1.6  # of all scales together
_DENIABLE = 3  # tokens of an entry at most; a longer phrase has its own "not" in it, or takes none
_PHRASE = 3  # tokens from which words of anger are a reproach, which a question does not weaken
_REACH = {Kind.WORD: 4, Kind.IDEOGRAPH: 6}  # tokens after a scale or a negation that it still bears on
_CRY = 0.5  # a sentence without anger that ends in "?!"
_MOCKERY, _MOCKED = 0.6, 0.5
_QUOTED = 4  # entries that an explanation names


@dataclass(slots=True)
class _Sign:
    """One thing found: what it says, how strongly, and by what name the table has it."""

    emotion: str
    strength: float
    name: str
    firm: bool = False  # a question does not weaken it


@dataclass(slots=True)
class _Sentence:
    """What is known of a sentence while it is read."""

    signs: list[_Sign] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    clause: int = 0  # index of the first sign of the clause
    scale: float = 1.0
    scale_until: int = 0  # index of the token
    denied_until: int = 0
    conceded: bool = False
    supposed: bool = False

    def end_clause(self) -> None:
        self.clause, self.scale, self.scale_until, self.denied_until = len(self.signs), 1.0, 0, 0
        self.conceded = False

    def sharpen_last(self, factor: float) -> None:
        """Let the last sign of the clause weigh more."""
        for sign in self.signs[self.clause :][-1:]:
            sign.strength *= factor

    def fade(self) -> None:
        """Let all that was said so far weigh less."""
        for sign in self.signs:
            sign.strength *= _LATER_CLAUSE


class Lexicon:
    """The analyzer; immutable once built, and safe to share between threads."""

    def __init__(self) -> None:
        lists = lexicon_lists()
        self._table: Table[Entry] = Table(lists.entries, character_replacements())
        self._alone = {
            tuple(token.key for token in self._table.tokens(text)): entry
            for text, entry in lists.whole_sentences.items()
        }
        self._patterns, self._sarcasm = lists.patterns, lists.sarcasm

    def read(self, text: str) -> Reading:
        """The emotion of `text`, of its first `MAX_CHARACTERS`; neutral where nothing in it shows one."""
        text = text[:MAX_CHARACTERS]
        tokens = self._table.tokens(text)
        signs: list[_Sign] = []
        sentence = _Sentence()
        position = 0
        while position < len(tokens):
            token = tokens[position]
            found = self._table.longest(tokens, position)
            end, entry = found if found else (position + 1, None)
            if token.kind is Kind.OPEN:
                end = _title_end(tokens, position)
            elif entry is not None:
                _take(sentence, entry, tokens, position, end)
            elif token.kind in (Kind.ASK, Kind.TRAIL, Kind.STOP):
                signs += self._end(sentence, token)
                sentence = _Sentence()
            elif token.kind is Kind.PAUSE:
                sentence.end_clause()
            sentence.words += [token.key for token in tokens[position:end] if token.kind in _WORDS]
            position = end
        signs += self._end(sentence, None)
        lower = self._table.plain(text).lower()
        signs += [
            _Sign(pattern.emotion, pattern.strength, "a turn of phrase", firm=True)
            for pattern in self._patterns
            if pattern.expression.search(lower)
        ]
        return _sum(self._mocked(lower, signs))

    def _end(self, sentence: _Sentence, last: Token | None) -> list[_Sign]:
        """The signs of a sentence that ends in the mark `last`, or in nothing."""
        signs, marks = sentence.signs, last.key if last else ""
        asked = any(mark in "?？⁉‽" for mark in marks)
        cried = sum(mark in "!！⁉‽‼" for mark in marks)
        if asked or cried:
            signs += self._cries(sentence, asked and cried > 0)
        for sign in signs:
            sign.strength *= _EXCLAIMED[min(cried, len(_EXCLAIMED) - 1)]
            if asked and not sign.firm and sign.emotion != "surprised":
                sign.strength *= _ASKED
            if last is not None and last.kind is Kind.TRAIL and sign.emotion == "sad":
                sign.strength *= _TRAILED
        return signs

    def _cries(self, sentence: _Sentence, both: bool) -> list[_Sign]:
        """What a short sentence says by its mark alone; `both` for question and exclamation mark."""
        alone = self._alone.get(tuple(sentence.words))
        if alone is not None and not sentence.signs:
            return [_Sign(alone.emotion, alone.value, alone.name, firm=True)]
        if both and all(sign.emotion != "angry" for sign in sentence.signs):
            return [_Sign("surprised", _CRY, "?!", firm=True)]
        return []

    def _mocked(self, text: str, signs: list[_Sign]) -> list[_Sign]:
        """The signs as they are meant: praise beside a cue of sarcasm is anger, and the rest of it too in part."""
        if self._sarcasm.search(text) is None:
            return signs
        for sign in signs:
            sign.strength *= 1.0 if sign.emotion == "angry" else 0.0 if sign.emotion == "happy" else _MOCKED
        return [*signs, _Sign("angry", _MOCKERY, "sarcasm")]


_JOINTS = ("of", "the", "and")
_WORDS = (Kind.WORD, Kind.IDEOGRAPH, Kind.DIGITS)


def _take(sentence: _Sentence, entry: Entry, tokens: list[Token], start: int, end: int) -> None:
    """Let an entry that stands at `tokens` `start` to `end` act on the sentence."""
    role, reach = entry.role, end + _REACH.get(tokens[start].kind, 0)
    if role in (Role.EMOTION, Role.RHETORICAL):
        sentence.signs += _signs(sentence, entry, tokens, start, end)
    elif role is Role.INTENSIFIER:
        before = sentence.scale if start < sentence.scale_until else 1.0
        sentence.scale, sentence.scale_until = min(before * entry.value, _SHARPEST), reach
    elif role is Role.INTENSIFIER_AFTER:
        sentence.sharpen_last(entry.value)
    elif role is Role.NEGATION:
        sentence.denied_until = reach
    elif role is Role.CONTRAST:
        sentence.fade()
        sentence.end_clause()
    elif role is Role.CONCESSION:
        sentence.conceded = True
    elif role is Role.HYPOTHETICAL:
        sentence.supposed = True


def _signs(sentence: _Sentence, entry: Entry, tokens: list[Token], start: int, end: int) -> list[_Sign]:
    """What a feeling comes to where it stands; nothing where it is denied and nothing is left."""
    token, emotion, name, strength = tokens[start], entry.emotion, entry.name, entry.value
    if start < sentence.scale_until:
        strength *= sentence.scale
        sentence.scale_until = 0
    strength *= (_CAPITALS if token.capitals else 1.0) * (_STRETCHED if token.stretched else 1.0)
    if entry.role is Role.RHETORICAL:
        return [_Sign(emotion, strength, name, firm=True)]
    if start < sentence.denied_until and end - start <= _DENIABLE:
        if emotion != "happy":
            return []
        emotion, strength, name = "sad", strength * _DENIED_JOY, f"not {name}"
    firm = emotion == "angry" and end - start >= _PHRASE
    strength *= (_CONCEDED if sentence.conceded else 1.0) * (_SUPPOSED if sentence.supposed else 1.0)
    strength *= _NAMED if end == start + 1 and _in_a_name(tokens, start) else 1.0
    return [_Sign(emotion, strength, name, firm)]


def _in_a_name(tokens: list[Token], start: int) -> bool:
    """Whether the word at `start` seems to begin a name, such as Angry Birds or Tears of the Kingdom."""
    later = (token for token in tokens[start + 1 : start + 4] if token.key not in _JOINTS)
    following = next(later, None)
    return tokens[start].name and following is not None and following.name


def _title_end(tokens: list[Token], start: int) -> int:
    """Where the title that opens at token `start` is over; the next token where it never closes."""
    closes = (i for i in range(start + 1, len(tokens)) if tokens[i].kind is Kind.CLOSE)
    return next(closes, start) + 1


def _sum(signs: list[_Sign]) -> Reading:
    """The reading that the signs give together."""
    absent = dict.fromkeys(EMOTIONS, 1.0)
    for sign in signs:
        absent[sign.emotion] *= 1.0 - min(sign.strength, 0.95)
    strengths = {name: 1.0 - chance for name, chance in absent.items()}
    label = max(EMOTIONS, key=lambda name: strengths[name])
    if strengths[label] <= 0.0:
        return neutral("nothing in the text shows emotion")
    names = dict.fromkeys(sign.name for sign in signs if sign.emotion == label)
    quoted = ", ".join(f"“{name}”" for name in list(names)[:_QUOTED])
    if strengths[label] < LEAST:
        return neutral(f"signs of {label} are too weak: {quoted}")
    return reading(strengths, f"{label}: {quoted}")
