"""The normalization pipeline: written text to pieces of spoken text with their spans in the original."""

import re
from dataclasses import dataclass

from intone.server.text.characters import CJK
from intone.server.text.normalization import (
    abbreviations,
    capitals,
    codes,
    measures,
    money,
    names,
    quantities,
    symbols,
    time_and_date,
)
from intone.server.text.normalization.clean import clean
from intone.server.text.normalization.context import Context, Token
from intone.server.text.normalization.erhua import drop_erhua
from intone.server.text.normalization.markup import strip_markup
from intone.server.text.normalization.spans import SpannedText

RULES = (
    *abbreviations.RULES,
    *names.ADDRESS_RULES,
    *symbols.EARLY_RULES,
    *quantities.SEPARATED_RULES,
    *codes.RULES,
    *time_and_date.RULES,
    *money.RULES,
    *quantities.EARLY_RULES,
    *measures.RULES,
    *quantities.RULES,
    *names.RULES,
    *time_and_date.YEAR_RULES,
    *measures.PER_RULES,
    *quantities.LATE_RULES,
    *symbols.RULES,
)
"""In the order in which they are tried: what an earlier rule has verbalized, no later one matches."""

_BLANKS = re.compile(r"\s+")
_BEFORE_MARK = re.compile(r"\s+(?=[,.;:!?，。；：！？、](?!\w))|\s+(?=[，。；：！？、])")
_MARK_RUNS = re.compile(r"(?:[,，、;；]\s*){2,}")
_COMMA_BEFORE_STOP = re.compile(r"[,，]\s*(?=[.!?。！？])")
_COMMA_AFTER_STOP = re.compile(r"(?<=[.!?。！？:：])\s*[,，](?=\s|$)")
_LEADING = re.compile(r"^(?:[\s,;:!?…，、；：。！？”’」』）》】)\]/\\|=>^_]|[~<*](?![\d])|\.(?!\d)|[-–—](?=\s))+(?=\S)")
_NO_BLANK_AFTER_STOP = re.compile(
    r"(?<=[a-z]{2})[.!?](?=[A-Z][a-z'])|(?<=[A-Z]{2})[.!?](?=[A-Z][a-z])|(?<=[a-z])[!?](?=[A-Za-z])"
)
_SILENT = re.compile(r"[\\{}<>^_|~=*#\[\]]+")
_IDEOGRAPH = re.compile(f"[{CJK}]")
_CHINESE_SPACE = re.compile(f"(?<=[{CJK}，。！？；：、])[ ]+(?=[{CJK}])")
_ELLIPSIS = re.compile(r"(?<=[\w\ue000])\.{3,}(?=[\w\ue000])")


