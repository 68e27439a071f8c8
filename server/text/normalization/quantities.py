"""Numbers without a unit: versions, ranges, ordinals, scientific notation, counts."""

import re

from intone.server.text.characters import CJK
from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization import sizes, slashed_numbers
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.scores import CERTAIN_RATIO, RATIO, SCORE, SCORE_ZH, VERSE
from intone.server.text.patterns import (
    DASH,
    DASHES,
    DIGIT,
    NUMBER,
    NUMBER_START,
    SIGN,
    SIGN_START,
    ascii_pattern,
)

_VERSION = ascii_pattern(
    r"(?<![\d.,$€£])(?P<v>(?<![A-Za-z])[vV]\.?[ ]?)?(?P<number>\d{1,6}(?:\.\d{1,6}){1,5})(?P<tail>-(?:(?:alpha"
    r"|beta|rc|dev|post|pre)\.?\d{0,3}|(?<=\.\d-)\d{1,3}))?(?![\d])(?!\.\d)(?!,\d)",
    re.IGNORECASE,
)
_VERSION_WORD = ascii_pattern(
    r"\b(?:version|release|python|build|v|ios|android|macos|node|gpt|chapter|section|figure|table|llama"
    r"|claude|gemini|windows|java|php|ubuntu|debian|cuda|torch|usb|http|bluetooth|wi-fi|wifi|voxcpm|indextts)[ -]?"
    r"(?:[≥≤<>=~^]{1,2}[ ]?)?$",
    re.IGNORECASE,
)
_SCIENTIFIC = ascii_pattern(
    r"(?<![\w.])(?P<sign>[-\u2212])?(?P<number>\d{1,6}(?:\.\d{1,10})?)[eE](?P<power>[-+\u2212]?\d{1,4})(?!\w)"
)
_DOTTED_THOUSANDS = ascii_pattern(
    r"(?<![\d.,])[1-9]\d{0,2}(?:\.000){2,4}(?![\d.]\d)|(?<![\d.,])[1-9]\d{0,2}(?:\.\d{3}){2,4}(?:,\d{1,2})?(?![\d])(?!\.\d)"
)
_SPACED_THOUSANDS = ascii_pattern(
    r"(?<![\d.,])[1-9]\d{0,2}(?:[ \u00a0\u202f]\d{3}){2,4}(?![\d]| \d)"
    r"|(?<!\d[ ])(?<![\d.,])[1-9]\d{0,2}[ ]000(?![\d]| \d)"
)
_QUOTED_THOUSANDS = ascii_pattern(r"(?<![\w.,'])[1-9]\d{0,2}(?:['’]\d{3}){1,4}(?![\d'])")
_RANGE = ascii_pattern(
    rf"(?<![\w.,/-])(?P<sign>[-\u2212])?(?P<a>{NUMBER})(?P<dash>{DASH})(?P<b>{NUMBER})(?P<s>s)?"
    rf"(?![A-Za-z0-9_-]|[.,]\d)"
)
_ORDINAL = ascii_pattern(
    rf"(?<![\w.,/])(?P<a>\d{{1,3}}(?:,\d{{3}})*|\d{{1,12}})(?P<suffix>st|nd|rd"
    rf"|th)(?:{DASH}(?P<b>\d{{1,9}})(?:st|nd|rd|th))?(?![A-Za-z0-9])",
    re.IGNORECASE,
)
_NUMBER_SIGN = ascii_pattern(
    r"(?:(?<![\w/&])(?P<word>[Nn]os?\.|№|No(?=[ ]?\d))[ ]?|(?<![\w/&#])#)(?P<a>\d{1,9})(?:(?P<join>[ ]?(?:&"
    r"|and|,|-|–)[ ]?)(?P<b>\d{1,9}))?(?![\w])"
)
_NUMBER_NOUN = ascii_pattern(r"(?<=[a-z] )#(?=[ ](?:is|was|for)\b|:)")
_SIGNED = ascii_pattern(rf"(?P<sign>{SIGN})(?P<a>{NUMBER}|\.\d{{1,12}})(?![A-Za-z0-9_])")
_PLURAL = ascii_pattern(r"(?<![\w.,])(?P<a>\d{1,4})'?s\b")
_ERRORS = ascii_pattern(r"(?<![\w.,])(?P<a>[45]\d\d)s(?=[ ](?:are|were|on|from|and|went|keep|per)\b)")
_FIGURE_ZH = ascii_pattern(r"(?<=[图表式题])(?P<a>\d{1,2})-(?P<b>\d{1,3})(?![\w.-])")
_PLAIN = ascii_pattern(
    rf"(?<![A-Za-z0-9_])(?<!\d[.,])(?P<a>{NUMBER}|\.\d{{1,12}})(?P<scale>[ ]?(?:hundred|thousand|million"
    rf"|billion|trillion))?",
    re.IGNORECASE,
)
_LONG = ascii_pattern(r"\d{19,}")
_CLASSIFIER_ZH = (
    "个位只条张本次天件家杯斤公斤米名份种台辆部间所座片根双对套岁块毛瓶盒袋层户口头匹场句篇首支枝把朵棵颗粒节段遍趟"
    "顿堂门倍周年秒分吨升克箱桶壶串幅艘盏枚缕阵番通封项款"
)
_COUNTS_TWO_ZH = ascii_pattern(f"[ ]?(?:[{_CLASSIFIER_ZH}]|小时|分钟|千|万|亿|点(?!\\d))")
_MONTHS_ZH = ascii_pattern("(?<!个)月|号|日|楼|路|班|组|级|期|线|档|队|连|排")


