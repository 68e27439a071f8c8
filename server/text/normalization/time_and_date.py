"""Times of day and dates: `3:30 PM`, `9am-5pm`, `2024-03-05`, `June 5-7`, `3/15之前`, `exp. 08/27`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import (
    DASH,
    DIGIT,
    DIGIT_SLASH,
    NOT_IN_WORD,
    alternatives,
    ascii_pattern,
)

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
_MONTH_NUMBERS = {name.lower(): index for index, name in enumerate(MONTHS, 1)}
_MONTH_NUMBERS |= {name[:3].lower(): index for index, name in enumerate(MONTHS, 1)} | {"sept": 9}
_MONTH = alternatives([*MONTHS, *(name[:3] for name in MONTHS if name != "May"), "Sept"])
_HALF = r"(?P<{0}>[aApP]\.?[mM]\.?(?![A-Za-z]))"
_CLOCK = r"(?P<h{0}>[01]?\d|2[0-4])(?:[:：](?P<m{0}>[0-5]\d)(?:[:：](?P<s{0}>[0-5]\d))?)?"
_MONTH_START = re.compile("[JFMASOND](?=an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)")
_TIME_RANGE = ascii_pattern(
    rf"{NOT_IN_WORD}{_CLOCK.format(1)}[ ]?{_HALF.format('a')}?(?:{DASH}"
    rf"|[ ]?to[ ]){_CLOCK.format(2)}[ ]?{_HALF.format('b')}?(?!\d)(?![.:]\d)"
)
_TIME = ascii_pattern(rf"{NOT_IN_WORD}{_CLOCK.format(1)}[ ]?{_HALF.format('a')}?(?!\d)(?![.:]\d)")
_NOON = ascii_pattern(rf"\b(?P<noon>noon|midnight){DASH}(?=\d)", re.IGNORECASE)
_CHINESE_HALVES = {"a": "上午", "p": "下午"}
_WEEKDAY_BEFORE_ZH = ascii_pattern("(?:周|星期|礼拜)[一二三四五六]$")
_SAYS_HALF = ascii_pattern("(?:上午|下午|早上|晚上|中午|凌晨|傍晚|夜里)[ ]?$")


def _half(text: str | None) -> str:
    return f" {text[0].upper()} M" if text else ""


def _clock_en(hour: str, minute: str | None, second: str | None, half: str | None) -> str:
    words = en.cardinal(int(hour))
    if minute and int(minute):
        words += " " + ("oh " if minute[0] == "0" else "") + en.cardinal(int(minute))
    elif minute and not half:
        words += " hundred" if int(hour) > 12 else " o'clock"
    if second:
        words += f" and {en.cardinal(int(second))} second{'' if int(second) == 1 else 's'}"
    return words + _half(half)


def _clock_zh(hour: str, minute: str | None, second: str | None, half: str | None, said: bool) -> str:
    words = "" if said or not half else _CHINESE_HALVES[half[0].lower()]
    words += zh.cardinal(int(hour), liang=True) + "点"
    if minute and int(minute):
        words += ("零" if minute[0] == "0" else "") + zh.cardinal(int(minute)) + "分"
    if second:
        words += zh.cardinal(int(second)) + "秒"
    return words


def _time(context: Context, match: re.Match[str]) -> str | None:
    hour, minute, second, half = match["h1"], match["m1"], match["s1"], match["a"]
    if not minute and (not half or int(hour) > 12):
        return None
    if context.chinese(*match.span()):
        before = context.before(match.start())
        pause = "，" if int(hour) >= 10 and _WEEKDAY_BEFORE_ZH.search(before) else ""  # 星期五，十点: not 星期 五十点
        return pause + _clock_zh(hour, minute, second, half, bool(_SAYS_HALF.search(before)))
    words = _clock_en(hour, minute, second, half)
    said = re.match(r"[ ]?o['’]clock\b", context.after(match.end()))
    return words.removesuffix(" o'clock") if said else words


_ISO_TIME = ascii_pattern(
    r"(?<!\w)(?P<date>\d{4}-(?:0\d|1[0-2])-[0-3]\d)T(?P<h>[01]\d|2[0-4]):(?P<m>[0-5]\d)(?::(?P<s>[0-5]\d)(?:\.\d{1,9})?)?"
    r"(?P<zone>Z|[+\u2212-]\d\d(?::?\d\d)?)?(?!\w)"
)
_LAP = ascii_pattern(r"(?<![\w.:])(?P<m>\d{1,2}):(?P<s>[0-5]\d)(?P<part>\.\d{1,3})(?![\w.:])")
_OFFSET = ascii_pattern(r"(?<!\w)(?P<zone>UTC|GMT)(?P<sign>[+\u2212-])(?P<h>\d{1,2})(?::(?P<m>[0-5]\d))?(?!\w)")


def _iso_time(context: Context, match: re.Match[str]) -> str | None:
    """ "2024-06-10T14:30:00Z"."""
    chinese = context.chinese(*match.span())
    year, month, day = match["date"].split("-")
    date = date_words(year, month, day, chinese)
    second = match["s"] if match["s"] and int(match["s"]) else None
    zone = match["zone"] or ""
    name = "" if not zone else "UTC" if zone == "Z" else f"UTC{zone[0]}{zone[1:3].lstrip('0') or '0'}"
    if chinese:
        return f"{date}{_clock_zh(match['h'], match['m'], second, None, False)}" + name
    return f"{date}, {_clock_en(match['h'], match['m'], second, None)} {_offset_words(name, chinese)}".rstrip()


def _offset_words(name: str, chinese: bool) -> str:
    zone, sign, hours = name[:3], name[3:4], name[4:]
    if not hours:
        return zone
    if chinese:
        return f"{zone}{'加' if sign == '+' else '减'}{zh.cardinal(int(hours))}"
    return f"{zone} {'plus' if sign == '+' else 'minus'} {en.cardinal(int(hours))}"


def _offset(context: Context, match: re.Match[str]) -> str:
    chinese, minutes = context.chinese(*match.span()), int(match["m"] or 0)
    words = _offset_words(f"{match['zone']}{match['sign']}{match['h']}", chinese)
    return words + (f"{'点' if chinese else ' '}{(zh if chinese else en).cardinal(minutes)}" if minutes else "")


def _lap(context: Context, match: re.Match[str]) -> str:
    """ "1:23.456" of a race."""
    if context.chinese(*match.span()):
        return f"{zh.cardinal(int(match['m']))}分{zh.decimal(match['s'].lstrip('0') + match['part'])}秒"
    second = "oh " + en.cardinal(int(match["s"])) if match["s"][0] == "0" else en.cardinal(int(match["s"]))
    return f"{en.cardinal(int(match['m']))} {second} point {en.digits(match['part'][1:])}"


def _time_range(context: Context, match: re.Match[str]) -> str | None:
    clock = bool(match["m1"] or match["m2"])
    if not (match["a"] or match["b"] or (match["m1"] and match["m2"])) or (clock and match["s1"]):
        return None
    if context.chinese(*match.span()):
        said = bool(_SAYS_HALF.search(context.before(match.start())))
        first = _clock_zh(match["h1"], match["m1"], None, match["a"], said)
        return f"{first}到{_clock_zh(match['h2'], match['m2'], None, match['b'], False)}"
    first = _clock_en(match["h1"], match["m1"], None, match["a"])
    if match["b"] and not match["a"]:
        first = first.replace(" o'clock", "")
    return f"{first} to {_clock_en(match['h2'], match['m2'], None, match['b'])}"


_ISO = ascii_pattern(
    rf"{NOT_IN_WORD}(?P<y>1[5-9]\d\d|20\d\d)(?P<sep>[-/.])(?P<m>0?[1-9]|1[0-2])(?P=sep)(?P<d>0?[1-9]|[12]\d"
    rf"|3[01])(?!\d|[-/.]\d)"
)
_SLASHED = ascii_pattern(
    rf"{NOT_IN_WORD}(?<!/)(?P<a>0?[1-9]|[12]\d|3[01])(?P<sep>[-/.])(?P<b>0?[1-9]|[12]\d"
    rf"|3[01])(?P=sep)(?P<y>(?:1[5-9]|20)?\d\d)(?!\d|[-/.]\d)"
)
_SHORT = ascii_pattern(rf"{NOT_IN_WORD}(?<![/-])(?P<m>0?[1-9]|1[0-2])/(?P<d>0?[1-9]|[12]\d|3[01])(?!\d|[/-]\d|%)")
_MONTH_DAY = ascii_pattern(
    rf"\b(?P<month>{_MONTH})\b\.?[ ](?P<d>0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?(?:{DASH}(?P<to>0?[1-9]"
    rf"|[12]\d|3[01])(?:st|nd|rd|th)?)?"
    rf"(?:,?[ ](?P<y>1[5-9]\d\d|20\d\d)(?!\d|,\d))?(?![\w:])(?![.,/]\d)"
)
_DAY_MONTH = ascii_pattern(
    rf"{NOT_IN_WORD}(?P<d>0?[1-9]|[12]\d|3[01])(?P<th>st|nd|rd|th)?(?:{DASH}(?P<to>0?[1-9]|[12]\d"
    rf"|3[01])(?:st|nd|rd|th)?)?[ ](?:of[ ])?(?P<month>{_MONTH})\b\.?"
    rf"(?:,?[ ](?P<y>1[5-9]\d\d|20\d\d)(?!\d|,\d))?"
)
_MONTH_YEAR = ascii_pattern(rf"\b(?P<month>{_MONTH})\b\.?,?[ ](?P<y>1[5-9]\d\d|20\d\d)\b")
_DATE_BEFORE = ascii_pattern(
    r"\b(?:on|by|before|until|till|since|from|after|dated|due|date|for|starting"
    r"|born|of|expires|expiring|exp|ends|begins|starts|ships|shipped"
    r"|mon|tues?|wed|thu(?:rs?)?|fri|sat|sun|arrives?|arriving|delivered|departs?|departing|returns?"
    r"|returning|leaves?|leaving|flying|opens|closes|closed|effective|valid|through|between|week of|starting"
    r"|(?:mon|tues|wednes|thurs|fri|satur|sun)day,?)[.,]?[ :]{1,2}$",
    re.IGNORECASE,
)
_DATE_BEFORE_ZH = ascii_pattern("(?:在|于|到|至|公历|农历|阴历|阳历|定于|截止|日期|日期是|从|自|请在)$")
_DATE_AFTER_ZH = ascii_pattern("(?:之?前|之?后|放假|起|出发|上线|开始|截止|的?会|生日|晚|早|下午|上午|中午|当天|号|日)")


def _month(name: str) -> int:
    return _MONTH_NUMBERS[name.lower()]


def _date_en(month: int, day: int, year: str | None, to: int | None = None) -> str:
    words = f"{MONTHS[month - 1]} {en.ordinal(day)}" + (f" to {en.ordinal(to)}" if to else "")
    return words + (f" {en.year(int(year))}" if year else "")


def _date_zh(month: int, day: int, year: str | None) -> str:
    return (f"{zh.year(year)}年" if year else "") + f"{zh.cardinal(month)}月{zh.cardinal(day)}日"


def date_words(year: str | None, month: str | None, day: str | None, chinese: bool) -> str | None:
    """The words for a date of which parts may be missing; None where there is no such date."""
    if month and not 1 <= int(month) <= 12 or day and not (month and 1 <= int(day) <= 31):
        return None
    if month and day:
        full = _full_year(year) if year else None
        return (_date_zh if chinese else _date_en)(int(month), int(day), full)
    if not year or len(year) > 4:
        return None
    full = _full_year(year) if len(year) == 2 else year
    if chinese:
        return f"{zh.year(full)}年" + (f"{zh.cardinal(int(month))}月" if month else "")
    return (f"{MONTHS[int(month) - 1]} " if month else "") + en.year(int(full))


def _full_year(text: str) -> str:
    return text if len(text) == 4 else ("20" if int(text) < 50 else "19") + text


def _iso(context: Context, match: re.Match[str]) -> str | None:
    month, day = int(match["m"]), int(match["d"])
    return (_date_zh if context.chinese(*match.span()) else _date_en)(month, day, match["y"])


_COMBINATION = ascii_pattern(
    r"\b(?:combination|combo|lock|code|pin|password)\b[^\d]{0,12}$|[码号][：:是为 ]{0,2}$", re.IGNORECASE
)


def _slashed(context: Context, match: re.Match[str]) -> str | None:
    first, second = int(match["a"]), int(match["b"])
    combination = match["sep"] == "-" and _COMBINATION.search(context.before(match.start()))
    if combination or (match["sep"] == "." and len(match["y"]) == 2):
        return None
    month, day = (second, first) if first > 12 or match["sep"] == "." else (first, second)
    if month > 12:
        return None
    return (_date_zh if context.chinese(*match.span()) else _date_en)(month, day, _full_year(match["y"]))


_PART_AFTER = ascii_pattern(r"[ -]?(?:of|inch|in|cup|mile|tsp|tbsp|and|as|the|full|th)\b|ths?\b|[ ]?=")


def _short(context: Context, match: re.Match[str]) -> str | None:
    month, day = int(match["m"]), int(match["d"])
    if context.chinese(*match.span()):
        dated = _DATE_BEFORE_ZH.search(context.before(match.start())) or _DATE_AFTER_ZH.match(
            context.after(match.end())
        )
        return _date_zh(month, day, None) if dated else None
    if match.group() == "9/11":
        return "nine eleven"
    joined = re.search(r" (?:to|and|or) $", context.before(match.start()))
    to = joined is not None and context.kind_at(match.start() - len(joined[0]) - 1) == "date"
    to = to or (day >= 13 and day not in (16, 20, 24, 25, 30) and not _PART_AFTER.match(context.after(match.end())))
    if not (to or _DATE_BEFORE.search(context.before(match.start()))) or re.match(
        r"[ ]?(?:of|inch|cup|mile)\b", context.after(match.end())
    ):
        return None
    return (
        None
        if (month, day) in ((1, 2), (1, 3), (2, 3), (1, 4), (3, 4))
        and context.word_before(match.start()) not in ("on", "due", "returning", "leaving", "departing", "arriving")
        else _date_en(month, day, None)
    )


_EXPIRY = ascii_pattern(r"(?<![\d/])(?P<m>0[1-9]|1[0-2])/(?P<y>2\d|3\d)(?![\d/])")
_EXPIRY_BEFORE = ascii_pattern(
    r"\b(?:exp\.?|expiry|expiration|valid thru|good thru)(?:[ ]date)?[: ]{1,2}(?:is[ ])?$|有效期[至到：: ]{0,3}$",
    re.IGNORECASE,
)


def _expiry(context: Context, match: re.Match[str]) -> str | None:
    """The month and year of a payment card."""
    if not _EXPIRY_BEFORE.search(context.before(match.start())):
        return None
    return date_words(match["y"], match["m"], None, context.chinese(*match.span()))


def _month_day(context: Context, match: re.Match[str]) -> str:
    return _date_en(_month(match["month"]), int(match["d"]), match["y"], int(match["to"]) if match["to"] else None)


def _day_month(context: Context, match: re.Match[str]) -> str | None:
    if (
        match["month"] == "May"
        and not match["y"]
        and not match["th"]
        and context.word_after(match.end()) in ("i", "we", "be")
    ):
        return None
    day = en.ordinal(int(match["d"])) + (f" to {en.ordinal(int(match['to']))}" if match["to"] else "")
    the = "" if context.word_before(match.start()) == "the" else "the "
    return f"{the}{day} of {MONTHS[_month(match['month']) - 1]}" + (
        f" {en.year(int(match['y']))}" if match["y"] else ""
    )


def _month_year(context: Context, match: re.Match[str]) -> str:
    return f"{MONTHS[_month(match['month']) - 1]} {en.year(int(match['y']))}"


_POINT_DATES_ZH = ascii_pattern(
    r"(?<![\d.])(?P<m>1[0-2]|0?[1-9])\.(?P<d>[12]\d|3[01]|0?[1-9])(?:[ ]?[到至~～—–-][ ]?"
    r"(?:(?P<m2>1[0-2]|0?[1-9])\.)?(?P<d2>[12]\d|3[01]|0?[1-9]))?(?![\d.%])"
)
_DATED_ZH = ascii_pattern(r"(?:假期|放假|活动|期间|日期|时间|有效期|截止|档期|促销|大促|行程)[^\d，。！？]{0,4}$")


def _point_dates_zh(context: Context, match: re.Match[str]) -> str | None:
    if not context.chinese(*match.span()) or not _DATED_ZH.search(context.before(match.start())):
        return None
    words = _date_zh(int(match["m"]), int(match["d"]), None)
    if not match["d2"]:
        return words
    month = f"{zh.cardinal(int(match['m2']))}月" if match["m2"] else ""
    return f"{words}到{month}{zh.cardinal(int(match['d2']))}日"


_SHORT_RANGE = ascii_pattern(
    rf"{NOT_IN_WORD}(?<![/-])(?P<m>0?[1-9]|1[0-2])/(?P<d>0?[1-9]|[12]\d|3[01]){DASH}"
    r"(?P<m2>0?[1-9]|1[0-2])/(?P<d2>0?[1-9]|[12]\d|3[01])(?!\d|[/-]\d|%)"
)


def _short_range(context: Context, match: re.Match[str]) -> str | None:
    month, day, month2, day2 = (int(match[name]) for name in ("m", "d", "m2", "d2"))
    chinese = context.chinese(*match.span())
    if max(day, day2) <= 12 and not chinese and not _DATE_BEFORE.search(context.before(match.start())):
        return None
    read, to = (_date_zh, "到") if chinese else (_date_en, " to ")
    return f"{read(month, day, None)}{to}{read(month2, day2, None)}"


RULES = (
    Rule("date", _SHORT_RANGE, _short_range, DIGIT_SLASH, "/"),
    Rule("date", _ISO_TIME, _iso_time, DIGIT, "T"),
    Rule("time", _OFFSET, _offset, re.compile("(?<![A-Za-z0-9_])[UG](?=TC|MT)")),
    Rule("date", _ISO, _iso, DIGIT, "-/."),
    Rule("date", _SLASHED, _slashed, DIGIT, "-/."),
    Rule("date", _MONTH_DAY, _month_day, _MONTH_START),
    Rule("date", _DAY_MONTH, _day_month, DIGIT),
    Rule("date", _MONTH_YEAR, _month_year, _MONTH_START),
    Rule("time", _NOON, lambda context, match: f"{match['noon']} to", re.compile("noon|midnight", re.I)),
    Rule("time", _TIME_RANGE, _time_range, DIGIT),
    Rule("time", _TIME, _time, DIGIT),
    Rule("date", _EXPIRY, _expiry, DIGIT_SLASH, "/"),
    Rule("date", _SHORT, _short, DIGIT_SLASH, "/"),
    Rule("date", _POINT_DATES_ZH, _point_dates_zh, DIGIT, "."),
)
EARLY_RULES = (Rule("time", _LAP, _lap, DIGIT, ":"),)
