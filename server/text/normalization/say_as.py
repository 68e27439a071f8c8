"""Words for a span whose class is given, as SSML's `say-as` does: `<say-as interpret-as="digits">`."""

import re
from collections.abc import Callable

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.time_and_date import date_words
from intone.server.text.pronunciation.say_as_classes import say_as_class

_NAMES = {
    ".": ("dot", "点"), "-": ("dash", "杠"), "_": ("underscore", "下划线"), "@": ("at", "at"), "/": ("slash", "斜杠"),
    "#": ("hash", "井号"), "+": ("plus", "加号"), "*": ("star", "星号"), ":": ("colon", "冒号"), ",": ("comma", "逗号"),
    "&": ("and", "和"), "%": ("percent", "百分号"), "$": ("dollar", "美元"), "'": ("apostrophe", "撇号"),
    "!": ("exclamation mark", "感叹号"), "?": ("question mark", "问号"), "=": ("equals", "等号"), " ": ("", ""),
}  # fmt: skip
_NUMBER = re.compile(r"[-+\u2212]?\d+(?:[,.]\d+)*")
_DATE_PARTS = re.compile(r"\d+")
_ORDERS = {"mdy": "mdy", "dmy": "dmy", "ymd": "ymd", "md": "md", "dm": "dm", "ym": "ym", "my": "my", "y": "y"}


def words(text: str, name: str, form: str, chinese: bool) -> str | None:
    """The words for `text` as something of the class `name`; None where it is to be read as ordinary text."""
    read = _READERS.get(say_as_class(name))
    return read(text.strip(), form.lower(), chinese) if read else None


def _characters(text: str, form: str, chinese: bool) -> str:
    said = []
    for character in text:
        if character.isdecimal():
            said.append(zh.digits(character) if chinese else en.digits(character))
        elif character in _NAMES:
            said.append(_NAMES[character][chinese])
        else:
            said.append(character.upper())
    return " ".join(filter(None, said))


def _digits(text: str, form: str, chinese: bool) -> str | None:
    return _spelled(text, chinese, telephone=False)


def _telephone(text: str, form: str, chinese: bool) -> str | None:
    return _spelled(text, chinese, telephone=True)


def _spelled(text: str, chinese: bool, telephone: bool) -> str | None:
    groups = re.findall(r"\d+", text)
    if not groups:
        return None
    if chinese:
        return "加" * text.startswith("+") + zh.digits("".join(groups), telephone)
    return ("plus " if text.startswith("+") else "") + en.grouped_digits(groups)


def _cardinal(text: str, form: str, chinese: bool) -> str | None:
    if not _NUMBER.fullmatch(text):
        return None
    number = text.lstrip("+")
    return zh.decimal(number) if chinese else en.decimal(number)


def _ordinal(text: str, form: str, chinese: bool) -> str | None:
    digits = re.sub(r"(?:st|nd|rd|th)$|^第|,", "", text)
    if not digits.isdecimal() or len(digits) > en.MAX_CARDINAL_DIGITS:
        return None
    return "第" + zh.cardinal(int(digits)) if chinese else en.ordinal(int(digits))


def _fraction(text: str, form: str, chinese: bool) -> str | None:
    found = re.fullmatch(r"(?:(\d{1,9})[ +])?(\d{1,9})/(\d{1,9})", text)
    if not found or not int(found[3]):
        return None
    top, bottom = int(found[2]), int(found[3])
    if chinese:
        return (f"{zh.cardinal(int(found[1]))}又" if found[1] else "") + f"{zh.cardinal(bottom)}分之{zh.cardinal(top)}"
    return (f"{en.cardinal(int(found[1]))} and " if found[1] else "") + en.fraction(top, bottom)


def _date(text: str, form: str, chinese: bool) -> str | None:
    parts = _DATE_PARTS.findall(text)
    order = _ORDERS.get(form.replace("yyyy", "y"), "ymd" if parts and len(parts[0]) == 4 else "mdy")
    if len(parts) == 1 and len(parts[0]) == 8:
        parts = [parts[0][:4], parts[0][4:6], parts[0][6:]]
        order = "ymd"
    if len(parts) != len(order) or not re.fullmatch(r"[\d\s./-]+", text):
        return None
    values = dict(zip(order, parts, strict=True))
    return date_words(values.get("y"), values.get("m"), values.get("d"), chinese)


_READERS: dict[str | None, Callable[[str, str, bool], str | None]] = {
    "characters": _characters,
    "digits": _digits,
    "telephone": _telephone,
    "cardinal": _cardinal,
    "ordinal": _ordinal,
    "fraction": _fraction,
    "date": _date,
}
"""Times, currencies, units and addresses are recognized in ordinary text."""
