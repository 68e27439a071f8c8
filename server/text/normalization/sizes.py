"""Sizes of several numbers, and large numbers in short: `1,024 × 768`, `2x4s`, `5M users`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import DIGIT, NUMBER, ascii_pattern

_ASPECT = ascii_pattern(
    rf"(?<![\w.,])(?P<a>{NUMBER})[ ]?[x×✕*][ ]?(?P<b>{NUMBER})(?:[ ]?[x×✕*][ ]?(?P<c>{NUMBER}))?(?![\w])"
)


_LUMBER = ascii_pattern(r"(?<![\w.,])(?P<a>\d{1,2})x(?P<b>\d{1,2})s\b")


def _lumber(context: Context, match: re.Match[str]) -> str | None:
    """ "2x4s": boards named by their size."""
    if context.chinese(*match.span()):
        return None
    return f"{en.cardinal(int(match['a']))} by {en.plural(en.cardinal(int(match['b'])))}"


_SCALED = ascii_pattern(rf"(?<![\w.,$€£¥-])(?P<a>{NUMBER})(?P<scale>[KMB])\+?(?![A-Za-z0-9/-])")


_SCALED_NOUN = ascii_pattern(
    r"[ ](?:[a-z]+[ ])?(?:people|users?|views|likes|followers|subscribers|downloads|customers|parameters|params"
    r"|copies|units|tokens|rows|records|visits|visitors|members|employees|residents|votes|items|requests|songs|photos|dollars)\b"
)


_SCALES = {"K": "thousand", "M": "million", "B": "billion"}


def _scaled(context: Context, match: re.Match[str]) -> str | None:
    """ "5M users", "1.2K likes"; not the size M, a 10K run, 4K video or a 7B model."""
    if context.chinese(*match.span()):
        return None
    counted = "." in match["a"] or match["scale"] == "M" or _SCALED_NOUN.match(context.after(match.end()))
    words = f"{en.decimal(match['a'])} {_SCALES[match['scale']]}"
    return words + (" plus" if match.group().endswith("+") else "") if counted else None


def _aspect(context: Context, match: re.Match[str]) -> str:
    sizes = [size for size in match.group("a", "b", "c") if size]
    if context.chinese(*match.span()):
        return "乘".join(zh.decimal(size) for size in sizes)
    equation = re.match(r"[ ]?=", context.after(match.end()))
    if not equation and re.fullmatch(r"\d{3,4}[ ]?[x×][ ]?\d{3,4}", match.group()):
        return f"{en.pairs(match['a'])} by {en.pairs(match['b'])}"
    unit = _LENGTH_AFTER.match(context.after(match.end()))
    product = equation or re.search(r"[=+*/^-][ ]?$", context.before(match.start()))
    sized = not product and ("x" in match.group() or unit or all(len(size) > 2 for size in sizes))
    return (" by " if sized else " times ").join(en.decimal(size) for size in sizes)


_LENGTH_AFTER = ascii_pattern(r"[ ]?(?:cm|mm|m|in|ft|km|px|inch(?:es)?|feet|pixels|met(?:er|re)s)\b")


EARLY_RULES = (
    Rule("number", _SCALED, _scaled, DIGIT, "KMB"),
    Rule("number", _LUMBER, _lumber, DIGIT, "x"),
)
RULES = (Rule("number", _ASPECT, _aspect, DIGIT, "x×✕*"),)
