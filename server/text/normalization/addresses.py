"""Addresses: hosts, e-mail, handles, paths, dotted and underscored identifiers."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import words as word_list
from intone.server.text.patterns import DIGIT, NUMBER_START, SIGN_START, alternatives, ascii_pattern

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?"
_TLD = alternatives(word_list("top_level_domains"))
_PATH = r"(?:/[A-Za-z0-9\-._~%!$&'*+,;=:@/]{0,1000}|\?[\w=&%.+-]{1,500})?(?:\?[\w=&%.+/-]{1,500})?(?:#[\w.-]{1,200})?"
_URL = ascii_pattern(
    rf"(?<![\w@.])(?P<scheme>(?:https?"
    rf"|ftp)://)?(?P<host>(?:{_LABEL}\.){{1,8}}(?:{_TLD})(?![\w-]))(?::(?P<port>\d{{2,5}}))?(?P<path>{_PATH})"
    rf"|(?<![\w@.])(?P<local>localhost)(?::(?P<port3>\d{{2,5}}))?(?P<path3>{_PATH})"
    rf"|(?<![\w@.])(?:https?"
    rf"|ftp)://(?P<other>{_LABEL}(?:\.{_LABEL}){{0,8}})(?::(?P<port2>\d{{2,5}}))?(?P<path2>{_PATH})",
    re.IGNORECASE,
)
_HOST_START = ascii_pattern(r"(?<![\w@.])(?:localhost|[A-Za-z0-9](?=[A-Za-z0-9-]{0,63}[.:]))", re.IGNORECASE)
_EMAIL = ascii_pattern(
    rf"(?<![\w.+-])(?P<local>[A-Za-z0-9][\w.+-]{{0,63}})@(?P<host>(?:{_LABEL}\.){{1,8}}[A-Za-z]{{2,24}})(?!\w)"
)
_MAILBOX_START = ascii_pattern(r"(?<![\w.+-])[A-Za-z0-9](?=[\w.+-]{0,63}@)")
_HANDLE = ascii_pattern(r"(?<![\w@/])@(?P<name>[A-Za-z]\w{1,30})")
_HASHTAG = ascii_pattern(r"(?<![\w#&])#(?P<name>[A-Za-z]\w{1,50})")
_DOTTED = ascii_pattern(
    r"(?<![\w.@/-])(?P<first>(?:[A-Za-z_]\w{0,20}-){0,4}[A-Za-z_]\w{1,40}"
    r"|[A-Z])(?P<rest>(?:\.[A-Za-z_]\w{1,40}){1,6})(?P<call>\(\))?(?![\w@]|\.\w)"
)
_SNAKE = ascii_pattern(r"(?<![\w])[A-Za-z0-9]{1,40}(?:_[A-Za-z0-9]{1,40}){1,8}(?!\w)")
_FILE_PATH = ascii_pattern(
    r"(?<![\w/.~:*-])(?P<root>~|\.{1,2}|[A-Za-z]:(?=\\))?(?P<path>(?:[/\\][\w.+-]{1,80}){1,12})[/\\]?(?![\w/])"
)
_PATH_START = ascii_pattern(r"[~./\\]|[A-Za-z](?=:\\)")
_RELATIVE_PATH = ascii_pattern(
    r"(?<![\w/.@-])(?:[A-Za-z_][\w-]{0,40}/){1,8}[\w-]{1,60}"
    r"\.(?:py|js|ts|md|txt|json|ya?ml|toml|html?|css|csv|pdf|png|jpe?g|sh|cfg|ini|xml|cpp|hpp|go|rs|java|log)(?![\w/@])"
)
_RELATIVE_START = ascii_pattern(r"(?<![\w/.@-])[A-Za-z_](?=[\w-]{0,40}/)")
_DOTTED_START = ascii_pattern(r"(?<![\w.@/-])[A-Za-z_](?=[\w-]{0,125}\.)")
_SNAKE_START = ascii_pattern(r"(?<!\w)[A-Za-z0-9](?=[A-Za-z0-9]{0,40}_)")
_DOTTED_NAME = ascii_pattern(r"(?<![\w.,;:!?)])\.(?P<name>[A-Za-z][A-Za-z0-9_]{1,20})(?!\w|\.\w)")
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
    "gz": "G Z",
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


_FILE_MARKS = _PATH_MARKS | {"\\": " backslash "}


def _label(text: str, chinese: bool = False) -> str:
    if chinese and text.isdecimal():
        return zh.digits(text, telephone=True)
    if text.lower() in _SPELLED_LABELS:
        return _SPELLED_LABELS[text.lower()]
    return _runs(text.replace("-", " dash "))


def _runs(text: str) -> str:
    """Letters as they are, numbers in words."""

    def number(found: re.Match[str]) -> str:
        digits = found.group()
        return f" {en.digits(digits) if len(digits) > 2 or digits[0] == '0' else en.cardinal(int(digits))} "

    return " ".join(re.sub(r"\d+", number, text).split())


def _host(text: str, chinese: bool = False) -> str:
    return " dot ".join(_label(part, chinese) for part in text.split("."))


def _path(text: str) -> str:
    text = text.rstrip("/")
    return " ".join(_runs(re.sub(r"[^A-Za-z0-9]", lambda found: _PATH_MARKS.get(found.group(), " "), text)).split())


def _url(context: Context, match: re.Match[str]) -> str | None:
    host = match["host"] or match["other"] or match["local"]
    path = match["path"] or match["path2"] or match["path3"] or ""
    port = match["port"] or match["port2"] or match["port3"]
    if match["host"] and not match["scheme"] and not path:
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
    words = _host(host, context.chinese(*match.span())) + (f" colon {en.digits(port)}" if port else "")
    kept = path.rstrip(_TRAILING)
    dropped = path[len(kept) :]
    return f"{words} {_path(kept)}".strip() + dropped.strip("/")


_WORD_TLDS = frozenset(
    ["in", "no", "me", "so", "to", "at", "am", "us", "it", "be", "is", "as", "so", "fm", "app", "dev", "co"]
)


def _email(context: Context, match: re.Match[str]) -> str:
    local = _runs(re.sub(r"[._+-]", lambda found: _PATH_MARKS[found.group()], match["local"]))
    return f"{local} at {_host(match['host'], context.chinese(*match.span()))}"


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


def _file_path(context: Context, match: re.Match[str]) -> str | None:
    root, path = match["root"] or "", match["path"]
    if not root and "/" not in path[:1]:
        return None
    kept = path.rstrip(_TRAILING)
    words = " ".join(_runs(re.sub(r"[^A-Za-z0-9]", lambda found: _FILE_MARKS.get(found.group(), " "), kept)).split())
    start = {"": "", "~": "tilde ", ".": "dot ", "..": "dot dot "}.get(root, f"{root[:1]} colon ")
    return start + words + path[len(kept) :]


def _dotted_name(context: Context, match: re.Match[str]) -> str:
    return f"dot {_label(match['name'].replace('_', ' '))}"


_STREET_TYPES = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Terrace|Place|Pl|Square|Way|Circle|Parkway"
    "|Pkwy|Highway|Hwy|Trail|Row|Crescent|Close|Plaza"
)
_HOUSE_NUMBER = ascii_pattern(r"(?<![\w.,#$/-])(?P<a>[1-9]\d{2,4})(?=[ ][A-Z0-9\ue000])")
_STREET_AFTER = ascii_pattern(
    rf"[ ](?:(?:[NSEW]\.?|[A-Z][a-z]+|\d{{1,3}}(?:st|nd|rd|th))[ ]){{1,3}}(?:{_STREET_TYPES})\b"
)


def _house_number(context: Context, match: re.Match[str]) -> str | None:
    number = match["a"]
    if not _STREET_AFTER.match(context.after(match.end())):
        return None
    return en.digits(number) if len(number) == 5 else en.pairs(number)


_IP = ascii_pattern(
    r"(?<![\w.])(?P<host>(?:\d{1,3}\.){3}\d{1,3})(?:/(?P<prefix>\d{1,2})|:(?P<port>\d{2,5}))?(?![\w]|\.\d)"
)


def _ip(context: Context, match: re.Match[str]) -> str:
    parts, prefix, port = match["host"].split("."), match["prefix"], match["port"]
    if context.chinese(*match.span()):
        end = f"斜杠{zh.cardinal(int(prefix))}" if prefix else (f"端口{zh.digits(port)}" if port else "")
        return "点".join(zh.digits(part) for part in parts) + end
    end = f" slash {en.cardinal(int(prefix))}" if prefix else (f" colon {en.digits(port)}" if port else "")
    return " dot ".join(en.digits(part) for part in parts) + end


RULES = (
    Rule("address", _EMAIL, _email, _MAILBOX_START, "@"),
    Rule("address", _RELATIVE_PATH, lambda context, match: _path(match.group()), _RELATIVE_START, "/"),
    Rule("address", _URL, _url, _HOST_START),
    Rule("address", _HANDLE, _handle, SIGN_START, "@"),
    Rule("address", _HASHTAG, _hashtag, NUMBER_START, "#"),
    Rule("address", _FILE_PATH, _file_path, _PATH_START, "/\\"),
    Rule("identifier", _DOTTED, _dotted, _DOTTED_START, "."),
    Rule("identifier", _DOTTED_NAME, _dotted_name, NUMBER_START, "."),
    Rule("identifier", _SNAKE, _snake, _SNAKE_START, "_"),
)
_DIRECTIONS = {"N": "North", "S": "South", "E": "East", "W": "West", "NE": "Northeast", "NW": "Northwest",
               "SE": "Southeast", "SW": "Southwest"}  # fmt: skip
_DIRECTION = ascii_pattern(
    rf"(?:(?<=\d )|(?<= on )|(?<= at )|(?<=onto )|(?<= to )|^)(?P<name>[NS][EW]|[NSEW])\.?"
    rf"(?=[ ](?:[A-Z][a-z]{{1,40}}[ ]|\d{{1,3}}(?:st|nd|rd|th)[ ]){{1,2}}(?:{_STREET_TYPES})\b)"
)
_ROUTE = ascii_pattern(
    r"(?:\b(?:I|US|SR|CR)[- ]|\b(?:Highway|Hwy|Route|Rte)\.?[ ])\d{1,3}[ ](?P<name>[NSEW])"
    r"(?=[ ]?(?:[.,;!?)]|$)|[ ][a-z])"
)
_OF_TOWN = ascii_pattern(r"(?<=[a-z.] )(?P<name>[NS][EW]|[NSEW])(?=[ ]of\b)")


def _route(context: Context, match: re.Match[str]) -> str:
    """ "I-70 W": the rules below read the number."""
    name, _, number = match.group().rpartition(" ")[0].replace("-", " ").rpartition(" ")
    spelled = " ".join(name) if name.isupper() else {"Hwy": "Highway", "Rte": "Route"}.get(name.rstrip("."), name)
    return (
        f"{spelled} {en.pairs(number) if len(number) == 3 else en.cardinal(int(number))} {_DIRECTIONS[match['name']]}"
    )


DIRECTION_RULES = (
    Rule("address", _ROUTE, _route, re.compile("[IUSCHR](?=[-S oRtw])")),
    Rule("abbreviation", _OF_TOWN, lambda context, match: _DIRECTIONS[match["name"]], re.compile("(?<= )[NSEW]")),
    Rule(
        "abbreviation",
        _DIRECTION,
        lambda context, match: _DIRECTIONS[match["name"]],
        re.compile("(?<![A-Za-z0-9])[NSEW]"),
    ),
)
NUMBER_RULES = (Rule("address", _IP, _ip, DIGIT, "."), Rule("address", _HOUSE_NUMBER, _house_number, DIGIT))