@dataclass(frozen=True, slots=True)
class Piece:
    """Spoken text and what it stands for.

    Attributes:
        spoken: words, with the punctuation and blanks that belong to them.
        start, end: span in the original text.
        kind: class of the token; "text" for what is spoken as it is written.
    """

    spoken: str
    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A text as it is spoken.

    Attributes:
        spoken: on one line; empty where there is nothing to speak.
        pieces: joined, they are `spoken`.
    """

    spoken: str
    pieces: tuple[Piece, ...]


def normalize(text: str, language: str = "") -> NormalizedText:
    """The words for `text`.

    Args:
        text: one or several sentences of the original text.
        language: BCP 47 code of the conversation, where it is known; decides where nothing in the text does.

    Returns:
        Words for everything in it that can be spoken. Takes linear time; raises nothing.
    """
    plain = strip_markup(clean(SpannedText.of(text)))
    plain = plain.sub(_NO_BLANK_AFTER_STOP, lambda found: found.group() + " ")
    plain = plain.sub(_ELLIPSIS, "... ").sub(_BLANKS, " ").sub(_LEADING, "")
    context = Context(plain.text, language)
    for rule in RULES:
        context.apply(rule)
    _read_capitals(context)
    return _assemble(plain, context)


def _read_capitals(context: Context) -> None:
    shouted = capitals.find_shouted(context.text)
    context.take(
        [
            Token(start, end, word, "capitals")
            for start, end, word in shouted
            if "\ue000" not in context.working[start:end]
        ]
    )


def _assemble(plain: SpannedText, context: Context) -> NormalizedText:
    """Tokens and the text between them, joined so that words stay apart."""
    spoken: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    kinds: list[str] = []

    def add(text: str, start: int, end: int, kind: str) -> None:
        spoken.append(text)
        starts.extend([start] * len(text))
        ends.extend([end] * len(text))
        kinds.extend([kind] * len(text))

    position, last = 0, ""
    for token in [*sorted(context.tokens, key=lambda token: token.start), None]:
        end = len(plain.text) if token is None else token.start
        for index in range(position, end):
            if index == position and last and _joins(last, plain.text[index]):
                add(" ", plain.starts[index], plain.ends[index], "text")
            add(plain.text[index], plain.starts[index], plain.ends[index], "text")
        last = plain.text[end - 1] if end > position else last
        if token is None:
            break
        first, stop = plain.span(token.start, token.end)
        words = (" " if last and token.words and _joins(last, token.words[0]) else "") + token.words
        add(words, first, stop, token.kind)
        position, last = token.end, words[-1:] or last
    joined = _Kinded("".join(spoken), starts, ends, kinds)
    return joined.tidy()


def _joins(before: str, after: str) -> bool:
    """Whether two characters would make one word of two."""
    if not (before.isalnum() and after.isalnum()):
        return False
    return not (_IDEOGRAPH.match(before) or _IDEOGRAPH.match(after))


class _Kinded:
    """Spoken text with the original span and the class of every character."""

    def __init__(self, text: str, starts: list[int], ends: list[int], kinds: list[str]) -> None:
        self._spans = SpannedText(text, starts, ends)
        # Classes travel as if they were spans: one rewrite serves both.
        self._names = sorted(set(kinds))
        index = {name: number for number, name in enumerate(self._names)}
        numbers_of = [index[kind] for kind in kinds]
        self._kinds = SpannedText(text, numbers_of, numbers_of)

    def tidy(self) -> NormalizedText:
        """The text with blanks and punctuation in order."""
        for pattern, replacement in (
            (_SILENT, " "),
            (_BLANKS, " "),
            (_BEFORE_MARK, ""),
            (_MARK_RUNS, lambda found: found.group()[0] + ("" if found.group()[0] in "，、；" else " ")),
            (_COMMA_BEFORE_STOP, ""),
            (_COMMA_AFTER_STOP, ""),
            (_CHINESE_SPACE, ""),
            (_LEADING, ""),
            (re.compile(r"^\s+|\s+$"), ""),
        ):
            self._spans = self._spans.sub(pattern, replacement)
            self._kinds = self._kinds.sub(pattern, replacement)
        self._spans, self._kinds = drop_erhua(self._spans), drop_erhua(self._kinds)
        return NormalizedText(self._spans.text, tuple(self._pieces()))

    def _pieces(self) -> list[Piece]:
        """Runs of one class and one span; plain text by words."""
        pieces: list[Piece] = []
        text, spans, kinds = self._spans.text, self._spans, self._kinds.starts
        position = 0
        while position < len(text):
            end = position + 1
            kind = self._names[kinds[position]]
            if kind == "text":
                while (
                    end < len(text)
                    and kinds[end] == kinds[position]
                    and not (text[end - 1] == " " or _IDEOGRAPH.match(text[end]))
                ):
                    end += 1
            else:
                while end < len(text) and kinds[end] == kinds[position] and spans.starts[end] == spans.starts[position]:
                    end += 1
            words = len(text[position:end].rstrip()) or end - position  # a blank after a word is no part of its span
            start, stop = spans.span(position, position + words)
            pieces.append(Piece(text[position:end], start, stop, kind))
            position = end
        return pieces
