"""Cues in the text of a conversation: what is spoken, what is a pause, what is neither, in three formats.

    pieces = read_pieces("Well [sigh] <break time='0.4s'/> no.", TextFormat.TAGS)

`piece_reader` does the same as text arrives. `intone.server.emotion.cues` says which emotion a cue asks for.
"""

from intone.server.text.cues.pieces import (
    Cue,
    JoinedText,
    NamesEmotion,
    Pause,
    Piece,
    PieceReader,
    TextFormat,
    TextPiece,
    join_texts,
    merged,
)
from intone.server.text.cues.plain_reader import PlainReader
from intone.server.text.cues.ssml import SsmlError, SsmlReader
from intone.server.text.cues.tag_reader import TagReader

__all__ = [
    "Cue",
    "JoinedText",
    "Pause",
    "Piece",
    "PieceReader",
    "SsmlError",
    "TextFormat",
    "TextPiece",
    "find_cues",
    "join_texts",
    "merged",
    "piece_reader",
    "read_pieces",
]


def _nothing(label: str) -> bool:
    return False


def piece_reader(text_format: TextFormat, names_emotion: NamesEmotion = _nothing) -> PieceReader:
    """A reader for the text of one utterance.

    Args:
        names_emotion: whether a label names an emotion; brackets with such a label are cues.
    """
    if text_format is TextFormat.SSML:
        return SsmlReader()
    return TagReader(names_emotion) if text_format is TextFormat.TAGS else PlainReader()


def read_pieces(text: str, text_format: TextFormat, names_emotion: NamesEmotion = _nothing) -> list[Piece]:
    """The pieces of a whole text.

    Raises:
        SsmlError: the format is SSML and the text is not.
    """
    reader = piece_reader(text_format, names_emotion)
    return merged([*reader.push(text), *reader.finish()])


def find_cues(text: str, names_emotion: NamesEmotion = _nothing) -> list[Cue | Pause]:
    """The cues and pauses of a text with inline cues, in order."""
    pieces = read_pieces(text, TextFormat.TAGS, names_emotion)
    return [piece for piece in pieces if not isinstance(piece, TextPiece)]
