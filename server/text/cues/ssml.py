"""Reads SSML 1.1 as it arrives (https://www.w3.org/TR/speech-synthesis11/), with expat.

`sub`, `phoneme`, `say-as` and `break` act; elements of structure are understood; of others the text is spoken and a cue
names them. The document may be a fragment, without `speak`. There are no entities but XML's five: a document type
declaration is refused, so a small text cannot grow into a large one.
"""

import re
from dataclasses import dataclass
from xml.parsers import expat

from intone.server.text.cues.durations import break_ms
from intone.server.text.cues.pieces import Cue, Pause, Piece, TextPiece
from intone.server.text.pronunciation import Reading
from intone.server.text.pronunciation.ipa import check_ipa, respelled
from intone.server.text.pronunciation.pinyin import syllables
from intone.server.text.pronunciation.say_as_classes import say_as_class

MAX_DEPTH = 32
MAX_TAG_BYTES = 4_000
MAX_ELEMENT_CHARACTERS = 400
"""Of the text in `sub`, `phoneme` and `say-as`."""

_ROOT, _ROOT_END = b"<intone-text>", b"</intone-text>"
_ATOMS = frozenset(("sub", "phoneme", "say-as"))
_BREAKING = frozenset(("p", "s", "paragraph", "sentence"))
_SILENT = _BREAKING | {"speak", "w", "token", "lang", "mark", "desc", "meta", "metadata", "lexicon"}
_NOT_SPOKEN = frozenset(("desc", "meta", "metadata", "lexicon"))
_EMOTION_ATTRIBUTES = {"express-as": "style", "emotion": "name"}
_DECLARATION = "<?xml"
_TAG = re.compile(rb"""<(?:[^<>"']|"[^"]*"|'[^']*')*>""")


class SsmlError(ValueError):
    """The text is not SSML; the message names the fault and the character."""


@dataclass(slots=True)
class _Atom:
    """An element whose text is said as a whole."""

    name: str
    start: int
    attributes: dict[str, str]
    depth: int
    text: str = ""


