"""A normalizer whose texts fail in the way that they name."""

import os
import signal
import time

from intone.server.text.normalization import NormalizedText, Piece
from intone.server.text.normalizer import WrittenText

HANGS, CRASHES, RAISES = "it  hangs", "it  crashes", "it  raises"


class FaultyNormalizer:
    """Writes texts in capitals."""

    def read(self, written: WrittenText) -> NormalizedText:
        """Fail, if the text says so."""
        text = written.text
        if text == HANGS:
            time.sleep(3600)
        if text == CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if text == RAISES:
            raise ValueError(text)
        spoken = f"{text.upper()}{written.language}"
        return NormalizedText(spoken, (Piece(spoken, 0, len(text), "test"),))
