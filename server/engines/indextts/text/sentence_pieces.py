"""Text to token ids by a sentencepiece model of the byte-pair kind (IndexTTS-2). Knows no languages.

SentencePiece: arXiv 1808.06226. The file is a protocol buffer; what is needed of it is read here.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.errors import CheckpointError

SPACE = "▁"
NORMAL, UNKNOWN, USER_DEFINED = 1, 2, 4
BYTE_PAIRS = 2

# Numbers of fields in the file.
PIECE, TRAINER, NORMALIZER = 1, 2, 3
PIECE_TEXT, PIECE_SCORE, PIECE_KIND = 1, 2, 3
MODEL_KIND, BYTE_FALLBACK = 3, 35
CHARACTER_MAP, DUMMY_PREFIX, REMOVE_EXTRA_SPACES = 2, 3, 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What the file says.

    Attributes:
        scores: of each piece that pairs may be joined to.
        ids: of each piece that may come out.
        whole: pieces that are never taken apart, the longest first.
        unknown: id of what has no piece.
        character_map: compiled normalisation; may be empty.
    """

    scores: dict[str, float]
    ids: dict[str, int]
    whole: tuple[str, ...]
    unknown: int
    character_map: bytes
    size: int


class SentencePieceTokenizer:
    """The tokenizer; frozen once built."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._normalizer = _normalizer(vocabulary.character_map)

    @classmethod
    def load(cls, path: Path) -> "SentencePieceTokenizer":
        """Read `bpe.model`.

        Raises:
            CheckpointError: the file cannot be read, or is of another kind.
        """
        try:
            return cls(_vocabulary(path.read_bytes()))
        except (OSError, ValueError, LookupError, TypeError, struct.error) as error:
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error

    def __len__(self) -> int:
        """Pieces."""
        return self._vocabulary.size

    def ids(self, text: str) -> list[int]:
        """Piece ids; of characters without a piece in a row, one unknown id."""
        ids: list[int] = []
        for symbol in self._joined(list(self._symbols(text))):
            number = self._vocabulary.ids.get(symbol, self._vocabulary.unknown)
            if number != self._vocabulary.unknown or ids[-1:] != [number]:
                ids.append(number)
        return ids

    def _symbols(self, text: str) -> Iterator[str]:
        """Characters and whole pieces of the normalised text, a space before the first."""
        spaced = SPACE + SPACE.join(self._normalised(text).split(" ")) if text.strip() else ""
        at = 0
        while at < len(spaced):
            symbol = next((piece for piece in self._vocabulary.whole if spaced.startswith(piece, at)), spaced[at])
            yield symbol
            at += len(symbol)

    def _normalised(self, text: str) -> str:
        changed = self._normalizer.normalize_str(text) if self._normalizer else text
        return " ".join(part for part in changed.split(" ") if part)

    def _joined(self, symbols: list[str]) -> list[str]:
        """The pair with the best score is joined first, the leftmost of equals."""
        scores, whole = self._vocabulary.scores, set(self._vocabulary.whole)
        while len(symbols) > 1:
            pairs = [
                scores.get(left + right) if left not in whole and right not in whole else None
                for left, right in zip(symbols, symbols[1:], strict=False)
            ]
            known = [score for score in pairs if score is not None]
            if not known:
                break
            at = pairs.index(max(known))
            symbols[at : at + 2] = [symbols[at] + symbols[at + 1]]
        return symbols


def _vocabulary(content: bytes) -> Vocabulary:
    scores: dict[str, float] = {}
    ids: dict[str, int] = {}
    whole: list[str] = []
    unknown, size, character_map = 0, 0, b""
    for number, value in _fields(content):
        if number == PIECE:
            piece = dict(_fields(value))
            text, kind = str(piece[PIECE_TEXT], "utf-8"), piece.get(PIECE_KIND, NORMAL)
            if kind == NORMAL:
                scores[text] = struct.unpack("<f", piece.get(PIECE_SCORE, bytes(4)))[0]
            if kind in (NORMAL, USER_DEFINED):
                ids[text] = size
            if kind == USER_DEFINED:
                whole.append(text)
            unknown = size if kind == UNKNOWN else unknown
            size += 1
        elif number == TRAINER:
            _demand(dict(_fields(value)), {MODEL_KIND: BYTE_PAIRS, BYTE_FALLBACK: 0}, {MODEL_KIND: 1})
        elif number == NORMALIZER:
            spec = dict(_fields(value))
            _demand(spec, {DUMMY_PREFIX: 1, REMOVE_EXTRA_SPACES: 1}, {DUMMY_PREFIX: 1, REMOVE_EXTRA_SPACES: 1})
            character_map = spec.get(CHARACTER_MAP, b"")
    if not ids:
        raise ValueError("found no pieces")
    return Vocabulary(scores, ids, tuple(sorted(whole, key=len, reverse=True)), unknown, character_map, size)


def _demand(spec: dict[int, Any], expected: dict[int, int], absent: dict[int, int]) -> None:
    """Refuse a kind of model that this code does not compute; `absent` is what a missing field means, else 0."""
    for number, value in expected.items():
        found = spec.get(number, absent.get(number, 0))
        if found != value:
            raise ValueError(f"field {number} of the specification: found {found}, expected {value}")


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of one message, in order."""
    at = 0
    while at < len(content):
        key, at = _varint(content, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(content, at)
            yield number, value
            continue
        if kind not in (BYTES, FIXED32, FIXED64):
            raise ValueError(f"found wire type {kind}, expected a sentencepiece model")
        size = {FIXED32: 4, FIXED64: 8}.get(kind, 0)
        if kind == BYTES:
            size, at = _varint(content, at)
        if at + size > len(content):
            raise ValueError("it ends in the middle of a field")
        yield number, content[at : at + size]
        at += size


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = content[at]
        value, at, shift = value | (byte & 127) << shift, at + 1, shift + 7
        if byte < 128:
            return value, at


def _normalizer(character_map: bytes) -> Any:
    if not character_map:
        return None
    from tokenizers import normalizers  # only where this engine is loaded; reads sentencepiece's compiled maps

    try:
        return normalizers.Precompiled(character_map)
    except Exception as error:  # the library raises nothing more exact
        raise ValueError(str(error)) from error
