"""Load and validate the emotion word lists: the tab-separated files in `data/`, each of which explains its columns."""

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from intone.server.domain import EMOTIONS
from intone.server.emotion.phrases import is_tokenizable
from intone.server.text.tsv import read_rows

DATA = Path(__file__).parent / "data"
NEUTRAL = "neutral"
NO_VALUE = "-"
MAX_FACTOR = 2.0

_ENTRY_COLUMNS = ("role", "emotion", "value", "entry")
_PATTERN_COLUMNS = ("role", "name", "value", "pattern")
_LABEL_COLUMNS = ("role", "value", "in_tags", "entry")
_CHARACTER_COLUMNS = ("character", "replacement")
_DEFINITION, _SARCASM = "definition", "sarcasm"
_REFERENCE = re.compile(r"\{([A-Z]+)\}")


class WordListError(ValueError):
    """A word list is malformed; the message names the file and the line."""


class Role(Enum):
    """What an entry does to its sentence. The values are those of the column `role`."""

    EMOTION = "emotion"
    RHETORICAL = "rhetorical"  # an emotion that neither a question nor a negation weakens
    WHOLE_SENTENCE = "whole_sentence"  # an emotion, where it is all of a question or an exclamation
    INTENSIFIER = "intensifier"  # or a downtoner, with a factor below 1
    INTENSIFIER_AFTER = "intensifier_after"
    NEGATION = "negation"
    CONTRAST = "contrast"  # what follows weighs more
    CONCESSION = "concession"  # its clause weighs less
    HYPOTHETICAL = "hypothetical"  # the rest of the sentence weighs less
    IGNORED = "ignored"  # no effect; it only keeps its words from matching shorter entries


