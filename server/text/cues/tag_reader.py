"""Reads text with inline cues as it arrives: brackets, asterisks and tags of several dialects.

    [sigh]  [happy:0.4]  [laughs softly]  ［开心］  【叹气】  （生气）  (coughs)  *laughs*   people, ElevenLabs
    <chuckle>  <emotion value="sad"/>  <break time="0.4s"/>  <excited>…</excited>           Orpheus, Cartesia
    <expr type="expression" label="relieved"/>                                              LiveKit

What names neither an emotion nor a stage direction stays text, and Markdown links such as `[happy](address)` do.
"""

import re
from dataclasses import dataclass

from intone.server.text.characters import has_cjk
from intone.server.text.cues.pieces import Cue, NamesEmotion, Pause, Piece, TextPiece
from intone.server.text.cues.stage_directions import (
    MAX_LABEL_CHARACTERS,
    is_action,
    is_single_action,
    is_stage_direction,
    pause_ms,
)
from intone.server.text.cues.tags import TAG, could_become_tag, cue_of_tag

_OPENER = re.compile(r"[\[［【(（*<]")
_BRACKETS = {
    "[": ("]", MAX_LABEL_CHARACTERS), "［": ("］", MAX_LABEL_CHARACTERS), "【": ("】", MAX_LABEL_CHARACTERS),
    "(": (")", MAX_LABEL_CHARACTERS), "（": ("）", 16),
}  # fmt: skip
_NOT_INSIDE = re.compile(r"[\[\]［］【】()（）<>*\n]")
_MAX_ACTION_CHARACTERS = 80
_SUBJECT = re.compile(
    r"(?<![^\W\d_])(?:he|she|it|who|that|everyone|everybody|someone|somebody|nobody)\s*\Z", re.IGNORECASE
)
_SENTENCE_ENDS = '.!?…\n"”’。！？'
_INTENSITY = re.compile(r"(?<!\s)\s*[:：]\s*(?:\d+(?:\.\d+)?|\.\d+)\s*$")


@dataclass(frozen=True, slots=True)
class _Found:
    """At an opener: a piece, or nothing (`piece` is None), or something that more text decides (`open`)."""

    piece: Cue | Pause | None = None
    open: bool = False


_NOTHING, _OPEN = _Found(), _Found(open=True)