def _version(context: Context, match: re.Match[str]) -> str | None:
    parts = match["number"].split(".")
    chinese = context.chinese(*match.span())
    named = match["v"] or match["tail"] or _VERSION_WORD.search(context.before(match.start())) or len(parts) > 2
    if not named:
        return None
    if chinese and len(parts) == 2 and not match["v"] and not match["tail"]:
        return None
    read = (
        (lambda part: zh.digits(part) if part[0] == "0" and len(part) > 1 else zh.cardinal(int(part)))
        if chinese
        else _component
    )
    point = "点" if chinese else " point "
    letter = ("V" if chinese else "v ") if match["v"] else ""
    tail = match["tail"] or ""
    if tail:
        name, digits = re.fullmatch(r"-([A-Za-z]*)\.?(\d*)", tail).groups()  # type: ignore[union-attr]
        tail = f" {name or 'dash'}" + (f" {en.cardinal(int(digits))}" if digits else "")
    return letter + point.join(read(part) for part in parts) + tail


def _component(part: str) -> str:
    return en.digits(part) if (part[0] == "0" and len(part) > 1) or len(part) > 4 else en.cardinal(int(part))


def _scientific(context: Context, match: re.Match[str]) -> str:
    power = match["power"].replace("\u2212", "-").lstrip("+")
    if context.chinese(*match.span()):
        return ("负" if match["sign"] else "") + f"{zh.decimal(match['number'])}乘十的{zh.decimal(power)}次方"
    return ("minus " if match["sign"] else "") + f"{_oh_decimal(match['number'])} e {en.decimal(power)}"


def _oh_decimal(text: str) -> str:
    whole, point, rest = text.partition(".")
    return en.cardinal(int(whole)) + (f" point {en.digits(rest, oh=True)}" if point else "")


def _separated(context: Context, match: re.Match[str]) -> str:
    whole, _, decimals = match.group().partition(",")
    number = int(re.sub(r"\D", "", whole))
    if decimals:
        written = f"{number}.{decimals}"
        return zh.decimal(written) if context.chinese(*match.span()) else en.decimal(written)
    return zh.cardinal(number) if context.chinese(*match.span()) else en.cardinal(number)


def _range(context: Context, match: re.Match[str]) -> str | None:
    first, second, dash = match["a"], match["b"], match["dash"]
    chinese = context.chinese(*match.span())
    if dash.strip() in "-\u2212" and re.match(r"[ ]?[=＝]", context.after(match.end())):
        return (
            f"{zh.decimal(first)}减{zh.decimal(second)}"
            if chinese
            else f"{en.decimal(first)} minus {en.decimal(second)}"
        )
    if chinese:
        return (
            "负" if match["sign"] else ""
        ) + f"{zh.decimal(first, liang=False)}到{zh.decimal(second, liang=_counts_two(context, match.end()))}"
    if len(first) > 1 and first[0] == "0":
        return f"{en.digits(first)}, {en.digits(second)}"
    return ("minus " if match["sign"] else "") + f"{en.decimal(first)} to {en.decimal(second)}"


