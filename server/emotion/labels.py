"""Names and short descriptions of emotions → weights, by keywords, in English and Chinese.

For text about how speech should sound ("tired but relieved", "有点难过"), not for spoken text. The keywords are in
`data/labels.tsv`.
"""

import functools
from collections.abc import Mapping

from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.phrases import PhraseTable, TokenKind
from intone.server.emotion.word_lists import LabelEntry, Role, character_replacements, label_entries
from intone.server.errors import suggestion

MAX_LABEL_CHARACTERS = 24
"""A longer description is not compared with the labels: it is no misspelt one."""

_BEFORE_CONTRAST = 0.5  # factor of the emotions before "but"
_PUNCTUATION = (TokenKind.PAUSE, TokenKind.STOP, TokenKind.ASK, TokenKind.TRAIL)


def parse_label(label: str) -> EmotionEstimate | None:
    """The emotion that `label` names; None unless every word of it is known and one of them names an emotion."""
    return _parse(label, strict=True)


def parse_description(text: str) -> EmotionEstimate:
    """The emotion that a free description asks for; none where no word of it is known."""
    found = _parse(text, strict=False)
    if found is not None:
        return found
    near = suggestion(text.lower(), known_labels()) if len(text) <= MAX_LABEL_CHARACTERS else ""
    return EmotionEstimate.neutral(f"no word of the description is known{near}")


def _parse(text: str, strict: bool) -> EmotionEstimate | None:
    table = _table()
    tokens = table.tokens(text)
    strengths: dict[str, float] = {}
    names: list[str] = []
    scale, negated, position = 1.0, False, 0
    while position < len(tokens):
        found = table.longest_match(tokens, position)
        if found is None:
            if strict and tokens[position].kind not in _PUNCTUATION:
                return None
            position += 1
            continue
        position, entry = found
        if strict and not entry.in_tags:
            return None
        if entry.role is Role.CONTRAST:
            strengths = {emotion: weight * _BEFORE_CONTRAST for emotion, weight in strengths.items()}
        elif entry.role is Role.NEGATION:
            negated = True
        elif entry.role is Role.INTENSIFIER:
            scale *= entry.factor
        elif entry.role is Role.EMOTION:
            if not negated:
                names.append(entry.name)
                _mix(strengths, entry.weights, scale)
            scale, negated = 1.0, False
    return _estimate(strengths, names)


def _estimate(strengths: dict[str, float], names: list[str]) -> EmotionEstimate | None:
    if not names:
        return None
    quoted = ", ".join(f"“{name}”" for name in dict.fromkeys(names))
    if not any(strengths.values()):
        return EmotionEstimate.neutral(f"asked for: {quoted}")
    return EmotionEstimate.from_strengths(strengths, f"asked for: {quoted}", min_secondary_share=0.0)


def _mix(strengths: dict[str, float], weights: Mapping[str, float], scale: float) -> None:
    """Raise each of `strengths` to the scaled weight of its emotion, where that is larger."""
    for emotion, weight in weights.items():
        strengths[emotion] = max(strengths.get(emotion, 0.0), min(weight * scale, 1.0))


def known_labels() -> list[str]:
    """The words that name an emotion, in the order of the table."""
    return [entry.name for entry in label_entries().values() if entry.role is Role.EMOTION and entry.in_tags]


@functools.cache
def _table() -> PhraseTable[LabelEntry]:
    """Built on first use, not on import."""
    return PhraseTable(label_entries(), character_replacements())
