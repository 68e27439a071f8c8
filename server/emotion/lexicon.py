"""Emotion of a text by word lists: the strengths of the words found, adjusted by grammar and combined by noisy-OR.

Words, phrases, faces and patterns with their strengths come from the files in `data/`. Each occurrence is a cue, whose
strength depends on its surroundings: intensifiers, negation, "but", "if", capitals, the punctuation at the end. The
strength of an emotion is 1 - Π(1 - strength of each of its cues).

Accuracy on labelled sentences in English and Mandarin (tests/bench/emotion.py): 70.5 % of 132 blind sentences, written
after the lists were frozen, and 91.4 % of 198 held-out sentences by the author of the lists, which is an upper bound.
Of the 39 errors on blind sentences, 31 are emotions that no listed word shows: they are estimated as neutral. The lists
were tuned on further sentences by the same author, so some entries are phrases from these.
"""

from dataclasses import dataclass, field

from intone.server.domain import EMOTIONS
from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.phrases import PhraseTable, Token, TokenKind
from intone.server.emotion.word_lists import Entry, Role, character_replacements, lexicon_lists

MAX_CHARACTERS = 2000
"""Longer texts are judged by their beginning."""

MIN_STRENGTH = 0.3
"""Below this a text is neutral."""

_MAX_CUE_STRENGTH = 0.95  # a single cue is never certain
_BEFORE_CONTRAST = 0.4  # factor of cues before "but"
_CONCEDED = 0.4
_HYPOTHETICAL = 0.3
_IN_NAME = 0.35
_IN_QUESTION = 0.35
_CAPITALS, _STRETCHED = 1.25, 1.2
_EXCLAMATION = (1.0, 1.15, 1.25, 1.35)  # by the number of exclamation marks
_ELLIPSIS = 1.15  # for sadness
_NEGATED_JOY = 0.8  # "not happy" is sad, though less than "sad"
_MAX_INTENSITY_FACTOR = 1.6  # of consecutive intensifiers together
_MAX_NEGATED_TOKENS = 3  # longer entries are not negated: they hold their own "not", or take none
_MIN_REPROACH_TOKENS = 3  # an angry entry of this length is a reproach, which a question does not weaken
_REACH = {TokenKind.WORD: 4, TokenKind.IDEOGRAPH: 6}  # tokens that an intensifier or a negation affects
_INTERROBANG = 0.5  # strength of surprise for a sentence without anger that ends in "?!"
_SARCASM, _OTHERS_IN_SARCASM = 0.6, 0.5  # strength of anger; factor of emotions other than anger and joy
_MAX_QUOTED = 4  # entries in an explanation

_NAME_JOINERS = ("of", "the", "and")
_WORD_KINDS = (TokenKind.WORD, TokenKind.IDEOGRAPH, TokenKind.DIGITS)


@dataclass(slots=True)
class _Cue:
    """One sign of an emotion in the text; `name` is its entry.

    A firm cue is not weakened by a question.
    """

    emotion: str
    strength: float
    name: str
    firm: bool = False


@dataclass(slots=True)
class _Sentence:
    """State while a sentence is read. Positions are indices of tokens."""

    cues: list[_Cue] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    clause: int = 0  # index of the first cue of the clause
    scale: float = 1.0
    scale_until: int = 0
    negated_until: int = 0
    conceded: bool = False
    hypothetical: bool = False

    def end_clause(self) -> None:
        """Forget what affects only the current clause."""
        self.clause, self.scale, self.scale_until, self.negated_until = len(self.cues), 1.0, 0, 0
        self.conceded = False

    def scale_last_cue(self, factor: float) -> None:
        """Scale the last cue of the clause, if there is one."""
        for cue in self.cues[self.clause :][-1:]:
            cue.strength *= factor

    def weaken_all(self, factor: float) -> None:
        """Scale every cue so far."""
        for cue in self.cues:
            cue.strength *= factor


