"""The normalization pipeline: written text to pieces of spoken text with their spans in the original."""

import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from intone.server.text.characters import CJK
from intone.server.text.cues import TextFormat
from intone.server.text.normalization import (
    abbreviations,
    addresses,
    capitals,
    codes,
    measures,
    money,
    names,
    overrides,
    quantities,
    symbols,
    time_and_date,
    years,
)
from intone.server.text.normalization.clean import clean
from intone.server.text.normalization.context import Context, Token
from intone.server.text.normalization.erhua import drop_erhua
from intone.server.text.normalization.markup import strip_markup
from intone.server.text.normalization.missing_blanks import with_blanks
from intone.server.text.pronunciation import Pronunciation, SpanReading
from intone.server.text.pronunciation.marks import marked
from intone.server.text.spans import SpannedText

T = TypeVar("T")

RULES = (
    *addresses.DIRECTION_RULES,
    *abbreviations.RULES,
    *addresses.RULES,
    *symbols.EARLY_RULES,
    *time_and_date.EARLY_RULES,
    *quantities.SEPARATED_RULES,
    *codes.RULES,
    *years.EARLY_RULES,
    *time_and_date.RULES,
    *years.RULES,
    *money.RULES,
    *addresses.NUMBER_RULES,
    *quantities.EARLY_RULES,
    *measures.RULES,
    *names.EARLY_RULES,
    *quantities.RULES,
    *names.RULES,
    *years.LATE_RULES,
    *measures.PER_RULES,
    *quantities.LATE_RULES,
    *symbols.RULES,
    *measures.LAST_RULES,
)
"""In the order in which they are tried: what an earlier rule has verbalized, no later one matches."""

_TEXT = -1
"""In place of a token's number: spoken as it is written."""

_BLANKS = re.compile(r"[^\S ]\s*|[ ]\s+")
_BEFORE_MARK = re.compile(r"(?<!\s)\s+(?:(?=[,.;:!?，。；：！？、](?!\w))|(?=[，。；：！？、]))")
_OUTER_BLANKS = re.compile(r"^\s+|(?<!\s)\s+$")
_MARK_RUNS = re.compile(r"(?:[,，、;；]\s*){2,}")
_COMMA_BEFORE_STOP = re.compile(r"[,，]\s*(?=[.!?。！？])")
_COMMA_AFTER_STOP = re.compile(r"(?<=[.!?。！？:：])\s*[,，](?=\s|$)")
_LEADING = re.compile(
    r"^(?:[\s,;:!?…，、；：。！？”’」』）》】)\]\\|=^_]|/(?![\w.])|[~<*>](?![ ]?[\d$€£¥￥₹])|\.{2,}|\.(?![\dA-Za-z])"
    r"|[-–—](?=\s))+(?=\S)"
)
_SILENT = re.compile(r"[\\{}<>^_|~=*#\[\]]+")
_IDEOGRAPH = re.compile(f"[{CJK}]")
_CHINESE_SPACE = re.compile(f"(?<=[{CJK}，。！？；：、])[ ]+(?=[{CJK}])")
_BLANK_BEFORE_COMMA = re.compile(r"(?<=[A-Za-z])[ ],(?=[A-Za-z])")
_TIDYING: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_SILENT, " "),
    (_BLANKS, " "),
    (_BEFORE_MARK, ""),
    (_MARK_RUNS, lambda found: found.group()[0] + ("" if found.group()[0] in "，、；" else " ")),
    (_COMMA_BEFORE_STOP, ""),
    (_COMMA_AFTER_STOP, ""),
    (_CHINESE_SPACE, ""),
    (_LEADING, ""),
    (_OUTER_BLANKS, ""),
)
_ELLIPSIS = re.compile(r"(?<=[\w\ue000])\.{3,}(?=[\w\ue000])")


@dataclass(frozen=True, slots=True)
class Piece:
    """Spoken text and what it stands for.

    Attributes:
        spoken: words, with the punctuation and blanks that belong to them.
        start, end: span in the original text.
        kind: class of the token; "text" for what is spoken as it is written.
        sounds: IPA or pinyin that the words are said by; empty where an engine finds them itself.
    """

    spoken: str
    start: int
    end: int
    kind: str
    sounds: str = ""


@dataclass(frozen=True, slots=True)
class NormalizedText:
    """A text as it is spoken.

    Attributes:
        spoken: on one line; empty where there is nothing to speak.
        pieces: joined, they are `spoken`.
    """

    spoken: str
    pieces: tuple[Piece, ...]

    @property
    def marked(self) -> str:
        """`spoken` with the sounds of pieces that have them, in the notation of `text.pronunciation.marks`."""
        return "".join(_marked(piece) for piece in self.pieces)


