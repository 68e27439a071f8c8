"""A conversation written down: turns with their texts, emotions, pauses and interruptions. Knows TOML, no server."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from intone.client.settings import EmotionLike, Options, emotion_message

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PAUSE_MS = 600
"""Between two turns, where the script says nothing: the time in which the user speaks."""

WORDS_PER_S = 25.0
"""Pace of the text, where the script says nothing: a language model behind a network."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the agent says in one turn.

    Attributes:
        text: may carry inline tags such as `[happy]`.
        emotion: how it should sound; None leaves it to the tags, the stream and the server.
        language: BCP 47 code; the turn is left out where no engine of the server speaks it. Empty: always spoken.
        voice: empty means that of the script.
        pause_ms: silence between what was heard before and the first word of this text. None: `PAUSE_MS`, or nothing
            after a turn that was interrupted.
        interrupt_after_ms: the user barges in when so much was heard of the turn; None lets it end.
        words_per_second, characters_per_second: how fast the text is written; at most one of them. None: that of the
            script. 0 words a second sends it whole.
        options: of the engine.
    """

    text: str
    emotion: EmotionLike | None = None
    language: str = ""
    voice: str = ""
    pause_ms: int | None = None
    interrupt_after_ms: int | None = None
    words_per_second: float | None = None
    characters_per_second: float | None = None
    options: Options = field(default_factory=Options)

    def pieces(self, words_per_s: float) -> list[tuple[float, str]]:
        """The text as it is written: (seconds after the piece before, piece); pieces join to the text.

        Args:
            words_per_s: of the script, for a turn that says nothing.
        """
        if self.characters_per_second:
            return [(1 / self.characters_per_second, character) for character in self.text]
        pace = words_per_s if self.words_per_second is None else self.words_per_second
        if not pace:
            return [(0.0, self.text)]
        return [(1 / pace, word) for word in re.findall(r"\s*\S+\s*$|\s*\S+", self.text)]


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation; `title` is for people. `words_per_second` is the pace of turns that name none."""

    turns: tuple[Turn, ...]
    title: str = ""
    words_per_second: float = WORDS_PER_S


def parse_script(written: str) -> Script:
    """Read a script: the fields of `Script` at the top, then one `[[turn]]` for each `Turn`.

    An emotion is written as for the command line (`"angry:0.8"`, `"describe:tired but relieved"`) or as eight numbers.

    Raises:
        ValueError: it is not TOML, has no turn, or a key or value is wrong; says which turn and key.
        OSError: a recording that an emotion names cannot be read.
    """
    try:
        values = tomllib.loads(written)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the script is not TOML: {error}") from error
    turns = values.pop("turn", [])
    if not isinstance(turns, list) or not turns:
        raise ValueError('the script has no turns: write [[turn]] and below it text = "…"')
    parsed = tuple(_turn(turn, f"turn {number}") for number, turn in enumerate(turns, 1))
    known = _checked(values, {"title": str, "words_per_second": float}, "the script")
    return Script(parsed, **known)


_TURN_TYPES: dict[str, type] = {
    "text": str,
    "emotion": object,
    "language": str,
    "voice": str,
    "pause_ms": int,
    "interrupt_after_ms": int,
    "words_per_second": float,
    "characters_per_second": float,
    "options": dict,
}
_OPTION_TYPES: dict[str, type] = {item.name: float if "float" in str(item.type) else int for item in fields(Options)}


def _turn(values: Any, where: str) -> Turn:
    if not isinstance(values, dict):
        raise ValueError(f"{where}: write [[turn]], with two brackets")
    known = _checked(values, _TURN_TYPES, where)
    if not str(known.get("text", "")).strip():
        raise ValueError(f"{where}: text is missing")
    if "words_per_second" in known and known.get("characters_per_second"):
        raise ValueError(f"{where}: words_per_second and characters_per_second exclude each other")
    if "emotion" in known:
        try:
            known["emotion"] = emotion_message(known["emotion"])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{where}: emotion: {error}") from error
    if "options" in known:
        known["options"] = Options(**_checked(known["options"], _OPTION_TYPES, f"{where}: options"))
    return Turn(**known)


def _checked(values: Mapping[str, Any], types: Mapping[str, type], where: str) -> dict[str, Any]:
    """The values, each of its type, none of them unknown or negative."""
    for key, value in values.items():
        if key not in types:
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(types)}")
        wanted = (int, float) if types[key] is float else types[key]
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ValueError(f"{where}: {key} is not a {_NAMES.get(types[key], types[key].__name__)}")
        if isinstance(value, int | float) and value < 0:
            raise ValueError(f"{where}: {key} is negative")
    return dict(values)


_NAMES: dict[type, str] = {str: "text", int: "whole number", float: "number", dict: "table"}
