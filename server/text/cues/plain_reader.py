"""Text without cues."""

from intone.server.text.cues.pieces import Piece, TextPiece


class PlainReader:
    """Implements `PieceReader` for `TextFormat.PLAIN`."""

    def __init__(self) -> None:
        self._start = 0

    def push(self, delta: str) -> list[Piece]:
        """Take the next characters; return them."""
        start, self._start = self._start, self._start + len(delta)
        return [TextPiece(delta, start, self._start)] if delta else []

    def finish(self) -> list[Piece]:
        """The text has ended: there is no rest."""
        return []
