"""Text to token ids, as VoxCPM was trained: no begin or end token, Chinese one character at a time. Knows no audio."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from intone.server.engines.voxcpm.config import ENGINE, SENTENCE_ENDS
from intone.server.engines.voxcpm.phonemes import Reading, reading
from intone.server.errors import CheckpointError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

AUDIO_START = 101
REFERENCE_START = 103
REFERENCE_END = 104

WORD_START = "▁"


class TextTokenizer:
    """The checkpoint's tokenizer, with its tokens of several Chinese characters taken apart.

    The model reads one character at a time, so a token that, without word-start marks, is a vocabulary entry of two or
    more characters of U+4E00 to U+9FFF becomes those characters; a character that has no entry becomes `unknown`.

    Args:
        unknown: the id of what has none.
        read: for a checkpoint whose tokens are sounds: what the tokenizer is given in the text's place.
    """

    def __init__(self, tokenizer: "Tokenizer", unknown: int, read: Reading = str) -> None:
        self._read = read
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
            vocabulary: ids that the model has.
            phonemes, languages, ends: see `phonemes.reading`; None where tokens are spelling.

        Raises:
            CheckpointError: a file cannot be read, has more tokens than `vocabulary`, or needs sounds nobody can find.
        """
        from tokenizers import Tokenizer  # heavy, and only for checkpoints

        path = folder / "tokenizer.json"
        try:
            document = path.read_text(encoding="utf-8")
            tokenizer = Tokenizer.from_str(document)
        except Exception as error:  # the library raises nothing more exact
            raise CheckpointError(ENGINE, f"cannot read {path}: {error}") from error
        name = json.loads(document).get("model", {}).get("unk_token") or _configured_unknown(folder)
        unknown = tokenizer.token_to_id(name) if name else None
        if unknown is None:
            raise CheckpointError(ENGINE, f"{path}: found no unknown token, expected unk_token in it or in its config")
        largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
        if largest >= vocabulary:
            raise CheckpointError(ENGINE, f"{path}: found token id {largest}, expected below vocab_size = {vocabulary}")
        return cls(tokenizer, unknown, reading(phonemes, languages, ends) if phonemes else str)

    def ids(self, text: str) -> list[int]:
        """Token ids; empty for empty text."""
        encoding = self._tokenizer.encode(self._read(text), add_special_tokens=False)
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
