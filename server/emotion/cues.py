"""The emotion that a cue of the text asks for."""

import re
from collections.abc import Iterable

from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.labels import parse_label
from intone.server.text.cues import Cue, Piece, TextFormat, piece_reader, read_pieces
from intone.server.text.cues.pieces import PieceReader

_LABEL = re.compile(r"(.+?)(?:(?<!\s)\s*[:：]\s*(\d*\.\d+|\d+))?", re.DOTALL)


def names_emotion(label: str) -> bool:
    """Whether a label, with or without an intensity such as in "happy:0.4", names an emotion."""
    return _estimate(label) is not None


def emotion_of(cue: Cue) -> EmotionEstimate | None:
    """The emotion that a cue asks for; None where it asks for none and is only left out."""
    if cue.ends:
        return EmotionEstimate.neutral(f"after “{cue.name}”")
    return _estimate(cue.label) if cue.label else None


def cue_reader(text_format: TextFormat) -> PieceReader:
    """A reader for the text of one utterance, in which names of emotions are cues."""
    return piece_reader(text_format, names_emotion)


def read_cues(text: str, text_format: TextFormat = TextFormat.TAGS) -> list[Piece]:
    """The pieces of a whole text, in which names of emotions are cues.

    Raises:
        SsmlError: the format is SSML and the text is not.
    """
    return read_pieces(text, text_format, names_emotion)


def ignored_cues(pieces: Iterable[Piece]) -> list[str]:
    """Names of the cues that have no effect, each once, for one warning per utterance."""
    ignored = (piece.name for piece in pieces if isinstance(piece, Cue) and emotion_of(piece) is None)
    return list(dict.fromkeys(ignored))


def _estimate(label: str) -> EmotionEstimate | None:
    found = _LABEL.fullmatch(label.strip())
    estimate = parse_label(found[1]) if found else None
    if estimate is None or found is None or found[2] is None:
        return estimate
    return estimate.with_intensity(float(found[2]))
