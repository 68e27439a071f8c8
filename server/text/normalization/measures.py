"""Numbers with a unit: `20 m/s`, `5%-10%`, `55–65°C`, `12㎡`, `5'11"`, `f(x) = 2x` is none of them."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import units
from intone.server.text.patterns import DASH, NUMBER, SIGN, alternatives, ascii_pattern

_UNIT = alternatives(units())
_MEASURE = ascii_pattern(
    rf"(?<![\w.])(?P<sign>{SIGN})?(?P<number>{NUMBER}"
    rf"|\.\d{{1,6}})(?:(?P<dash>{DASH})(?P<sign2>[-\u2212])?(?P<to>{NUMBER}))?(?P<gap>[ ]?)"
    rf"(?P<unit>{_UNIT})(?![A-Za-z0-9²³/'&@_-])"
)
_FULL_RANGE = ascii_pattern(
    rf"(?<![\w.])(?P<sign>{SIGN})?(?P<number>{NUMBER})(?P<gap>[ ]?)(?P<unit>[%‰]"
    rf"|{_UNIT})(?P<dash>{DASH})(?P<to>{NUMBER})[ ]?(?P=unit)(?![A-Za-z0-9²³/])"
)
_PERCENT = ascii_pattern(
    rf"(?<![\w.])(?P<sign>{SIGN})?(?P<number>{NUMBER}|\.\d{{1,6}})(?:{DASH}(?P<to>{NUMBER}))?[ ]?(?P<unit>[%％‰])"
)
_PER = ascii_pattern(
    r"(?<=[\d\ue000])[ ]?/(?P<unit>day|week|month|mo|year|yr|hour|hr|minute|min|second|sec|person|user"
    r"|night|seat|GB|MB|kg|lb|mile|km|mi|unit|piece|item)\b"
)
_FEET = ascii_pattern(r"(?<![\w.])(?P<feet>\d{1,2})['′’][ ]?(?P<inches>\d{1,2})(?:[\"″”]|'')")
_PERCENT_WORDS = {"%": ("percent", "百分之"), "％": ("percent", "百分之"), "‰": ("per mille", "千分之")}
_PER_WORDS = {
    "mo": "month",
    "yr": "year",
    "hr": "hour",
    "min": "minute",
    "sec": "second",
    "GB": "gigabyte",
    "MB": "megabyte",
    "kg": "kilogram",
    "lb": "pound",
    "km": "kilometer",
    "mi": "mile",
}
_WORD_IN = ascii_pattern(r"[ ](?:the|a|an|my|your|his|her|our|their|this|that|total|all|which|one|\d|[A-Z])")


def _signed(match: re.Match[str], chinese: bool) -> str:
    sign = match["sign"] or ""
    names = {
        "-": ("minus ", "负"),
        "\u2212": ("minus ", "负"),
        "+": ("plus ", "正"),
        "±": ("plus or minus ", "正负"),
        "": ("", ""),
    }
    return names[sign][chinese]


def _number(text: str, chinese: bool) -> str:
    return zh.decimal(text, liang=True) if chinese else en.decimal(text)


def _measure(context: Context, match: re.Match[str]) -> str | None:
    symbol, number = match["unit"], match["number"]
    if not _is_unit(context, match, symbol):
        return None
    unit, to = units()[symbol], match["to"] if "to" in match.groupdict() else None
    if context.chinese(*match.span()):
        amount = (
            _signed(match, True) + zh.decimal(number, liang=True) + (f"到{zh.decimal(to, liang=True)}" if to else "")
        )
        return amount + unit.chinese
    amount = _signed(match, False) + en.decimal(number) + (f" to {en.decimal(to)}" if to else "")
    single = number.lstrip("0") == "1" and not to
    if match["gap"] == "" and symbol == "in":
        return None
    adjective = re.search(r"\b(?:[Aa]n?|[Tt]he)[ ]$", context.before(match.start())) and re.match(
        r"[ ][a-z]{3,}", context.after(match.end())
    )
    return f"{amount} {unit.one if single or (adjective and symbol not in ('°', '°C', '°F')) else unit.many}"


def _is_unit(context: Context, match: re.Match[str], symbol: str) -> bool:
    """Whether a symbol that is also a letter or a word is one of measure here."""
    after = context.after(match.end())
    if symbol == "in":
        return (
            match["gap"] == " "
            and not _WORD_IN.match(after)
            and bool(re.match(r"[ ]?(?:[.,;:!?)x×]|$|long|wide|tall|deep|high|by)", after))
        )
    if symbol in ("m", "B", "K", "k") and match["gap"] == "" and symbol != "m":
        return False
    if symbol in ("A", "B", "K", "N", "J", "V", "W", "L", "l", "t", "h", "s", "g", "m") and match["gap"] == " ":
        return symbol in ("m", "g", "h", "s", "L", "W", "V") and not re.match(r"['’.][A-Za-z]", after)
    if symbol == "s" and not match["gap"]:
        return bool(re.search(r"\.\d|^\d{1,3}$", match["number"])) and not re.search(
            r"\b(?:the|in|his|her|their|my)[ ]$", context.before(match.start())
        )
    return True


def _percent(context: Context, match: re.Match[str]) -> str:
    english, chinese = _PERCENT_WORDS[match["unit"]]
    to = match["to"]
    if context.chinese(*match.span()):
        sign = _signed(match, True)
        words = sign + chinese + zh.decimal(match["number"])
        return words + (f"到{chinese}{zh.decimal(to)}" if to else "")
    return _signed(match, False) + en.decimal(match["number"]) + (f" to {en.decimal(to)}" if to else "") + f" {english}"


def _full_range(context: Context, match: re.Match[str]) -> str | None:
    if match["unit"] in _PERCENT_WORDS:
        return _percent(context, match)
    return _measure(context, match)


def _per(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()):
        return None
    return f" per {_PER_WORDS.get(match['unit'], match['unit'])}"


def _feet(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        return f"{zh.cardinal(int(match['feet']))}英尺{zh.cardinal(int(match['inches']))}英寸"
    inches = int(match["inches"])
    return f"{en.cardinal(int(match['feet']))} feet {en.cardinal(inches)} inch{'' if inches == 1 else 'es'}"


RULES = (
    Rule("measure", _FEET, _feet),
    Rule("measure", _FULL_RANGE, _full_range),
    Rule("percent", _PERCENT, _percent),
    Rule("measure", _MEASURE, _measure),
)
PER_RULES = (Rule("measure", _PER, _per),)
