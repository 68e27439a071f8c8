"""Lengths of pauses as SSML's `break` has them."""

import re

MAX_PAUSE_MS = 10_000
"""Longer pauses are cut to this."""

_TIME = re.compile(r"\s*\+?(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s*(ms|s)?\s*", re.IGNORECASE)
_STRENGTHS = {"none": 0, "x-weak": 100, "weak": 250, "medium": 500, "strong": 750, "x-strong": 1250}
_DEFAULT = "medium"


def break_ms(time: str, strength: str) -> int | None:
    """Milliseconds of `<break>`, from its attribute `time`, else `strength`; None if it cannot be understood."""
    if time:
        found = _TIME.fullmatch(time)
        if found is None:
            return None
        factor = 1 if (found[2] or "s").lower() == "ms" else 1000
        return min(MAX_PAUSE_MS, round(float(found[1]) * factor))
    return _STRENGTHS.get((strength or _DEFAULT).strip().lower())
