"""Removes what is written but never spoken: invisible characters, entities, special tokens of language models."""

import html
import re
import unicodedata
from collections.abc import Callable

from intone.server.text.characters import CJK
from intone.server.text.cues.tags import THINKING
from intone.server.text.spans import SpannedText

_THINKING = re.compile(rf"<({'|'.join(THINKING)})>.*?(?:</\1>|\Z)\s*", re.DOTALL | re.IGNORECASE)
_SPECIAL_TOKEN = re.compile(
    r"<\|[^<>|\n]{1,40}\|>|<[｜|][^<>\n]{1,40}[｜|]>|</?s>|\[/?INST\]|<</?SYS>>|<(?:pad|bos|eos|unk)>"
)
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
_COMPATIBILITY = re.compile(
    "[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a\u2103\u2109\u2460-\u2473\u3371-\u33df\ufb00-\ufb06\U0001d400-\U0001d7ff\u3000\u00a0\u2007\u202f]"
)
_FRACTION_SLASH = re.compile("(?<=[0-9])\u2044(?=[0-9])")
_ROMAN_NUMERAL = re.compile(f"(?:(?<=([{CJK}]))|)([\u2160-\u216b\u2170-\u217b])(?=([{CJK}])?)")
_APOSTROPHE = re.compile("(?<=[A-Za-z])[\u2019\u02bc\u00b4\u2032`\u2018](?=[A-Za-z])")
_DECADE_APOSTROPHE = re.compile("(?<=[0-9])[\u2019\u02bc\u00b4\u2032`\u2018](?=s\\b)")
_PLURAL_APOSTROPHE = re.compile("(?<=[sS])\u2019(?=\\s)")
_ELISION = re.compile("(?<![A-Za-z0-9])\u2019(?=[A-Za-z]{1,5}\\b)|(?<=[' \u2019]n)\u2019(?= )")
_BLANKS = re.compile("[ \\t\u3000]{2,}")
_EMOJI = re.compile(
    "[\u203c\u2049\u20e3\u2191\u2193-\u21d1\u21d3-\u21ff\u231a-\u23ff\u25a0-\u27bf\u2b00-\u2bff\u3030\u303d\u3297\u3299"
    "\U0001f000-\U0001faff\U000e0020-\U000e007f]+"
)

_EMOTICON = re.compile(
    r"(?<!\S)(?:[:;=]['’]?[-o^]?[)(DPp3/\\|*\]\[]|[xX]D|[TQ]_[TQ]|\^[_.]?\^|-_-|>_<|o_O|O_o|<3|</3)(?=[\s.,!?;]*(?:$|\s))"
)
_HEART_BEFORE = re.compile(r"(?:^|[^\W\d_]{2}|[.,!?])\s*$")
_KAOMOJI_MARK = re.compile("[°□ω▽≧≦╯ツಠ益´◕‿ಥ•̀ᴗ]")
_KAOMOJI = re.compile(
    "[¯╯ノヽ٩\\\\]{0,2}[_/]{0,2}[(（][^()（）A-Za-z0-9\u3400-\u9fff]{0,8}[°□ω▽≧≦╯ツಠ益´◕‿ಥ•̀ᴗ][^()（）A-Za-z0-9\u3400-\u9fff]{0,12}[)）]"
    "[_/¯╯ノヽ۶︵ ┻━\\\\]{0,12}"
)


def clean(text: SpannedText) -> SpannedText:
    """`text` without what no reader says; letters in plain forms. Emoji become blanks."""
    text = text.sub(_THINKING, "")
    text = text.sub(_SPECIAL_TOKEN, " ")
    text = text.sub(_ENTITY, _unescaped)
    text = text.sub(_INVISIBLE, "")
    text = text.sub(_COMPATIBILITY, lambda found: unicodedata.normalize("NFKC", found.group()))
    text = text.sub(_FRACTION_SLASH, "/")
    text = text.sub(_ROMAN_NUMERAL, _roman_numeral)
    for pattern in (_APOSTROPHE, _DECADE_APOSTROPHE, _PLURAL_APOSTROPHE, _ELISION):
        text = text.sub(pattern, "'")
    if _KAOMOJI_MARK.search(text.text):
        text = text.sub(_KAOMOJI, " ")
    text = text.sub(_EMOTICON, _emoticon(text.text))
    return text.sub(_EMOJI, " ").sub(_BLANKS, " ")


def _emoticon(written: str) -> Callable[[re.Match[str]], str | None]:
    """A blank for an emoticon; "x <3" is a comparison."""

    def read(found: re.Match[str]) -> str | None:
        heart = found.group() in ("<3", "</3")
        return None if heart and not _HEART_BEFORE.search(written, 0, found.start()) else " "

    return read


def _roman_numeral(found: re.Match[str]) -> str:
    """Digits beside ideographs, letters elsewhere."""
    if found[1] or found[3]:
        return str(1 + (ord(found[2]) & 0xF))
    return unicodedata.normalize("NFKC", found[2])


def _unescaped(found: re.Match[str]) -> str | None:
    plain = html.unescape(found.group())
    return None if plain == found.group() or "\x00" in plain else plain
