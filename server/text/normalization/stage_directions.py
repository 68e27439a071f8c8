"""Which words in brackets are stage directions and not text: `[sigh]`, `*laughs*`, `（生气）`."""

import re

from intone.server.text.normalization.tables import words

_SOUNDS = frozenset(words("stage_directions_sounds"))
_CUES = _SOUNDS | frozenset(words("stage_directions_manners"))
_CHINESE = frozenset(words("stage_directions_chinese"))
_MODIFIERS = frozenset("softly quietly loudly nervously slowly heavily deeply gently briefly a little very".split())  # noqa: SIM905
_LABEL = re.compile(r"([^\s:：]+)\s*[:：]\s*(?:0?\.\d+|1(?:\.0+)?|0)")
_CHINESE_SUFFIX = re.compile(r"(?:地|着|了|一下|的语气|语气|的声音)$")


def is_stage_direction(text: str, *, round_brackets: bool) -> bool:
    """Whether the content of brackets or asterisks is a stage direction.

    Args:
        round_brackets: whether it stands in round brackets, where ordinary words are common: English words there must
            name a sound.
    """
    text = text.strip().lower()
    if labelled := _LABEL.fullmatch(text):
        text = labelled[1]
    if text in _CHINESE or _CHINESE_SUFFIX.sub("", text) in _CHINESE:
        return True
    known = _SOUNDS if round_brackets else _CUES
    if text in known:
        return True
    parts = text.split()
    return 1 < len(parts) <= 3 and parts[0] in _SOUNDS and all(part in _MODIFIERS or part in known for part in parts)
