"""Names and short descriptions of emotions, English and Chinese → weights, by keywords. Knows no sentences.

For what somebody writes to say how speech should sound ("tired but relieved", "有点难过"), never for what is spoken.
"""

import functools
from collections.abc import Mapping

from intone.server.emotion.phrases import Kind, Table
from intone.server.emotion.reading import Reading, neutral, reading
from intone.server.emotion.word_lists import LabelEntry, Role, character_replacements, label_entries

CALM_BY_DEFAULT = 0.5
_EARLIER = 0.5  # what a word keeps when "but" follows it
_MARKS = (Kind.PAUSE, Kind.STOP, Kind.ASK, Kind.TRAIL)


def from_label(label: str) -> Reading | None:
    """The emotion that `label` names; None unless every word of it is known and one of them names an emotion."""
    return _read(label, strict=True)


def describe(text: str) -> Reading:
    """The emotion that a free description asks for; calm where no word of it is known."""
    found = _read(text, strict=False)
    if found is not None:
        return found
    return reading({"calm": CALM_BY_DEFAULT}, "no word of the description is known: calm")


def _read(text: str, strict: bool) -> Reading | None:
    table = _table()
    tokens = table.tokens(text)
    strengths: dict[str, float] = {}
    names: list[str] = []
    scale, denied, position = 1.0, False, 0
    while position < len(tokens):
        found = table.longest(tokens, position)
        if found is None:
            if strict and tokens[position].kind not in _MARKS:
                return None
            position += 1
            continue
        position, entry = found
        if strict and not entry.in_tags:
            return None
        if entry.role is Role.CONTRAST:
            strengths = {emotion: weight * _EARLIER for emotion, weight in strengths.items()}
        elif entry.role is Role.NEGATION:
            denied = True
        elif entry.role is Role.INTENSIFIER:
            scale *= entry.factor
        elif entry.role is Role.EMOTION:
            if not denied:
                names.append(entry.name)
                _mix(strengths, entry.weights, scale)
            scale, denied = 1.0, False
    return _joined(strengths, names)


def _joined(strengths: dict[str, float], names: list[str]) -> Reading | None:
    words = ", ".join(f"“{name}”" for name in dict.fromkeys(names))
    if not names:
        return None
    if not any(strengths.values()):
        return neutral(f"asked for: {words}")
    return reading(strengths, f"asked for: {words}", companion_share=0.0)


def _mix(strengths: dict[str, float], mixture: Mapping[str, float], scale: float) -> None:
    """Put a mixture into the strengths; each emotion takes the larger."""
    for emotion, weight in mixture.items():
        strengths[emotion] = max(strengths.get(emotion, 0.0), min(weight * scale, 1.0))


@functools.cache
def _table() -> Table[LabelEntry]:
    """Built when the first label is read, not when this is imported."""
    return Table(label_entries(), character_replacements())
