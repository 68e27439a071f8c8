"""Years and decades: `the 2010s`, `'98`, `FY2025`, `1990–95`, `80年代`, `00后`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import DASH, DASHES, DIGIT, NOT_BEFORE_WORD, NOT_IN_WORD, ascii_pattern

_DECADE = ascii_pattern(
    r"(?<![\w.,$])(?P<y>1[0-9]\d0|20\d0)'?s\b|(?<![\w])'(?P<short>[0-9]0)s\b|(?<![\w.,$])(?P<bare>[2-9]0)s\b"
)


_DECADE_START = re.compile("[0-9]+|'(?=[0-9])")


_SHORT_YEAR = ascii_pattern(r"(?<![\w'’])['’](?P<y>\d\d)(?![\w%]|['’]?s\b)")


_GENERATION_ZH = ascii_pattern(r"(?<![\d.])[0-9][05](?=后(?:[和、的，。！？是们女男年]|$))")


_CENTURY_ZH = ascii_pattern(r"(?<!\d)(?:(?P<from>\d{4}|\d{2})(?P<dash>[ ]?[-–—~～至到][ ]?))?(?P<y>\d{4}|\d{2})年代")


_YEAR_ZH = ascii_pattern(
    rf"(?<!\d)(?P<y>1[0-9]\d\d|20\d\d)(?P<to>{DASH}(?:1[0-9]\d\d|20\d\d))?(?=年(?!代)|财年|届|版|款)"
)


_SHORT_YEAR_ZH = ascii_pattern(
    r"['’](?P<quoted>\d\d)年|(?<!\d)(?P<y>[0-9]\d)年(?=[0-9一二三四五六七八九十]{1,2}月|[级届款生]|出生|毕业|入学|结婚|高考|亚运|奥运|世界杯)"
)


_YEAR_RANGE = ascii_pattern(
    rf"{NOT_IN_WORD}(?P<y>1[5-9]\d\d|20\d\d){DASH}(?P<to>1[5-9]\d\d|20\d\d|\d\d){NOT_BEFORE_WORD}"
)


_YEAR = ascii_pattern(rf"{NOT_IN_WORD}(?<![$€£#/:-])(?P<y>1[0-9]\d\d|20\d\d){NOT_BEFORE_WORD}(?![%°/:$€£-])")


_COUNTED = ascii_pattern(
    r"[ ](?:people|dollars|euros|pounds|points|steps|words|times|miles|meters|metres|feet|units|items|users"
    r"|votes|calories|kilometers|hours|minutes|seconds|days|years|pages|copies|employees|students|cases"
    r"|tons|cars|square|percent|tokens|characters|bytes|files|lines|rows|more|of|pieces|seats|rooms|books"
    r"|soldiers|men|women|children|customers|members|jobs|homes|acres)\b"
)


_YEAR_BEFORE = ascii_pattern(
    r"(?:\b|(?=©))(?:in|since|by|until|till|before|after|from|to|of|year|around|circa|during|early|late|mid|for|the"
    r"|and|summer|winter|spring|fall|autumn|copyright|born|©)[ -]$|[(,][ ]?$|'s[ ]$|\b(?:Q[1-4]|FY)[ ]?$",
    re.IGNORECASE,
)


def _decade(context: Context, match: re.Match[str]) -> str | None:
    paired = re.match(r"(?:,| and| or| to)[ ](?:the[ ])?'?[2-9]0s\b", context.after(match.end())) or re.search(
        r"\b'?[2-9]0s(?:,| and| or| to)[ ]$", context.before(match.start())
    )
    if (
        match["bare"]
        and not paired
        and context.word_before(match.start())
        not in (
            "the",
            "my",
            "his",
            "her",
            "their",
            "early",
            "late",
            "mid",
            "in",
            "your",
            "our",
        )
    ):
        return None
    if match["short"] in ("00", "10"):
        return en.decade(2000 + int(match["short"]))
    return en.decade(int(match["y"] or match["short"] or match["bare"]))


def _short_year(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()) or len(_QUOTE.findall(context.before(match.start()))) % 2:
        return None
    digits = match["y"]
    return f"{'oh ' if digits[0] == '0' else ''}{en.cardinal(int(digits))}"


def _century_zh(context: Context, match: re.Match[str]) -> str:
    def words(text: str) -> str:
        return zh.cardinal(int(text)) if len(text) == 2 else zh.digits(text)

    return (f"{words(match['from'])}到" if match["from"] else "") + words(match["y"]) + "年代"


def _year(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()):
        return None
    if _COUNTED.match(context.after(match.end())):
        return None
    previous = _YEAR_BEFORE.search(context.before(match.start()))
    if match["y"] < "1100" and not (previous and previous.group().strip().lower() in ("in", "since", "year", "by")):
        return None
    if not previous and not re.match(r"[ ](?:was|is|will|has|had|and|to|by)\b|[.,;:!?)]|$", context.after(match.end())):
        return None
    return en.year(int(match["y"]))


def _year_range(context: Context, match: re.Match[str]) -> str | None:
    first, last = match["y"], match["to"]
    if len(last) == 4 and int(last) <= int(first):
        return None
    if context.chinese(*match.span()):
        return f"{zh.digits(first)}到{zh.digits(last)}"
    if len(last) == 4:
        return f"{en.year(int(first))} to {en.year(int(last))}"
    return f"{en.year(int(first))} to {'oh ' if last[0] == '0' else ''}{en.cardinal(int(last))}"


_FISCAL_YEAR = ascii_pattern(r"(?<![\w.])(?P<name>[FC]Y)[ ]?(?P<y>(?:19|20)\d\d)(?![\w.])")


_QUOTE = re.compile("(?<![A-Za-z])'")
_QUARTER = ascii_pattern(r"(?<!\w)(?P<part>[QH][1-4])['’](?P<y>\d\d)(?!\w)")


def _quarter(context: Context, match: re.Match[str]) -> str:
    part, year = match["part"], match["y"]
    if context.chinese(*match.span()):
        return f"{zh.digits(year)}年{part[0]}{zh.cardinal(int(part[1]))}"
    return f"{part[0]} {en.cardinal(int(part[1]))} {en.year(2000 + int(year))}"


def _fiscal_year(context: Context, match: re.Match[str]) -> str:
    return f"{' '.join(match['name'])} {en.year(int(match['y']))}"


EARLY_RULES = (
    Rule("year", _FISCAL_YEAR, _fiscal_year, re.compile("[FC]Y")),
    Rule("year", _QUARTER, _quarter, re.compile("[QH](?=[1-4])")),
)
RULES = (
    Rule("decade", _DECADE, _decade, _DECADE_START),
    Rule("decade", _CENTURY_ZH, _century_zh, DIGIT, "代"),
    Rule(
        "year",
        _YEAR_ZH,
        lambda context, match: zh.year(match["y"]) + (f"到{zh.year(match['to'])}" if match["to"] else ""),
        DIGIT,
        "年届版款财",
    ),
    Rule(
        "year",
        _SHORT_YEAR_ZH,
        lambda context, match: zh.year(match["quoted"] or match["y"]) + "年",
        _DECADE_START,
        "年",
    ),
    Rule("year", _SHORT_YEAR, _short_year, re.compile("['’](?=[0-9])")),
    Rule("decade", _GENERATION_ZH, lambda context, match: zh.digits(match.group()), DIGIT, "后"),
    Rule("year", _YEAR_RANGE, _year_range, DIGIT, DASHES),
)
LATE_RULES = (Rule("year", _YEAR, _year, DIGIT),)
