"""How long a speaker rests after a piece of text. Pure; knows no audio."""

import re

PARAGRAPH_MS = 500.0
LINE_MS = 350.0
TRAILING_OFF_MS = 350.0
SENTENCE_MS = 250.0
CLAUSE_MS = 120.0

_AFTER = (
    (re.compile(r"\n\s*\n\s*$"), PARAGRAPH_MS),
    (re.compile(r"\n\s*$"), LINE_MS),
    (re.compile(r"(?:\.\.\.|…)\W*$"), TRAILING_OFF_MS),
    (re.compile(r"[.!?‽。！？｡؟।۔][\"'”’»)\]}〉》」』】〕）］｝*_~`\s]*$"), SENTENCE_MS),
    (re.compile(r"[,;:–—，、：；][\"'”’»)\]}〉》」』】〕）］｝*_~`\s]*$"), CLAUSE_MS),
)


def pause_ms(text: str) -> float:
    """The rest after `text`, by how it ends: paragraph, line, "…", sentence, clause; none in the middle of a clause."""
    return next((rest_ms for ending, rest_ms in _AFTER if ending.search(text)), 0.0)
