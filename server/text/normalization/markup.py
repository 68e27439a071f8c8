"""Takes markup out of a text: Markdown, HTML, SSML, code blocks, links, citations and stage directions.

What people would hear is kept: the text of a link, of emphasis, of a heading. Line breaks become pauses.
"""

import re
from collections.abc import Callable, Sequence

from intone.server.text.characters import CJK
from intone.server.text.cues import find_cues
from intone.server.text.cues.tags import TAG
from intone.server.text.normalization.formulas import read_formula
from intone.server.text.normalization.tables import words
from intone.server.text.spans import Piece, SpannedText

_FENCE = re.compile(
    r"(?:^|(?<=\n))[ \t]*(?:(```)|~~~(?=[^\n]*\n))[^\n]*\n?.*?(?:(?(1)```|~~~)[ \t]*(?:\n|\Z)|\Z)", re.DOTALL
)
_INLINE_FENCE = re.compile(r"```[^`]*```")
_FORMULA = re.compile(
    r"\$\$([^$]{1,400})\$\$|(?<![A-Za-z0-9_$\\])\$(?=[^\s\d$]|\d*[\\^_{a-z(=+])([^$\n]{1,200}?)(?<![\s\\])\$(?![A-Za-z0-9_$])"
    r"|\\\((.{1,200}?)\\\)|\\\[(.{1,400}?)\\\]",
    re.DOTALL,
)
_LINK = re.compile(
    r"!?\[((?:[^\[\]\n]|\[[^\[\]\n]{0,200}\]){0,400})\]\((?:[^()\s]"
    r"|\([^()\s]{0,200}\)){0,2000}(?:\s\"[^\"\n]{0,200}\")?\)"
)
_REFERENCE_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\[[^\[\]\n]{0,100}\]")
_AUTOLINK = re.compile(r"<((?:https?://|mailto:|www\.)[^<>\s]{1,2000}|[\w.+-]{1,64}@[\w.-]{1,255})>")
_FOOTNOTE = re.compile(r"^\[\^[^\[\]\s]{1,40}\]:|\[\^[^\[\]\s]{1,40}\]", re.MULTILINE)
_CITATIONS = re.compile(r"(?<=[^\W\d_]|[.,;:!?)\"'”’。，；：！？）])(?:[ ]?\[\d{1,3}(?:[ ]?[,–-][ ]?\d{1,3}){0,8}\])+")
_NAMED_CITATION = re.compile(r"\b(?:see|to|in|of|and|or|by|from|per|with|refs?\.?|references?)[ ]?$", re.IGNORECASE)
_CHECK_BOX = re.compile(r"^([ \t]*(?:[-*+•][ \t]+)?)\[[ xX✓]\][ \t]+", re.MULTILINE)
_INNER_BRACKETS = re.compile(r"[\[\]]")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_BLOCK_TAGS = frozenset(words("html_block_elements"))
_TAGS = _BLOCK_TAGS | frozenset(words("html_inline_elements")) | frozenset(("speak", "p", "s", "w", "token", "lang"))
_STARRED = re.compile(r"(?<![\w*])(\*{1,2})([^*\n]{1,60}?)\1(?![\w*])")
_RULE_LINE = re.compile(r"^[ \t]*(?:\|[ \t]*)?[-=*_]{3}[-=*_ \t|:]*$", re.MULTILINE)
_RULE_RUN = re.compile(r"[-=*_~#]{4,}")
_LINE_START = re.compile(r"^[ \t]*(?:#{1,6}[ \t]+|(?:>(?!\d)[ \t]?)+|[-*+•‣▪●○→►▶➤➜✓✔][ \t]+)", re.MULTILINE)
_HEADING_END = re.compile(r"(?<![ \t])[ \t]+#{1,6}[ \t]*$", re.MULTILINE)
_EMPHASIS = re.compile(
    r"\*{2,3}|(?<![\w*])\*(?=[^\s\d#*.,;:!?)。，！？；、])|(?<=[^\s*])\*(?![\w*])|~~|(?<!\w)_{1,2}(?=\w)|(?<=\w)_{1,2}(?!\w)"
)
_BACKTICKS = re.compile(r"`+")
_TABLE_BAR = re.compile(r"(?:(?<![ \t])[ \t]+)?\|[ \t]*")
_LINE_BREAK = re.compile(r"(?<=[^\s])[ \t\r]*\n\s*(?=\S)")
_STOPS = ".!?…,;:。！？，、；："
_IDEOGRAPH = re.compile(f"[{CJK}]")


