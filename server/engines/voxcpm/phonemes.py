"""Spelling to sounds, for checkpoints whose tokens are sounds and not letters. Knows no token and no model.

A small model learns to speak from sounds in a fraction of the steps that it needs from letters: how a word is said is
looked up, as in all small voices, and what is left to learn is how it sounds.
"""

from collections.abc import Callable

from intone.server.engines.english_text import plain_numbers, readable
from intone.server.engines.voxcpm.config import ENGINE
from intone.server.errors import CheckpointError

Reading = Callable[[str], str]
"""Text to a line of sounds; empty where there is nothing in it that it can read."""

HIBARI = "hibari"


def reading(name: str) -> Reading:
    """The one that a checkpoint's `phonemes` names.

    `hibari` is American English in the alphabet of misaki and Kokoro-82M: stress before vowels, punctuation kept.

    Raises:
        CheckpointError: the name is unknown, or its package is not installed.
    """
    if name != HIBARI:
        raise CheckpointError(ENGINE, f"phonemes: found {name!r}, expected {HIBARI!r} or no such key")
    try:
        from hibari import Hibari  # optional, and it brings a dictionary
        from hibari.g2p import G2P
    except ImportError as error:
        raise CheckpointError(
            ENGINE,
            "this checkpoint reads sounds, and hibari-tts, which finds them, is missing: pip install 'intone[starter]'",
        ) from error
    sounds_of = G2P(british=False)

    def read(text: str) -> str:
        if not any(map(readable, text)):
            return ""
        return " ".join(filter(None, map(sounds_of, Hibari.split_sentences(plain_numbers(text)))))

    return read