_WITH_EMOTION = (Role.EMOTION, Role.RHETORICAL, Role.WHOLE_SENTENCE)
_WITH_FACTOR = (Role.INTENSIFIER, Role.INTENSIFIER_AFTER)
_LABEL_ROLES = (Role.EMOTION, Role.INTENSIFIER, Role.NEGATION, Role.CONTRAST, Role.IGNORED)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the lexicon.

    Attributes:
        name: as it is listed, without the "~" of inflections.
        emotion: one of `EMOTIONS`, or empty for roles without an emotion.
        value: strength of an emotion in (0, 1], factor of an intensifier in (0, `MAX_FACTOR`]; else 1.
    """

    role: Role
    name: str
    emotion: str = ""
    value: float = 1.0


@dataclass(frozen=True, slots=True)
class LabelEntry:
    """A word of an emotion's name or description.

    Attributes:
        name: as it is listed, without the "~" of inflections.
        weights: of an emotion entry, by emotion; empty for "neutral".
        factor: of an intensifier; else 1.
        in_tags: whether it is understood in an inline tag.
    """

    role: Role
    name: str
    weights: Mapping[str, float] = field(default_factory=dict)
    factor: float = 1.0
    in_tags: bool = True


@dataclass(frozen=True, slots=True)
class Pattern:
    """A regular expression that shows an emotion."""

    expression: re.Pattern[str]
    emotion: str
    strength: float


@dataclass(frozen=True, slots=True)
class LexiconLists:
    """Everything the lexicon knows.

    Attributes:
        entries: by their text, with the "~" of inflections; all roles but `WHOLE_SENTENCE`.
        whole_sentences: by their text.
        patterns: searched in the text in lower case.
        sarcasm: matches where praise is meant as its opposite.
    """

    entries: Mapping[str, Entry]
    whole_sentences: Mapping[str, Entry]
    patterns: tuple[Pattern, ...]
    sarcasm: re.Pattern[str]


@functools.cache
def lexicon_lists() -> LexiconLists:
    """The lists of the lexicon, read on the first call.

    Raises:
        WordListError: a file is malformed.
        OSError: a file cannot be read.
    """
    entries: dict[str, Entry] = {}
    whole_sentences: dict[str, Entry] = {}
    for name in ("entries_en.tsv", "entries_zh.tsv", "faces.tsv"):
        read_entries(DATA / name, entries, whole_sentences)
    patterns, sarcasm = read_patterns(DATA / "patterns.tsv")
    return LexiconLists(entries, whole_sentences, patterns, sarcasm)


@functools.cache
def label_entries() -> Mapping[str, LabelEntry]:
    """The entries for names and descriptions of emotions, by their text; read on the first call.

    The lexicon's intensifiers are among them.

    Raises:
        WordListError: a file is malformed.
        OSError: a file cannot be read.
    """
    shared = {
        text: LabelEntry(entry.role, entry.name, factor=entry.value)
        for text, entry in lexicon_lists().entries.items()
        if entry.role is Role.INTENSIFIER
    }
    return shared | read_labels(DATA / "labels.tsv")


@functools.cache
def character_replacements() -> Mapping[int, str]:
    """Replacements for `str.translate` that bring a text to the characters of the lists; read on the first call.

    Raises:
        WordListError: the file is malformed.
        OSError: the file cannot be read.
    """
    return read_characters(DATA / "characters_zh.tsv")


# ---- one file -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of a file; `place` is "file:line"."""

    place: str
    cells: tuple[str, ...]

    def error(self, message: str) -> WordListError:
        return WordListError(f"{self.place}: {message}")

    def number(self, cell: str, maximum: float) -> float:
        try:
            value = float(cell)
        except ValueError:
            raise self.error(f"value {cell!r} is not a number") from None
        if not 0.0 < value <= maximum:
            raise self.error(f"value {cell} is out of range: over 0, up to {maximum:g}")
        return value

    def emotion(self, cell: str) -> str:
        if cell not in EMOTIONS:
            raise self.error(f"unknown emotion {cell!r}: expected one of {', '.join(EMOTIONS)}")
        return cell

    def empty(self, cell: str, column: str) -> None:
        if cell != NO_VALUE:
            raise self.error(f"{column} is {cell!r}: this role has none, write {NO_VALUE!r}")

    def role(self, cell: str, roles: tuple[Role, ...]) -> Role:
        found = next((role for role in roles if role.value == cell), None)
        if found is None:
            raise self.error(f"unknown role {cell!r}: expected one of {', '.join(role.value for role in roles)}")
        return found

    def entry(self, text: str) -> str:
        """The entry's name, without "~"."""
        if "~" in text[:-1]:
            raise self.error(f"entry {text!r}: a '~' stands at the end")
        if not is_tokenizable(text):
            raise self.error(f"entry {text!r} holds no word, character or face that can be found in a text")
        return text.removesuffix("~")


def _rows(path: Path, columns: tuple[str, ...]) -> Iterator[_Row]:
    return (_Row(*row) for row in read_rows(path, columns, error=WordListError))


def read_entries(path: Path, entries: dict[str, Entry], whole_sentences: dict[str, Entry]) -> None:
    """Add the entries of a file to those of other files.

    Raises:
        WordListError: a row is malformed, or its entry is in the lists already.
    """
    for row in _rows(path, _ENTRY_COLUMNS):
        role_cell, emotion, value, text = row.cells
        role = row.role(role_cell, tuple(Role))
        name = row.entry(text)
        if role in _WITH_EMOTION:
            entry = Entry(role, name, row.emotion(emotion), row.number(value, 1.0))
        else:
            row.empty(emotion, "emotion")
            if role not in _WITH_FACTOR:
                row.empty(value, "value")
            entry = Entry(role, name, value=row.number(value, MAX_FACTOR) if role in _WITH_FACTOR else 1.0)
        known = whole_sentences if role is Role.WHOLE_SENTENCE else entries
        if text in known:
            raise row.error(f"duplicate entry {text!r}")
        known[text] = entry


