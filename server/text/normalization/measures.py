"""Numbers with a unit: `20 m/s`, `5%-10%`, `55–65°C`, `12㎡`, `5'11"`, `f(x) = 2x` is none of them."""

import re

from intone.server.text.normalization import marked_lengths
from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import TAKEN, Context, Rule
from intone.server.text.normalization.tables import units
from intone.server.text.patterns import (
    DASH,
    DASHES,
    DIGIT,
    NUMBER,
    NUMBER_START,
    SIGN,
    SIGN_START,
    alternatives,
    ascii_pattern,
)

_UNIT = alternatives(units())
_EACH = r"(?:mo|wk|yr|hr|[a-z]{3,})\b|[\u4e00-\u9fff]|\d"
"""What a measure may be "per", besides another unit."""

_MEASURE = ascii_pattern(
    rf"(?<![\w.])(?<![^FC]/)(?P<sign>{SIGN})?(?P<number>{NUMBER}"
    rf"|\.\d{{1,6}})(?:(?P<dash>{DASH})(?P<sign2>[-\u2212])?(?P<to>{NUMBER}))?(?P<gap>[ ]?)"
    rf"(?P<unit>{_UNIT})(?:/(?P<per>{_UNIT})(?![A-Za-z0-9²³]))?"
    rf"(?:\.(?=[ ](?:[a-z(]|\d))|(?!/(?!{_EACH})|[A-Za-z0-9²³'&@_-]))"
)
_FULL_RANGE = ascii_pattern(
    rf"(?<![\w.])(?P<sign>{SIGN})?(?P<number>{NUMBER})(?P<gap>[ ]?)(?P<unit>[%‰]"
    rf"|{_UNIT})(?P<dash>{DASH})(?P<to>{NUMBER})[ ]?(?P=unit)(?![A-Za-z0-9²³/])"
)
_PERCENT = ascii_pattern(
    rf"(?<![\w.])(?P<sign>{SIGN})?(?P<number>{NUMBER}|\.\d{{1,6}})(?:{DASH}(?P<to>{NUMBER}))?[ ]?(?P<unit>[%％‰])"
)
_PER_NOUNS = frozenset(
    "day week wk qtr month mo year yr hour hr minute min second sec person user night seat GB MB kg lb "  # noqa: SIM905
    "mile km mi unit piece item serving dose tablet call page word token kWh kW oz gal L mL ft sqft acre "
    "case box pack m² ft²".split()
)
"""What a number alone may be "per": "max 8/day"."""

_PER = ascii_pattern(rf"(?<=[\d\ue000])[ ]?/(?P<unit>{alternatives(_PER_NOUNS)}|[a-z]{{3,}})(?!\w)")
_ANGLE_NOUN = ascii_pattern(
    r"[ -](?:turn|angle|rotation|view|video|bend|corner|spin|arc|camera|heat|weather|lens|feedback)\b"
)
_DESCRIBING = frozenset(
    [
        "h",
        "V",
        "W",
        "kW",
        "mAh",
        "GB",
        "TB",
        "MB",
        "GHz",
        "MHz",
        "Hz",
        "L",
        "ml",
        "mL",
        "mm",
        "Mbps",
        "Gbps",
        "px",
        "fps",
        "Ω",
    ]
)
"""Units that usually describe a thing: "a 12V battery"."""

