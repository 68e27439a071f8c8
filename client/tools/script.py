"""Scripts of conversations in TOML: turns with texts, emotions, pauses and barge-ins."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from intone.client.settings import SpeechSettings
from intone.client.suggestions import suggestion

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEFAULT_PAUSE_MS = 600
"""Default pause between two turns: the time in which the user speaks."""

DEFAULT_WORDS_PER_SECOND = 25.0
"""Default pace of the text: that of a language model behind a network."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What the agent says in one turn.

    Attributes:
        text: may contain inline tags such as `[happy]`.
        settings: of the utterance; what it does not set is as on the stream. A turn whose `language` no trained engine
            of the server speaks is skipped.
        pause_ms: silence between the end of the audio before and the start of this turn. None means
            `DEFAULT_PAUSE_MS`, or 0 after a barge-in.
        think_ms: from the start of the turn to its first word: a language model that thinks, or a tool that it calls.
        cover_after_ms: a filler covers the wait for a word that is later than this; None leaves it silent.
        interrupt_after_ms: the user barges in after hearing this much of the turn; None never.
        words_per_second, characters_per_second: how fast the text is written; at most one of them may be set. None
            means the script's pace; 0 words per second sends the text whole.
    """

    text: str
    settings: SpeechSettings = SpeechSettings()
    pause_ms: int | None = None
    think_ms: int = 0
    cover_after_ms: int | None = None
    interrupt_after_ms: int | None = None
    words_per_second: float | None = None
    characters_per_second: float | None = None

    def deltas(self, words_per_second: float) -> list[tuple[float, str]]:
        """Split the text as it is written: (seconds after the delta before, delta).

        Args:
            words_per_second: pace of the script, for a turn without one of its own.
        """
        if self.characters_per_second:
            return [(1 / self.characters_per_second, character) for character in self.text]
        pace = words_per_second if self.words_per_second is None else self.words_per_second
        if not pace:
            return [(0.0, self.text)]
        return [(1 / pace, word) for word in re.findall(r"\s*\S+\s*$|\s*\S+", self.text)]


@dataclass(frozen=True, slots=True)
class Script:
    """A conversation. `words_per_second` is the pace of turns that do not set one."""

    turns: tuple[Turn, ...]
    title: str = ""
    words_per_second: float = DEFAULT_WORDS_PER_SECOND


def parse_script(text: str, folder: Path | None = None, *, any_clip: bool = False) -> Script:
    """Parse a script: the fields of `Script` at the top, then one `[[turn]]` table for each `Turn`.

    The keys of a turn are the fields of `Turn` and, in place of `settings`, those of its `SpeechSettings` but
    `pronunciations`. Whoever runs a script need not have read it, so the recordings that it sends to the server
    (`emotion = "@clip.wav"`) must lie in its own folder, unless `any_clip` allows others.

    Args:
        folder: of the script; None allows no recordings.
        any_clip: allow recordings everywhere.

    Raises:
        ValueError: it is not TOML, has no turn, or a key or value is invalid. The message names the turn and the key.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the script is not valid TOML: {error}") from error
    turns = values.pop("turn", [])
    if not isinstance(turns, list) or not turns:
        raise ValueError('the script has no turns: add a [[turn]] table with text = "…"')
    clips = _Clips(folder, any_clip)
    parsed = tuple(_turn(turn, f"turn {number}", clips) for number, turn in enumerate(turns, 1))
    known = _checked(values, {"title": str, "words_per_second": float}, "the script")
    return Script(parsed, **known)


_TURN_TYPES: dict[str, Any] = {
    "text": str,
    "pause_ms": int,
    "think_ms": int,
    "cover_after_ms": int,
    "interrupt_after_ms": int,
    "words_per_second": float,
    "characters_per_second": float,
}
_EMOTION = (str, list, dict)
_SETTING_TYPES: dict[str, Any] = {
    "emotion": _EMOTION,
    "language": str,
    "voice": str,
    "engine": str,
    "filler": str,
    "text_format": str,
    "normalization": bool,
    "speed": float,
    "volume_db": float,
    "seed": int,
    "engine_parameters": dict,
}


@dataclass(frozen=True, slots=True)
class _Clips:
    """Which recordings of this machine a script may send."""

    folder: Path | None
    anywhere: bool

    def resolved(self, emotion: Any) -> Any:
        """The emotion of a turn; one that is a recording has its path.

        Raises:
            ValueError: the recording is not in the folder of the script.
        """
        if not (isinstance(emotion, str) and emotion.startswith("@")):
            return emotion
        path = (self.folder or Path()) / emotion[1:]
        allowed = self.folder is not None and path.resolve().is_relative_to(self.folder.resolve())
        if not (allowed or self.anywhere):
            raise ValueError(
                f"the recording {emotion[1:]!r} is not in the folder of the script, and would be sent to the server; "
                "--any-clip allows it"
            )
        return f"@{path}"


def _turn(values: Any, where: str, clips: _Clips) -> Turn:
    if not isinstance(values, dict):
        raise ValueError(f"{where} is not a table: write [[turn]], with two brackets")
    known = _checked(values, _TURN_TYPES | _SETTING_TYPES, where)
    if not str(known.get("text", "")).strip():
        raise ValueError(f"{where}: text is missing")
    if "words_per_second" in known and known.get("characters_per_second"):
        raise ValueError(f"{where}: set words_per_second or characters_per_second, not both")
    chosen = {key: known.pop(key) for key in _SETTING_TYPES if key in known}
    try:
        settings = SpeechSettings(**{**chosen, "emotion": clips.resolved(chosen.get("emotion"))})
        settings.message()
    except (ValueError, TypeError) as error:
        raise ValueError(f"{where}: {error}") from error
    return Turn(settings=settings, **known)


def _checked(values: Mapping[str, Any], types: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Check that every key is known, every value has its type, and no number is negative where it must not be."""
    for key, value in values.items():
        if key not in types:
            raise ValueError(f"{where}: unknown key {key!r}; known keys: {', '.join(types)}{suggestion(key, types)}")
        wanted = (int, float) if types[key] is float else types[key]
        if not isinstance(value, wanted) or isinstance(value, bool) and types[key] is not bool:
            raise ValueError(f"{where}: {key} must be {_TYPE_NAMES[types[key]]}")
        if isinstance(value, int | float) and value < 0 and key not in _SETTING_TYPES:
            raise ValueError(f"{where}: {key} must not be negative")
    return dict(values)


_TYPE_NAMES: dict[Any, str] = {
    _EMOTION: "a string, an array of eight numbers or a table of weights",
    str: "a string",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    dict: "a table",
}
