"""A normalizer whose texts fail in the way that they name."""

import os
import signal
import time

HANGS, CRASHES, RAISES = "it  hangs", "it  crashes", "it  raises"


class FaultyNormalizer:
    """Writes texts in capitals."""

    def __call__(self, text: str, language: str) -> str:
        """Fail, if the text says so."""
        if text == HANGS:
            time.sleep(3600)
        if text == CRASHES:
            os.kill(os.getpid(), signal.SIGSEGV)
        if text == RAISES:
            raise ValueError(text)
        return f"{text.upper()}{language}"
