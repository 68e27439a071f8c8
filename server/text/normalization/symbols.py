"""Symbols between words and numbers: `≠`, `×`, `&`, `C#`, `f(x) = 2x`, `a/b`."""

import re
from collections.abc import Mapping

from intone.server.text.characters import CJK
from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import TAKEN, Context, Rule, Verbalize
from intone.server.text.normalization.tables import symbols, units
from intone.server.text.patterns import SIGN_START, ascii_pattern

_WORDS = symbols()
_OPERAND = rf"[\w{CJK})\]{TAKEN}%²³]"
_START = rf"[\w{CJK}(\[{TAKEN}√π-]"
_SYMBOL = ascii_pattern("[" + "".join(_WORDS) + "]")
_POWER = ascii_pattern(rf"(?<={_OPERAND})\^[ ]?(?P<power>\{{[^{{}}]{{1,20}}\}}|-?[\w{TAKEN}]+)")
_PRODUCT_POWER = ascii_pattern(r"(?<![\w.])(?P<letters>[a-z]{2,3})(?P<power>[²³])")
_LETTER_POWER = ascii_pattern(r"(?<=[A-Za-z)])\^(?P<power>[23])(?!\w)")
_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERSCRIPT = ascii_pattern(rf"(?<={_OPERAND})(?P<power>[⁻⁺]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{{1,3}})(?![⁺⁻])")
_POWER_ZH = ascii_pattern(r"(?<=[\d)\]])\^\{?(?P<power>-?\d{1,4})\}?(?![\w.])")
_GRADE = ascii_pattern(r"(?<![\w+-])(?P<grade>[A-F])(?P<sign>[+-])(?=[\s,.;:!?)]|$)")
_BLOOD_GROUP = ascii_pattern(r"(?<![\w+-])(?P<group>AB|[ABO])(?P<sign>[+\u2212-])(?=[\s,.;:!?)]|$)")
_BLOOD = ascii_pattern(r"\bblood\b|\bdonors?\b|\bRh\b|血", re.IGNORECASE)
_SQUARED = ascii_pattern(rf"(?<={_OPERAND})[²³](?![⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻])")
_EQUALS = ascii_pattern(rf"(?<={_OPERAND})[ ]?(?P<sign>==?|!=|<=|>=|:=|=>|->|＝)[ ]?(?={_START})")
_PLUS = ascii_pattern(rf"(?<=[\w)\]{TAKEN}])[ ]?[+＋][ ]?(?=[\w(\[{TAKEN}])")
_TRAILING_PLUS = ascii_pattern(rf"(?<={TAKEN})\+(?![\w{TAKEN}])")
_MENU = ascii_pattern(r"(?<=[a-z])[ ]?[>›→][ ]?(?=[A-Z][a-z])")
_LESS = ascii_pattern(rf"(?<=[\w)\]{TAKEN}])[ ]?(?P<sign>[<>＜＞])[ ]?(?=[\w(\[{TAKEN}-])")
_LEADING = ascii_pattern(rf"(?<![\w{TAKEN}])(?P<sign>[<>~～]|(?<![\w{TAKEN}π∞][ ])≈)[ ]?(?={TAKEN})")
_MINUS = ascii_pattern(rf"(?<=[\w)\]{TAKEN}])[ ][-\u2212][ ](?=[\w(\[{TAKEN}])")
_DASH = ascii_pattern(rf"(?<={TAKEN})[ ]?[-–—~～][ ]?(?={TAKEN})")
_UNARY = ascii_pattern(rf"(?<![\w{TAKEN}])[\u2212](?=[A-Za-z{TAKEN}])")
_NEGATIVE = ascii_pattern(r"(?:(?<=[=(+*/±√<>] )|(?<=[=(±√]))-(?=[a-z](?![a-z]))")
_FUNCTION = ascii_pattern(r"\b(?P<f>[fgh])\((?P<x>[a-z])\)(?=[ ]?[=<>+,.;]|$)")
_COEFFICIENT = ascii_pattern(rf"(?<=[{TAKEN}])(?P<x>[a-z])(?![A-Za-z])")
_DIVIDED = ascii_pattern(r"(?<=\ue000)(?:[ ]/[ ]|÷)(?=\ue000)")
_AND = ascii_pattern(r"[ ]?&&?[ ]?")
_LANGUAGE = ascii_pattern(r"(?<![\w])(?P<name>[CFJ])(?P<sign>#|\+\+)(?![A-Za-z_])")
_AT = re.compile(r"(?<=[\w\ue000])[ ]?@[ ]?(?=[\w\ue000])")
_LETTERS = ascii_pattern(r"\bA(?:-|[ ]?–[ ]?)(?P<last>[B-Z])\b(?![-'])|\b[a](?:–)(?P<last2>[b-z])\b")
_SLASH = ascii_pattern(rf"(?<=[A-Za-z{CJK}{TAKEN}])[ ]?/[ ]?(?=[A-Za-z{CJK}{TAKEN}])")
_PERCENT = ascii_pattern(r"(?<=[\w\ue000])[ ]?%")
_TIMES = ascii_pattern(rf"(?<=[{TAKEN}])[ ]?[xX*✕×][ ]?(?={TAKEN})|(?<=[{TAKEN}])[xX](?![\w])")
_COPYRIGHT = ascii_pattern(r"\((?:[cC]|[rR]|tm|TM)\)(?=[ ]?[\d\ue000])")
_SIGNS = {
    "=": ("equals", "等于"),
    "==": ("equals", "等于"),
    "＝": ("equals", "等于"),
    ":=": ("is", "等于"),
    "!=": ("is not equal to", "不等于"),
    "<=": ("is less than or equal to", "小于等于"),
    ">=": ("is greater than or equal to", "大于等于"),
    "=>": ("gives", "得到"),
    "->": ("to", "到"),
}
_ABOUT = re.compile(r"\b(?:about|around|approximately|roughly|approx\.?|nearly|some)[ ]?$|(?:约|大概|左右|差不多)[ ]?$")
_COMPARED = {
    "<": ("less than", "小于"),
    ">": ("greater than", "大于"),
    "＜": ("less than", "小于"),
    "＞": ("greater than", "大于"),
}
_LEADS = {
    "<": ("less than", "小于"),
    ">": ("more than", "大于"),
    "~": ("about", "约"),
    "～": ("about", "约"),
    "≈": ("about", "约"),
}


