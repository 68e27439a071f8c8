"""Abbreviations and titles: `Dr. Lee`, `Elm Dr.`, `e.g.`, `approx.`."""

import re

from intone.server.text.normalization.context import Context, Rule, Verbalize
from intone.server.text.patterns import DASH, alternatives, ascii_pattern

_STREET = r"(?<=[a-z] )"
_MONTHS = {"Jan": "January", "Feb": "February", "Mar": "March", "Apr": "April", "Aug": "August", "Sept": "September",
           "Sep": "September", "Oct": "October", "Nov": "November", "Dec": "December"}  # fmt: skip
_DAYS = {"Mon": "Monday", "Tues": "Tuesday", "Tue": "Tuesday", "Wed": "Wednesday", "Thurs": "Thursday",
         "Thur": "Thursday", "Thu": "Thursday", "Fri": "Friday", "Sat": "Saturday", "Sun": "Sunday"}  # fmt: skip
_DAY = alternatives(_DAYS)
_MONTH_ALONE = ascii_pattern(rf"\b(?P<name>{alternatives(_MONTHS)})\.(?![ ]?\d)")
_DAY_RANGE = ascii_pattern(
    rf"\b(?P<first>{_DAY})\b\.?(?P<dash>{DASH}|[ ]to[ ]|[ ]?/[ ]?|[ ]?&[ ]?|[ ]and[ ]|,[ ]?)(?P<last>{_DAY})\b\.?"
)
_MONTH_START = re.compile("[JFMASOND](?=an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)")
_DAY_START = re.compile("[MTWFS](?=on|ue|ed|hu|ri|at|un)")
_FULL_MONTHS = _MONTHS | {name: name for name in (*_MONTHS.values(), "May", "June", "July")} | {
    "Jun": "June", "Jul": "July",
}  # fmt: skip
_MONTH_RANGE = ascii_pattern(
    rf"\b(?P<first>{alternatives(_FULL_MONTHS)})\b\.?{DASH}(?P<last>{alternatives(_FULL_MONTHS)})\b"
    r"(?:\.(?![ ]?\d))?"
)
_DAY_ALONE = ascii_pattern(
    rf"\b(?P<name>{_DAY})(?:\.(?=[ ,;:)]|$)|(?=,?[ ](?:\d|(?:{alternatives(_MONTHS)}|January|February|March|April|May"
    r"|June|July|August|September|October|November|December)\b)))"
)
_ABBREVIATIONS = (
    (ascii_pattern(r"\bMr\.(?=[ ])"), "Mister"),
    (ascii_pattern(r"\bMrs\.(?=[ ])"), "Missus"),
    (ascii_pattern(r"\bMs\.(?=[ ])"), "Miz"),
    (ascii_pattern(rf"{_STREET}\bDr\b(?!\.?[ ][A-Z])\.?(?=[ ]?[,.;!?]|[ ]?$|[ ][a-z])"), "Drive"),
    (ascii_pattern(r"\bDr\.?(?=[ ][A-Z])"), "Doctor"),
    (ascii_pattern(r"\bProf\.(?=[ ])"), "Professor"),
    (ascii_pattern(r"(?<=[A-Za-z] )\bAve\b\.?"), "Avenue"),
    (ascii_pattern(r"(?<=[A-Za-z] )\bBlvd\b\.?"), "Boulevard"),
    (ascii_pattern(r"(?<=[a-z] )\bRd\b\.?"), "Road"),
    (ascii_pattern(r"(?<=[a-z] )\bLn\b\.?"), "Lane"),
    (ascii_pattern(r"(?<=[a-z] )\bHwy\b\.?|\bHwy\b\.?(?=[ ]\d)"), "Highway"),
    (ascii_pattern(r"(?<=[a-z] )\bPl\b\.?(?=[,;!?.]|[ ]?$)"), "Place"),
    (ascii_pattern(r"(?<=[a-z] )\bSq\b\.?(?=[,;!?.]|[ ]?$)"), "Square"),
    (ascii_pattern(r"(?<=[a-z] )\bCt\b\.?(?=[,;!?.]|[ ]?$)"), "Court"),
    (ascii_pattern(r"(?<=[a-z] )\bPkwy\b\.?"), "Parkway"),
    (ascii_pattern(r"\bRte?\b\.?(?=[ ]\d)"), "Route"),
    (ascii_pattern(r"\bApt\b\.?(?=[ ]?[#\dA-Z])"), "Apartment"),
    (ascii_pattern(r"\bFl\.(?=[ ]?\d)"), "Floor"),
    (ascii_pattern(r"\bS[Tt][Ee]\b\.?(?=[ ]?[#\d])"), "Suite"),
    (ascii_pattern(r"(?<![\d\ue000] )\bsq\.(?=[ ][a-z])", re.IGNORECASE), "square"),
    (ascii_pattern(r"\b[Ee]xt\.?(?=[ ]?\d)"), "extension"),
    (ascii_pattern(r"(?<=[a-z,] )Jr\."), "Junior"),
    (ascii_pattern(r"(?<=[a-z,] )Sr\."), "Senior"),
    (ascii_pattern(r"\bvs\.?(?=[ ])"), "versus"),
    (ascii_pattern(r"\be\.g\.,?(?=[ ])"), "for example,"),
    (ascii_pattern(r"\bi\.e\.,?(?=[ ])"), "that is,"),
    (ascii_pattern(r"\betc\.(?=[ ]?[,;)]|[ ][a-z])"), "et cetera"),
    (ascii_pattern(r"\betc\.(?=$|[ ][A-Z])"), "et cetera."),
    (ascii_pattern(r"\bapprox\.(?=[ ])"), "approximately"),
    (ascii_pattern(r"\b[Dd]ept\.(?=[ ])"), "department"),
    (ascii_pattern(r"\b[Vv]ol\.(?=[ ]?[\dIVX])"), "volume"),
    (ascii_pattern(r"\bpp\.(?=[ ]?\d)"), "pages"),
    (ascii_pattern(r"\bp\.(?=[ ]?\d)"), "page"),
    (ascii_pattern(r"\b[Ff]ig\.(?=[ ]?\d)"), "figure"),
    (ascii_pattern(r"\b[Ss]ec\.(?=[ ]?\d)"), "section"),
    (ascii_pattern(r"\b[Ee]q\.(?=[ ]?\d)"), "equation"),
    (ascii_pattern(r"\b[Cc]h\.(?=[ ]?\d)"), "chapter"),
    (ascii_pattern(r"\bInc\.(?=[ ][a-z]|[,;:)])"), "Incorporated"),
    (ascii_pattern(r"\bLtd\.(?=[ ][a-z]|[,;:)])"), "Limited"),
    (ascii_pattern(r"\bCorp\.(?=[ ][a-z]|[,;:)])"), "Corporation"),
    (ascii_pattern(r"\b[Gg]ov\.(?=[ ][A-Z])"), "Governor"),
    (ascii_pattern(r"\bSen\.(?=[ ][A-Z])"), "Senator"),
    (ascii_pattern(r"\bGen\.(?=[ ][A-Z])"), "General"),
    (ascii_pattern(r"\bCapt\.(?=[ ][A-Z])"), "Captain"),
    (ascii_pattern(r"\bSgt\.(?=[ ][A-Z])"), "Sergeant"),
    (ascii_pattern(r"\bLt\.(?=[ ][A-Z])"), "Lieutenant"),
    (ascii_pattern(r"\bRev\.(?=[ ][A-Z\ue000])"), "Reverend"),
    (ascii_pattern(r"\bexp\.(?=[ ]?\d)"), "expires"),
    (ascii_pattern(r"\b[Ee]st\.(?=[ ]?\d{4}\b)"), "established"),
    (
        ascii_pattern(r"\best\.(?=[ ](?:wait|time|cost|arrival|delivery|value|price|total|completion|date)\b)"),
        "estimated",
    ),
    (ascii_pattern(r"\bc\.(?=[ ]?\d{3,4}\b)"), "circa"),
    (ascii_pattern(r"(?<=\d(?:st|nd|rd|th) )c\.(?=[ ]|$)"), "century"),
    (ascii_pattern(r"(?<=\d(?:st|nd|rd|th) )Fl\b\.?"), "Floor"),
    (ascii_pattern(r"\bJr\.(?=[ ][a-z])"), "Junior"),
    (ascii_pattern(r"\bSr\.(?=[ ][a-z])"), "Senior"),
    (ascii_pattern(r"\bAttn\b\.?"), "Attention"),
    (ascii_pattern(r"\bc/o(?=[ ])"), "care of"),
    (ascii_pattern(r"\bmos\.(?=[ ][a-z])"), "months"),
    (ascii_pattern(r"\bdoz\.(?=[ ])"), "dozen"),
    (ascii_pattern(r"\bRm\.?(?=[ ]?[\d#])"), "Room"),
    (ascii_pattern(r"(?<=\b[Tt]his )wk\b\.?|(?<=\bper )wk\b\.?|(?<=\b[Nn]ext )wk\b\.?"), "week"),
    (ascii_pattern(r"\bArt\.(?=[ ]?\d)"), "Article"),
    (ascii_pattern(r"(?<=[A-Z][a-z] )Bros\.?(?=[ ,;)]|$)|(?<=[a-z] )Bros\.(?=[ ,;)]|$)"), "Brothers"),
    (ascii_pattern(r"(?:(?<=& )|(?<=and ))Co\.(?=[ ][a-z]|[,;)])"), "Company"),
    (ascii_pattern(r"\bE\.g\.,?(?=[ ])"), "For example,"),
    (ascii_pattern(r"\bI\.e\.,?(?=[ ])"), "That is,"),
    (ascii_pattern(r"\b[Vv]ols\.(?=[ ]?\d)"), "volumes"),
    (ascii_pattern(r"(?<=\d )c\.(?=[ ][a-z])"), "cup"),
    (ascii_pattern(r"\bcf\.(?=[ ])"), "compare"),
    (ascii_pattern(r"\bet al\.(?=[ ]?[a-z(,;])"), "et al"),
    (ascii_pattern(r"\bq\.d\."), "once a day"),
    (ascii_pattern(r"\bb\.i\.d\."), "twice a day"),
    (ascii_pattern(r"\bt\.i\.d\."), "three times a day"),
    (ascii_pattern(r"\bMt\.(?=[ ][A-Z])"), "Mount"),
    (ascii_pattern(r"\bFt\.(?=[ ][A-Z])"), "Fort"),
    (ascii_pattern(r"\ba\.k\.a\.?(?=[ ])|\baka\b(?=[ ])"), "also known as"),
    (ascii_pattern(r"\b[Dd]iv\.(?=[ ]?\d)"), "division"),
    (ascii_pattern(r"\b[Rr]ef\.(?=[ ]?[\d#])"), "reference"),
    (ascii_pattern(r"\bw/o(?=[ ])"), "without"),
    (ascii_pattern(r"\bw/(?=[ ])"), "with"),
    (ascii_pattern(r"\bmtg\.(?=[ ]?[a-z,;)])"), "meeting"),
    (ascii_pattern(r"\bappt\.(?=[ ]?[a-z,;)])"), "appointment"),
    (ascii_pattern(r"\b[Gg]ovt\.(?=[ ]?[a-z,;)])"), "government"),
    (ascii_pattern(r"\b[Bb]ldg\.?(?=[ ]?[\dA-Z#])"), "Building"),
    (ascii_pattern(r"\bqty\.?(?=[ :]?[ ]?\d)", re.IGNORECASE), "quantity"),
    (ascii_pattern(r"\bincl\.(?=[ ])"), "including"),
    (ascii_pattern(r"\bexcl\.(?=[ ])"), "excluding"),
    (ascii_pattern(r"\bavg\.?(?=[ ])"), "average"),
    (ascii_pattern(r"\bmisc\.(?=[ ])"), "miscellaneous"),
    (ascii_pattern(r"\bIntl\.?(?=[ ][A-Z])"), "International"),
    (ascii_pattern(r"\bAssn\.?(?=[ ][a-z]|,)"), "Association"),
    (ascii_pattern(r"\b[Aa]cct\.?(?=[ ]?[#\d])"), "account"),
    (ascii_pattern(r"\bUSA\b|\bU\.S\.A\.(?=[ ,])"), "U S A"),
)

