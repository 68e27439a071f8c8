"""Length of the pause after a piece of text, by its final punctuation."""

import re

PARAGRAPH_MS = 500.0
LINE_MS = 350.0
ELLIPSIS_MS = 350.0
SENTENCE_MS = 250.0
CLAUSE_MS = 120.0

_PAUSES = (  # the first match counts
    # Lookbehinds let a match begin only where a run begins: linear time.
    (re.compile(r"(?<!\s)[^\S\n]*\n[^\S\n]*\n\s*$"), PARAGRAPH_MS),
    (re.compile(r"(?<!\s)[^\S\n]*\n\s*$"), LINE_MS),
    (re.compile(r"(?<!\W)(?:(?!\.\.\.|…)\W)*(?:\.\.\.|…)\W*$"), ELLIPSIS_MS),
    (re.compile(r"[.!?‽。！？｡؟।۔][\"'”’»)\]}〉》」』】〕）］｝*_~`\s]*$"), SENTENCE_MS),
    (re.compile(r"[,;:–—，、：；][\"'”’»)\]}〉》」』】〕）］｝*_~`\s]*$"), CLAUSE_MS),
)


def pause_ms(text: str) -> float:
    """Pause after `text`, in milliseconds; 0 if it ends in the middle of a clause."""
    return next((duration_ms for ending, duration_ms in _PAUSES if ending.search(text)), 0.0)