def _pick(context: Context, match: re.Match[str], words: tuple[str, str]) -> str:
    return words[1] if context.chinese(*match.span()) else f" {words[0]} "


def _table(table: Mapping[str, tuple[str, str]]) -> Verbalize:
    return lambda context, match: _pick(context, match, table[match.groupdict().get("sign") or match.group().strip()])


def _fixed(english: str, chinese: str) -> Verbalize:
    return lambda context, match: _pick(context, match, (english, chinese))


def _power(context: Context, match: re.Match[str]) -> str | None:
    exponent = match["power"].strip("{}")
    if exponent in ("2", "3"):
        return _pick(context, match, (("squared", "的平方"), ("cubed", "的立方"))[exponent == "3"])
    return None


def _superscript(context: Context, match: re.Match[str]) -> str:
    power = match["power"].translate(_SUPERSCRIPTS).lstrip("+")
    if context.chinese(*match.span()):
        return f"的{zh.decimal(power)}次方"
    return f" to the power of {en.decimal(power)} "


def _leading(context: Context, match: re.Match[str]) -> str:
    words = _LEADS[match["sign"]]
    before = context.before(match.start())
    said = words[0] == "about" and _ABOUT.search(before)
    return "" if said else _pick(context, match, words)


def _programming(context: Context, match: re.Match[str]) -> str:
    if match["sign"] == "++" and context.chinese(*match.span()):
        return f"{match['name']}加加"
    return f"{match['name']} {'sharp' if match['sign'] == '#' else 'plus plus'}"


def _language_slash(context: Context, match: re.Match[str]) -> str:
    latin = context.text[match.start() - 1].isascii() and context.text[match.end() : match.end() + 1].isascii()
    return "，" if context.chinese(*match.span()) and not latin else " "


_JOINED_KINDS = {"date", "time", "year", "decade", "measure", "percent", "money", "ordinal"}
"""Between two tokens of these classes a dash is a range."""


def _joined(context: Context, match: re.Match[str]) -> str | None:
    kinds = {context.kind_at(match.start() - 1), context.kind_at(match.end())}
    return _pick(context, match, ("to", "到")) if kinds <= _JOINED_KINDS else None


def _times(context: Context, match: re.Match[str]) -> str | None:
    """The letter x between two numbers; after "=" it is a variable, before a length it is "by"."""
    if context.kind_at(match.end()) == "measure" and match.group().strip() in "xX×":
        return _pick(context, match, ("by", "乘"))
    if match.group().strip() in "xX" and context.kind_at(match.start() - 1) == "symbol":
        return None
    return _pick(context, match, ("times", "乘"))


