"""Entries of the lexicon → one table of values. Knows no language; the words are in `lexicon_*` and `words_*`."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import ModuleType

from intone.server.domain import EMOTIONS
from intone.server.emotion.phrases import entries_of


class Role(Enum):
    """What an entry does to a sentence."""

    FEELING = "feeling"
    RHETORICAL = "rhetorical"  # a feeling that neither a question nor a negation weakens
    SCALE = "scale"
    SCALE_AFTER = "scale_after"
    NEGATION = "negation"
    CONTRAST = "contrast"  # what follows weighs more
    CONCESSION = "concession"  # the clause weighs less
    SUPPOSITION = "supposition"  # the rest of the sentence is not said of now
    PLAIN = "plain"  # nothing: it only takes its words from the others


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the lexicon.

    Attributes:
        name: as the table spells it.
        emotion: one of `EMOTIONS` for a feeling, else empty.
        value: strength of a feeling in (0, 1], factor of a scale.
    """

    role: Role
    name: str
    emotion: str = ""
    value: float = 1.0


def feelings(table: Mapping[str, Mapping[float, str]], role: Role = Role.FEELING) -> dict[str, Entry]:
    """The entries of a table of emotion → strength → words."""
    found = {}
    for emotion, columns in table.items():
        assert emotion in EMOTIONS, emotion
        for strength, words in columns.items():
            for name in entries_of(words):
                found[name] = Entry(role, name.removesuffix("~"), emotion, strength)
    return found


def scales(table: Mapping[float, str], role: Role = Role.SCALE) -> dict[str, Entry]:
    """The entries of a table of factor → words."""
    return {name: Entry(role, name, value=factor) for factor, words in table.items() for name in entries_of(words)}


def entries(feeling: ModuleType, words: ModuleType) -> dict[str, Entry]:
    """All entries of a language that may stand anywhere, from its two tables of them.

    Where one has several roles the last one here holds.
    """
    found = {}
    for role in (Role.SUPPOSITION, Role.CONCESSION, Role.CONTRAST, Role.NEGATION):
        found.update({name: Entry(role, name) for name in entries_of(getattr(words, f"{role.name}S"))})
    found.update(scales(words.SCALES))
    found.update(scales(words.SCALES_AFTER, Role.SCALE_AFTER))
    found.update(feelings(feeling.FEELINGS))
    found.update(feelings(words.RHETORICAL, Role.RHETORICAL))
    found.update({name: Entry(Role.PLAIN, name) for name in entries_of(words.PLAIN)})
    return found
