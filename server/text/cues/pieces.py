"""What the text of an utterance consists of: text to speak, pauses, and cues that are not spoken."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from intone.server.text.pronunciation import Reading, SpanReading
from intone.server.text.spans import SpannedText

NamesEmotion = Callable[[str], bool]
"""Whether a label such as "happy" or "a bit sad" names an emotion."""


class TextFormat(Enum):
    """How the text of a conversation is written."""

    PLAIN = "plain"
    """Brackets are text."""
    TAGS = "tags"
    """Cues may stand in it: `[sigh]`, `*laughs*`, `（生气）`, `<break time="0.4s"/>`."""
    SSML = "ssml"
    """Speech Synthesis Markup Language 1.1 of the W3C."""


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text to speak.

    Attributes:
        text: may differ from the original at `start` to `end`: a blank in place of a cue, `&` for `&amp;`.
        reading: how all of it is said, for a piece that must not be cut; None: as it is written.
    """

    text: str
    start: int
    end: int
    reading: Reading | None = None


@dataclass(frozen=True, slots=True)
class Pause:
    """Silence of `ms` milliseconds."""

    start: int
    end: int
    ms: int


@dataclass(frozen=True, slots=True)
class Cue:
    """A stage direction or a tag, not spoken.

    Attributes:
        name: for messages: "sigh", "prosody".
        label: the emotion that it asks for, in words; empty if it cannot ask for one.
        ends: whether it takes back an emotion, as `</excited>` does.
    """

    start: int
    end: int
    name: str
    label: str = ""
    ends: bool = False


Piece = TextPiece | Pause | Cue


class PieceReader(Protocol):
    """Reads the text of an utterance as it arrives. Any chunking gives the same pieces, once texts are `merged`."""

    def push(self, delta: str) -> list[Piece]:
        """Take the next characters; return the pieces that are certain now."""

    def finish(self) -> list[Piece]:
        """The text has ended: return the rest."""


@dataclass(frozen=True, slots=True)
class JoinedText:
    """The texts of consecutive pieces, for `normalize`.

    Attributes:
        text: with the original span of each character.
        readings: positions in `text.text`.
    """

    text: SpannedText
    readings: tuple[SpanReading, ...] = field(default=())


def merged(pieces: Iterable[Piece]) -> list[Piece]:
    """The pieces with neighbouring texts joined, where both are as in the original."""
    result: list[Piece] = []
    for piece in pieces:
        last = result[-1] if result else None
        if isinstance(piece, TextPiece) and isinstance(last, TextPiece) and _continues(last, piece):
            result[-1] = replace(last, text=last.text + piece.text, end=piece.end)
        else:
            result.append(piece)
    return result


def _continues(last: TextPiece, piece: TextPiece) -> bool:
    return last.end == piece.start and _plain(last) and _plain(piece)


def _plain(piece: TextPiece) -> bool:
    return piece.reading is None and len(piece.text) == piece.end - piece.start


def join_texts(pieces: Iterable[Piece]) -> JoinedText:
    """The text of the pieces; pauses and cues are left out."""
    text: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    readings: list[SpanReading] = []
    for piece in pieces:
        if not isinstance(piece, TextPiece):
            continue
        if piece.reading is not None:
            readings.append(SpanReading(len(starts), len(starts) + len(piece.text), piece.reading))
        text.append(piece.text)
        if _plain(piece):
            starts.extend(range(piece.start, piece.end))
            ends.extend(range(piece.start + 1, piece.end + 1))
        else:
            starts.extend([piece.start] * len(piece.text))
            ends.extend([piece.end] * len(piece.text))
    return JoinedText(SpannedText("".join(text), starts, ends), tuple(readings))
