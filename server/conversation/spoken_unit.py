"""A unit with the words that are spoken for it, and the characters of the utterance's text that each stands for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from intone.server.conversation.tagged_text import TextUnit
from intone.server.domain import EngineInfo
from intone.server.text.atoms import atoms_in
from intone.server.text.cues import JoinedText
from intone.server.text.normalization import NormalizedText, Piece
from intone.server.text.pronunciation.marks import for_engine


@dataclass(frozen=True, slots=True)
class SpokenUnit:
    """What is spoken for a unit.

    Attributes:
        unit: as written.
        text: as spoken, on one line; empty where there is nothing to speak.
        marked: `text` with the sounds of words that have them, see `text.pronunciation.marks`.
        pieces: joined, they are `text`; with spans in the utterance's text as received.
    """

    unit: TextUnit
    text: str
    marked: str
    pieces: tuple[Piece, ...]

    @classmethod
    def of(cls, unit: TextUnit, written: JoinedText, spoken: NormalizedText) -> "SpokenUnit":
        """What is spoken for `unit`, whose text without cues is `written`."""
        pieces = []
        for piece in spoken.pieces:
            start, end = written.text.span(piece.start, max(piece.end, piece.start + 1))
            pieces.append(replace(piece, start=start, end=end))
        return cls(unit, spoken.spoken, spoken.marked, tuple(pieces))

    def for_engine(self, info: EngineInfo) -> tuple[str, list[str]]:
        """The text for an engine, and warnings about words whose sounds it cannot take."""
        return for_engine(self.marked, info.alphabets, info.languages)

    def position_at(self, share: float) -> int:
        """Position in the utterance's text when this share of `text`, 0 to 1, was spoken, at a constant rate.

        What is spoken in other words than it is written, such as "$3.50", counts only when it was spoken to its end,
        and so does a link, a tag, code or a formula: none is cut.
        """
        spoken = share * len(self.text) + 1e-6
        if spoken >= len(self.text):
            return self.unit.end
        position = max(self.unit.start, _reached(self.pieces, spoken))
        for start, end in atoms_in(self.unit.text):
            start, end = start + self.unit.start, end + self.unit.start
            if start < position < end:
                unspoken = any(position < piece.end <= end and piece.spoken.strip() for piece in self.pieces)
                return start if unspoken else end
        return position


def _reached(pieces: Sequence[Piece], spoken: float) -> int:
    """Largest position in the original that the first `spoken` characters stand for."""
    position = 0
    for piece in pieces:
        words = piece.spoken.strip()
        inside = spoken - (len(piece.spoken) - len(piece.spoken.lstrip()))
        if spoken >= len(piece.spoken) or inside >= len(words):
            position = max(position, piece.end)
        elif piece.kind == "text" and len(words) == piece.end - piece.start:
            position = max(position, piece.start + max(0, int(inside)))
        else:
            position = max(position, piece.start)
        spoken -= len(piece.spoken)
        if spoken < 0:
            break
    return position
