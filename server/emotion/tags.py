"""Find inline emotion tags in a text: `[happy]`, `[开心:0.4]`, `<expr type="expression" label="…"/>`.

A bracket is a tag only if it names an emotion and is not a Markdown link such as `[happy](address)`. `<expr …>` is
always a tag, and never spoken.

Chunk-invariant: any chunking of a text gives the same tags, provided that the caller keeps the characters from
`open_tag_start` on and searches them again together with the next ones.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from intone.server.emotion.estimate import EmotionEstimate
from intone.server.emotion.labels import parse_description, parse_label
from intone.server.text.characters import CJK

MAX_LABEL_CHARACTERS = 24
"""Between brackets."""

MAX_MARKUP_CHARACTERS = 200
"""Between `<expr` and `>`."""

_INSIDE = r"[^\[\]［］【】<>\n]"
_LETTER_FIRST = r"(?=[^\S\n]*[^\W\d_])"
_LABELLED = rf"{_LETTER_FIRST}({_INSIDE}{{1,{MAX_LABEL_CHARACTERS}}})"
_BRACKET = re.compile(rf"\[{_LABELLED}\](?!\()|［{_LABELLED}］|【{_LABELLED}】")
_MARKUP = re.compile(rf"</?expr(?![\w-])[^<>]{{0,{MAX_MARKUP_CHARACTERS}}}>", re.IGNORECASE)
_OPENER = re.compile(r"[\[［【]|</?expr(?![\w-])", re.IGNORECASE)
_LABEL = re.compile(r"(.+?)(?:(?<!\s)\s*[:：]\s*(\d*\.\d+|\d+))?", re.DOTALL)
_ATTRIBUTE = re.compile(r"""(?<![\w-])([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")

# Ends of a text that further characters may complete to a tag.
_OPEN_BRACKET = re.compile(rf"[\[［【](?:[^\S\n]*|{_LETTER_FIRST}{_INSIDE}+)\Z")
_MAYBE_LINK = re.compile(rf"\[{_LABELLED}\]\Z")
_OPEN_MARKUP = re.compile(
    rf"</?(?:e(?:x(?:p(?:r(?:[^\w<>-][^<>]{{0,{MAX_MARKUP_CHARACTERS - 1}}})?)?)?)?)?\Z", re.IGNORECASE
)
_NO_SPACE_BEFORE = re.compile(rf"[\s.,!?;:…)\]{CJK}\u3000-\u303f\uff00-\uffef]")


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag at `text[start:end]`; `estimate` is None where it does not concern emotion."""

    start: int
    end: int
    estimate: EmotionEstimate | None


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


def open_tag_start(text: str) -> int | None:
    """Start of a tag that further characters may complete or turn into a link; None if there is no such tag."""
    markup = text.rfind("<")
    if markup >= 0 and _OPEN_MARKUP.match(text, markup):
        return markup  # brackets after it belong to it
    bracket = max(text.rfind(opener) for opener in "[［【")
    if bracket < 0:
        return None
    if _MAYBE_LINK.match(text, bracket):
        return bracket if _bracket(text, bracket) else None
    return bracket if len(text) - bracket - 1 <= MAX_LABEL_CHARACTERS and _OPEN_BRACKET.match(text, bracket) else None


def without_tags(text: str) -> str:
    """`text` without its tags, and without the double spaces and spaces before punctuation that this would leave."""
    tags = find_tags(text)
    if not tags:
        return text
    joined, position = "", 0
    for tag in tags:
        joined = _join(joined, text[position : tag.start])
        position = tag.end
    return _join(joined, text[position:]).strip()


def _join(before: str, after: str) -> str:
    """Join the texts on both sides of a tag."""
    if not before or not after:
        return before + after
    if before[-1].isspace() and _NO_SPACE_BEFORE.match(after):
        return before.rstrip() + after if not after[0].isspace() else before + after.lstrip()
    separate = before[-1].isspace() or after[0].isspace() or _NO_SPACE_BEFORE.match(after)
    wide = re.match(f"[{CJK}]", before[-1]) is not None
    return before + ("" if separate or wide else " ") + after


def _bracket(text: str, start: int) -> Tag | None:
    found = _BRACKET.match(text, start)
    if found is None:
        return None
    label = _LABEL.fullmatch(next(group for group in found.groups() if group is not None).strip())
    if label is None:
        return None
    estimate = parse_label(label.group(1))
    if estimate is None:
        return None
    if label.group(2) is not None:
        estimate = estimate.with_intensity(float(label.group(2)))
    return Tag(start, found.end(), estimate)


def _markup(text: str, start: int) -> Tag | None:
    found = _MARKUP.match(text, start)
    if found is None:
        return None
    attributes = {name.lower(): double or single for name, double, single in _ATTRIBUTE.findall(found.group())}
    label = attributes.get("label", "").strip()
    expression = attributes.get("type", "").strip().lower() == "expression"
    return Tag(start, found.end(), parse_description(label) if expression and label else None)
