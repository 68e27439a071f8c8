"""What was probably meant by a word that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches

_MIN_SIMILARITY = 0.65
"""As `difflib` measures it: a slip or two in a word, not another word."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """What ends a message about an unknown word: "; did you mean 'say'?", or nothing if no known one is similar."""
    near = get_close_matches(word, list(known), n=1, cutoff=_MIN_SIMILARITY)
    return f"; did you mean {near[0]!r}?" if near else ""
