"""Tokenizes text as in the training of VoxCPM: no begin or end tokens, Chinese one character at a time."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intone.server.engines.phonemes import SENTENCE_ENDS, Phonemizer, phonemizer
from intone.server.engines.voxcpm.config import ENGINE
from intone.server.errors import CheckpointError
from intone.server.text.pronunciation.marks import spelled

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AUDIO_START = 101
REFERENCE_START = 103
REFERENCE_END = 104

WORD_START = "▁"


class TextTokenizer:
    """The checkpoint's tokenizer, with tokens of several Chinese characters split.

    A token of two or more characters in U+4E00 to U+9FFF, not counting word-start marks, is replaced by the tokens of
    its characters; a character without a token becomes `unknown`.

    Args:
        unknown: id of the unknown token.
        phonemize: converts text to phonemes first, for a checkpoint whose tokens are phonemes.
    """

    def __init__(self, tokenizer: "Tokenizer", unknown: int, phonemize: Phonemizer = str) -> None:
        self._phonemize = phonemize
        self._tokenizer = tokenizer
        self._vocabulary: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self._unknown = unknown
        self._chinese = {token for token in self._vocabulary if len(token) >= 2 and all(map(_is_chinese, token))}

    @classmethod
    def load(
        cls,
        folder: Path,
        vocabulary: int,
        phonemes: str | None = None,
        languages: Sequence[str] = (),
        ends: str = SENTENCE_ENDS,
    ) -> "TextTokenizer":
        """Read `tokenizer.json`, and the unknown token from it or from `tokenizer_config.json`.

        Args:
            vocabulary: size of the model's embedding.
            phonemes, languages, ends: as for `phonemes.phonemizer`; None where tokens are text.

        Raises:
            CheckpointError: a file cannot be read, has more tokens than `vocabulary`, or a phonemizer is missing.
        """
        from tokenizers import Tokenizer  # slow to import, and only needed for checkpoints

        path = folder / "tokenizer.json"
        try:
            document = path.read_text(encoding="utf-8")
            tokenizer = Tokenizer.from_str(document)
        except Exception as error:  # the library raises nothing more specific
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
        name = json.loads(document).get("model", {}).get("unk_token") or _configured_unknown(folder)
        unknown = tokenizer.token_to_id(name) if name else None
        if unknown is None:
            raise CheckpointError(ENGINE, f"{path}: found no unknown token, expected unk_token in it or in its config")
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
        if largest >= vocabulary:
            raise CheckpointError(ENGINE, f"{path}: found token id {largest}, expected below vocab_size = {vocabulary}")
        return cls(tokenizer, unknown, phonemizer(phonemes, languages, ends) if phonemes else spelled)

    def ids(self, text: str) -> list[int]:
        """Token ids; empty for empty text."""
        encoding = self._tokenizer.encode(self._phonemize(text), add_special_tokens=False)
        result: list[int] = []
        for token, token_id in zip(encoding.tokens, encoding.ids, strict=True):
            bare = token.replace(WORD_START, "")
            if bare in self._chinese:
                result += [self._vocabulary.get(character, self._unknown) for character in bare]
            else:
                result.append(token_id)
        return result


def _is_chinese(character: str) -> bool:
    return "\u4e00" <= character <= "\u9fff"


def _configured_unknown(folder: Path) -> str | None:
    path = folder / "tokenizer_config.json"
    try:
        token = json.loads(path.read_text(encoding="utf-8")).get("unk_token")
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
    return token.get("content") if isinstance(token, dict) else token