_NOUN_AFTER = ascii_pattern(
    r"[ ](?!(?:of|and|is|was|are|were|per|to|in|on|at|from|or|with|for|by|away|ago|left|long|wide|tall|high|deep|thick"
    r"|each|more|less|than|apart|total|max|min|every|when|as|but|if|then|because|while|before|after|here|there|now"
    r"|today|yesterday|tomorrow|daily|faster|slower|above|below|over|under|up|down|free|used|will|can|has|had|it|you"
    r"|we|they|he|she|i|only|instead|already|still|so|again|should|would|could|may|might|must|not|plus|minus)\b)"
    r"[A-Za-z]{3,}"
)
_LETTERED = frozenset(
    "route highway interstate exit terminal pier bus seat row gate apt room unit block section platform flat exhibit"  # noqa: SIM905
    " class".split()
)
_CURRENT = ascii_pattern(
    r"电|充|保险丝|\b(?:amps?|fuse|current|circuit|breaker|charger|charging|outlet|volts?)\b|\dV", re.IGNORECASE
)
_SPAN = ascii_pattern(
    r"(?<![\w.])(?:(?P<hours>\d{1,3})[ ]?h(?:rs?)?[ ]?(?P<minutes>\d{1,2})[ ]?m(?:ins?)?"
    r"(?:[ ]?(?P<seconds>\d{1,2})[ ]?s(?:ecs?)?)?|(?P<minutes2>\d{1,3})m[ ]?(?P<seconds2>\d{1,2})s)(?!\w)"
)
_SQUARE = ascii_pattern(
    rf"(?<![\w.])(?P<number>{NUMBER})[ ]?(?P<power>sq|square|cu|cubic)\.?[ ]?"
    r"(?P<unit>ft|feet|m|mi|km|in|yd|cm|mm)\b\.?(?=[ ,;.!?)]|$)"
)
_HYPHEN_UNIT = ascii_pattern(
    r"(?<![\w.,-])(?P<number>\d{1,5}(?:\.\d{1,3})?)-(?P<unit>oz|lb|ft|in|qt|pt|gal|yd|hr|min|sec|mi)\.?(?=[ ][a-z])"
)
_SQUARE_ALONE = ascii_pattern(
    r"(?<=[\d\ue000])[ ]sq\.?(?=[ ](?:miles?|feet|foot|meters?|metres?|yards?|inches|kilometers?)\b)"
)
_PER_ZH = re.compile(
    f"(?<=[{TAKEN}米元克升万千百次人度条个斤页件块里字节吨瓦步字词帧张台位分转])/"
    "(?=秒|分|小时|时|天|日|周|月|年|斤|公斤|千克|个|人|次|平|晚|件|米|升|张|份|吨|度|位|台|页|间|间夜|盎司|桶|克|加仑|英尺|股|瓶|盒|套|亩|袋|箱|包|罐|支|只|条|批|车|趟|圈|层|组|班|户|页|杯|碗|场|家|局|点|卷|册|本|根|片)"
)
_PERCENT_WORDS = {"%": ("percent", "百分之"), "％": ("percent", "百分之"), "‰": ("per mille", "千分之")}
_PER_WORDS = {
    "mo": "month",
    "wk": "week",
    "qtr": "quarter",
    "yr": "year",
    "hr": "hour",
    "min": "minute",
    "sec": "second",
    "GB": "gigabyte",
    "MB": "megabyte",
    "kg": "kilogram",
    "lb": "pound",
    "bbl": "barrel",
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
    per = match.groupdict().get("per")
    unit, to = units()[symbol], match["to"] if "to" in match.groupdict() else None
    if context.chinese(*match.span()):
        amount = (
            _signed(match, True) + zh.decimal(number, liang=True) + (f"到{zh.decimal(to, liang=True)}" if to else "")
        )
        return amount + unit.chinese + (f"每{units()[per].chinese}" if per else "")
    amount = _signed(match, False) + en.decimal(number) + (f" to {en.decimal(to)}" if to else "")
    single = number.lstrip("0") == "1" and not to
    adjective = _is_adjective(context, match, symbol)
    words = f"{amount} {unit.one if single or adjective else unit.many}"
    return f"{words} per {units()[per].one}" if per else words


def _is_adjective(context: Context, match: re.Match[str], symbol: str) -> bool:
    """Whether the measure stands before a noun that it describes: "a 5 km run"."""
    after = context.after(match.end())
    if symbol in ("°", "°C", "°F"):
        return symbol == "°" and bool(_ANGLE_NOUN.match(after))
    determined = re.search(r"\b(?:[Aa]n?|[Tt]he)[ ]$", context.before(match.start()))
    described = symbol in _DESCRIBING and match["gap"] == "" or symbol == "mm"
    return bool(determined and re.match(r"[ ][a-z]{3,}", after) or described and _NOUN_AFTER.match(after))


def _is_unit(context: Context, match: re.Match[str], symbol: str) -> bool:
    """Whether a symbol that is also a letter or a word is one of measure here."""
    after = context.after(match.end())
    if symbol == "A" and not _CURRENT.search(context.text[max(0, match.start() - 30) : match.end() + 20]):
        return False
    if len(symbol) == 1 and symbol.isupper() and context.word_before(match.start()) in _LETTERED:
        return False
    if symbol == "in":
        return match["gap"] == "" or (
            match["gap"] == " "
            and not _WORD_IN.match(after)
            and bool(re.match(r"[ ]?(?:[.,;:!?)x×](?![A-Za-z])|$|long|wide|tall|deep|high|by)", after))
        )
    if symbol in ("m", "B", "K", "k") and match["gap"] == "" and symbol != "m":
        return False
    if symbol in ("A", "B", "K", "N", "J", "V", "W", "L", "l", "t", "h", "s", "g", "m") and match["gap"] == " ":
        if symbol == "l" and "." in match["number"]:
            return True
        if symbol in ("l", "t"):
            return bool(re.match(r"[ ]of\b|[.,;]|$", after))
        return symbol in ("m", "g", "h", "s", "L", "W", "V") and not re.match(r"['’.][A-Za-z]", after)
    if symbol == "s" and not match["gap"]:
        decade = re.search(r"\b(?:the|in|his|her|their|my)[ ]$", context.before(match.start()))
        return "." in match["number"] or (len(match["number"]) <= 3 and not decade)
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
    unit = match["unit"]
    if unit not in _PER_NOUNS and context.kind_at(match.start() - 1) not in ("measure", "money"):
        return None
    return f" per {_PER_WORDS.get(unit) or (units()[unit].one if unit in units() else unit)}"


def _span(context: Context, match: re.Match[str]) -> str:
    minutes, seconds = match["minutes"] or match["minutes2"], match["seconds"] or match["seconds2"]
    parts = [(match["hours"], "hour", "小时"), (minutes, "minute", "分钟"), (seconds, "second", "秒")]
    if context.chinese(*match.span()):
        return "".join(zh.cardinal(int(number), liang=True) + unit for number, _, unit in parts if number)
    return " ".join(
        f"{en.cardinal(int(number))} {unit}{'' if int(number) == 1 else 's'}" for number, unit, _ in parts if number
    )


def _hyphen_unit(context: Context, match: re.Match[str]) -> str | None:
    """ "a 20-oz. coffee"."""
    if context.chinese(*match.span()):
        return None
    return f"{en.decimal(match['number'])} {units()[match['unit']].one}"


def _square(context: Context, match: re.Match[str]) -> str:
    unit = units()["ft" if match["unit"] == "feet" else match["unit"]]
    square = match["power"] in ("sq", "square")
    if context.chinese(*match.span()):
        return zh.decimal(match["number"], liang=True) + ("平方" if square else "立方") + unit.chinese
    power = "square" if square else "cubic"
    return f"{en.decimal(match['number'])} {power} {unit.one if match['number'] == '1' else unit.many}"


_FRACTION_UNIT = ascii_pattern(
    rf"(?<={TAKEN})[ ](?P<unit>tsp|tbsp|oz|lbs?|ml|mL|mi|hrs?|in|yd|gal|ft|km|cm|mm|kg)\b\.?(?![/'])"
)
_POWER_UNIT = ascii_pattern(rf"(?<={TAKEN})[ ](?P<unit>{_UNIT})(?:/(?P<per>{_UNIT}))?(?![A-Za-z0-9²³/'&@_-])")
_COMPASS = ascii_pattern(rf"(?<={TAKEN})[ ]?(?P<name>[NSEW])(?![\w'])")
_COMPASS_NAMES = {"N": ("north", "北"), "S": ("south", "南"), "E": ("east", "东"), "W": ("west", "西")}
_AFTER_TOKEN = re.compile(f"(?<={TAKEN})[ ]")
_PER_WORD = ascii_pattern(r"(?<=\bper )(?P<unit>hr|min|sec|wk|mo|yr|lb|gal|oz|mi|km|kg)\b\.?")
_DEGREES = ascii_pattern(rf"(?<![\w.])(?P<number>{NUMBER})[ ]?(?P<unit>[FC])(?![\w'&/-])")


def _fraction_unit(context: Context, match: re.Match[str]) -> str | None:
    kind = context.kind_at(match.start() - 1)
    if kind not in ("fraction", "number"):
        return None
    unit = units()[match["unit"]]
    if kind == "number" and match["unit"] == "in":
        return None
    several = re.search(r"\d[ -](?:\d/\d{1,2}|[½⅓⅔¼¾⅛⅜⅝⅞])$|\d[½⅓⅔¼¾⅛⅜⅝⅞]$", context.before(match.start()))
    if kind == "number" or several:
        return unit.chinese if context.chinese(*match.span()) else f" {unit.many}"
    return unit.chinese if context.chinese(*match.span()) else f" {unit.one}"


def _power_unit(context: Context, match: re.Match[str]) -> str | None:
    """The unit of a number in scientific notation: "1.5×10⁸ km"."""
    power = context.text[match.start() - 1] in "0123456789⁰¹²³⁴⁵⁶⁷⁸⁹"
    if not power or context.kind_at(match.start() - 1) not in ("scientific", "symbol") or len(match["unit"]) < 2:
        return None
    unit, per = units()[match["unit"]], match["per"]
    if context.chinese(*match.span()):
        return unit.chinese + (f"每{units()[per].chinese}" if per else "")
    return f" {unit.many}" + (f" per {units()[per].one}" if per else "")


def _compass(context: Context, match: re.Match[str]) -> str | None:
    if context.text[match.start() - 1] not in "°º′'\"″":
        return None
    english, chinese = _COMPASS_NAMES[match["name"]]
    return chinese if context.chinese(*match.span()) else f" {english}"


def _degrees(context: Context, match: re.Match[str]) -> str | None:
    if not re.search(
        r"\b(?:temp|temperature|fever|degrees|heat|oven|outside|low|high)\b", context.before(match.start()), re.I
    ):
        return None
    scale = {"F": ("Fahrenheit", "华氏度"), "C": ("Celsius", "摄氏度")}[match["unit"]]
    if context.chinese(*match.span()):
        return zh.decimal(match["number"]) + scale[1]
    return f"{en.decimal(match['number'])} degrees {scale[0]}"


_EACH_ZH = Rule(
    "measure", _PER_ZH, lambda context, match: "每" if context.chinese(*match.span()) else None, SIGN_START, "/"
)
_UNIT_OF_POWER = Rule("measure", _POWER_UNIT, _power_unit, _AFTER_TOKEN)
RULES = (
    Rule("measure", _DEGREES, _degrees, DIGIT, "FC"),
    Rule("measure", _SPAN, _span, DIGIT, "hs"),
    Rule("measure", _HYPHEN_UNIT, _hyphen_unit, DIGIT, "-"),
    Rule("measure", _SQUARE, _square, DIGIT, "sc"),
    Rule("measure", _SQUARE_ALONE, lambda context, match: " square", re.compile("[ ]sq")),
    _EACH_ZH,
    *marked_lengths.RULES,
    Rule("measure", _FULL_RANGE, _full_range, NUMBER_START, DASHES),
    Rule("percent", _PERCENT, _percent, NUMBER_START, "%％‰"),
    Rule("measure", _MEASURE, _measure, NUMBER_START),
)
PER_RULES = (
    _EACH_ZH,
    Rule("measure", _PER, _per, SIGN_START, "/"),
    Rule("measure", _FRACTION_UNIT, _fraction_unit, _AFTER_TOKEN),
    _UNIT_OF_POWER,
    Rule("measure", _COMPASS, _compass, re.compile(f"(?<={TAKEN})[ ]?[NSEW]"), "°º"),
    Rule(
        "measure",
        _PER_WORD,
        lambda context, match: _PER_WORDS.get(match["unit"]) or units()[match["unit"]].one,
        re.compile("(?<=per )[a-z]"),
    ),
)
LAST_RULES = (_UNIT_OF_POWER,)
"""Behind the rules of symbols, which read the power."""