def strip_markup(text: SpannedText, *, cues: bool) -> SpannedText:
    """`text` as plain prose, on one line; `cues`: without stage directions and tags for voices too."""
    written = text.text  # what none of the following adds to, so that few patterns are tried on plain prose
    text = text.sub(_COMMENT, "")
    if "```" in written or "~~~" in written:
        text = text.sub(_FENCE, "\n").sub(_INLINE_FENCE, " ")
    if "$" in written or "\\" in written:
        text = text.sub(_FORMULA, lambda found: read_formula(next(filter(None, found.groups()))))
    if "[" in written:
        text = _strip_links(text)
    text = text.sub(_AUTOLINK, lambda found: (1,))
    if cues:
        text = text.replace_spans([(cue.start, cue.end) for cue in find_cues(text.text)], " ")
    text = text.sub(TAG, _tag)
    if "*" in written:
        text = text.sub(_STARRED, lambda found: (2,))
    text = text.sub(_INNER_BRACKETS, _inner_bracket(text.text))
    text = text.sub(_RULE_LINE, "").sub(_RULE_RUN, " ")
    text = text.sub(_LINE_START, "").sub(_HEADING_END, "")
    if "*" in written or "_" in written or "~" in written:
        text = text.sub(_EMPHASIS, "")
    text = text.sub(_BACKTICKS, "")
    if "|" in written:
        text = text.sub(_TABLE_BAR, _table_bar)
    before = text.text
    return text.sub(_LINE_BREAK, lambda found: _pause(before[found.start() - 1]))


def _strip_links(text: SpannedText) -> SpannedText:
    """Check boxes, links, footnotes and citations."""
    text = text.sub(_CHECK_BOX, lambda found: (1,))
    for _ in range(2):  # a link inside the text of a link
        text = text.sub(_LINK, lambda found: (1,))
    text = text.sub(_REFERENCE_LINK, lambda found: None if found[1].isdigit() else (1,))
    return text.sub(_FOOTNOTE, "").sub(_CITATIONS, _citations)


def _tag(found: re.Match[str]) -> Sequence[Piece] | str:
    name = found["name"].lower()
    if name in _BLOCK_TAGS:
        return "\n"
    if name in _TAGS or found["attributes"] or found["close"]:
        return ""
    return " ", TAG.groupindex["name"], " "  # a placeholder, such as <file>


def _citations(found: re.Match[str]) -> str | None:
    """Nothing; after words such as "see", the number is what is meant."""
    return None if _NAMED_CITATION.search(found.string[max(0, found.start() - 16) : found.start()]) else ""


def _table_bar(found: re.Match[str]) -> str:
    if found.string[found.end() : found.end() + 1] in ("", "\n"):
        return ""
    return "，" if _IDEOGRAPH.match(found.string[found.start() - 1 : found.start()]) else ", "


def _inner_bracket(text: str) -> Callable[[re.Match[str]], str]:
    """Square brackets of ordinary text are silent; a blank stands for them where words would join."""

    def replace(found: re.Match[str]) -> str:
        start, end = found.span()
        joins = start > 0 and text[start - 1].isalnum() and end < len(text) and text[end].isalnum()
        return " " if joins else ""

    return replace


def _pause(before: str) -> str:
    """What a line break becomes after the character `before`."""
    if before in _STOPS:
        return " "
    return "，" if _IDEOGRAPH.match(before) else ", "
