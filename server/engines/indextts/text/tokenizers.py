"""Text to token ids: tiktoken for IndexTTS-2.5, SentencePiece for IndexTTS-2.

Both libraries are imported when a tokenizer is built, so a server without IndexTTS does not load them.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.errors import CheckpointError

SPLIT_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""Splits text into words as GPT-2 does (Radford et al. 2019); no token crosses a split."""


class Tokenizer(Protocol):
    """What `FrontEnd` needs of either tokenizer."""

    def __len__(self) -> int:
        """Number of ids, from 0 on; higher ids are free."""

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; no part of the text is read as a special token."""


class BytePairTokenizer:
    """Byte-pair encoding by tiktoken; immutable.

    Args:
        ranks: token → id. Contains every single byte; the ids are 0 to n - 1, and lower ids are merged first.
    """

    def __init__(self, ranks: Mapping[bytes, int]) -> None:
        import tiktoken

        self._size = len(ranks)
        self._encoding = tiktoken.Encoding(
            "indextts", pat_str=SPLIT_PATTERN, mergeable_ranks=dict(ranks), special_tokens={}
        )

    @classmethod
    def load(cls, path: Path) -> "BytePairTokenizer":
        """Read a tiktoken file: on each line a token in base64 and its id.

        The file is parsed here because tiktoken's own reader keeps a copy of it in a temporary folder.

        Raises:
            CheckpointError: the file cannot be read, lacks a byte, or its ids are not 0 to n - 1.
        """
        try:
            lines = [line.split() for line in path.read_bytes().splitlines() if line.strip()]
            ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
        except (OSError, ValueError, binascii.Error) as error:
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
        missing = sum(bytes([byte]) not in ranks for byte in range(256))
        if missing:
            raise CheckpointError(ENGINE, f"{path}: found {256 - missing} single bytes, expected all 256")
        if sorted(ranks.values()) != list(range(len(ranks))):
            raise CheckpointError(ENGINE, f"{path}: found gaps or repeats in the ids, expected 0 to {len(ranks) - 1}")
        return cls(ranks)

    def __len__(self) -> int:
        return self._size

    def ids(self, text: str) -> list[int]:
        """See `Tokenizer.ids`."""
        return self._encoding.encode_ordinary(text)


class SentencePieceTokenizer:
    """A SentencePiece model (arXiv 1808.06226), as the library computes it; immutable.

    Args:
        model: content of a `.model` file.

    Raises:
        ValueError: the content is not a usable model.
    """

    def __init__(self, model: bytes) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise ValueError(f"expected a SentencePiece model: {error}") from error

    @classmethod
    def load(cls, path: Path) -> "SentencePieceTokenizer":
        """Read `bpe.model`.

        Raises:
            CheckpointError: the file cannot be read, or is not a SentencePiece model.
        """
        try:
            return cls(path.read_bytes())
        except (OSError, ValueError) as error:
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error

    def __len__(self) -> int:
        return int(self._processor.GetPieceSize())

    def ids(self, text: str) -> list[int]:
        """See `Tokenizer.ids`; consecutive characters without a piece give one unknown id."""
        return list(self._processor.EncodeAsIds(text))


def byte_tokenizer() -> BytePairTokenizer:
    """One token for each byte: the vocabulary of models with random weights."""
    return BytePairTokenizer({bytes([byte]): byte for byte in range(256)})