def _minus(context: Context, match: re.Match[str]) -> str | None:
    """A hyphen with blanks is a pause between words and a minus between numbers."""
    numbers = context.working[match.start() - 1] == TAKEN and context.working[match.end()] == TAKEN
    single = re.search(r"(?<![A-Za-z])[a-z]$", context.before(match.start())) and re.match(
        r"[a-z](?![A-Za-z])", context.after(match.end())
    )
    joined = {context.kind_at(match.start() - 1), context.kind_at(match.end())}
    if numbers and joined <= _JOINED_KINDS:
        return _pick(context, match, ("to", "到"))
    if numbers or single:
        return _pick(context, match, ("minus", "减"))
    return "，" if context.chinese(*match.span()) else ", "


def _power_zh(context: Context, match: re.Match[str]) -> str | None:
    return f"的{zh.decimal(match['power'])}次方" if context.chinese(*match.span()) else None


def _blood_group(context: Context, match: re.Match[str]) -> str | None:
    near = context.before(match.start()) + context.after(match.end())
    if not _BLOOD.search(near):
        return None
    positive = match["sign"] == "+"
    if context.chinese(*match.span()):
        return f"{match['group']}型RH{'阳' if positive else '阴'}性"
    return f"{' '.join(match['group'])} {'positive' if positive else 'negative'}"


EARLY_RULES = (
    Rule("symbol", _LANGUAGE, _programming, re.compile("[CFJ](?=#|[+])"), "#+"),
    Rule("symbol", _POWER_ZH, _power_zh, SIGN_START),
    Rule(
        "symbol",
        _PRODUCT_POWER,
        lambda context, match: f"{' '.join(match['letters'])} {_WORDS[match['power']][0]}"
        if match["letters"] not in units()
        else None,
    ),
    Rule(
        "symbol",
        _LETTER_POWER,
        lambda context, match: _pick(
            context, match, (("squared", "的平方"), ("cubed", "的立方"))[match["power"] == "3"]
        ),
        SIGN_START,
    ),
)
_NOT_SIGNS = {
    _LETTERS,
    _FUNCTION,
    _COEFFICIENT,
    _SQUARED,
    _SUPERSCRIPT,
    _EQUALS,
    _TIMES,
    _SYMBOL,
    _GRADE,
    _BLOOD_GROUP,
}
"""Patterns that may begin with a letter, a digit or punctuation."""
RULES = tuple(
    Rule("symbol", pattern, read, None if pattern in _NOT_SIGNS else SIGN_START, needs)
    for pattern, read, needs in (
        (_NEGATIVE, _fixed("minus", "负"), "-"),
        (_LETTERS, lambda context, match: f"{match.group()[0]} to {match['last'] or match['last2']}", "-–"),
        (_COPYRIGHT, _fixed("copyright", "版权"), "("),
        (_FUNCTION, lambda context, match: f"{match['f']} of {match['x']}", "("),
        (_DIVIDED, _fixed("divided by", "除以"), "/÷"),
        (_COEFFICIENT, lambda context, match: f" {match['x']}", ""),
        (_SQUARED, _table(_WORDS), "²³"),
        (_SUPERSCRIPT, _superscript, "⁰¹²³⁴⁵⁶⁷⁸⁹"),
        (_BLOOD_GROUP, _blood_group, "+-\u2212"),
        (_GRADE, lambda context, match: f"{match['grade']} {'plus' if match['sign'] == '+' else 'minus'}", "+-"),
        (_POWER, _power, "^"),
        (_EQUALS, _table(_SIGNS), "=!<>-＝"),
        (_MENU, lambda context, match: ", ", ">›→"),
        (_LESS, _table(_COMPARED), "<>＜＞"),
        (_LEADING, _leading, "<>~～≈"),
        (_PLUS, _fixed("plus", "加"), "+＋"),
        (_TRAILING_PLUS, _fixed("plus", "以上"), "+"),
        (_MINUS, _minus, "-\u2212"),
        (_DASH, _joined, "-–—~～"),
        (_UNARY, _fixed("minus", "负"), "\u2212"),
        (_TIMES, _times, "xX*✕×"),
        (_AND, _fixed("and", "和"), "&"),
        (_AT, _fixed("at", "at"), "@"),
        (_PERCENT, _fixed("percent", "百分比"), "%"),
        (_SLASH, _language_slash, "/"),
        (_SYMBOL, _table(_WORDS), "".join(_WORDS)),
        (ascii_pattern(rf"(?<={_OPERAND})\^"), _fixed("to the power of", "的次方"), "^"),
    )
)
