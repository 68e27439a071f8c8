"""Fractions and numbers with a slash: `1½`, `2/3`, `4.5/5 stars`, `24/7`, a blood pressure of `120/80`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import DIGIT, DIGIT_SLASH, ascii_pattern

_PRESSURE = ascii_pattern(r"(?<![\w./])(?P<a>\d{2,3})/(?P<b>\d{2,3})(?P<unit>[ ]?mmHg)?(?![\w/])")


_PRESSURE_WORD = ascii_pattern(r"(?:血压|高压)[^\d]{0,6}$|\b(?:blood pressure|bp|reading)\b[^\d]{0,12}$", re.IGNORECASE)


_ROUND_THE_CLOCK = ascii_pattern(
    r"(?<![\w/.])(?:24/7(?:/365)?|50/50|20/20|[6-9]0/[1-4]0|(?:50-50|60-40|70-30|80-20|90-10)(?![ ]?=))(?![\w/])"
)


_MIXED_FRACTION = ascii_pattern(
    r"(?<![\w.,])(?P<whole>\d{1,6})?[ ]?(?P<sign>[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])"
    r"|(?<![\w.,/])(?P<whole2>\d{1,4})[ -](?P<a>[1-9])/(?P<b>[2-9]|1[0-6])(?![\d/])"
)


_FRACTION_START = re.compile("[0-9]+|[ ](?=[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞])|[½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞]")


_FRACTION_SIGNS = dict(
    zip(
        "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞",
        [
            (1, 2),
            (1, 3),
            (2, 3),
            (1, 4),
            (3, 4),
            (1, 5),
            (2, 5),
            (3, 5),
            (4, 5),
            (1, 6),
            (5, 6),
            (1, 8),
            (3, 8),
            (5, 8),
            (7, 8),
        ],
        strict=True,
    )
)


_FRACTION = ascii_pattern(r"(?<![\w./-])(?P<a>\d{1,4})/(?P<b>\d{1,4})(?:ths?|rds?|nds?)?(?![\w/]|\.\d)")


def _pressure(context: Context, match: re.Match[str]) -> str | None:
    if not match["unit"] and not _PRESSURE_WORD.search(context.before(match.start())):
        return None
    first, second = int(match["a"]), int(match["b"])
    if context.chinese(*match.span()):
        return f"{zh.cardinal(first)}，{zh.cardinal(second)}" + ("毫米汞柱" if match["unit"] else "")
    hundreds = (
        f"{en.cardinal(first // 100)} {('oh ' if first % 100 < 10 else '') + en.cardinal(first % 100)}"
        if first > 100 and first % 100
        else en.cardinal(first)
    )
    return f"{hundreds} over {en.cardinal(second)}" + (" millimeters of mercury" if match["unit"] else "")


def _pair(context: Context, match: re.Match[str]) -> str:
    chinese = context.chinese(*match.span())
    parts = re.split("[/-]", match.group())
    if chinese:
        return "".join(zh.cardinal(int(part)) if part != "7" else "七" for part in parts)
    return " ".join(en.cardinal(int(part)) for part in parts)


def _mixed_fraction(context: Context, match: re.Match[str]) -> str:
    top, bottom = _FRACTION_SIGNS[match["sign"]] if match["sign"] else (int(match["a"]), int(match["b"]))
    whole = match["whole"] or match["whole2"]
    if context.chinese(*match.span()):
        return (f"{zh.cardinal(int(whole))}又" if whole else "") + f"{zh.cardinal(bottom)}分之{zh.cardinal(top)}"
    if whole:
        words = en.fraction(top, bottom)
        return f"{en.cardinal(int(whole))} and {'a ' + words[4:] if words.startswith('one ') else words}"
    half = (top, bottom) == (1, 2) and context.word_before(match.start()) != "one"
    return "a half" if half else en.fraction(top, bottom)


def _fraction(context: Context, match: re.Match[str]) -> str | None:
    first, second = int(match["a"]), int(match["b"])
    if context.chinese(*match.span()):
        return f"{zh.cardinal(second)}分之{zh.cardinal(first)}" if second else None
    rated = re.search(
        r"\b(?:scored?|rated?|rating|got|give it|an?|solid)[ ](?:an?[ ])?$", context.before(match.start())
    )
    part = re.match(r"[ ](?:of|inch|cup|mile|full|done)\b", context.after(match.end()))
    stars = re.match(r"[ ](?:stars?|ratings?|reviews?|score)\b", context.after(match.end()))
    after = context.after(match.end())
    if re.match(r"[ ]?=", after):
        return f"{en.cardinal(first)} divided by {en.cardinal(second)}"
    if re.search(r"\bodds\b[^.!?\d]{0,20}$", context.before(match.start())):
        return f"{en.cardinal(first)} to {en.cardinal(second)}"
    ordinal = not match.group()[-1].isdigit()
    marked = rated or re.match(r"[ ](?:on|in)[ ](?:the|my|his|her|our|a|that)[ ](?:\w+[ ])?(?:test|quiz|exam)", after)
    if marked and second in (20, 25, 30, 40, 50, 60):
        return f"{en.cardinal(first)} out of {en.cardinal(second)}"
    if second == 100 or (second == 10 and not part and not ordinal) or (second == 5 and (stars or rated) and not part):
        return f"{en.cardinal(first)} out of {en.cardinal(second)}"
    if second < 2 or first >= 1000 or second > 100 or (first > second and second > 16):
        return f"{en.cardinal(first)} slash {en.cardinal(second)}"
    return en.fraction(first, second)


_RATING = ascii_pattern(r"(?<![\w./,])(?P<a>\d\.\d)/(?P<b>5|10)(?![\d/.])")


def _rating(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        return f"{zh.decimal(match['a'])}分，满分{zh.cardinal(int(match['b']))}分"
    return f"{en.decimal(match['a'])} out of {en.cardinal(int(match['b']))}"


EARLY_RULES = (
    Rule("fraction", _RATING, _rating, DIGIT_SLASH, "/"),
    Rule("fraction", _ROUND_THE_CLOCK, _pair, DIGIT, "/-"),
    Rule("fraction", _PRESSURE, _pressure, DIGIT_SLASH, "/"),
)
RULES = (
    Rule("fraction", _MIXED_FRACTION, _mixed_fraction, _FRACTION_START, "/½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"),
    Rule("fraction", _FRACTION, _fraction, DIGIT_SLASH, "/"),
)
