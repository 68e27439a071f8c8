"""Stretches of text that no cut may divide: links, tags, code, formulas, blocks of thinking. Pure functions.

What is cut inside would be read out: the address of a link, a program, the second half of a tag.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from intone.server.text.cues.tags import TAG, THINKING, could_become_tag

OPENER = re.compile(r"[\[<`$\\]|~~~|~{1,2}\Z")
"""Where an atom may begin, also where more text decides."""

_LABEL = r"(?:[^\[\]\n]|\[[^\[\]\n]{0,100}\]){0,200}"
_ADDRESS = r"(?:[^()\s]|\([^()\s]{0,200}\)){0,2000}"
_TITLE = r"(?:\s\"[^\"\n]{0,200}\")?"
_LINK = re.compile(rf"\[(?P<label>{_LABEL})\]\({_ADDRESS}{_TITLE}\)")
_OPEN_LABEL = re.compile(r"\[(?:[^\[\]\n]|\[[^\[\]\n]{0,100}(?:\]|\Z)){0,200}\]?\Z")
_OPEN_ADDRESS = re.compile(
    rf"\[{_LABEL}\]\((?:[^()\s]|\([^()\s]{{0,200}}(?:\)|\Z)){{0,2000}}(?:\s(?:\"[^\"\n]{{0,200}}\"?)?)?\Z"
)
_CODE = re.compile(r"`[^`\n]{1,100}`(?!`)")
_OPEN_CODE = re.compile(r"`[^`\n]{0,100}`?\Z")
_FORMULA = re.compile(r"\$\$[^$]{1,400}\$\$|\$(?=[^\s\d$])[^$\n]{1,80}(?<![\s\\])\$(?![\w$])")
_OPEN_FORMULA = re.compile(r"\$\$[^$]{0,400}\$?\Z|\$(?![\s\d$])[^$\n]{0,80}\$?\Z")
_PARENTHESIZED = re.compile(r"\\\(.{1,200}?\\\)|\\\[.{1,400}?\\\]", re.DOTALL)
_OPEN_PARENTHESIZED = re.compile(r"\\(?:\((?:(?!\\\)).){0,200}|\[(?:(?!\\\]).){0,400})?\Z", re.DOTALL)
_SPECIAL_TOKEN = re.compile(r"<[|｜][^<>\n]{1,40}[|｜]>")
_OPEN_SPECIAL_TOKEN = re.compile(r"<[|｜][^<>\n]{0,41}\Z")
_AUTOLINK = re.compile(r"<(?:https?://|mailto:|www\.)[^<>\s]{1,2000}>")
_OPEN_AUTOLINK = re.compile(r"<(?:https?:|mailto:|www\.)[^<>\s]{0,2000}\Z")
_BLOCKS = tuple(
    (re.compile(rf"<{name}>", re.IGNORECASE), re.compile(rf"</{name}>", re.IGNORECASE)) for name in THINKING
)
_COMMENT_BEGIN, _COMMENT_END = "<!--", "-->"


@dataclass(frozen=True, slots=True)
class Atom:
    """An atom that is complete.

    Attributes:
        end: position behind it.
        heard: the part of it that is spoken, about as long as it takes to say.
    """

    end: int
    heard: str


@dataclass(frozen=True, slots=True)
class OpenAtom:
    """The beginning of what may be an atom; `certain` where nothing else can come of it."""

    certain: bool


def atom_at(text: str, start: int, *, begins_line: bool, final: bool) -> Atom | OpenAtom | None:
    """The atom that begins at `start`, a match of `OPENER`; None where it is ordinary text.

    Args:
        begins_line: whether only blanks stand before it on its line.
        final: whether no more text comes: nothing is open then, but a block without its end.
    """
    first = text[start]
    if first == "~" and (not begins_line or not text.startswith("~~~", start)):
        return OpenAtom(certain=False) if begins_line and not final else None
    if text.startswith(("```", "~~~"), start):
        return _until(text, start, text[start : start + 3], 3, final)
    found = {"[": _link, "<": _angle, "`": _code, "$": _formula, "\\": _parenthesized}[first](text, start)
    if isinstance(found, OpenAtom) and final:
        return None
    if found is None and first == "<":
        return _block(text, start, final)
    return found


def atoms_in(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of the atoms of a whole text, in order."""
    position = 0
    while opener := OPENER.search(text, position):
        start = opener.start()
        begins_line = not text[:start].rpartition("\n")[2].strip()
        atom = atom_at(text, start, begins_line=begins_line, final=True)
        if isinstance(atom, Atom):
            yield start, atom.end
            position = atom.end
        else:
            position = start + (2 if text[start] == "\\" else 1)


def _until(text: str, start: int, closer: str, skip: int, final: bool) -> Atom | OpenAtom:
    """A block that ends with `closer`, or with the text."""
    end = text.find(closer, start + skip)
    if end < 0:
        return Atom(len(text), "") if final else OpenAtom(certain=True)
    return Atom(end + len(closer), "")


def _block(text: str, start: int, final: bool) -> Atom | OpenAtom | None:
    if text.startswith(_COMMENT_BEGIN, start):
        return _until(text, start, _COMMENT_END, len(_COMMENT_BEGIN), final)
    for begin, end in _BLOCKS:
        if found := begin.match(text, start):
            closing = end.search(text, found.end())
            if closing is None:
                return Atom(len(text), "") if final else OpenAtom(certain=True)
            return Atom(closing.end(), "")
    return None


def _link(text: str, start: int) -> Atom | OpenAtom | None:
    if found := _LINK.match(text, start):
        return Atom(found.end(), found["label"])
    if _OPEN_ADDRESS.match(text, start):
        return OpenAtom(certain=True)
    return OpenAtom(certain=False) if _OPEN_LABEL.match(text, start) else None


def _angle(text: str, start: int) -> Atom | OpenAtom | None:
    for pattern in (_SPECIAL_TOKEN, _AUTOLINK, TAG):
        found = pattern.match(text, start)
        if found and not any(begin.match(text, start) for begin, _ in _BLOCKS):
            return Atom(found.end(), found.group()[:100] if pattern is _AUTOLINK else "")
    if _OPEN_SPECIAL_TOKEN.match(text, start) or _OPEN_AUTOLINK.match(text, start):
        return OpenAtom(certain=True)
    if could_become_tag(text, start) or _COMMENT_BEGIN.startswith(text[start:]):
        return OpenAtom(certain="=" in text[start:])
    return None


def _code(text: str, start: int) -> Atom | OpenAtom | None:
    if len(text) - start < 3 and not text[start:].strip("`"):
        return OpenAtom(certain=False)
    if (found := _CODE.match(text, start)) and found.end() < len(text):
        return Atom(found.end(), found.group())
    return OpenAtom(certain=False) if _OPEN_CODE.match(text, start) else found and Atom(found.end(), found.group())


def _formula(text: str, start: int) -> Atom | OpenAtom | None:
    if (found := _FORMULA.match(text, start)) and (found.end() < len(text) or found.group().endswith("$$")):
        return Atom(found.end(), found.group())
    return OpenAtom(certain=False) if _OPEN_FORMULA.match(text, start) else None


def _parenthesized(text: str, start: int) -> Atom | OpenAtom | None:
    if found := _PARENTHESIZED.match(text, start):
        return Atom(found.end(), found.group())
    return OpenAtom(certain=False) if _OPEN_PARENTHESIZED.match(text, start) else None
