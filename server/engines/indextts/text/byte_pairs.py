"""Text to token ids by byte pairs, from a file in tiktoken's format (IndexTTS-2.5). Knows no languages.

Words are split as GPT-2 splits them (Radford et al. 2019); within a word the pair of lowest rank is joined first.
"""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from intone.server.engines.indextts.checkpoint.config import ENGINE
from intone.server.errors import CheckpointError

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


class BytePairTokenizer:
    """The tokenizer; frozen once built.

    Args:
        ranks: id of each token; every single byte must be one.
    """

    def __init__(self, ranks: Mapping[bytes, int]) -> None:
        self._ranks, self._words = ranks, _word_splitter()

    @classmethod
    def load(cls, path: Path) -> "BytePairTokenizer":
        """Read lines of a token in base64 and its id.

        Raises:
            CheckpointError: the file cannot be read, or lacks a byte.
        """
        try:
            lines = [line.split() for line in path.read_bytes().splitlines() if line.strip()]
            ranks = {base64.b64decode(token, validate=True): int(rank) for token, rank in lines}
        except (OSError, ValueError, binascii.Error) as error:
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
        missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
        if missing or sorted(ranks.values()) != list(range(len(ranks))):
            raise CheckpointError(
                ENGINE, f"{path}: expected every byte and every id from 0 once; {len(missing)} missing"
            )
        return cls(ranks)

    def __len__(self) -> int:
        """Tokens; ids from here on are free."""
        return len(self._ranks)

    def ids(self, text: str) -> list[int]:
        """Token ids; nothing in the text is special."""
        words = self._words.pre_tokenize_str(text)
        return [number for word, _ in words for number in self._word_ids(word.encode())]

    def _word_ids(self, word: bytes) -> list[int]:
        if word in self._ranks:
            return [self._ranks[word]]
        parts, unknown = [bytes([byte]) for byte in word], len(self._ranks)
        while len(parts) > 1:
            ranks = [self._ranks.get(left + right, unknown) for left, right in zip(parts, parts[1:], strict=False)]
            best = min(ranks)
            if best == unknown:
                break
            at = ranks.index(best)
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [self._ranks[part] for part in parts]


def byte_tokenizer() -> BytePairTokenizer:
    """One token for each byte: for models that have no vocabulary of their own."""
    return BytePairTokenizer({bytes([byte]): byte for byte in range(256)})


def _word_splitter() -> Any:
    from tokenizers import Regex, pre_tokenizers  # only where this engine is loaded; knows Unicode's classes

    return pre_tokenizers.Split(Regex(WORDS), "isolated")
