"""Work on texts that fails in the way that they name."""

import os
import signal
import time

from intone.server.emotion.estimate import EmotionEstimate
from intone.server.text.normalization import NormalizedText, Piece
from intone.server.text.normalizer import WrittenText

HANGS, CRASHES, RAISES = "it  hangs", "it  crashes", "it  raises"


class FaultyNormalizer:
    """Writes texts in capitals, and finds in them the emotion "calm"."""

    def read(self, written: WrittenText) -> NormalizedText:
        """Fail, if the text says so."""
        _fail(written.text)
        spoken = f"{written.text.upper()}{written.language}"
        return NormalizedText(spoken, (Piece(spoken, 0, len(written.text), "test"),))

    def analyze(self, text: str) -> EmotionEstimate:
        """Fail, if the text says so."""
        _fail(text)
        return EmotionEstimate.from_strengths({"calm": 0.5}, "a test")


def _fail(text: str) -> None:
    if text == HANGS:
        time.sleep(3600)
    if text == CRASHES:
        os.kill(os.getpid(), signal.SIGSEGV)
    if text == RAISES:
        raise ValueError(text)
