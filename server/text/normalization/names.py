"""Identifiers and names: `Elizabeth II`, `H₂SO₄`, `B7K-29Q`, `MP3`, `PM2.5`, `10x faster`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import units
from intone.server.text.normalization.tables import words as word_list
from intone.server.text.patterns import DIGIT, ascii_pattern

_NUMBERED_NOUNS = frozenset(word_list("numbered_nouns"))
_REGNAL = frozenset(word_list("regnal_names"))
_FUNCTION_WORDS = frozenset(word_list("short_words")) | {"this", "that", "with", "from", "your", "their", "these"}
_INITIALISMS = frozenset(word_list("initialisms"))
_ELEMENTS = "He|Li|Be|Ne|Na|Mg|Al|Si|Cl|Ar|Ca|Fe|Cu|Zn|Ag|Au|Hg|Pb|Mn|Br|[HCNOFPSKI]"
_SUBSCRIPTS = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_CHEMICAL = ascii_pattern(
    rf"(?<![A-Za-z0-9])(?:(?:{_ELEMENTS})[0-9₀-₉]{{0,2}}"
    rf"|\((?:(?:{_ELEMENTS})[0-9₀-₉]{{0,2}}){{1,4}}\)[0-9₀-₉]{{1,2}}){{1,12}}(?![A-Za-z0-9])"
)
_MOLECULES = frozenset(("O2", "O3", "N2", "H2", "F2"))


def _chemical(context: Context, match: re.Match[str]) -> str | None:
    plain = match.group().translate(_SUBSCRIPTS)
    symbols = re.findall(_ELEMENTS, plain)
    subscript = plain != match.group()
    if not re.search(r"\d", plain) or re.search(r"(?<!\d)(?:0|1(?!\d))", plain):
        return None
    if not subscript and plain not in _MOLECULES and len(set(symbols)) < 2:
        return None
    chinese = context.chinese(*match.span())
    parts = re.findall(r"[A-Z][a-z]?|\d+", plain)
    words = [
        (zh.cardinal(int(part)) if chinese else en.cardinal(int(part))) if part.isdigit() else " ".join(part.upper())
        for part in parts
    ]
    return " ".join(words)


_SUBSCRIPTED = ascii_pattern(r"(?<=[A-Za-z])[₀-₉]{1,3}")
_ROMAN = ascii_pattern(
    r"(?<![\w.'-])(?P<roman>(?=[CLXVI])C{0,3}(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3}))(?P<possessive>'s)?(?![\w'-])(?!\.\w)"
)
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}


def _roman(context: Context, match: re.Match[str]) -> str | None:
    text = match["roman"]
    previous = re.search(r"(?<![A-Za-z])([A-Za-z]+)[ ]$", context.before(match.start()))
    if not previous:
        century = len(text) > 1 and re.match(r"[ ]century\b", context.after(match.end()))
        return en.ordinal(_roman_value(text)) if century else None
    word = previous[1]
    number = _roman_value(text)
    if re.match(r"[ ]century\b", context.after(match.end())):
        return en.ordinal(number)
    if word.lower() in _NUMBERED_NOUNS:
        return en.cardinal(number) + (match["possessive"] or "")
    single = len(text) == 1
    if word.lower() in _REGNAL:
        return f"the {en.ordinal(number)}" + (match["possessive"] or "")
    if single or word.lower() in _FUNCTION_WORDS or not (word[0].isupper() and word[1:].islower()):
        return None
    person = text in ("II", "III", "IV") and re.search(r"[A-Z][a-z.]* [A-Z][a-z]+ $", context.before(match.start()))
    ordinal = person and not re.match(r"[ ]?(?:Pro|Max|Plus|[a-z]+s?\b is\b)", context.after(match.end()))
    possessive: str = match["possessive"] or ""
    return (f"the {en.ordinal(number)}" if ordinal else en.cardinal(number)) + possessive


def _roman_value(text: str) -> int:
    total = 0
    for index, letter in enumerate(text):
        value = _ROMAN_VALUES[letter]
        following = _ROMAN_VALUES.get(text[index + 1 : index + 2], 0)
        total += -value if value < following else value
    return total


_MIXED = ascii_pattern(
    r"(?<![\w.,$€£@#/])#?(?=[A-Za-z-]{0,16}\d)(?=\d{0,24}-?[A-Za-z]|\d{1,8}(?:-\d{1,8}){1,3}-[A-Z])[A-Za-z0-9]{1,32}"
    r"(?:-[A-Za-z0-9]{1,12}){0,4}(?![\w@])(?!\.\w)"
)
_DECIMAL_MIXED = ascii_pattern(r"(?<![\w.])(?P<letters>[A-Z]{1,4})(?P<number>\d{1,3}\.\d{1,3})(?![\w.])")
_CODE_LIKE = ascii_pattern(
    r"\b(?:code|flight|order|ticket|reference|confirmation|license|plate|serial|booking|ref|tracking"
    r"|航班|车次|车牌|编号|单号)\b|航班|车次|车牌|次$",
    re.IGNORECASE,
)


_CODEC = ascii_pattern(r"(?<![\w.])(?P<letter>[A-Z])\.(?P<number>\d{3,4})(?![\w])")
_MULTIPLE = ascii_pattern(
    r"(?<![\w.,])(?P<number>\d{1,6}(?:\.\d{1,3})?)[xX]"
    r"(?=[ ](?:more|less|faster|slower|better|larger|bigger|smaller|cheaper|higher|lower|as|the|speed|zoom|in|since)\b"
    r"|/(?:day|week|month|year|hour|wk|mo|yr)\b"
    r"|[.,;!?)]|$)"
)


_TEAM = ascii_pattern(r"(?<!\w)(?P<number>[2-9]\d)ers\b")
_TWO_LETTERS = ascii_pattern(r"(?<![\w&])(?P<first>[A-Z]{1,2})&(?P<second>[A-Z]{1,2})(?![\w&])")


def _team(context: Context, match: re.Match[str]) -> str:
    """ "49ers", "76ers"."""
    return en.cardinal(int(match["number"])).removesuffix("e") + "ers"


def _two_letters(context: Context, match: re.Match[str]) -> str | None:
    """ "AT&T", "Q&A"."""
    if context.chinese(*match.span()):
        return None
    return f"{' '.join(match['first'])} and {' '.join(match['second'])}"


_FORM = ascii_pattern(r"(?:(?<=Form )|(?<=RFC )|(?<=Act )|(?<=Bill ))(?P<number>\d{4})(?!\w|[.,]\d)")
_STANDARD = ascii_pattern(r"(?<=ISO )(?P<number>\d{3,5})(?::(?P<year>(?:19|20)\d\d))?(?![\w.,]\d|\w)")
_PENSION = ascii_pattern(r"(?<!\w)(?P<number>40[13])(?:\((?P<letter>[kb])\)|(?P<bare>[kb]))(?!\w)", re.IGNORECASE)


_AIRCRAFT = ascii_pattern(r"(?<=Boeing )(?P<model>7\d7)-(?P<variant>\d{1,3})(?![\w-])")
_LOWER_ROMAN = ascii_pattern(r"(?<= )(?P<roman>i{1,3}|i?v|vi{1,3}|i?x|xi{1,3})(?![\w'-])")
_LOWER_ROMAN_NOUNS = frozenset("scene act chapter book part volume section appendix page item stanza canto".split())  # noqa: SIM905


def _aircraft(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()):
        return None
    return f"{_short_number(match['model'])} {en.cardinal(int(match['variant']))}"


def _lower_roman(context: Context, match: re.Match[str]) -> str | None:
    """ "Act II, scene iii"."""
    if context.word_before(match.start()) not in _LOWER_ROMAN_NOUNS:
        return None
    return en.cardinal(_roman_value(match["roman"].upper()))


def _form(context: Context, match: re.Match[str]) -> str | None:
    return None if context.chinese(*match.span()) else en.pairs(match["number"])


def _standard(context: Context, match: re.Match[str]) -> str | None:
    """ "ISO 9001:2015"."""
    if context.chinese(*match.span()):
        return zh.digits(match["number"]) + (f"，{zh.digits(match['year'])}" if match["year"] else "")
    year = f", {en.year(int(match['year']))}" if match["year"] else ""
    return en.cardinal(int(match["number"])) + year


def _pension(context: Context, match: re.Match[str]) -> str:
    return f"four oh {en.cardinal(int(match['number'][2]))} {match['letter'] or match['bare']}"


def _codec(context: Context, match: re.Match[str]) -> str:
    return f"{match['letter']} {_short_number(match['number'])}"


def _multiple(context: Context, match: re.Match[str]) -> str | None:
    if re.search(r"[=+\-*/^(][ ]?$", context.before(match.start())):
        return None
    if context.chinese(*match.span()):
        return f"{zh.decimal(match['number'])}倍"
    return f"{en.decimal(match['number'])} times"


def _mixed(context: Context, match: re.Match[str]) -> str | None:
    text = match.group().lstrip("#")
    chinese = context.chinese(*match.span())
    runs = re.findall(r"[A-Za-z]+|\d+|-", text)
    seat = context.word_before(match.start()) in ("seat", "row")
    named = re.fullmatch(r"(?=[A-Z]*[AEIOU])[A-Z]{4,12}[1-9]\d?", text)  # a word: SAVE20, WELCOME10
    code = (
        not seat
        and not named
        and (sum(run != "-" for run in runs) > 2 or bool(_CODE_LIKE.search(context.before(match.start())[-28:])))
    )
    if text.count("-") and text.replace("-", "").isalpha():
        return None
    lower_tail = re.fullmatch(r"\d+-[a-z]{2,}(?:-[a-z]+){0,3}", text)
    if lower_tail and not chinese:
        number, _, tail = text.partition("-")
        first, *rest = tail.split("-")
        unit = units().get(first)
        return " ".join([en.decimal(number), unit.one if unit and len(first) > 1 else first, *rest])
    if not chinese and (found := re.fullmatch(r"(\d{3,4})([pi])", text)):
        return f"{_resolution(found[1])} {found[2]}"
    if chinese and not code and re.fullmatch(r"[1-9]\d{0,3}[A-Za-z]{1,3}", text):
        return f"{zh.cardinal(int(runs[0]))}{runs[1]}"
    code = code and not re.fullmatch(r"2[0-9]H[12]", text)  # a half of a year: Windows 11 24H2
    plural = not chinese and runs[-1] == "s" and runs[-2].isdigit()
    words = [_mixed_run(run, code, chinese) for run in (runs[:-1] if plural else runs)]
    if plural:
        words[-1:] = [*words[-1].split()[:-1], en.plural(words[-1].split()[-1])]
    if chinese:
        return "".join(words).replace(" ", "")
    return " ".join(" ".join(words).split())


def _resolution(run: str) -> str:
    return " ".join(filter(None, (_short_number(run[:-2]) if run[:-2] else "", en.cardinal(int(run[-2:])))))


def _mixed_run(run: str, code: bool, chinese: bool) -> str:
    if run == "-":
        return " "
    if run.isdigit():
        if chinese:
            return zh.digits(run, telephone=True) if len(run) > 2 or run[0] == "0" else zh.cardinal(int(run))
        spelled = len(run) > 3 or (len(run) > 1 and (code or run[0] == "0"))
        return en.digits(run) if spelled else _short_number(run)
    if (
        run.isupper()
        and not chinese
        and (len(run) <= 3 or (run not in _INITIALISMS and not re.search("[AEIOUY]", run)))
    ):
        return " ".join(run)
    if code and not chinese and len(run) <= 2:
        return " ".join(run.upper())
    return run


def _short_number(run: str) -> str:
    if len(run) == 3 and run[1:] != "00":
        return f"{en.cardinal(int(run[0]))} {('oh ' if run[1] == '0' else '') + en.cardinal(int(run[1:]))}"
    return en.cardinal(int(run))


def _decimal_mixed(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        return match["letters"] + zh.decimal(match["number"])
    return f"{' '.join(match['letters'])} {en.decimal(match['number'])}"


_CHARGE = ascii_pattern(r"(?<=[A-Za-z\d\ue000₀-₉])(?P<number>[²³⁴])?(?P<sign>[⁺⁻])(?![⁰¹²³⁴-⁹])")
_NAMED_VERSION = ascii_pattern(
    r"(?<![\w.])(?P<name>[A-Za-z]{2,12})-?(?P<number>\d{1,2}\.\d{1,2})(?P<tail>(?:-[A-Za-z0-9]{1,12}){0,3})(?![\w.-]|\.\d)"
)


_MIXED_START = ascii_pattern(r"(?<![\w.,$€£@#/])#?(?=[A-Za-z-]{0,16}\d)[A-Za-z0-9]")
_NAME_START = ascii_pattern(r"(?<![\w.])[A-Za-z](?=[A-Za-z]{0,11}-?\d)")


def _charge(context: Context, match: re.Match[str]) -> str:
    number = {"²": 2, "³": 3, "⁴": 4}.get(match["number"] or "")
    plus = match["sign"] == "⁺"
    if context.chinese(*match.span()):
        return (zh.cardinal(number) if number else "") + ("价正" if plus else "价负")
    return f" {en.cardinal(number) + ' ' if number else ''}{'plus' if plus else 'minus'}"


def _named_version(context: Context, match: re.Match[str]) -> str | None:
    name, number = match["name"], match["number"]
    if len(name) < 3 and not match["tail"]:
        return None
    chinese = context.chinese(*match.span())
    if chinese:
        return (
            name
            + zh.decimal(number)
            + "".join(_mixed_run(run, False, True) for run in re.findall(r"[A-Za-z]+|\d+", match["tail"]))
        )
    major, minor = number.split(".")
    tail = " ".join(_mixed_run(run, False, False) for run in re.findall(r"[A-Za-z]+|\d+", match["tail"]))
    said = f"{_mixed_run(name, False, False)} {en.cardinal(int(major))} point {en.cardinal(int(minor))} {tail}"
    return said.strip()


EARLY_RULES = (
    Rule("code", _AIRCRAFT, _aircraft, DIGIT, "7"),
    Rule("roman", _LOWER_ROMAN, _lower_roman, re.compile("(?<= )[ivx]")),
    Rule("code", _FORM, _form, DIGIT, "FRAB"),
    Rule("code", _STANDARD, _standard, DIGIT, "O"),
    Rule("code", _PENSION, _pension, DIGIT, "kKbB"),
    Rule("code", _TWO_LETTERS, _two_letters, re.compile("[A-Z](?=[A-Z]?&)"), "&"),
    Rule("version", _NAMED_VERSION, _named_version, _NAME_START, "."),
)
RULES = (
    Rule("chemistry", _CHARGE, _charge, re.compile("[²³⁴⁺⁻]")),
    Rule("chemistry", _CHEMICAL, _chemical, re.compile("(?<![A-Za-z0-9])[A-Z(]")),
    Rule("roman", _ROMAN, _roman, re.compile(r"(?<![A-Za-z0-9_.'-])[CLXVI]")),
    Rule("code", _CODEC, _codec, re.compile(r"[A-Z](?=\.[0-9])"), "."),
    Rule("number", _MULTIPLE, _multiple, DIGIT, "xX"),
    Rule("code", _DECIMAL_MIXED, _decimal_mixed, _NAME_START, "."),
    Rule("number", _TEAM, _team, DIGIT, "e"),
    Rule("code", _MIXED, _mixed, _MIXED_START),
    Rule(
        "chemistry",
        _SUBSCRIPTED,
        lambda context, match: f" {en.cardinal(int(match.group().translate(_SUBSCRIPTS)))}",
        re.compile("[₀-₉]"),
    ),
)
