"""Addresses, identifiers and names: hosts, e-mail, `Elizabeth II`, `H₂SO₄`, `B7K-29Q`, `Elm Dr.`, `C#`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import words as word_list
from intone.server.text.patterns import alternatives, ascii_pattern

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?"
_NUMBERED_NOUNS = frozenset(word_list("numbered_nouns"))
_REGNAL = frozenset(word_list("regnal_names"))
_TLD = alternatives(word_list("top_level_domains"))
_PATH = r"(?:/[A-Za-z0-9\-._~%!$&'*+,;=:@/]{0,1000}|\?[\w=&%.+-]{1,500})?(?:\?[\w=&%.+/-]{1,500})?(?:#[\w.-]{1,200})?"
_URL = ascii_pattern(
    rf"(?<![\w@.])(?P<scheme>(?:https?"
    rf"|ftp)://)?(?P<host>(?:{_LABEL}\.){{1,8}}(?:{_TLD})(?![\w-]))(?::(?P<port>\d{{2,5}}))?(?P<path>{_PATH})"
    rf"|(?<![\w@.])(?:https?"
    rf"|ftp)://(?P<other>{_LABEL}(?:\.{_LABEL}){{0,8}})(?::(?P<port2>\d{{2,5}}))?(?P<path2>{_PATH})",
    re.IGNORECASE,
)
_EMAIL = ascii_pattern(
    rf"(?<![\w.+-])(?P<local>[A-Za-z0-9][\w.+-]{{0,63}})@(?P<host>(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,24}})(?!\w)"
)
_HANDLE = ascii_pattern(r"(?<![\w@/])@(?P<name>[A-Za-z]\w{1,30})")
_HASHTAG = ascii_pattern(r"(?<![\w#&])#(?P<name>[A-Za-z]\w{1,50})")
_DOTTED = ascii_pattern(
    r"(?<![\w.@/-])(?P<first>[A-Za-z_]\w{1,40}"
    r"|[A-Z])(?P<rest>(?:\.[A-Za-z_]\w{1,40}){1,6})(?P<call>\(\))?(?![\w@]|\.\w)"
)
_SNAKE = ascii_pattern(r"(?<![\w])[A-Za-z0-9]{1,40}(?:_[A-Za-z0-9]{1,40}){1,8}(?!\w)")
_TRAILING = ".,;:!?'\")*"
_SPELLED_LABELS = {
    "www": "W W W",
    "io": "I O",
    "ai": "A I",
    "tv": "T V",
    "js": "J S",
    "ts": "T S",
    "py": "P Y",
    "gg": "G G",
    "md": "M D",
    "html": "H T M L",
    "htm": "H T M",
    "php": "P H P",
    "pdf": "P D F",
    "txt": "T X T",
    "csv": "C S V",
    "json": "jason",
    "gov": "gov",
    "mp3": "M P three",
    "mp4": "M P four",
}
_PATH_MARKS = {
    "/": " slash ",
    "-": " dash ",
    "_": " underscore ",
    ".": " dot ",
    "?": " question mark ",
    "=": " equals ",
    "&": " and ",
    "#": " hash ",
    "%": " percent ",
    "+": " plus ",
    "~": " tilde ",
    ":": " colon ",
    "@": " at ",
    ",": " comma ",
}


def _label(text: str) -> str:
    if text.lower() in _SPELLED_LABELS:
        return _SPELLED_LABELS[text.lower()]
    return _runs(text.replace("-", " dash "))


def _runs(text: str) -> str:
    """Letters as they are, numbers in words."""

    def number(found: re.Match[str]) -> str:
        digits = found.group()
        return f" {en.digits(digits) if len(digits) > 2 or digits[0] == '0' else en.cardinal(int(digits))} "

    return " ".join(re.sub(r"\d+", number, text).split())


def _host(text: str) -> str:
    return " dot ".join(_label(part) for part in text.split("."))


def _path(text: str) -> str:
    text = text.rstrip("/")
    return " ".join(_runs(re.sub(r"[^A-Za-z0-9]", lambda found: _PATH_MARKS.get(found.group(), " "), text)).split())


def _url(context: Context, match: re.Match[str]) -> str | None:
    host = match["host"] or match["other"]
    path = match["path"] or match["path2"] or ""
    port = match["port"] or match["port2"]
    if not match["scheme"] and not match["other"] and not path:
        labels = host.split(".")
        last, before = labels[-1], labels[-2]
        if (
            last[0].isupper()
            and before[0].islower()
            or (len(labels) == 2 and last.lower() in _WORD_TLDS and not host.islower())
        ):
            return None
        if len(labels) == 2 and len(before) == 1:
            return None
    words = _host(host) + (f" colon {en.digits(port)}" if port else "")
    kept = path.rstrip(_TRAILING)
    dropped = path[len(kept) :]
    return f"{words} {_path(kept)}".strip() + dropped.strip("/")


_WORD_TLDS = frozenset(
    ["in", "no", "me", "so", "to", "at", "am", "us", "it", "be", "is", "as", "so", "fm", "app", "dev", "co"]
)


def _email(context: Context, match: re.Match[str]) -> str:
    local = _runs(re.sub(r"[._+-]", lambda found: _PATH_MARKS[found.group()], match["local"]))
    return f"{local} at {_host(match['host'])}"


def _handle(context: Context, match: re.Match[str]) -> str:
    return f"at {_runs(match['name'].replace('_', ' underscore '))}"


def _hashtag(context: Context, match: re.Match[str]) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", match["name"].replace("_", " "))
    return f"hashtag {_runs(words)}"


def _dotted(context: Context, match: re.Match[str]) -> str | None:
    parts = [match["first"], *match["rest"][1:].split(".")]
    if match["call"] is None and (
        re.fullmatch(r"(?:[A-Za-z]\.)+[A-Za-z]", match.group()) or any(len(part) == 1 for part in parts)
    ):
        return None
    if len(parts) == 2 and match["call"] is None and parts[1][0].isupper() and parts[1][1:].islower():
        return f"{parts[0]}. {parts[1]}"
    return " dot ".join(_label(part.replace("_", " ")) for part in parts)


def _snake(context: Context, match: re.Match[str]) -> str:
    parts = match.group().split("_")
    if context.chinese(*match.span()):
        return "下划线".join(re.sub(r"\d+", lambda found: zh.digits(found.group()), part) for part in parts)
    spoken = " underscore " if re.search(r"\d", match.group()) else " "
    return spoken.join(_runs(part) for part in parts)


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
    if not re.search(r"\d", plain) or re.search(r"(?<!\d)[01]", plain):
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
    r"(?<![\w.'-])(?P<roman>(?:X{1,3}(?:IX|IV|V?I{0,3})|IX|IV|VI{0,3}|I{1,3}|XL"
    r"|L))(?P<possessive>'s)?(?![\w'-])(?!\.\w)"
)
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50}


def _roman(context: Context, match: re.Match[str]) -> str | None:
    text = match["roman"]
    previous = re.search(r"([A-Za-z]+)[ ]$", context.before(match.start()))
    if not previous:
        return None
    word = previous[1]
    number = _roman_value(text)
    if word.lower() in _NUMBERED_NOUNS:
        return en.cardinal(number) + (match["possessive"] or "")
    single = len(text) == 1
    if word.lower() in _REGNAL or (not single and word[0].isupper() and word[1:].islower()):
        if (
            word.lower() not in _REGNAL
            and text in ("II", "III", "IV")
            and re.match(r"[ ]?(?:Pro|Max|Plus)", context.after(match.end()))
        ):
            return en.cardinal(number)
        return f"the {en.ordinal(number)}" + (match["possessive"] or "")
    return None


def _roman_value(text: str) -> int:
    total = 0
    for index, letter in enumerate(text):
        value = _ROMAN_VALUES[letter]
        following = _ROMAN_VALUES.get(text[index + 1 : index + 2], 0)
        total += -value if value < following else value
    return total


_MIXED = ascii_pattern(
    r"(?<![\w.,$€£@#/])(?=[A-Za-z-]{0,12}\d)(?=\d{0,12}-?[A-Za-z])[A-Za-z0-9]{1,16}"
    r"(?:-[A-Za-z0-9]{1,12}){0,4}(?![\w@])(?!\.\w)"
)
_DECIMAL_MIXED = ascii_pattern(r"(?<![\w.])(?P<letters>[A-Z]{1,4})(?P<number>\d{1,3}\.\d{1,3})(?![\w.])")
_CODE_LIKE = ascii_pattern(
    r"\b(?:code|flight|gate|order|ticket|reference|confirmation|license|plate|serial|booking|ref|tracking"
    r"|航班|车次|车牌|编号|单号)\b|航班|车次|车牌|次$",
    re.IGNORECASE,
)


_CODEC = ascii_pattern(r"(?<![\w.])(?P<letter>[A-Z])\.(?P<number>\d{3,4})(?![\w])")
_MULTIPLE = ascii_pattern(
    r"(?<![\w.,])(?P<number>\d{1,6}(?:\.\d{1,3})?)[xX]"
    r"(?=[ ](?:more|less|faster|slower|better|larger|bigger|smaller|cheaper|higher|lower|as|the|speed|zoom)\b)"
)


def _codec(context: Context, match: re.Match[str]) -> str:
    return f"{match['letter']} {_short_number(match['number'])}"


def _multiple(context: Context, match: re.Match[str]) -> str:
    return f"{en.decimal(match['number'])} times"


def _mixed(context: Context, match: re.Match[str]) -> str | None:
    text = match.group()
    chinese = context.chinese(*match.span())
    runs = re.findall(r"[A-Za-z]+|\d+|-", text)
    code = sum(run != "-" for run in runs) > 2 or bool(_CODE_LIKE.search(context.before(match.start())))
    if text.count("-") and text.replace("-", "").isalpha():
        return None
    lower_tail = re.fullmatch(r"\d+-[a-z]{2,}(?:-[a-z]+){0,3}", text)
    if lower_tail and not chinese:
        number, _, tail = text.partition("-")
        return f"{en.decimal(number)} {tail.replace('-', ' ')}"
    if not chinese and (found := re.fullmatch(r"(\d{3,4})([pi])", text)):
        return f"{_resolution(found[1])} {found[2]}"
    words = [_mixed_run(run, code, chinese) for run in runs]
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
    if run.isupper() and len(run) <= 3 and not chinese:
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


ADDRESS_RULES = (
    Rule("address", _EMAIL, _email),
    Rule("address", _URL, _url),
    Rule("address", _HANDLE, _handle),
    Rule("address", _HASHTAG, _hashtag),
    Rule("identifier", _DOTTED, _dotted),
    Rule("identifier", _SNAKE, _snake),
)
RULES = (
    Rule("chemistry", _CHEMICAL, _chemical),
    Rule("roman", _ROMAN, _roman),
    Rule("code", _CODEC, _codec),
    Rule("number", _MULTIPLE, _multiple),
    Rule("code", _DECIMAL_MIXED, _decimal_mixed),
    Rule("code", _MIXED, _mixed),
    Rule(
        "chemistry", _SUBSCRIPTED, lambda context, match: f" {en.cardinal(int(match.group().translate(_SUBSCRIPTS)))}"
    ),
)
