"""Lengths and angles written with marks: `5'11"`, `a 3/4" hole`, `12' x 14'`, `40°42'46"`, `the 4x100m relay`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import DIGIT, ascii_pattern

_FEET = ascii_pattern(r"(?<![\w.])(?P<feet>\d{1,2})['′’][ ]?(?P<inches>\d{1,2})(?:[\"″”]|'')")


_FEET_ALONE = ascii_pattern(r"(?<![\w.'‘])(?P<number>\d{1,3})['′’](?=[ ](?:tall|long|wide|high|deep|by|x)\b)")


_FEET_BY = ascii_pattern(r"(?<![\w.'‘])(?P<a>\d{1,3})['′’][ ]?(?:x|×|by)[ ]?(?P<b>\d{1,3})['′’](?![\w])")


_INCHES = ascii_pattern(
    r"(?<![\w.\"“])(?P<number>\d{1,3}(?:\.\d{1,2})?)(?:[\"″]|'')"
    r"(?=[ ][A-Za-z0-9(]|[ ]?[,x×]|-[a-z]|[.;:!?)]|$|[\u4e00-\u9fff])"
)


_ARC = ascii_pattern(
    r"(?<![\w.])(?P<degrees>\d{1,3})[°º][ ]?(?P<minutes>\d{1,2})['′’]"
    r"(?:[ ]?(?P<seconds>\d{1,2}(?:\.\d{1,3})?)(?:[\"″”]|''))?"
)


_RELAY = ascii_pattern(r"(?<![\w.])(?P<a>\d)[ ]?[x×][ ]?(?P<b>\d{2,4})[ ]?m(?!\w)")


_INCH_FRACTION = ascii_pattern(
    r"(?<![\w./])(?:(?P<whole>\d{1,3})[ -])?(?P<a>\d{1,2})/(?P<b>2|4|8|16|32|64)(?:[\"″]|'')(?!\w)"
)


def _feet(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        return f"{zh.cardinal(int(match['feet']))}英尺{zh.cardinal(int(match['inches']))}英寸"
    inches = int(match["inches"])
    return f"{en.cardinal(int(match['feet']))} feet {en.cardinal(inches)} inch{'' if inches == 1 else 'es'}"


def _is_quoted(before: str) -> bool:
    """Whether the last double quote in `before` is an opening one."""
    quote = before.rfind('"')
    return quote >= 0 and (quote == 0 or before[quote - 1] in " (")


def _feet_by(context: Context, match: re.Match[str]) -> str:
    first, second = int(match["a"]), int(match["b"])
    if context.chinese(*match.span()):
        return f"{zh.cardinal(first)}乘{zh.cardinal(second)}英尺"
    return f"{en.cardinal(first)} feet by {en.cardinal(second)} feet"


def _feet_alone(context: Context, match: re.Match[str]) -> str:
    number = match["number"]
    if context.chinese(*match.span()):
        return f"{zh.cardinal(int(number), liang=True)}英尺"
    return f"{en.cardinal(int(number))} {'foot' if number == '1' else 'feet'}"


def _arc(context: Context, match: re.Match[str]) -> str:
    """Degrees, minutes and seconds of a coordinate."""
    minutes, seconds = match["minutes"], match["seconds"]
    if context.chinese(*match.span()):
        words = f"{zh.cardinal(int(match['degrees']))}度{zh.cardinal(int(minutes))}分"
        return words + (f"{zh.decimal(seconds)}秒" if seconds else "")
    words = f"{en.cardinal(int(match['degrees']))} degrees {en.cardinal(int(minutes))} minutes"
    return words + (f" {en.decimal(seconds)} seconds" if seconds else "")


def _relay(context: Context, match: re.Match[str]) -> str:
    """ "the 4x100m relay"."""
    first, second = int(match["a"]), int(match["b"])
    if context.chinese(*match.span()):
        return f"{zh.cardinal(first)}乘{zh.cardinal(second)}米"
    return f"{en.cardinal(first)} by {en.cardinal(second)} meter"


def _inch_fraction(context: Context, match: re.Match[str]) -> str | None:
    top, bottom, whole = int(match["a"]), int(match["b"]), match["whole"]
    if top >= bottom or (match.group().endswith('"') and _is_quoted(context.text[: match.start()])):
        return None
    if context.chinese(*match.span()):
        return (f"{zh.cardinal(int(whole))}又" if whole else "") + f"{zh.cardinal(bottom)}分之{zh.cardinal(top)}英寸"
    fraction = en.fraction(top, bottom)
    return f"{en.cardinal(int(whole))} and {fraction} inches" if whole else f"{fraction} inch"


def _inches(context: Context, match: re.Match[str]) -> str | None:
    if match.group().endswith('"') and _is_quoted(context.text[: match.start()]):
        return None
    if context.chinese(*match.span()):
        return f"{zh.decimal(match['number'], liang=True)}英寸"
    described = re.match(r"[ -](?:[a-z]{3,}|\d*[A-Z])", context.after(match.end())) and not re.match(
        r"[ ](?:long|wide|tall|deep|thick|and|by|high|of|in|is|from|or)\b", context.after(match.end())
    )
    return f"{en.decimal(match['number'])} {'inch' if described or match['number'] == '1' else 'inches'}"


RULES = (
    Rule("measure", _ARC, _arc, DIGIT, "°º"),
    Rule("measure", _RELAY, _relay, DIGIT, "x×"),
    Rule("measure", _FEET, _feet, DIGIT, "'′’"),
    Rule("measure", _FEET_BY, _feet_by, DIGIT, "'′’"),
    Rule("measure", _INCH_FRACTION, _inch_fraction, DIGIT, "\"″'"),
    Rule("measure", _INCHES, _inches, DIGIT, "\"″'"),
    Rule("measure", _FEET_ALONE, _feet_alone, DIGIT, "'′’"),
)
