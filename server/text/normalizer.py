"""Written text to spoken text, as a stream's setting `normalize` asks for it."""

import re

from intone.server.text.normalization import normalize

_BLANKS = re.compile(r"\s+")


class Normalizer:
    """Callable: text → what an engine is given. `enabled=False` only collapses white space."""

    def __init__(self, enabled: bool = True) -> None:
        self._enabled = enabled

    def __call__(self, text: str, language: str = "") -> str:
        """`text` as it is spoken, on one line; empty or without letters when nothing in it can be spoken.

        Args:
            text: of one unit.
            language: BCP 47 code of the conversation, where it is known.
        """
        return normalize(text, language).spoken if self._enabled else collapse(text)


def collapse(text: str) -> str:
    """`text` on one line, each run of white space one blank, none at the ends."""
    return _BLANKS.sub(" ", text).strip()
