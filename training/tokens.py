"""The tokenizer of a nano model: small letters and marks, one token each. Knows nothing of speech.

Written as `tokenizer.json`, so that the server reads it as any other. Ids below 105 that the architecture reserves stay
free. Capitals and accents are taken off inside the tokenizer: a letter sounds the same with and without them.
"""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from intone.server.engines.voxcpm.sizes import RESERVED
from intone.server.engines.voxcpm.text import TextTokenizer

CHARACTERS = " abcdefghijklmnopqrstuvwxyz0123456789.,;:!?'\"-()&%$/+"


def letters() -> Tokenizer:
    """A tokenizer of `CHARACTERS`; what is none of them is unknown."""
    free = (number for number in range(len(CHARACTERS) + len(RESERVED)) if number not in RESERVED)
    vocabulary = {token: number for number, token in RESERVED.items()}
    vocabulary |= dict(zip(CHARACTERS, free, strict=False))
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=RESERVED[0]))
    plain = (("[‘’]", "'"), ("[“”]", '"'), ("[–—]", "-"))
    quotes = [normalizers.Replace(Regex(found), mark) for found, mark in plain]
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), *quotes]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def text_tokenizer() -> TextTokenizer:
    """The same as the server will see it."""
    return TextTokenizer(letters(), 0)


def save(folder: Path) -> None:
    """`tokenizer.json` and what goes with it."""
    letters().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"unk_token": RESERVED[0]}), encoding="utf-8")