def _counts_two(context: Context, end: int) -> bool:
    after = context.after(end)
    return bool(_COUNTS_TWO_ZH.match(after)) and not _MONTHS_ZH.match(after)


def _ordinal(context: Context, match: re.Match[str]) -> str:
    words = en.ordinal(int(match["a"].replace(",", "")))
    return words + (f" to {en.ordinal(int(match['b']))}" if match["b"] else "")


def _number_sign(context: Context, match: re.Match[str]) -> str | None:
    if match["word"] and match["word"] in ("no.",) and not re.match(r"\d", match["a"]):
        return None
    if context.chinese(*match.span()):
        return f"{zh.cardinal(int(match['a']))}号"
    many = bool(match["b"]) or (match["word"] or "").lower() == "nos."
    join = " to " if match["join"] and match["join"].strip() in "-–" else " and "
    return f"number{'s' if many else ''} {en.cardinal(int(match['a']))}" + (
        f"{join}{en.cardinal(int(match['b']))}" if match["b"] else ""
    )


def _signed(context: Context, match: re.Match[str]) -> str:
    names = {"-": ("minus ", "负"), "\u2212": ("minus ", "负"), "+": ("plus ", "正"), "±": ("plus or minus ", "正负")}
    chinese = context.chinese(*match.span())
    return names[match["sign"]][chinese] + (zh.decimal(match["a"]) if chinese else en.decimal(match["a"]))


def _plural(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()):
        return None
    head, _, last = en.cardinal(int(match["a"])).rpartition(" ")
    return f"{head} {en.plural(last)}".strip()


_FACTORIAL = ascii_pattern(r"(?<![\w.,])(?P<a>\d{1,3})!(?=[ ]?[=+*/×^-])")


def _errors(context: Context, match: re.Match[str]) -> str | None:
    """ "404s are up"."""
    if context.chinese(*match.span()):
        return None
    hundreds, rest = divmod(int(match["a"]), 100)
    tail = "hundred" if not rest else f"oh {en.cardinal(rest)}" if rest < 10 else en.cardinal(rest)
    head, _, last = f"{en.cardinal(hundreds)} {tail}".rpartition(" ")
    return f"{head} {en.plural(last)}"


def _figure_zh(context: Context, match: re.Match[str]) -> str:
    return f"{zh.cardinal(int(match['a']))}杠{zh.cardinal(int(match['b']))}"


def _factorial(context: Context, match: re.Match[str]) -> str:
    number = int(match["a"])
    return f"{zh.cardinal(number)}的阶乘" if context.chinese(*match.span()) else f"{en.cardinal(number)} factorial"


def _plain(context: Context, match: re.Match[str]) -> str:
    number, scale = match["a"], match["scale"] or ""
    if context.chinese(*match.span()) and not scale:
        whole = number.split(".")[0]
        if len(whole) > 1 and whole[0] == "0":
            return zh.digits(number)
        if "." in number and re.match("[ ]?(?:元|块|[美欧日港]元|英镑|人民币)", context.after(match.end())):
            number = number.rstrip("0").rstrip(".")
        return zh.decimal(
            number, liang=_counts_two(context, match.end()) and not re.search("第$", context.before(match.start()))
        )
    whole = number.split(".")[0]
    if len(whole) > 1 and whole[0] == "0" and "." not in number:
        return en.digits(number) + scale
    return en.decimal(number) + scale


def _long(context: Context, match: re.Match[str]) -> str:
    text = match.group()
    return (
        zh.digits(text)
        if context.chinese(*match.span())
        else en.grouped_digits([text[i : i + 4] for i in range(0, len(text), 4)])
    )


_RANGE_ZH = ascii_pattern(rf"(?<=[\d%‰℃°点时分秒号月日年岁元块个万亿千百{CJK}])[ ]?[-–—~～][ ]?(?=(?:周|第|星期)?\d)")