_ABBREVIATION_START = re.compile(
    r"M[rst]|[DJS]r|[VvDdRrFfEeGg](?=ol|ept|iv|ef|ev|ig|q|xt|ov)"
    r"|cf|et(?= al)|exp\.|[qbt]\.(?=[di]\.)|P(?=rof|l|kwy)|Ave|Blvd|Rd|L[nt]|Hwy|[Ss](?=q|te)"
    r"|STE|doz|Rm|wk|Art\.|Bros|Co\.|[EI]\.(?=[ge])|[Ee]st\.|c[./]|Attn|mos\.|S(?=ec|en|gt)|Ct|Rt|Apt"
    r"|vs|e\.(?=g)|i\.(?=e)|etc|approx|p(?=p?\.)|sec|ch|C(?=h|orp|apt)|Inc|Ltd|Gen|F[tl]|Jr|a(?=\.k|ka)|w/"
    r"|mtg|appt|[Bb]ldg|[Qq](?=[Tt][Yy])|incl|excl|avg|misc|Intl|Assn|[Aa]cct|U(?=\.S|SA)"
)
"""Where one of `_ABBREVIATIONS` begins."""


def _constant(words: str) -> Verbalize:
    def read(context: Context, match: re.Match[str]) -> str:
        return words

    return read