def read_patterns(path: Path) -> tuple[tuple[Pattern, ...], re.Pattern[str]]:
    """The emotion patterns of a file, and one expression that matches where any sarcasm pattern does.

    Raises:
        WordListError: a row is malformed, an expression does not compile, or a pattern occurs twice.
    """
    definitions: dict[str, str] = {}
    patterns: list[Pattern] = []
    sarcasm: list[str] = []
    known: set[str] = set()
    for row in _rows(path, _PATTERN_COLUMNS):
        role, name, value, written = row.cells
        expression = _expanded(row, written, definitions)
        if written in known:
            raise row.error(f"duplicate pattern {written!r}")
        known.add(written)
        try:
            compiled = re.compile(expression)
        except re.error as error:
            raise row.error(f"invalid regular expression: {error}") from None
        if role == Role.EMOTION.value:
            patterns.append(Pattern(compiled, row.emotion(name), row.number(value, 1.0)))
            continue
        row.empty(value, "value")
        if role == _DEFINITION:
            if name in definitions or not _REFERENCE.fullmatch(f"{{{name}}}"):
                raise row.error(f"name {name!r} is not in capitals, or is defined already")
            definitions[name] = expression
        elif role == _SARCASM:
            row.empty(name, "name")
            sarcasm.append(expression)
        else:
            raise row.error(f"unknown role {role!r}: expected {Role.EMOTION.value}, {_DEFINITION} or {_SARCASM}")
    return tuple(patterns), re.compile("|".join(sarcasm) or r"(?!)")


def _expanded(row: _Row, expression: str, definitions: Mapping[str, str]) -> str:
    """The expression with every {NAME} replaced by its definition."""

    def definition(reference: re.Match[str]) -> str:
        if reference[1] not in definitions:
            raise row.error(f"{reference[0]} is not defined above")
        return definitions[reference[1]]

    return _REFERENCE.sub(definition, expression)


def read_labels(path: Path) -> dict[str, LabelEntry]:
    """The entries of a file of labels.

    Raises:
        WordListError: a row is malformed, or an entry occurs twice.
    """
    found: dict[str, LabelEntry] = {}
    for row in _rows(path, _LABEL_COLUMNS):
        role_cell, value, in_tags, text = row.cells
        role = row.role(role_cell, _LABEL_ROLES)
        name = row.entry(text)
        if in_tags not in ("yes", "no"):
            raise row.error(f"in_tags is {in_tags!r}: expected yes or no")
        if role not in (Role.EMOTION, Role.INTENSIFIER):
            row.empty(value, "value")
        weights = _weights(row, value) if role is Role.EMOTION else {}
        factor = row.number(value, MAX_FACTOR) if role is Role.INTENSIFIER else 1.0
        if text in found:
            raise row.error(f"duplicate entry {text!r}")
        found[text] = LabelEntry(role, name, weights, factor, in_tags == "yes")
    return found


def _weights(row: _Row, value: str) -> dict[str, float]:
    """The weights that a cell lists, such as "happy 0.9 surprised 0.3"; none for "neutral"."""
    if value == NEUTRAL:
        return {}
    parts = value.split(" ")
    if len(parts) % 2:
        raise row.error(f"value {value!r} is not a list of emotions, each with its weight")
    weights: dict[str, float] = {}
    for emotion, weight in zip(parts[::2], parts[1::2], strict=True):
        if row.emotion(emotion) in weights:
            raise row.error(f"value {value!r} names {emotion} twice")
        weights[emotion] = row.number(weight, 1.0)
    return weights


def read_characters(path: Path) -> dict[int, str]:
    """The replacements of a file, by code point.

    Raises:
        WordListError: a row is malformed, or a character occurs twice.
    """
    found: dict[int, str] = {}
    for row in _rows(path, _CHARACTER_COLUMNS):
        character, replacement = row.cells
        if len(character) != 1 or len(replacement) != 1:
            raise row.error("a single character is replaced by a single character")
        if ord(character) in found:
            raise row.error(f"duplicate character {character!r}")
        found[ord(character)] = replacement
    return found
