"""The tokens of a nano model: sounds, one each, numbered as the teacher numbers them. Knows nothing of speech.

Written as `tokenizer.json`, so that the server reads it as any other; which sounds a text has, it finds as the teacher
does (`phonemes` in `config.json`). The ids below 105 that the architecture reserves stay free.
"""

import json
from importlib import resources
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

from intone.server.engines.voxcpm.phonemes import HIBARI, phonemizer
from intone.server.engines.voxcpm.sizes import RESERVED
from intone.server.engines.voxcpm.text import TextTokenizer
from training.model_sizes import TEXT_ENDS

FIRST_SOUND = 105
"""Token of the teacher's sound 0; sound n, as in the labels of its speech, is token `FIRST_SOUND` + n."""


def sounds() -> Tokenizer:
    """A tokenizer of the teacher's alphabet; what is not in it is unknown."""
    alphabet = json.loads((resources.files("hibari") / "assets" / "vocab.json").read_text(encoding="utf-8"))
    vocabulary = {token: number for number, token in RESERVED.items()}
    vocabulary |= {sound: FIRST_SOUND + number for sound, number in alphabet.items()}
    tokenizer = Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=RESERVED[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return tokenizer


def text_tokenizer(language: str) -> TextTokenizer:
    """The same as the server will see it: from a text, by its sounds, to tokens."""
    return TextTokenizer(sounds(), 0, phonemizer(HIBARI, (language,), TEXT_ENDS))


def save(folder: Path) -> None:
    """`tokenizer.json` and what goes with it."""
    sounds().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"unk_token": RESERVED[0]}), encoding="utf-8")
