"""What must hold for the normalization of every text."""

import re

from intone.server.text.normalization import NormalizedText
from intone.server.text.normalization.clean import clean
from intone.server.text.normalization.markup import strip_markup
from intone.server.text.spans import SpannedText

_WORD = re.compile(r"[^\W_]+")


def check_pieces(text: str, normalized: NormalizedText) -> None:
    """Pieces tile the spoken text, and their spans lie in the text."""
    assert "".join(piece.spoken for piece in normalized.pieces) == normalized.spoken
    for piece in normalized.pieces:
        assert 0 <= piece.start <= piece.end <= len(text), piece
    assert "\n" not in normalized.spoken
    assert normalized.spoken == normalized.spoken.strip()


def lost_words(text: str, normalized: NormalizedText) -> list[str]:
    """Words of `text` that markup leaves to be spoken, and that no spoken piece stands for."""
    covered = bytearray(len(text))
    for piece in normalized.pieces:
        if any(character.isalnum() for character in piece.spoken):
            covered[piece.start : piece.end] = b"\1" * (piece.end - piece.start)
    plain = strip_markup(clean(SpannedText.of(text)), cues=True)
    lost = []
    for found in _WORD.finditer(plain.text):
        start, end = plain.span(*found.span())
        if not any(covered[start:end]):
            lost.append(found.group())
    return lost
