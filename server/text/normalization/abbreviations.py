"""Abbreviations and titles: `Dr. Lee`, `Elm Dr.`, `e.g.`, `approx.`."""

import re

from intone.server.text.normalization.context import Context, Rule
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
    (r"\bMr\.(?=[ ])", "Mister"),
    (r"\bMrs\.(?=[ ])", "Missus"),
    (r"\bMs\.(?=[ ])", "Miz"),
    (rf"{_STREET}\bDr\b(?!\.?[ ][A-Z])\.?(?=[ ]?[,.;!?]|[ ]?$|[ ][a-z])", "Drive"),
    (r"\bDr\.?(?=[ ][A-Z])", "Doctor"),
    (r"\bProf\.(?=[ ])", "Professor"),
    (r"(?<=[A-Za-z] )\bAve\b\.?", "Avenue"),
    (r"(?<=[A-Za-z] )\bBlvd\b\.?", "Boulevard"),
    (r"(?<=[a-z] )\bRd\b\.?", "Road"),
    (r"(?<=[a-z] )\bLn\b\.?", "Lane"),
    (r"(?<=[a-z] )\bHwy\b\.?|\bHwy\b\.?(?=[ ]\d)", "Highway"),
    (r"(?<=[a-z] )\bPl\b\.?(?=[,;!?.]|[ ]?$)", "Place"),
    (r"(?<=[a-z] )\bSq\b\.?(?=[,;!?.]|[ ]?$)", "Square"),
    (r"(?<=[a-z] )\bCt\b\.?(?=[,;!?.]|[ ]?$)", "Court"),
    (r"(?<=[a-z] )\bPkwy\b\.?", "Parkway"),
    (r"\bRte?\b\.?(?=[ ]\d)", "Route"),
    (r"\bApt\b\.?(?=[ ]?[#\dA-Z])", "Apartment"),
    (r"\bFl\.(?=[ ]?\d)", "Floor"),
    (r"\bS[Tt][Ee]\b\.?(?=[ ]?[#\d])", "Suite"),
    (r"(?i:(?<![\d\ue000] )\bsq\.(?=[ ][a-z]))", "square"),
    (r"\b[Ee]xt\.?(?=[ ]?\d)", "extension"),
    (r"(?<=[a-z,] )Jr\.", "Junior"),
    (r"(?<=[a-z,] )Sr\.", "Senior"),
    (r"\bvs\.?(?=[ ])", "versus"),
    (r"\be\.g\.,?(?=[ ])", "for example,"),
    (r"\bi\.e\.,?(?=[ ])", "that is,"),
    (r"\betc\.(?=[ ]?[,;)]|[ ][a-z])", "et cetera"),
    (r"\betc\.(?=$|[ ][A-Z])", "et cetera."),
    (r"\bapprox\.(?=[ ])", "approximately"),
    (r"\b[Dd]ept\.(?=[ ])", "department"),
    (r"\b[Vv]ol\.(?=[ ]?[\dIVX])", "volume"),
    (r"\bpp\.(?=[ ]?\d)", "pages"),
    (r"\bp\.(?=[ ]?\d)", "page"),
    (r"\b[Ff]ig\.(?=[ ]?\d)", "figure"),
    (r"\b[Ss]ec\.(?=[ ]?\d)", "section"),
    (r"\b[Ee]q\.(?=[ ]?\d)", "equation"),
    (r"\b[Cc]h\.(?=[ ]?\d)", "chapter"),
    (r"\bInc\.(?=[ ][a-z]|[,;:)])", "Incorporated"),
    (r"\bLtd\.(?=[ ][a-z]|[,;:)])", "Limited"),
    (r"\bCorp\.(?=[ ][a-z]|[,;:)])", "Corporation"),
    (r"\b[Gg]ov\.(?=[ ][A-Z])", "Governor"),
    (r"\bSen\.(?=[ ][A-Z])", "Senator"),
    (r"\bGen\.(?=[ ][A-Z])", "General"),
    (r"\bCapt\.(?=[ ][A-Z])", "Captain"),
    (r"\bSgt\.(?=[ ][A-Z])", "Sergeant"),
    (r"\bLt\.(?=[ ][A-Z])", "Lieutenant"),
    (r"\bRev\.(?=[ ][A-Z\ue000])", "Reverend"),
    (r"\bexp\.(?=[ ]?\d)", "expires"),
    (r"\b[Ee]st\.(?=[ ]?\d{4}\b)", "established"),
    (
        r"\best\.(?=[ ](?:wait|time|cost|arrival|delivery|value|price|total|completion|date)\b)",
        "estimated",
    ),
    (r"\bc\.(?=[ ]?\d{3,4}\b)", "circa"),
    (r"(?<=\d(?:st|nd|rd|th) )c\.(?=[ ]|$)", "century"),
    (r"(?<=\d(?:st|nd|rd|th) )Fl\b\.?", "Floor"),
    (r"\bJr\.(?=[ ][a-z])", "Junior"),
    (r"\bSr\.(?=[ ][a-z])", "Senior"),
    (r"\bAttn\b\.?", "Attention"),
    (r"\bc/o(?=[ ])", "care of"),
    (r"\bmos\.(?=[ ][a-z])", "months"),
    (r"\bdoz\.(?=[ ])", "dozen"),
    (r"\bRm\.?(?=[ ]?[\d#])", "Room"),
    (r"(?<=\b[Tt]his )wk\b\.?|(?<=\bper )wk\b\.?|(?<=\b[Nn]ext )wk\b\.?", "week"),
    (r"\bArt\.(?=[ ]?\d)", "Article"),
    (r"(?<=[A-Z][a-z] )Bros\.?(?=[ ,;)]|$)|(?<=[a-z] )Bros\.(?=[ ,;)]|$)", "Brothers"),
    (r"(?:(?<=& )|(?<=and ))Co\.(?=[ ][a-z]|[,;)])", "Company"),
    (r"\bE\.g\.,?(?=[ ])", "For example,"),
    (r"\bI\.e\.,?(?=[ ])", "That is,"),
    (r"\b[Vv]ols\.(?=[ ]?\d)", "volumes"),
    (r"(?<=\d )c\.(?=[ ][a-z])", "cup"),
    (r"\bcf\.(?=[ ])", "compare"),
    (r"\bet al\.(?=[ ]?[a-z(,;])", "et al"),
    (r"\bq\.d\.", "once a day"),
    (r"\bb\.i\.d\.", "twice a day"),
    (r"\bt\.i\.d\.", "three times a day"),
    (r"\bMt\.(?=[ ][A-Z])", "Mount"),
    (r"\bFt\.(?=[ ][A-Z])", "Fort"),
    (r"\ba\.k\.a\.?(?=[ ])|\baka\b(?=[ ])", "also known as"),
    (r"\b[Dd]iv\.(?=[ ]?\d)", "division"),
    (r"\b[Rr]ef\.(?=[ ]?[\d#])", "reference"),
    (r"\bw/o(?=[ ])", "without"),
    (r"\bw/(?=[ ])", "with"),
    (r"\bmtg\.(?=[ ]?[a-z,;)])", "meeting"),
    (r"\bappt\.(?=[ ]?[a-z,;)])", "appointment"),
    (r"\b[Gg]ovt\.(?=[ ]?[a-z,;)])", "government"),
    (r"\b[Bb]ldg\.?(?=[ ]?[\dA-Z#])", "Building"),
    (r"(?i:\bqty\.?(?=[ :]?[ ]?\d))", "quantity"),
    (r"\bincl\.(?=[ ])", "including"),
    (r"\bexcl\.(?=[ ])", "excluding"),
    (r"\bavg\.?(?=[ ])", "average"),
    (r"\bmisc\.(?=[ ])", "miscellaneous"),
    (r"\bIntl\.?(?=[ ][A-Z])", "International"),
    (r"\bAssn\.?(?=[ ][a-z]|,)", "Association"),
    (r"\b[Aa]cct\.?(?=[ ]?[#\d])", "account"),
    (r"\bUSA\b|\bU\.S\.A\.(?=[ ,])", "U S A"),
)
"""Pattern and words, in the order in which they are tried at one place."""

