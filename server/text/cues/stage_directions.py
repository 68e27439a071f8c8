"""Which words in brackets are stage directions and not text: `[sigh]`, `*laughs*`, `（生气）`."""

import re
from pathlib import Path

from intone.server.text.cues.durations import MAX_PAUSE_MS
from intone.server.text.tsv import read_words

_DATA = Path(__file__).parent / "data"
_SOUNDS = frozenset(read_words(_DATA / "stage_directions_sounds.txt"))
_MANNERS = frozenset(read_words(_DATA / "stage_directions_manners.txt"))
_CUES = _SOUNDS | _MANNERS
_CHINESE = frozenset(read_words(_DATA / "stage_directions_chinese.txt"))
_ADVERBS = frozenset(read_words(_DATA / "stage_directions_adverbs.txt"))
_ACTIONS = frozenset(read_words(_DATA / "stage_directions_actions.txt"))
_VOICE = re.compile(r"(?:in )?(?:an? )?(?:[a-z-]+ ){1,3}(?:accent|voice|tone|sound|noise|effect|whisper)s?")
_BEFORE = frozenset(
    ("starts", "begins", "continues", "stops", "still", "softly", "quietly", "nervous", "in", "with", "a")
)
_LABEL = re.compile(r"([^\s:：]+)\s*[:：]\s*(?:0?\.\d+|1(?:\.0+)?|0)")
_CHINESE_BEFORE = re.compile(
    r"^(?:轻轻|轻声|微微|突然|忽然|有点|有些|非常|很|十分|略带|带着|一阵|一声|两声|哈哈|长长|深深|小声|大声|语气|表情)+(?:地|的)?"
)
_CHINESE_AFTER = re.compile(r"(?:地|着|了|一下|一声|一口气|的?语气|的?声音|的?口吻|的样子|地说|说道|着说|说)$")
_PAUSES_MS = {
    "pause": 500, "pauses": 500, "pausing": 500, "short pause": 250, "long pause": 1000, "beat": 300, "silence": 1000,
    "停顿": 500, "停顿一下": 500, "短暂停顿": 250, "长停顿": 1000, "沉默": 1000, "uv_break": 150, "lbreak": 500,
}  # fmt: skip
_TIMED_PAUSE = re.compile(r"(?:pause|wait|break|silence)(?: for)? (\d{1,5}(?:\.\d{1,3})?) ?(ms|s|secs?|seconds?)")
MAX_LABEL_CHARACTERS = 40


def is_stage_direction(text: str, *, round_brackets: bool) -> bool:
    """Whether the content of brackets or asterisks is a stage direction.

    Args:
        round_brackets: whether it stands in round brackets, where ordinary words are common: English words there must
            name a sound.
    """
    text = " ".join(text.lower().split()).rstrip(".!…~～")
    if labelled := _LABEL.fullmatch(text):
        text = labelled[1]
    if _is_chinese_direction(text):
        return True
    known = _SOUNDS if round_brackets else _CUES
    if text in known or _TIMED_PAUSE.fullmatch(text) or (not round_brackets and _VOICE.fullmatch(text)):
        return True
    words = text.replace(",", "").split()
    if not 1 < len(words) <= 5 or not any(word in known for word in words):
        return False
    return all(word in known or word in _ADVERBS or word in _BEFORE for word in words)


def is_action(text: str) -> bool:
    """Whether a sentence between asterisks tells what the speaker does: `*leans closer and smiles*`."""
    words = text.lower().split()
    return len(words) > 1 and words[0] in _ACTIONS


def is_single_action(text: str) -> bool:
    """Whether a word between asterisks is a stage direction that tells what the speaker does: `*smiles*`."""
    word = text.lower()
    return word in _ACTIONS and word in _MANNERS


def pause_ms(label: str) -> int | None:
    """Length of the pause that a stage direction asks for; None if it asks for none."""
    plain = " ".join(label.lower().split())
    if found := _TIMED_PAUSE.fullmatch(plain):
        return min(MAX_PAUSE_MS, round(float(found[1]) * (1 if found[2] == "ms" else 1000)))
    return _PAUSES_MS.get(plain)


def _is_chinese_direction(text: str) -> bool:
    if text in _CHINESE:
        return True
    if _CHINESE_AFTER.sub("", text) in _CHINESE:
        return True
    parts = [_CHINESE_AFTER.sub("", part) for part in re.split("[地着，,、]", text) if part]
    if len(parts) > 1 and all(part in _CHINESE for part in parts):
        return True
    core = _CHINESE_AFTER.sub("", _CHINESE_BEFORE.sub("", text))
    return core in _CHINESE or bool(core) and core[: len(core) // 2] == core[len(core) // 2 :] and core[0] in "笑哭咳"
