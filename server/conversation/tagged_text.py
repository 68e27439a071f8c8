"""Segments the text of an utterance, in any of its formats, into units; cues are taken out and take effect.

A pause, and a cue that asks for an emotion, end a unit. The emotion holds for what follows: until the next such cue or,
in text with tags, the end of the paragraph, which is a blank line; in SSML until its element ends. Other cues are left
out, and so is what looks like a cue in code or thinking.
"""

from collections import deque
from dataclasses import dataclass, replace

from intone.server.domain import Emotion, Unit
from intone.server.emotion.cues import cue_reader, emotion_of
from intone.server.text.characters import is_speakable
from intone.server.text.cues import Cue, Pause, Piece, TextFormat, TextPiece, merged
from intone.server.text.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class TextUnit(Unit):
    """A unit with what its cues ask for. Positions are in characters of the text as received.

    Attributes:
        pieces: its text without cues.
        emotion: of the last cue at or before its beginning; None if there is none.
        pause_ms: of silence before it, that cues ask for; None if none does.
    """

    pieces: tuple[TextPiece, ...] = ()
    emotion: Emotion | None = None
    pause_ms: float | None = None

    @property
    def untagged_text(self) -> str:
        """`text` without cues."""
        return "".join(piece.text for piece in self.pieces)


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a cue at a position does to the text behind it: sets the emotion, or pauses where `pause_ms` is set."""

    position: int
    emotion: Emotion | None = None
    pause_ms: float | None = None


class TaggedText:
    """The text of one utterance. Chunk-invariant."""

    def __init__(self, segmenter: Segmenter, text_format: TextFormat = TextFormat.TAGS) -> None:
        self._segmenter, self._reader = segmenter, cue_reader(text_format)
        self._paragraph = _Paragraph() if text_format is TextFormat.TAGS else None
        self._text = ""  # as received, not part of a unit yet
        self._start = 0  # position of `_text`
        self._pieces: deque[TextPiece] = deque()  # given to the segmenter, not part of a unit yet
        self._effects: list[_Effect] = []  # of cues behind `_start`
        self._emotion: Emotion | None = None  # of the last cue before `_start`
        self._unit_count = 0
        self._ignored: dict[str, None] = {}

    @property
    def pending(self) -> str:
        """Text that is not part of a unit yet, without cues and without what may become one."""
        return self._segmenter.pending

    @property
    def ignored_cues(self) -> list[str]:
        """Names of the cues so far that have no effect, each once."""
        return list(self._ignored)

    def push(self, delta: str) -> list[TextUnit]:
        """Append text; return the units completed by it.

        Raises:
            SsmlError: the format is SSML and the text is not; no more text may follow.
        """
        self._text += delta
        return self._take(self._reader.push(delta))

    def flush(self) -> list[TextUnit]:
        """Make units of everything buffered, even in mid-sentence, except an incomplete cue."""
        return self._placed(self._segmenter.flush())

    def expire(self) -> list[TextUnit]:
        """Make units of what is buffered up to the last word boundary; used when no text has arrived for a while."""
        return self._placed(self._segmenter.expire())

    def finish(self) -> list[TextUnit]:
        """Make units of everything: the text has ended.

        Raises:
            SsmlError: the format is SSML and the text is not.
        """
        units = self._take(self._reader.finish()) + self._placed(self._segmenter.finish())
        if self._text:  # only cues
            units.append(self._unit((), self._start + len(self._text), speakable=False))
        return units

    # ---- pieces in

    def _take(self, pieces: list[Piece]) -> list[TextUnit]:
        units: list[TextUnit] = []
        for piece in pieces:
            if isinstance(piece, TextPiece):
                units += self._take_text(piece)
            elif self._segmenter.is_inside_atom:
                continue
            elif isinstance(piece, Pause):
                units += self._take_pause(piece)
            else:
                units += self._take_cue(piece)
        return units

    def _take_text(self, piece: TextPiece) -> list[TextUnit]:
        units: list[TextUnit] = []
        while self._paragraph is not None and (length := self._paragraph.end_in(piece.text)) is not None:
            first, piece = _split(piece, length)
            units += self._push(first) + self.flush()
            self._effects.append(_Effect(first.end))
        return units + self._push(piece) if piece.text else units

    def _push(self, piece: TextPiece) -> list[TextUnit]:
        self._pieces.append(piece)
        divisible = piece.reading is None and (_is_verbatim(piece) or len(piece.text) == 1)
        push = self._segmenter.push if divisible else self._segmenter.push_atom
        return self._placed(push(piece.text))

    def _take_pause(self, pause: Pause) -> list[TextUnit]:
        units = self.flush() if pause.ms else []
        if not is_speakable(self._segmenter.pending):  # else it asks for no pause in mid-sentence
            self._effects.append(_Effect(pause.start, pause_ms=float(pause.ms)))
        return units

    def _take_cue(self, cue: Cue) -> list[TextUnit]:
        estimate = emotion_of(cue)
        if estimate is None:
            self._ignored[cue.name] = None
            return []
        units = self.flush()
        self._effects.append(_Effect(cue.start, estimate.emotion))
        if self._paragraph is not None:
            self._paragraph.begin()
        return units

    # ---- units out

    def _placed(self, units: list[Unit]) -> list[TextUnit]:
        """Units of the text as received for the segmenter's units. A cue right behind one belongs to the next one."""
        placed = []
        for unit in units:
            pieces = self._pieces_of(len(unit.text))
            speakable = unit.speakable or any(piece.reading is not None for piece in pieces)
            placed.append(self._unit(tuple(pieces), pieces[-1].end, speakable))
        return placed

    def _pieces_of(self, length: int) -> list[TextPiece]:
        """Take the pieces of the next `length` characters."""
        found: list[Piece] = []
        while length:
            piece = self._pieces.popleft()
            if len(piece.text) > length:
                piece, rest = _split(piece, length)
                self._pieces.appendleft(rest)
            found.append(piece)
            length -= len(piece.text)
        return [piece for piece in merged(found) if isinstance(piece, TextPiece)]

    def _unit(self, pieces: tuple[TextPiece, ...], end: int, speakable: bool) -> TextUnit:
        pauses_ms: list[float] = []
        for effect in [effect for effect in self._effects if effect.position < end]:
            if effect.pause_ms is not None:
                pauses_ms.append(effect.pause_ms)
            else:
                self._emotion = effect.emotion
        self._effects = [effect for effect in self._effects if effect.position >= end]
        length = end - self._start
        text, self._text = self._text[:length], self._text[length:]
        pause_ms = sum(pauses_ms) if pauses_ms else None
        unit = TextUnit(self._unit_count, self._start, end, text, speakable, pieces, self._emotion, pause_ms)
        self._start, self._unit_count = end, self._unit_count + 1
        return unit


class _Paragraph:
    """Finds the end of the paragraph for which a tag holds: a blank line behind text that can be spoken."""

    def __init__(self) -> None:
        self._tagged = self._has_text = self._line_ended = False

    def begin(self) -> None:
        """A tag stands here."""
        self._tagged, self._has_text, self._line_ended = True, False, False

    def end_in(self, text: str) -> int | None:
        """Length of the part of the next text that ends the paragraph; None if it goes on. Read the rest again then."""
        for position, character in enumerate(text if self._tagged else ""):
            if character == "\n":
                if self._line_ended:
                    self._tagged = False
                    return position + 1
                self._line_ended = self._has_text
            elif not character.isspace():
                self._has_text, self._line_ended = self._has_text or character.isalnum(), False
        return None


def _is_verbatim(piece: TextPiece) -> bool:
    return len(piece.text) == piece.end - piece.start


def _split(piece: TextPiece, length: int) -> tuple[TextPiece, TextPiece]:
    """A piece that is as in the original, in two."""
    assert _is_verbatim(piece) and piece.reading is None, "only such pieces are divisible"
    middle = piece.start + length
    return replace(piece, text=piece.text[:length], end=middle), replace(piece, text=piece.text[length:], start=middle)