class SsmlReader:
    """Implements `PieceReader` for `TextFormat.SSML`. After an error it must not be used any more."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate("UTF-8")
        if hasattr(self._parser, "SetReparseDeferralEnabled"):
            self._parser.SetReparseDeferralEnabled(False)  # else a short tag would wait for more text
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._characters
        self._pieces: list[Piece] = []
        self._stack: list[tuple[str, int]] = []  # open elements, each with its position
        self._atom: _Atom | None = None
        self._fed = len(_ROOT)  # bytes
        self._raw, self._raw_start = b"", len(_ROOT)  # not read completely yet, and where it begins
        self._cursor, self._character = len(_ROOT), 0  # one place as a byte of the parser and as a character
        self._head = ""  # of the text, while it may be an XML declaration
        self._head_done = False
        self._parser.Parse(_ROOT, False)

    def push(self, delta: str) -> list[Piece]:
        """Take the next characters; return the pieces that are certain now.

        Raises:
            SsmlError: the text is not SSML, or exceeds a limit.
        """
        if not self._head_done:
            delta = self._without_declaration(delta)
        self._feed(delta)
        return self._taken()

    def finish(self) -> list[Piece]:
        """The text has ended: return the rest.

        Raises:
            SsmlError: an element is not closed.
        """
        self._head_done = True
        self._feed(self._head)
        self._head = ""
        if len(self._stack) > 1:
            name, start = self._stack[-1]
            raise SsmlError(f"<{name}> at character {start} is not closed")
        if self._parser.CurrentByteIndex < self._fed and self._raw_from(self._parser.CurrentByteIndex).startswith(b"<"):
            raise SsmlError(f"the tag at character {self._position()} is not closed")
        self._parse(_ROOT_END, final=True)
        return self._taken()

    def _taken(self) -> list[Piece]:
        pieces, self._pieces = self._pieces, []
        return pieces

    def _without_declaration(self, delta: str) -> str:
        """Hold the beginning back while it may be an XML declaration, which may only stand before the root."""
        self._head += delta
        stripped = self._head.lstrip("\ufeff \t\r\n")
        if stripped.startswith(_DECLARATION):
            if "?>" not in stripped:
                if len(self._head) > MAX_TAG_BYTES:
                    raise SsmlError("the XML declaration is not closed")
                return ""
            length = self._head.index("?>") + 2
            self._character += length
            head = self._head[length:]
        elif _DECLARATION.startswith(stripped):
            return ""
        else:
            head = self._head
        self._head, self._head_done = "", True
        return head

    def _feed(self, text: str) -> None:
        content = text.encode("utf8")
        self._raw += content
        self._fed += len(content)
        self._parse(content, final=False)
        if self._fed - max(self._cursor, self._parser.CurrentByteIndex) > MAX_TAG_BYTES + len(content):
            raise SsmlError(f"a tag has more than {MAX_TAG_BYTES} bytes at character {self._position()}")
        self._raw, self._raw_start = self._raw[self._cursor - self._raw_start :], self._cursor

    def _parse(self, content: bytes, final: bool) -> None:
        try:
            self._parser.Parse(content, final)
        except expat.ExpatError as error:
            raise SsmlError(self._described(error)) from None

    def _described(self, error: expat.ExpatError) -> str:
        position = self._position(self._parser.ErrorByteIndex)
        message = expat.ErrorString(error.code)
        if error.code == expat.errors.codes[expat.errors.XML_ERROR_TAG_MISMATCH] and self._stack:
            name, start = self._stack[-1]
            closing = self._raw_from(self._parser.ErrorByteIndex).split(b">")[0].decode("utf8", "replace")
            which = f"</{closing}> at character {position - 2} closes"
            return f"{which} nothing" if start < 0 else f"{which} <{name}>, which begins at character {start}"
        around = self._raw[max(0, self._cursor - self._raw_start - 2) :]
        if around.startswith(b"<!D"):
            return f"a document type declaration at character {position - 2}: none is accepted"
        if re.match(rb".?&(?![A-Za-z#])", around):
            return f"& at character {position - 1} must be written &amp;"
        if re.match(rb".?<(?![A-Za-z_:/!?])", around):
            return f"< at character {position - 1} must be written &lt;"
        return f"{message} at character {position}"

    def _raw_from(self, index: int) -> bytes:
        start = max(0, index - self._raw_start)
        return self._raw[start : start + MAX_TAG_BYTES]

    def _position(self, index: int | None = None) -> int:
        """The character at a byte of the parser; of the present event where none is given."""
        index = max(self._cursor, self._parser.CurrentByteIndex if index is None else index)
        passed = self._raw[self._cursor - self._raw_start : index - self._raw_start]
        self._character += len(passed.decode("utf8", "ignore"))
        self._cursor = index
        return self._character

    # ---- elements

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        if not self._stack:
            self._stack.append((name, -1))
            return
        start = self._position()
        self._stack.append((name, start))
        if len(self._stack) > MAX_DEPTH:
            raise SsmlError(f"<{name}> at character {start} is nested deeper than {MAX_DEPTH} elements")
        if self._atom is not None:
            return
        if name in _ATOMS:
            self._atom = _Atom(name, start, attributes, len(self._stack))
        else:
            self._pieces += _cue(name, attributes, start, self._end_of_tag())

    def _close(self, name: str) -> None:
        self._stack.pop()
        if not self._stack:
            return
        start, end = self._position(), self._end_of_tag()
        if self._atom is not None:
            if len(self._stack) < self._atom.depth:
                self._finish_atom(self._atom, end)
                self._atom = None
        elif name in _BREAKING:
            self._pieces.append(TextPiece("\n", start, end))
        elif name.rpartition(":")[2] in _EMOTION_ATTRIBUTES:
            self._pieces.append(Cue(start, end, name, ends=True))

    def _end_of_tag(self) -> int:
        """Position behind the tag of the present event."""
        tag = _TAG.match(self._raw_from(self._cursor))
        return self._character + (len(tag.group().decode("utf8", "ignore")) if tag else 0)

    def _characters(self, data: str) -> None:
        start = self._position()
        if self._atom is not None:
            self._atom.text += data
            if len(self._atom.text) > MAX_ELEMENT_CHARACTERS:
                message = f"<{self._atom.name}> at character {self._atom.start} has more than"
                raise SsmlError(f"{message} {MAX_ELEMENT_CHARACTERS} characters")
        elif not any(name in _NOT_SPOKEN for name, _ in self._stack):
            self._pieces.append(TextPiece(data, start, start + self._written_length(data)))

    def _written_length(self, data: str) -> int:
        raw = self._raw_from(self._cursor)
        if raw.startswith(b"&"):
            return raw.index(b";") + 1
        return 2 if data == "\n" and raw.startswith(b"\r\n") else len(data)

    def _finish_atom(self, atom: _Atom, end: int) -> None:
        text, reading = _reading(atom)
        if reading is None and atom.name != "sub":
            self._pieces.append(Cue(atom.start, atom.start, _described_atom(atom)))
        if text.strip():
            self._pieces.append(TextPiece(text, atom.start, end, reading))


def _cue(name: str, attributes: dict[str, str], start: int, end: int) -> list[Piece]:
    """The pause or the cue for an element that has no text of its own to replace."""
    if name == "break":
        ms = break_ms(attributes.get("time", ""), attributes.get("strength", ""))
        if ms is None:
            given = attributes.get("time") or attributes.get("strength")
            raise SsmlError(f"<break> at character {start}: {given!r} is neither a time, such as 400ms, nor a strength")
        return [Pause(start, end, ms)]
    local = name.rpartition(":")[2]
    if local in _EMOTION_ATTRIBUTES:
        label = attributes.get(_EMOTION_ATTRIBUTES[local], "")
        return [Cue(start, end, label or name, label)]
    return [] if name in _SILENT else [Cue(start, end, name)]


def _reading(atom: _Atom) -> tuple[str, Reading | None]:
    """The text of `sub`, `phoneme` or `say-as`, and how it is said; None where its attributes are not understood."""
    text, attributes = atom.text, atom.attributes
    if atom.name == "sub":
        alias = attributes.get("alias", "")[:MAX_ELEMENT_CHARACTERS]
        return (text, Reading(spoken_as=alias)) if alias.strip() and text.strip() else (alias or text, None)
    if atom.name == "say-as":
        name = attributes.get("interpret-as", "")
        return text, Reading(say_as=name, format=attributes.get("format", "")) if say_as_class(name) else None
    sounds, alphabet = attributes.get("ph", ""), attributes.get("alphabet", "ipa").lower()
    try:
        if alphabet == "pinyin":
            syllables(sounds)
            return text, Reading(pinyin=sounds) if text.strip() else None
        if alphabet != "ipa":
            return text, None
        check_ipa(sounds)
    except ValueError as error:
        raise SsmlError(f"<phoneme> at character {atom.start}: ph: {error}") from None
    return text if text.strip() else respelled(sounds), Reading(ipa=sounds)


def _described_atom(atom: _Atom) -> str:
    attribute = "interpret-as" if atom.name == "say-as" else "alphabet"
    return f"{atom.name} {attribute}={atom.attributes.get(attribute, '')!r}"