_ABBREVIATION = ascii_pattern(
    "(?=[A-Za-z])(?:"
    + "|".join(f"(?P<a{number}>{pattern})" for number, (pattern, _) in enumerate(_ABBREVIATIONS))
    + ")"
)
"""All of them in one: a hundred searches for a few places take a hundred times as long."""


_ABBREVIATION_START = re.compile(
    r"M[rst]|[DJS]r|[VvDdRrFfEeGg](?=ol|ept|iv|ef|ev|ig|q|xt|ov)"
    r"|cf|et(?= al)|exp\.|[qbt]\.(?=[di]\.)|P(?=rof|l|kwy)|Ave|Blvd|Rd|L[nt]|Hwy|[Ss](?=q|te)"
    r"|STE|doz|Rm|wk|Art\.|Bros|Co\.|[EI]\.(?=[ge])|[Ee]st\.|c[./]|Attn|mos\.|S(?=ec|en|gt)|Ct|Rt|Apt"
    r"|vs|e\.(?=g)|i\.(?=e)|etc|approx|p(?=p?\.)|sec|ch|C(?=h|orp|apt)|Inc|Ltd|Gen|F[tl]|Jr|a(?=\.k|ka)|w/"
    r"|mtg|appt|[Bb]ldg|[Qq](?=[Tt][Yy])|incl|excl|avg|misc|Intl|Assn|[Aa]cct|U(?=\.S|SA)"
)
"""Where one of `_ABBREVIATIONS` begins."""


def _abbreviation(context: Context, match: re.Match[str]) -> str:
    return _ABBREVIATIONS[int((match.lastgroup or "a")[1:])][1]


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
    Rule("abbreviation", _ABBREVIATION, _abbreviation, _ABBREVIATION_START),
)
