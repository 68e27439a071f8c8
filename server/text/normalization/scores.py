"""Scores, ratios, chapter and verse: `won 3-2`, `比分3:2`, `16:9`, `John 3:16`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import words
from intone.server.text.patterns import DASH, DIGIT, DIGIT_COLON, alternatives, ascii_pattern

_SCORE_WORD = ascii_pattern(
    r"\b(?:won|win|wins|lost|lose|loses|beat|beats|beating|score|scored|lead|leads|leading|led|draw|drew"
    r"|tied|tie|trailing|ahead|up|down|defeated|victory|loss|vote|voted|ruled|record)\b[^.!?\d]{0,40}$"
    r"|(?:比分|得分|打成|战胜|领先|落后|击败|大胜|战平|以|赢了|输了|NBA|CBA|英超|西甲|意甲|德甲|中超|欧冠|决赛|加时赛?|点球|半场|主场|客场)[^\d。！？]{0,12}$",
    re.IGNORECASE,
)
_SCORE_AFTER = ascii_pattern(
    r"[ ](?:win|victory|loss|defeat|draw|thrashing|rout|upset)\b"
    "|(?:险胜|大胜|完胜|小胜|战胜|击败|逆转|惜败|不敌|负于|战平|获胜)"
)
_SCORE = ascii_pattern(r"(?<![\w.,/$-])(?P<a>\d{1,3})[ ]?[-–—:：比][ ]?(?P<b>\d{1,3})(?![\w/%-]|[.,:]\d)")
_RATIO = ascii_pattern(r"(?<![\w.,:/])(?P<a>\d{1,4})[:：∶](?P<b>\d{1,7})(?![\w:]|\.\d)")
_RATIO_BEFORE = ascii_pattern(
    r"\b(?:ratios?|dilut(?:e|ed|ion)|mix(?:ed)?|scale|aspect|odds|slope)\b[^.!?\d]{0,24}$|(?:比例尺?|比率|配比|兑)[^\d，。！？]{0,4}$",
    re.IGNORECASE,
)
_RATIO_AFTER = ascii_pattern(
    r"[ ](?:screen|model|scale|ratio|aspect|dilution|mix|mixture|split|display|monitor|slope|odds|favorite)\b"
)


def _score(context: Context, match: re.Match[str]) -> str | None:
    if not (_SCORE_WORD.search(context.before(match.start())) or _SCORE_AFTER.match(context.after(match.end()))):
        return None
    return _ratio(context, match)


def _ratio(context: Context, match: re.Match[str]) -> str:
    first, second = int(match["a"]), int(match["b"])
    if context.chinese(*match.span()):
        return f"{zh.cardinal(first)}比{zh.cardinal(second)}"
    return f"{en.cardinal(first)} to {en.cardinal(second)}"


def _certain_ratio(context: Context, match: re.Match[str]) -> str | None:
    """A ratio that is not to be taken for a time of day: "a 16:10 screen"."""
    before, after = context.before(match.start()), context.after(match.end())
    return _ratio(context, match) if _RATIO_BEFORE.search(before) or _RATIO_AFTER.match(after) else None


_SCORE_ZH = ascii_pattern(r"(?<![\w.,/$-])(?P<a>\d{1,3})[ ]?[：:][ ]?(?P<b>\d{1,3})(?![\w/%-]|[.,:：]\d)")


def _score_zh(context: Context, match: re.Match[str]) -> str | None:
    return _score(context, match) if context.chinese(*match.span()) else None


SCORE_ZH = Rule("score", _SCORE_ZH, _score_zh, DIGIT_COLON, ":：")
SCORE = Rule("score", _SCORE, _score, DIGIT, "-–—:：比")
CERTAIN_RATIO = Rule("ratio", _RATIO, _certain_ratio, DIGIT_COLON, ":：∶")
RATIO = Rule("ratio", _RATIO, _ratio, DIGIT_COLON, ":：∶")

_BOOK = alternatives(words("books_of_the_bible"))
_VERSE = ascii_pattern(
    rf"(?P<book>(?<![A-Za-z])(?:{_BOOK})\.?[ ]?)"
    rf"(?P<a>\d{{1,3}})[:：](?P<b>\d{{1,3}})(?:{DASH}(?P<c>\d{{1,3}}))?(?![\w:]|\.\d)"
)


def _verse(context: Context, match: re.Match[str]) -> str:
    chapter, first, last = int(match["a"]), int(match["b"]), int(match["c"] or 0)
    if context.chinese(match.start("a"), match.end()):
        verses = zh.cardinal(first) + (f"到{zh.cardinal(last)}" if last else "")
        return f"{match['book']}{zh.cardinal(chapter)}章{verses}节"
    verses = en.cardinal(first) + (f" to {en.cardinal(last)}" if last else "")
    return f"{match['book'].strip()} {en.cardinal(chapter)}{',' if last else ''} {verses}"


VERSE = Rule("score", _VERSE, _verse, None, ":：")
