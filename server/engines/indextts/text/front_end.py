"""What IndexTTS reads: text in the spelling it was trained on, as token ids, and the language. Knows no audio.

Numbers and the like are words already when text comes here.
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
from intone.server.errors import CallerError, CheckpointError, Fault

LANGUAGES = {
    Variant.V2: ("zh", "en"),
    Variant.V25: ("zh", "en", "ja", "es", "ar"),
}
"""What each speaks; BCP 47."""

LANGUAGE_ROWS = {"en": 0, "zh": 1, "es": 3, "ja": 7, "ar": 13}
"""Rows of the language table. The tags in the text vocabulary stand in the same order."""

SPECIAL_TOKENS = 1673
FIRST_LANGUAGE_TAG = 2
"""Of the special tokens, which follow the vocabulary's own, the one for the first row of the table."""

# What the text was folded to before training: (what it becomes, what becomes it). Longer ones first.
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
"""Characters that IndexTTS-2 reads one by one."""

SCRIPTS = (
    ("ja", re.compile(r"[\u3040-\u30ff\uff66-\uff9d]")),
    ("zh", re.compile(r"[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")),
    ("ar", re.compile(r"[\u0600-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]")),
    ("es", re.compile(r"[¿¡ñÑ]")),
)


@dataclass(frozen=True, slots=True)
class Reading:
    """A text as the language model takes it; `language` is a row of its language table, 0 in IndexTTS-2."""

    ids: tuple[int, ...]
    language: int


class FrontEnd:
    """Text to `Reading`; frozen once built.

    Args:
        longest: ids that the model has positions for.
    """

    def __init__(self, variant: Variant, tokenizer: Tokenizer, longest: int) -> None:
        self._variant, self._tokenizer, self._longest = variant, tokenizer, longest

    @classmethod
    def load(cls, folder: Path, config: IndexTTSConfig) -> "FrontEnd":
        """Read the vocabulary that the configuration names.

        Raises:
            CheckpointError: it cannot be read, or does not fit the model.
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
        return cls(config.variant, tokenizer, config.gpt.max_text)

    @classmethod
    def of_bytes(cls, config: IndexTTSConfig) -> "FrontEnd":
        """Bytes as tokens, for models with random weights: any text can be said in it."""
        return cls(config.variant, byte_tokenizer(), config.gpt.max_text)

    def read(self, text: str, language: str | None = None) -> Reading:
        """What the model reads for a text; `language` is one of `LANGUAGE_ROWS`, None to tell it from the script.

        Raises:
            CallerError: there is nothing to read in the text, or too much, which is TOO_LARGE (field `text`).
        """
        spoken = folded(text).strip()
        if not any(unicodedata.category(character)[0] in "LN" for character in spoken):
            raise CallerError("text", "there is no letter and no digit in it")
        if self._variant is Variant.V2:
            reading = Reading(tuple(self._tokenizer.ids(spaced(spoken.upper()))), 0)
        else:
            language = language or language_of(spoken)
            cased = spoken.upper() if language == "es" else spoken.lower()
            row = LANGUAGE_ROWS[language]
            tag = len(self._tokenizer) + FIRST_LANGUAGE_TAG + row
            reading = Reading((tag, *self._tokenizer.ids(f" {cased}")), row)
        if len(reading.ids) > self._longest:
            words = f"found {len(reading.ids)} tokens, expected at most {self._longest}: send less at once"
            raise CallerError("text", words, Fault.TOO_LARGE)
        return reading


def folded(text: str) -> str:
    """Punctuation in the few signs that the models know, text composed (NFC)."""
    return TO_FOLD.sub(lambda match: FOLDING[match[0]], unicodedata.normalize("NFC", text))


def spaced(text: str) -> str:
    """Characters that are read one by one set apart by spaces, pieces between them stripped."""
    return " ".join(piece.strip() for piece in ONE_BY_ONE.split(text) if piece.strip())


def language_of(text: str) -> str:
    """The language by its script; Latin letters without a Spanish sign are English."""
    return next((language for language, script in SCRIPTS if script.search(text)), "en")