def _day_range(context: Context, match: re.Match[str]) -> str:
    dash = match["dash"].strip()
    joined = " and " if dash in ("&", "and") else ", " if dash == "," else " or " if dash == "/" else " to "
    return f"{_DAYS[match['first']]}{joined}{_DAYS[match['last']]}"


_ST = ascii_pattern(r"\bSt\b\.?")
_SAINT_AFTER = frozenset("mount mt point port lake fort sault east west north south old new upper lower".split())  # noqa: SIM905
_NUMBER = ascii_pattern(r"(?<=[a-z] )no\.(?=[ ]?[#\d]|[ ](?:is|was)\b|:)", re.IGNORECASE)
_NUMBERED = frozenset(
    ["invoice", "order", "ticket", "account", "policy", "flight", "serial", "case", "room", "item", "part", "page"]
)


def _saint_or_street(context: Context, match: re.Match[str]) -> str | None:
    before, after = context.before(match.start()), context.after(match.end())
    previous = re.search(r"(?<![A-Za-z0-9])([A-Za-z0-9]+)[ ]$", before)
    if not re.match(r"[ ][A-Z]", after):
        return "Street" if previous else None
    if previous is None or previous[1].lower() in _SAINT_AFTER:
        return "Saint"
    named = previous[1][0].isupper() and context.text[: match.start()].strip() != previous[1]
    return "Street" if named or re.fullmatch(r"\d+(?:st|nd|rd|th)", previous[1]) else "Saint"


def _number(context: Context, match: re.Match[str]) -> str | None:
    return "number" if context.word_before(match.start()) in _NUMBERED else None


RULES = (
    Rule("abbreviation", _ST, _saint_or_street, re.compile("St")),
    Rule("abbreviation", _NUMBER, _number, re.compile(r"no\.", re.IGNORECASE)),
    Rule("date", _DAY_RANGE, _day_range, _DAY_START),
    Rule(
        "date",
        _MONTH_RANGE,
        lambda context, match: f"{_FULL_MONTHS[match['first']]} to {_FULL_MONTHS[match['last']]}",
        _MONTH_START,
    ),
    Rule("date", _DAY_ALONE, lambda context, match: _DAYS[match["name"]], _DAY_START),
    Rule("date", _MONTH_ALONE, lambda context, match: _MONTHS[match["name"]], _MONTH_START),
    *(Rule("abbreviation", pattern, _constant(words), _ABBREVIATION_START) for pattern, words in _ABBREVIATIONS),
)