class TagReader:
    """Implements `PieceReader` for `TextFormat.TAGS`."""

    def __init__(self, names_emotion: NamesEmotion = lambda label: False) -> None:
        self._names_emotion = names_emotion
        self._text = ""  # not read yet
        self._start = 0  # of `_text` in the utterance
        self._before = ""  # the last character of the texts that were returned, and the last one that is no blank
        self._before_blanks = ""
        self._done = 0  # `_text` is returned up to here
        self._cue_end = -1  # of the last cue, while no text has come since

    def push(self, delta: str) -> list[Piece]:
        """Take the next characters; return the pieces that are certain now."""
        self._text += delta
        return self._read(final=False)

    def finish(self) -> list[Piece]:
        """The text has ended: return the rest."""
        return self._read(final=True)

    def _read(self, final: bool) -> list[Piece]:
        pieces: list[Piece] = []
        text, position = self._text, 0
        while opener := _OPENER.search(text, position):
            position = opener.start()
            found = self._at(text, position, final)
            if found.open:
                break
            if found.piece is None:
                position += 2 if text.startswith("**", position) else 1
                continue
            pieces += self._texts(position)
            end = found.piece.end
            pieces.append(self._shifted(found.piece))
            self._cue_end = self._start + end
            self._done = position = end
        else:
            position = len(text)
        pieces += self._texts(position)
        self._text, self._start, self._done = text[position:], self._start + position, 0
        return pieces

    def _texts(self, end: int) -> list[Piece]:
        text, start = self._text, self._done
        if start == end:
            return []
        pieces: list[Piece] = []
        if self._cue_end >= 0:
            if self._before.isalnum() and text[start].isalnum() and not has_cjk(self._before + text[start]):
                pieces.append(TextPiece(" ", self._cue_end, self._cue_end))
            self._cue_end = -1
        pieces.append(TextPiece(text[start:end], self._start + start, self._start + end))
        self._before = text[end - 1]
        self._before_blanks = text[start:end].rstrip(" ")[-1:] or self._before_blanks
        return pieces

    def _shifted(self, piece: Cue | Pause) -> Piece:
        start, end = piece.start + self._start, piece.end + self._start
        if isinstance(piece, Pause):
            return Pause(start, end, piece.ms)
        return Cue(start, end, piece.name, piece.label, piece.ends)

    def _at(self, text: str, start: int, final: bool) -> _Found:
        if text[start] == "<":
            return self._tag(text, start, final)
        if text[start] == "*":
            return self._starred(text, start, final)
        closer, limit = _BRACKETS[text[start]]
        return self._bracketed(text, start, final, closer, limit)

    def _bracketed(self, text: str, start: int, final: bool, closer: str, limit: int) -> _Found:
        stop = _NOT_INSIDE.search(text, start + 1, start + limit + 2)
        if stop is None:
            return _OPEN if not final and len(text) - start - 1 <= limit else _NOTHING
        if stop.group() != closer:
            return _NOTHING
        end = stop.end()
        if closer == "]" and (text.startswith("(", end) or (not final and end == len(text))):
            return _OPEN if end == len(text) and self._is_cue(text[start + 1 : end - 1], False) else _NOTHING
        return self._cue_found(start, end, text[start + 1 : end - 1], round_brackets=closer in ")）")

    def _starred(self, text: str, start: int, final: bool) -> _Found:
        stars = 2 if text.startswith("**", start) else 1
        if start + stars == len(text):
            return _OPEN if not final else _NOTHING
        before = text[start - 1] if start > self._done else self._before
        if before.isalnum() or before in ("_", "*") or text[start + stars].isspace():
            return _NOTHING
        stop = _NOT_INSIDE.search(text, start + stars, start + _MAX_ACTION_CHARACTERS + 2)
        if stop is None:
            return _OPEN if not final and len(text) - start - stars <= _MAX_ACTION_CHARACTERS else _NOTHING
        label, end = text[start + stars : stop.start()], stop.start() + stars
        if not (self._is_cue(label, False) or is_action(label)) or not "**".startswith(text[stop.start() : end]):
            return _NOTHING
        if end >= len(text) and not final:
            return _OPEN
        after = text[end : end + 1]
        if len(text) < end or after.isalnum() or after in ("_", "*"):
            return _NOTHING
        return self._starred_cue(text, start, end, label, final)

    def _starred_cue(self, text: str, start: int, end: int, label: str, final: bool) -> _Found:
        """A cue, unless a word is emphasized: "That is *fast*." and "She *laughs* at you." have none."""
        if self._is_sound(label):
            emphasized = _SUBJECT.search(text, max(self._done, start - 20), start)
            return _NOTHING if emphasized else self._cue_of(start, end, label)
        if not self._begins_sentence(text[self._done : start]):
            return _NOTHING
        following = text[end:].lstrip(" ")[:1]
        if not following and not final:
            return _OPEN
        continues = following.islower() or following in (":", "：", ",", "，")
        return _NOTHING if continues else self._cue_of(start, end, label)

    def _is_sound(self, label: str) -> bool:
        """Whether it is a direction wherever it stands."""
        heard = is_stage_direction(label, round_brackets=True) or is_single_action(label)
        return heard and not self._names_emotion(" ".join(label.split()))

    def _begins_sentence(self, before: str) -> bool:
        last = before.rstrip(" ")[-1:] or self._before_blanks
        return not last or last in _SENTENCE_ENDS

    def _tag(self, text: str, start: int, final: bool) -> _Found:
        found = TAG.match(text, start)
        if found is None:
            return _OPEN if not final and could_become_tag(text, start) else _NOTHING
        cue = cue_of_tag(found, self._names_emotion)
        return _NOTHING if cue is None else _Found(cue)

    def _cue_found(self, start: int, end: int, label: str, round_brackets: bool) -> _Found:
        return self._cue_of(start, end, label) if self._is_cue(label, round_brackets) else _NOTHING

    @staticmethod
    def _cue_of(start: int, end: int, label: str) -> _Found:
        ms = pause_ms(label)
        if ms is not None:
            return _Found(Pause(start, end, ms))
        label = " ".join(label.split())
        return _Found(Cue(start, end, _INTENSITY.sub("", label), label))

    def _is_cue(self, label: str, round_brackets: bool) -> bool:
        if not label.strip():
            return False
        known = is_stage_direction(label, round_brackets=round_brackets)
        return known or (not round_brackets and self._names_emotion(" ".join(label.split())))
