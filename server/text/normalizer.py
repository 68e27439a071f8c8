"""Written text to spoken text, as the settings of an utterance ask for it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from intone.server.text.characters import detect_language
from intone.server.text.cues import TextFormat
from intone.server.text.normalization import NormalizedText, Piece, normalize
from intone.server.text.normalization import say_as as say_as_classes
from intone.server.text.pronunciation import Pronunciation, Reading, SpanReading
from intone.server.text.pronunciation.entries import find_pronunciations

_BLANKS = re.compile(r"\s+")
_WORDS = re.compile(r"\S+")


@dataclass(frozen=True, slots=True)
class WrittenText:
    """A text to be read, and how.

    Attributes:
        text: of one unit, without cues.
        language: BCP 47 code of the conversation, where it is known.
        pronunciations: words that are said in their own way; `check_pronunciation` has accepted them.
        readings: spans of `text` that are said in their own way, in order, without overlap.
        text_format: of the utterance.
        normalize: whether to read numbers and symbols as words; otherwise only words with a reading change.
    """

    text: str
    language: str = ""
    pronunciations: tuple[Pronunciation, ...] = ()
    readings: tuple[SpanReading, ...] = ()
    text_format: TextFormat = TextFormat.TAGS
    normalize: bool = True

    @property
    def has_readings(self) -> bool:
        """Whether anything in it may be said in a way of its own."""
        return bool(self.pronunciations or self.readings)


class Normalizer:
    """Reads texts."""

    def __call__(self, text: str, language: str = "") -> str:
        """`text` as it is spoken, on one line; empty or without letters when nothing in it can be spoken.

        Args:
            text: of one unit.
            language: BCP 47 code of the conversation, where it is known.
        """
        return normalize(text, language).spoken

    def read(self, written: WrittenText) -> NormalizedText:
        """A text as it is spoken, with the span of `written.text` that each piece stands for."""
        if not written.normalize:
            return as_written(written)
        return normalize(written.text, written.language, written.pronunciations, written.readings, written.text_format)


def collapse(text: str) -> str:
    """`text` on one line, each run of white space one blank, none at the ends."""
    return _BLANKS.sub(" ", text).strip()


def as_written(written: WrittenText) -> NormalizedText:
    """A text on one line as it is written, but for the words that have a reading."""
    pieces: list[Piece] = []
    for piece in _pieces(written):
        if pieces and written.text[pieces[-1].end : piece.start]:  # nothing but blanks stands between two pieces
            pieces[-1] = replace(pieces[-1], spoken=pieces[-1].spoken + " ")
        pieces.append(piece)
    return NormalizedText("".join(piece.spoken for piece in pieces), tuple(pieces))


def _pieces(written: WrittenText) -> Iterator[Piece]:
    position = 0
    for start, end, reading in [*_readings(written), (len(written.text), len(written.text), None)]:
        for word in _WORDS.finditer(written.text, position, start):
            # Square brackets before sounds would be taken for the mark of a pronunciation.
            yield Piece(word.group().replace("](/", "] (/"), *word.span(), "text")
        if reading is not None:
            yield Piece(_said(reading, written.text[start:end]), start, end, "reading", reading.sounds)
        position = end


def _readings(written: WrittenText) -> list[tuple[int, int, Reading]]:
    """Readings of spans and of words outside of these, in order."""
    spans = [(one.start, one.end, one.reading) for one in written.readings]
    found = find_pronunciations(written.text, written.pronunciations, written.language)
    words = [word for word in found if all(word[1] <= start or end <= word[0] for start, end, _ in spans)]
    return sorted([*spans, *words], key=lambda one: one[0])


def _said(reading: Reading, text: str) -> str:
    words: str | None = reading.spoken_as
    if reading.say_as:
        chinese = detect_language(text) == "zh"
        words = say_as_classes.words(text, reading.say_as, reading.format, chinese)
    return collapse(words or text)
