"""Text to the language model's input: punctuation and case as in training, token ids, and the language.

Numbers, units and the like are already expanded to words.
"""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from intone.server.engines.indextts.checkpoint.config import ENGINE, IndexTTSConfig, Variant
from intone.server.engines.indextts.text.tokenizers import (
    BytePairTokenizer,
    SentencePieceTokenizer,
    Tokenizer,
    byte_tokenizer,
)
from intone.server.engines.phonemes import Phonemizer, phonemizer
from intone.server.errors import CallerError, CheckpointError, Reason
from intone.server.text.pronunciation.marks import spelled

LANGUAGES = {
    Variant.V2: ("zh", "en"),
    Variant.V25: ("zh", "en", "ja", "es", "ar"),
}
"""Languages of each variant; BCP 47."""

PHONEMIC_LANGUAGES = ("en",)
"""Languages of checkpoints whose tokens are phonemes."""

LANGUAGE_ROWS = {"en": 0, "zh": 1, "es": 3, "ja": 7, "ar": 13}
"""Rows of the language table, which has the order of the language tags in the text vocabulary."""

SPECIAL_TOKENS = 1673
FIRST_LANGUAGE_TAG = 2
"""Index of the first language tag among the special tokens, which follow the vocabulary."""

# Punctuation was normalised like this before training: (replacement, replaced). Longer ones first.
FOLDED = (
    ("…", ("......", "……", "...", ",,,", "，，，")),
    (",", (":", ";", "：", "；", "，", "、")),
    (".", ("。",)),
    ("!", ("！",)),
    ("?", ("？",)),
    ("-", ("—", "～", "~", "·")),
    ("'", tuple('"“”‘’()（）[]【】《》「」')),
    (" ", ("\n",)),
)
FOLDING = {old: new for new, olds in FOLDED for old in olds}
TO_FOLD = re.compile("|".join(re.escape(old) for old in sorted(FOLDING, key=len, reverse=True)))

ONE_BY_ONE = re.compile(
    r"([\u1100-\u11ff\u2e80-\ua4cf\ua840-\ud7af\uf900-\ufaff\ufe30-\ufe4f\uff65-\uffdc\U00020000-\U0002ffff])"
)
"""CJK characters and others that IndexTTS-2 tokenizes one by one."""

SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff\uff66-\uff9d]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("ar", re.compile(r"[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]")),
    ("es", re.compile(r"[¿¡ñÑ]")),
)


@dataclass(frozen=True, slots=True)
class TokenizedText:
    """Token ids, and the row of the language table, 0 in IndexTTS-2."""

    ids: tuple[int, ...]
    language: int


class FrontEnd:
    """Tokenizes text for one variant; immutable.

    Args:
        max_tokens: ids that the model has positions for.
        phonemize: converts text to phonemes, for a checkpoint whose tokens are phonemes.
    """

    def __init__(
        self, variant: Variant, tokenizer: Tokenizer, max_tokens: int, phonemize: Phonemizer | None = None
    ) -> None:
        self._variant, self._tokenizer, self._max_tokens = variant, tokenizer, max_tokens
        self._phonemize = phonemize

    @classmethod
    def load(cls, folder: Path, config: IndexTTSConfig) -> "FrontEnd":
        """Read the vocabulary named in the configuration.

        Raises:
            CheckpointError: it cannot be read, or its size does not fit the model.
        """
        path, tokens = folder / config.tokenizer_file, config.gpt.text_tokens
        if config.variant is Variant.V2:
            tokenizer: Tokenizer = SentencePieceTokenizer.load(path)
            fits, expected = len(tokenizer) <= tokens, f"at most {tokens}"
        else:
            tokenizer = BytePairTokenizer.load(path)
            fits, expected = len(tokenizer) + SPECIAL_TOKENS == tokens, f"{tokens - SPECIAL_TOKENS}"
        if not fits:
            raise CheckpointError(ENGINE, f"{path}: found {len(tokenizer)} tokens, expected {expected}")
        name = config.served.phonemes
        phonemize = phonemizer(name, PHONEMIC_LANGUAGES, engine=ENGINE) if name else None
        return cls(config.variant, tokenizer, config.gpt.max_text, phonemize)

    @classmethod
    def of_bytes(cls, config: IndexTTSConfig) -> "FrontEnd":
        """With bytes as tokens, for models with random weights."""
        return cls(config.variant, byte_tokenizer(), config.gpt.max_text)

    def tokenize(self, text: str, language: str | None = None) -> TokenizedText:
        """Tokenize a text; `language` is one of `LANGUAGE_ROWS`, None to infer it from the script.

        Raises:
            CallerError: the text has no letter and no digit, or has too many tokens, which is TOO_LARGE (field `text`).
        """
        if self._phonemize is not None:
            return self._of_phonemes(self._phonemize(text))
        normalized = folded(spelled(text)).strip()
        if not any(unicodedata.category(character)[0] in "LN" for character in normalized):
            raise CallerError("text", "there is no letter and no digit in it", Reason.TEXT_UNSPEAKABLE)
        if self._variant is Variant.V2:
            tokenized = TokenizedText(tuple(self._tokenizer.ids(spaced(normalized.upper()))), 0)
        else:
            language = language or language_of(normalized)
            cased = normalized.upper() if language == "es" else normalized.lower()
            row = LANGUAGE_ROWS[language]
            tag = len(self._tokenizer) + FIRST_LANGUAGE_TAG + row
            tokenized = TokenizedText((tag, *self._tokenizer.ids(f" {cased}")), row)
        return self._checked(tokenized)

    def _of_phonemes(self, phonemes: str) -> TokenizedText:
        if not any(character.isalpha() for character in phonemes):
            raise CallerError("text", "there is nothing in it that can be read out", Reason.TEXT_UNSPEAKABLE)
        row = LANGUAGE_ROWS[PHONEMIC_LANGUAGES[0]]
        tag = len(self._tokenizer) + FIRST_LANGUAGE_TAG + row
        return self._checked(TokenizedText((tag, *self._tokenizer.ids(phonemes)), row))

    def _checked(self, tokenized: TokenizedText) -> TokenizedText:
        if len(tokenized.ids) > self._max_tokens:
            message = f"found {len(tokenized.ids)} tokens, expected at most {self._max_tokens}: send less at once"
            raise CallerError("text", message, Reason.TEXT_TOO_LONG)
        return tokenized


def folded(text: str) -> str:
    """The text in NFC, with punctuation reduced to what the models were trained on."""
    return TO_FOLD.sub(lambda match: FOLDING[match[0]], unicodedata.normalize("NFC", text))


def spaced(text: str) -> str:
    """The text with spaces around each character of `ONE_BY_ONE`."""
    return " ".join(piece.strip() for piece in ONE_BY_ONE.split(text) if piece.strip())


def language_of(text: str) -> str:
    """The language of a text by its script; Latin script without Spanish characters is English."""
    return next((language for language, script in SCRIPTS if script.search(text)), "en")
