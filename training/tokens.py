"""Tokenizer of the nano models: one token per phoneme, in the numbering of the teacher.

Written as a regular `tokenizer.json`. The server converts text to phonemes with the teacher's front end (`phonemes` in
`config.json`) and then tokenizes them. Ids below 105 are reserved by the architecture.
"""

import json
from importlib import resources
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from intone.server.engines.phonemes import HIBARI, phonemizer
from intone.server.engines.voxcpm.sizes import RESERVED
from intone.server.engines.voxcpm.text import TextTokenizer
from training.model_sizes import TEXT_ENDS

FIRST_PHONEME_TOKEN = 105
"""Token id of the teacher's phoneme 0. Phoneme n, as in the labels of its speech, is `FIRST_PHONEME_TOKEN` + n."""


def phoneme_tokenizer() -> Tokenizer:
    """A tokenizer over the teacher's phoneme alphabet; other characters become the unknown token."""
    alphabet = json.loads((resources.files("hibari") / "assets" / "vocab.json").read_text(encoding="utf-8"))
    vocabulary = {token: number for number, token in RESERVED.items()}
    vocabulary |= {phoneme: FIRST_PHONEME_TOKEN + number for phoneme, number in alphabet.items()}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=RESERVED[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def text_tokenizer(language: str) -> TextTokenizer:
    """Text to phonemes to token ids, as in the server."""
    return TextTokenizer(phoneme_tokenizer(), 0, phonemizer(HIBARI, (language,), TEXT_ENDS))


def save(folder: Path) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json`."""
    phoneme_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"unk_token": RESERVED[0]}), encoding="utf-8")