class Lexicon:
    """The word-list analyzer. Immutable, and safe to share between threads.

    Raises:
        WordListError: a word list is malformed.
    """

    def __init__(self) -> None:
        lists = lexicon_lists()
        self._table: PhraseTable[Entry] = PhraseTable(lists.entries, character_replacements())
        self._whole_sentences = {
            tuple(token.key for token in self._table.tokens(text)): entry
            for text, entry in lists.whole_sentences.items()
        }
        self._patterns, self._sarcasm = lists.patterns, lists.sarcasm

    def analyze(self, text: str) -> EmotionEstimate:
        """The emotion of the first `MAX_CHARACTERS` of `text`; neutral where they show none."""
        text = text[:MAX_CHARACTERS]
        tokens = self._table.tokens(text)
        cues: list[_Cue] = []
        sentence = _Sentence()
        title_ends = _title_ends(tokens)
        position = 0
        while position < len(tokens):
            token = tokens[position]
            found = self._table.longest_match(tokens, position)
            end, entry = found if found else (position + 1, None)
            if token.kind is TokenKind.OPEN:
                end = title_ends.get(position, position + 1)
            elif entry is not None:
                _apply(sentence, entry, tokens, position, end)
            elif token.kind in (TokenKind.ASK, TokenKind.TRAIL, TokenKind.STOP):
                cues += self._finished(sentence, token)
                sentence = _Sentence()
            elif token.kind is TokenKind.PAUSE:
                sentence.end_clause()
            sentence.words += [token.key for token in tokens[position:end] if token.kind in _WORD_KINDS]
            position = end
        cues += self._finished(sentence, None)
        lower = self._table.replace_characters(text).lower()
        cues += [
            _Cue(pattern.emotion, pattern.strength, "a turn of phrase", firm=True)
            for pattern in self._patterns
            if pattern.expression.search(lower)
        ]
        return _combined(self._without_sarcasm(lower, cues))

    def _finished(self, sentence: _Sentence, last: Token | None) -> list[_Cue]:
        """The cues of a sentence that ends in the punctuation `last`, or in none."""
        cues, marks = sentence.cues, last.key if last else ""
        question = any(mark in "?？⁉‽" for mark in marks)
        exclamations = sum(mark in "!！⁉‽‼" for mark in marks)
        if question or exclamations:
            cues += self._punctuation_cues(sentence, question and exclamations > 0)
        for cue in cues:
            cue.strength *= _EXCLAMATION[min(exclamations, len(_EXCLAMATION) - 1)]
            if question and not cue.firm and cue.emotion != "surprised":
                cue.strength *= _IN_QUESTION
            if last is not None and last.kind is TokenKind.TRAIL and cue.emotion == "sad":
                cue.strength *= _ELLIPSIS
        return cues

    def _punctuation_cues(self, sentence: _Sentence, both: bool) -> list[_Cue]:
        """Cues of a sentence that ends in a question or exclamation mark; `both` where it ends in the two."""
        whole = self._whole_sentences.get(tuple(sentence.words))
        if whole is not None and not sentence.cues:
            return [_Cue(whole.emotion, whole.value, whole.name, firm=True)]
        if both and all(cue.emotion != "angry" for cue in sentence.cues):
            return [_Cue("surprised", _INTERROBANG, "?!", firm=True)]
        return []

    def _without_sarcasm(self, text: str, cues: list[_Cue]) -> list[_Cue]:
        """The cues as they are meant: next to sarcasm, joy becomes anger and other emotions but anger are halved."""
        if self._sarcasm.search(text) is None:
            return cues
        for cue in cues:
            cue.strength *= 1.0 if cue.emotion == "angry" else 0.0 if cue.emotion == "happy" else _OTHERS_IN_SARCASM
        return [*cues, _Cue("angry", _SARCASM, "sarcasm")]


