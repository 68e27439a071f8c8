"""Spell out numbers that are read digit by digit: telephone numbers, emergency numbers, long ids."""

import re

MIN_ID_DIGITS = 10
"""A number with this many digits in a row is an id, unless it is round: exact billions are rare in speech."""

_ENGLISH = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CHINESE = "零幺二三四五六七八九"

_NOT_AFTER = r"(?<![A-Za-z0-9.,:/$€£¥￥+-])"
_NOT_BEFORE = r"(?![A-Za-z0-9%°]|[.,:/-]\d)"
_TELEPHONE = re.compile(
    rf"""{_NOT_AFTER}(?:
      \+\d(?:[ .-]?\(?\d\)?){{7,14}}              # +44 20 7946 0958, +1 (212) 555-0199
    | \([02-9]\d{{2,4}}\)[ ]?\d{{3,4}}[ .-]\d{{4}}  # (212) 555-0199, (010) 6888 8888
    | [2-9]\d\d([ .-])\d{{3}}\1\d{{4}}             # 212 555 0199
    | [2-9]\d\d-\d{{4}}                            # 555-1234
    | 0\d{{2,4}}(?:[ -]\d{{3,8}}){{1,2}}            # 020 7946 0958, 0171 1234567
    | 0\d(?:[ .]\d\d){{4}}                         # 06 12 34 56 78
    | \d{{{MIN_ID_DIGITS},19}}
    ){_NOT_BEFORE}""",
    re.VERBOSE,
)
_EMERGENCY = re.compile(
    r"(?<=[打拨])(?:110|112|119|120|122|911|999)(?![\d个次分点折元块.,])"
    r"|(?<=call |dial )(?:[2-9]11|112|988|999)\b(?![.,]\d)",
    re.IGNORECASE,
)
_ROUND = re.compile(r"\d\d0-\d\d00|\d+000000")


def spell_digits(text: str, chinese: bool) -> str:
    """`text` with the digits of such numbers, and a leading "+", as words; groups are separated by commas in English.

    Round numbers are not changed: "500-1000" is a range, "5000000000" a quantity.
    """

    def spelled(found: re.Match[str]) -> str:
        if _ROUND.fullmatch(found.group()):
            return found.group()
        groups = re.findall(r"\d+", found.group())
        plus = found.group().startswith("+")
        if chinese:
            return "加" * plus + "".join(_CHINESE[int(digit)] for group in groups for digit in group)
        if len(groups) == 1:
            groups = _grouped(groups[0])
        return "plus " * plus + ", ".join(" ".join(_ENGLISH[int(digit)] for digit in group) for group in groups)

    return _EMERGENCY.sub(spelled, _TELEPHONE.sub(spelled, text))


def _grouped(digits: str) -> list[str]:
    """Digits in groups: ten digits like a telephone number, others in fours."""
    if len(digits) == 10:
        return [digits[:3], digits[3:6], digits[6:]]
    return [digits[start : start + 4] for start in range(0, len(digits), 4)]
