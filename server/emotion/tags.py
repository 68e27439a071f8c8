"""Inline emotion tags in a text: `[happy]`, `[开心:0.4]`, `<expr type="expression" label="…"/>`. Pure, on characters.

A bracket is a tag only if it names an emotion and is no Markdown link, `[happy](address)`; `<expr …>` is one whatever
it says, and never spoken. What is found in a text is the same however the text was dealt out, if what `open_tag` holds
back is shown again with what follows.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from intone.server.emotion.labels import describe, from_label
from intone.server.emotion.reading import Reading
from intone.server.text.characters import CJK

LABEL_CHARACTERS = 24
"""Most characters between brackets."""

MARKUP_CHARACTERS = 200
"""Most characters between `<expr` and `>`."""

_INSIDE = r"[^\[\]［］【】<>\n]"
_LETTER_FIRST = r"(?=[^\S\n]*[^\W\d_])"
_LABELLED = rf"{_LETTER_FIRST}({_INSIDE}{{1,{LABEL_CHARACTERS}}})"
_BRACKET = re.compile(rf"\[{_LABELLED}\](?!\()|［{_LABELLED}］|【{_LABELLED}】")
_MARKUP = re.compile(rf"</?expr(?![\w-])[^<>]{{0,{MARKUP_CHARACTERS}}}>", re.IGNORECASE)
_OPENER = re.compile(r"[\[［【]|</?expr(?![\w-])", re.IGNORECASE)
_LABEL = re.compile(r"\s*(.+?)\s*(?:[:：]\s*(\d*\.?\d+)\s*)?", re.DOTALL)
_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")

# What a text may end in that can still become a tag.
_OPEN_BRACKET = re.compile(rf"[\[［【](?:[^\S\n]*|{_LETTER_FIRST}{_INSIDE}+)\Z")
_PERHAPS_LINK = re.compile(rf"\[{_LABELLED}\]\Z")
_OPEN_MARKUP = re.compile(
    rf"</?(?:e(?:x(?:p(?:r(?:[^\w<>-][^<>]{{0,{MARKUP_CHARACTERS - 1}}})?)?)?)?)?\Z", re.IGNORECASE
)
_NO_BLANK_BEFORE = re.compile(rf"[\s.,!?;:…)\]{CJK}\u3000-\u303f\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: characters `start` to `end` of the text; `reading` is None where it says nothing of emotion."""

    start: int
    end: int
    reading: Reading | None


def find_tags(text: str) -> list[Tag]:
    """The tags of `text`, in order, without overlap."""
    return list(_tags(text))


def _tags(text: str) -> Iterator[Tag]:
    position = 0
    while (opener := _OPENER.search(text, position)) is not None:
        tag = _markup(text, opener.start()) if text[opener.start()] == "<" else _bracket(text, opener.start())
        if tag is not None:
            yield tag
        position = tag.end if tag is not None else opener.start() + 1


def open_tag(text: str) -> int | None:
    """Where a tag begins that what follows `text` may complete, or make a link; None if nothing does."""
    markup = text.rfind("<")
    if markup >= 0 and _OPEN_MARKUP.match(text, markup):
        return markup  # brackets after it are part of it
    bracket = max(text.rfind(opener) for opener in "[［【")
    if bracket < 0:
        return None
    if _PERHAPS_LINK.match(text, bracket):
        return bracket if _bracket(text, bracket) else None
    return bracket if len(text) - bracket - 1 <= LABEL_CHARACTERS and _OPEN_BRACKET.match(text, bracket) else None


def without_tags(text: str) -> str:
    """`text` without its tags, joined so that no blank is doubled or stands before a mark."""
    tags = find_tags(text)
    if not tags:
        return text
    joined, position = "", 0
    for tag in tags:
        joined = _join(joined, text[position : tag.start])
        position = tag.end
    return _join(joined, text[position:]).strip()


def _join(before: str, after: str) -> str:
    """The texts on both sides of a tag, put together."""
    if not before or not after:
        return before + after
    if before[-1].isspace() and _NO_BLANK_BEFORE.match(after):
        return before.rstrip() + after if not after[0].isspace() else before + after.lstrip()
    apart = before[-1].isspace() or after[0].isspace() or _NO_BLANK_BEFORE.match(after)
    wide = re.match(f"[{CJK}]", before[-1]) is not None
    return before + ("" if apart or wide else " ") + after


def _bracket(text: str, start: int) -> Tag | None:
    found = _BRACKET.match(text, start)
    if found is None:
        return None
    label = _LABEL.fullmatch(next(group for group in found.groups() if group is not None))
    if label is None:
        return None
    reading = from_label(label.group(1))
    if reading is None:
        return None
    if label.group(2) is not None:
        reading = reading.at(float(label.group(2)))
    return Tag(start, found.end(), reading)


def _markup(text: str, start: int) -> Tag | None:
    found = _MARKUP.match(text, start)
    if found is None:
        return None
    attributes = {name.lower(): double or single for name, double, single in _ATTRIBUTE.findall(found.group())}
    label = attributes.get("label", "").strip()
    expression = attributes.get("type", "").strip().lower() == "expression"
    return Tag(start, found.end(), describe(label) if expression and label else None)
