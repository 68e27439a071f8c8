"""Pieces of regular expressions that several classes of tokens share."""

import re
from collections.abc import Iterable

NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,6}(?![\d])|\d{1,2}(?:,\d{2}){1,5},\d{3}(?!\d)|\d{1,18})(?:\.\d{1,40})?"
"""A count or a decimal, with or without thousands separators (Western or Indian)."""
SIGN = r"(?:(?<![\w)\]%°.])[-\u2212+±](?=[\d$€£¥￥₹.]))"
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212~～"
DASH = rf"(?:[ ]?[{DASHES}][ ]?)"
NOT_IN_WORD = r"(?<![A-Za-z0-9_.,])"
NOT_BEFORE_WORD = r"(?![A-Za-z0-9_])(?![.,]\d)"
SCALES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "mn": "million",
    "bn": "billion",
    "B": "billion",
    "T": "trillion",
    "tn": "trillion",
}
SCALES |= {word: word for word in ("thousand", "million", "billion", "trillion", "hundred", "dozen")}
CHINESE_SCALES = {
    "thousand": "千",
    "million": "百万",
    "billion": "十亿",
    "trillion": "万亿",
    "hundred": "百",
    "dozen": "打",
}


def alternatives(words: Iterable[str]) -> str:
    """A group that matches any of `words`, the longest first."""
    return "(?:" + "|".join(re.escape(word) for word in sorted(words, key=lambda word: (-len(word), word))) + ")"


def ascii_pattern(pattern: str, flags: int = 0) -> re.Pattern[str]:
    r"""Compile with `\w`, `\b` and `\d` limited to ASCII: an ideograph beside a number does not belong to it."""
    return re.compile(pattern, flags | re.ASCII)


DIGIT = ascii_pattern(r"\d+")
"""Where a number begins that has no sign, for `Rule.begins`."""
DIGIT_SLASH = ascii_pattern(r"\d{1,4}(?=/|\.\d/)")
"""Where a short number begins that a slash follows."""
DIGIT_COLON = ascii_pattern(r"\d{1,4}(?=[ ]?[:：∶])")
"""Where a short number begins that a colon follows."""
NUMBER_START = re.compile(r"(?<![0-9])[0-9]|[-+±\u2212.#]")
"""Where a number begins, or a sign before it."""
SIGN_START = re.compile(r"[^\w\s\ue000,.;:!?'\"，。！？、]|[ ](?=[^\w\s\ue000])")
"""Where a symbol begins that is no punctuation, or the blank before it."""