def normalize(
    text: str,
    language: str = "",
    pronunciations: Sequence[Pronunciation] = (),
    readings: Sequence[SpanReading] = (),
    text_format: TextFormat = TextFormat.TAGS,
) -> NormalizedText:
    """The words for `text`.

    Args:
        text: one or several sentences of the original text.
        language: BCP 47 code of the conversation, where it is known; decides where nothing in the text does.
        pronunciations: words that are said in their own way; `check_pronunciation` has accepted them.
        readings: spans of `text` that are said in their own way, in order, without overlap.
        text_format: with TAGS, cues that are left in the text are not spoken.

    Returns:
        Words for everything in it that can be spoken. Takes linear time; raises nothing.
    """
    return run_stages(text, language, pronunciations, readings, text_format).normalized


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage makes of a text, and its processor time in seconds: "clean", "markup", "classes", "words"."""

    clean: SpannedText
    plain: SpannedText
    normalized: NormalizedText
    took_s: Mapping[str, float]


def run_stages(
    text: str,
    language: str = "",
    pronunciations: Sequence[Pronunciation] = (),
    readings: Sequence[SpanReading] = (),
    text_format: TextFormat = TextFormat.TAGS,
) -> Stages:
    """`normalize` with the results in between."""
    times_s = [time.thread_time()]

    def timed(result: T) -> T:
        times_s.append(time.thread_time())
        return result

    cleaned = timed(clean(overrides.with_placeholders(text, readings)))
    plain = timed(_on_one_line(strip_markup(cleaned, cues=text_format is TextFormat.TAGS)))
    context = Context(plain.text, language)
    context.take(overrides.tokens(text, plain, context, readings, pronunciations, _read))
    for rule in RULES:
        context.apply(rule)
    _read_capitals(timed(context))
    normalized = timed(_assemble(plain, context))
    took_s = [after - before for before, after in itertools.pairwise(times_s)]
    names = ("clean", "markup", "classes", "words")
    return Stages(cleaned, plain, normalized, dict(zip(names, took_s, strict=True)))


def _on_one_line(plain: SpannedText) -> SpannedText:
    return with_blanks(plain).sub(_ELLIPSIS, "... ").sub(_BLANK_BEFORE_COMMA, ", ").sub(_BLANKS, " ").sub(_LEADING, "")


def _read(text: str, language: str) -> str:
    return normalize(text, language).spoken


def _marked(piece: Piece) -> str:
    core = piece.spoken.strip()
    if not (piece.sounds and core):
        return piece.spoken
    before, _, after = piece.spoken.partition(core)
    return f"{before}{marked(core, piece.sounds)}{after}"


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
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    labels: list[int] = []
    tokens = sorted(context.tokens, key=lambda token: token.start)

    def add(text: str, first: int, stop: int, label: int) -> None:
        parts.append(text)
        starts.extend([first] * len(text))
        ends.extend([stop] * len(text))
        labels.extend([label] * len(text))

    position, last = 0, ""
    for number, token in enumerate([*tokens, None]):
        end = len(plain.text) if token is None else token.start
        if end > position:
            if last and _joins(last, plain.text[position]):
                add(" ", plain.starts[position], plain.ends[position], _TEXT)
            parts.append(plain.text[position:end])
            starts += plain.starts[position:end]
            ends += plain.ends[position:end]
            labels += [_TEXT] * (end - position)
            last = plain.text[end - 1]
        if token is None:
            break
        first, stop = plain.span(token.start, token.end)
        words = (" " if last and token.words and _joins(last, token.words[0]) else "") + token.words
        add(words, first, stop, number)
        position, last = token.end, words[-1:] or last
    assembled = SpannedText("".join(parts), starts, ends)
    tidy = _tidy(assembled.text)
    return NormalizedText(tidy.text, tuple(_pieces(tidy, assembled, labels, tokens)))


def _joins(before: str, after: str) -> bool:
    """Whether two characters would make one word of two."""
    if not (before.isalnum() and after.isalnum()):
        return False
    return not (_IDEOGRAPH.match(before) or _IDEOGRAPH.match(after))


def _tidy(text: str) -> SpannedText:
    """`text` with blanks and punctuation in order, and the spans of `text` that its characters stand for."""
    tidy = SpannedText.of(text)
    for pattern, replacement in _TIDYING:
        tidy = tidy.sub(pattern, replacement)
    return drop_erhua(tidy)


def _pieces(
    tidy: SpannedText, assembled: SpannedText, labels: Sequence[int], tokens: Sequence[Token]
) -> Iterator[Piece]:
    """Runs of one token; plain text by words. `labels` are numbers of tokens by character of `assembled`."""
    text = tidy.text
    own = [labels[place] for place in tidy.starts]
    position = 0
    while position < len(text):
        end, label = position + 1, own[position]
        while (
            end < len(text)
            and own[end] == label
            and not (label == _TEXT and (text[end - 1] == " " or _IDEOGRAPH.match(text[end])))
        ):
            end += 1
        words = len(text[position:end].rstrip()) or end - position  # a blank after a word is no part of its span
        start, stop = assembled.span(*tidy.span(position, position + words))
        token = None if label == _TEXT else tokens[label]
        kind, sounds = ("text", "") if token is None else (token.kind, token.sounds)
        yield Piece(text[position:end], start, stop, kind, sounds)
        position = end