_WEEKDAYS_ZH = ascii_pattern(
    r"(?<=[周期][一二三四五六日天])[ ]?[-–—~～][ ]?(?=周|星期)"
    r"|(?<=[初高大][一二三四])[-–—~～](?=[初高大][一二三四])"
)


_ALIKE_ZH = re.compile(
    r"(?<=[一二三四五六七八九十])(?P<unit>年级|[月楼层号点班等级岁年天章节期])[ ]?[-–—~～][ ]?"
    r"(?=[一二三四五六七八九十]{1,3}(?P=unit))"
)


def _joiner_zh(context: Context, match: re.Match[str]) -> str | None:
    if re.search(r"[A-Za-z]\d{1,6}$", context.before(match.start())):
        return None
    before = context.text[max(0, match.start() - 2) : match.start()]
    if not re.search(r"\d[%‰℃°点时分秒号月日年岁元块个周第天楼层万亿千百]?$|\d$", before):
        return None
    return "到" if context.chinese(*match.span()) else None


_GROUPS = ascii_pattern(r"(?<![\w.,/-])\d{1,7}(?:-\d{1,7}){2,5}(?:-[\dX])?(?![\w/-])")


def _digit_groups(context: Context, match: re.Match[str]) -> str:
    return zh.digits(match.group()) if context.chinese(*match.span()) else en.grouped_digits(match.group().split("-"))


SEPARATED_RULES = (
    VERSE,
    CERTAIN_RATIO,
    SCORE_ZH,
    Rule("number", _QUOTED_THOUSANDS, _separated, DIGIT, "'’"),
    Rule("number", _SPACED_THOUSANDS, _separated, DIGIT),
    Rule("number", _DOTTED_THOUSANDS, _separated, DIGIT, "."),
)


_HYPHENATED = ascii_pattern(
    r"(?<![\w.,/-])(?P<a>\d{1,4})-(?P<word>in|for|on|to|by|and|or|per)-(?P<b>\d{1,6})(?![\w]|[.,]\d)"
)


def _hyphenated(context: Context, match: re.Match[str]) -> str:
    return f"{en.cardinal(int(match['a']))} {match['word']} {en.cardinal(int(match['b']))}"


EARLY_RULES = (
    Rule("number", _ERRORS, _errors, DIGIT, "s"),
    Rule("number", _FIGURE_ZH, _figure_zh, DIGIT, "图表式题"),
    Rule("number", _FACTORIAL, _factorial, DIGIT, "!"),
    *slashed_numbers.EARLY_RULES,
    *sizes.EARLY_RULES,
    Rule("number", _HYPHENATED, _hyphenated, DIGIT, "-"),
    Rule("code", _GROUPS, _digit_groups, DIGIT, "-"),
    Rule("scientific", _SCIENTIFIC, _scientific, NUMBER_START, "eE"),
    SCORE,
)
RULES = (
    Rule("ordinal", _ORDINAL, _ordinal, DIGIT),
    Rule("number", _NUMBER_SIGN, _number_sign, re.compile("[#№]|[Nn]o")),
    Rule("number", _NUMBER_NOUN, lambda context, match: "number", SIGN_START, "#"),
    Rule("version", _VERSION, _version, re.compile("[0-9]+|[vV]"), "."),
    *slashed_numbers.RULES,
    RATIO,
    *sizes.RULES,
    Rule("range", _RANGE, _range, NUMBER_START, DASHES),
    Rule("range", _RANGE_ZH, _joiner_zh, SIGN_START, "-–—~～"),
    Rule("range", _WEEKDAYS_ZH, lambda context, match: "到", SIGN_START, "周期初高大"),
    Rule(
        "range",
        _ALIKE_ZH,
        lambda context, match: f"{match['unit']}到",
        re.compile("(?<=[一二三四五六七八九十])[年月楼层号点班等级岁天章节期]"),
    ),
)
LATE_RULES = (
    Rule("number", _LONG, _long, DIGIT),
    Rule("number", _SIGNED, _signed, NUMBER_START, "-\u2212+±"),
    Rule("number", _PLURAL, _plural, DIGIT, "s"),
    Rule("number", _PLAIN, _plain, NUMBER_START),
)
