"""Tags in angle brackets: which of them are cues, and which are markup or text."""

import re

from intone.server.text.cues.durations import break_ms
from intone.server.text.cues.pieces import Cue, NamesEmotion, Pause
from intone.server.text.cues.stage_directions import is_stage_direction, pause_ms

MAX_TAG_CHARACTERS = 400
THINKING = ("think", "thinking", "thought", "reasoning")
"""Tags between which language models think; nothing of it is spoken."""

_NAME = r"[A-Za-z][\w.-]{0,30}(?::[\w.-]{1,30})?"
_VALUE = r"""(?:"[^"<>]{0,400}"|'[^'<>]{0,400}'|[^\s"'<>=/]{1,100})"""
_ATTRIBUTE = rf"\s+[A-Za-z_][\w:.-]{{0,40}}\s*=\s*{_VALUE}"
TAG = re.compile(rf"<(?P<close>/?)(?P<name>{_NAME})(?P<attributes>(?:{_ATTRIBUTE}){{0,16}})\s*(?P<empty>/?)>")
"""A tag; attributes have values."""

_ATTRIBUTES = re.compile(rf"([A-Za-z_][\w:.-]{{0,40}})\s*=\s*({_VALUE})")
_PARTIAL = re.compile(
    rf"""</?(?:{_NAME}(?:{_ATTRIBUTE}){{0,16}}"""
    rf"""(?:\s*/?|\s+[A-Za-z_][\w:.-]{{0,40}}\s*(?:=\s*(?:"[^"<>]{{0,400}}|'[^'<>]{{0,400}}|[^\s"'<>=/]{{1,100}})?)?)|[A-Za-z][\w.-]{{0,30}}:)?\Z"""
)
_EMOTION_TAGS = frozenset(("emotion", "mood", "express-as", "mstts:express-as", "amazon:emotion", "style", "tone"))
_EMOTION_ATTRIBUTES = ("value", "label", "name", "style", "emotion", "type")
_CUE_TAGS = frozenset(
    ["expr", "volume", "speed", "rate", "pitch", "prosody", "emphasis", "voice", "lang", "audio", "mark", "effect",
     "say-as", "sub", "phoneme", "spell", "amazon:effect", "amazon:domain", "google:style", "sound", "vocal"]
)  # fmt: skip
"""Tags for voices; what stands between an opening and a closing one is spoken."""


def could_become_tag(text: str, start: int) -> bool:
    """Whether `text[start:]` is the beginning of a tag."""
    return len(text) - start <= MAX_TAG_CHARACTERS and _PARTIAL.match(text, start) is not None


def cue_of_tag(found: re.Match[str], names_emotion: NamesEmotion) -> Cue | Pause | None:
    """The cue that a match of `TAG` is; None for markup and for text such as `<name>`."""
    name = found["name"].lower()
    attributes = {key.lower(): value.strip("\"'").strip() for key, value in _ATTRIBUTES.findall(found["attributes"])}
    closes = bool(found["close"])
    if name in THINKING:
        return None
    if name in ("break", "pause") and not closes:
        ms = break_ms(attributes.get("time", ""), attributes.get("strength", ""))
        return Cue(*found.span(), name) if ms is None else Pause(*found.span(), ms)
    if name == "expr":
        label = attributes.get("label", "")
        if attributes.get("type", "").lower() != "expression":
            return Cue(*found.span(), label or attributes.get("type", "") or name)
        return Cue(*found.span(), label or name, label)
    if name in _EMOTION_TAGS:
        label = next((attributes[key] for key in _EMOTION_ATTRIBUTES if attributes.get(key)), "")
        return Cue(*found.span(), label or name, label, ends=closes)
    spoken_name = re.sub(r"[-_]", " ", name)
    if is_stage_direction(spoken_name, round_brackets=False):
        ms = pause_ms(spoken_name)
        return Pause(*found.span(), ms) if ms is not None else Cue(*found.span(), spoken_name, spoken_name, ends=closes)
    if names_emotion(spoken_name):
        return Cue(*found.span(), spoken_name, spoken_name, ends=closes)
    return Cue(*found.span(), name) if name in _CUE_TAGS or ":" in name and attributes else None
