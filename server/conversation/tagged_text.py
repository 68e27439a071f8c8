"""Segments text with inline emotion tags into units.

The segmenter gets the text without tags and ends a unit before each emotion tag. Positions of units refer to the text
as received, with tags.
"""

from dataclasses import replace

from intone.server.domain import Emotion, Unit
from intone.server.emotion.tags import Tag, find_tags, open_tag_start
from intone.server.text.characters import is_speakable
from intone.server.text.segmenter import Segmenter


class TaggedText:
    """The text of one utterance. Positions are in characters of the text as received. Chunk-invariant."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._text = ""  # not part of a unit yet
        self._start = 0  # position of `_text`
        self._parsed = 0  # position up to which text was given to the segmenter or recognized as a tag
        self._tags: list[Tag] = []  # between `_start` and `_parsed`
        self._emotion: Emotion | None = None  # of the last tag before `_start`
        self._unit_count = 0

    @property
    def pending(self) -> str:
        """Text that is not part of a unit yet, without tags and without what may become one."""
        return self._segmenter.pending

    def push(self, delta: str) -> list[Unit]:
        """Append text; return the units completed by it."""
        self._text += delta
        return self._parse(hold_open_tag=True)

    def flush(self) -> list[Unit]:
        """Make units of everything buffered, even in mid-sentence, except an incomplete tag."""
        return self._with_tags(self._segmenter.flush())

    def expire(self) -> list[Unit]:
        """Make units of what is buffered up to the last word boundary; used when no text has arrived for a while."""
        return self._with_tags(self._segmenter.expire())

    def finish(self) -> list[Unit]:
        """Make units of everything: the text has ended."""
        units = self._parse(hold_open_tag=False) + self._with_tags(self._segmenter.finish())
        if self._text:  # only tags
            units.append(self._unit("", len(self._text)))
        return units

    def _parse(self, hold_open_tag: bool) -> list[Unit]:
        """Give new text to the segmenter; `hold_open_tag` keeps back what may become a tag with the next characters."""
        new, base = self._text[self._parsed - self._start :], self._parsed
        open_at = open_tag_start(new) if hold_open_tag else None
        known = new if open_at is None else new[:open_at]
        units, position = [], 0
        for tag in find_tags(known):
            units += self._with_tags(self._segmenter.push(known[position : tag.start]))
            if tag.estimate is not None:
                units += self._with_tags(self._segmenter.flush())
            self._tags.append(replace(tag, start=base + tag.start, end=base + tag.end))
            position, self._parsed = tag.end, base + tag.end
        units += self._with_tags(self._segmenter.push(known[position:]))
        self._parsed = base + len(known)
        return units

    def _with_tags(self, units: list[Unit]) -> list[Unit]:
        """Units of the text as received for the segmenter's units, which have no tags."""
        return [self._unit(unit.text, self._received_length(len(unit.text))) for unit in units]

    def _received_length(self, untagged: int) -> int:
        """Length, as received, of the next `untagged` characters; a tag right behind them is not included."""
        position = self._start
        for tag in self._tags:
            if tag.start - position >= untagged > 0:
                break
            untagged -= tag.start - position
            position = tag.end
        return position + untagged - self._start

    def _unit(self, untagged_text: str, length: int) -> Unit:
        end = self._start + length
        for tag in [tag for tag in self._tags if tag.end <= end]:
            self._emotion = tag.estimate.emotion if tag.estimate is not None else self._emotion
        self._tags = [tag for tag in self._tags if tag.end > end]
        text, self._text = self._text[:length], self._text[length:]
        unit = Unit(self._unit_count, self._start, end, text, is_speakable(untagged_text), untagged_text, self._emotion)
        self._start, self._unit_count = end, self._unit_count + 1
        return unit