def _apply(sentence: _Sentence, entry: Entry, tokens: list[Token], start: int, end: int) -> None:
    """Apply an entry found at `tokens[start:end]` to the sentence."""
    role, reach = entry.role, end + _REACH.get(tokens[start].kind, 0)
    if role in (Role.EMOTION, Role.RHETORICAL):
        sentence.cues += _cues(sentence, entry, tokens, start, end)
    elif role is Role.INTENSIFIER:
        before = sentence.scale if start < sentence.scale_until else 1.0
        sentence.scale, sentence.scale_until = min(before * entry.value, _MAX_INTENSITY_FACTOR), reach
    elif role is Role.INTENSIFIER_AFTER:
        sentence.scale_last_cue(entry.value)
    elif role is Role.NEGATION:
        sentence.negated_until = reach
    elif role is Role.CONTRAST:
        sentence.weaken_all(_BEFORE_CONTRAST)
        sentence.end_clause()
    elif role is Role.CONCESSION:
        sentence.conceded = True
    elif role is Role.HYPOTHETICAL:
        sentence.hypothetical = True


def _cues(sentence: _Sentence, entry: Entry, tokens: list[Token], start: int, end: int) -> list[_Cue]:
    """The cue of an emotion entry at `tokens[start:end]`; none where it is negated, except that joy becomes sadness."""
    token, emotion, name, strength = tokens[start], entry.emotion, entry.name, entry.value
    if start < sentence.scale_until:
        strength *= sentence.scale
        sentence.scale_until = 0
    strength *= (_CAPITALS if token.capitals else 1.0) * (_STRETCHED if token.stretched else 1.0)
    if entry.role is Role.RHETORICAL:
        return [_Cue(emotion, strength, name, firm=True)]
    if start < sentence.negated_until and end - start <= _MAX_NEGATED_TOKENS:
        if emotion != "happy":
            return []
        emotion, strength, name = "sad", strength * _NEGATED_JOY, f"not {name}"
    firm = emotion == "angry" and end - start >= _MIN_REPROACH_TOKENS
    strength *= (_CONCEDED if sentence.conceded else 1.0) * (_HYPOTHETICAL if sentence.hypothetical else 1.0)
    strength *= _IN_NAME if end == start + 1 and _begins_name(tokens, start) else 1.0
    return [_Cue(emotion, strength, name, firm)]


def _begins_name(tokens: list[Token], start: int) -> bool:
    """Whether the word at `start` seems to begin a name, such as Angry Birds or Tears of the Kingdom."""
    later = (token for token in tokens[start + 1 : start + 4] if token.key not in _NAME_JOINERS)
    following = next(later, None)
    return tokens[start].capitalized and following is not None and following.capitalized


def _title_ends(tokens: list[Token]) -> dict[int, int]:
    """By tokens that open a title: the token after the one that closes it. Titles that never close are absent."""
    ends, closed = {}, None
    for index in range(len(tokens) - 1, -1, -1):
        if tokens[index].kind is TokenKind.CLOSE:
            closed = index
        elif tokens[index].kind is TokenKind.OPEN and closed is not None:
            ends[index] = closed + 1
    return ends


def _combined(cues: list[_Cue]) -> EmotionEstimate:
    """The estimate of all cues, combined by noisy-OR."""
    absence = dict.fromkeys(EMOTIONS, 1.0)
    for cue in cues:
        absence[cue.emotion] *= 1.0 - min(cue.strength, _MAX_CUE_STRENGTH)
    strengths = {name: 1.0 - chance for name, chance in absence.items()}
    label = max(EMOTIONS, key=lambda name: strengths[name])
    if strengths[label] <= 0.0:
        return EmotionEstimate.neutral("nothing in the text shows emotion")
    names = dict.fromkeys(cue.name for cue in cues if cue.emotion == label)
    quoted = ", ".join(f"“{name}”" for name in list(names)[:_MAX_QUOTED])
    if strengths[label] < MIN_STRENGTH:
        return EmotionEstimate.neutral(f"signs of {label} are too weak: {quoted}")
    return EmotionEstimate.from_strengths(strengths, f"{label}: {quoted}")
