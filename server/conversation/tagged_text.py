"""Text with inline emotion tags → units that say which emotion is in force. Knows the segmenter and the tags.

The segmenter sees the text without its tags and cuts before each of them; units keep their place in the text as it was
received, tags and all.
"""

from dataclasses import replace

from intone.server.domain import Emotion, Unit
from intone.server.emotion.tags import Tag, find_tags, open_tag
from intone.server.text.characters import speakable
from intone.server.text.segmenter import Segmenter


class TaggedText:
    """The text of one utterance on its way into units. Positions are characters of the text as received."""

    def __init__(self, segmenter: Segmenter) -> None:
        self._segmenter = segmenter
        self._text = ""  # not in a unit yet
        self._start = 0  # where that begins
        self._seen = 0  # how far the segmenter, or a tag, has come
        self._tags: list[Tag] = []  # at or after `_start`, before `_seen`
        self._emotion: Emotion | None = None
        self._count = 0

    @property
    def pending(self) -> str:
        """Text that is not in a unit yet, without what may become a tag."""
        return self._segmenter.pending

    def push(self, delta: str) -> list[Unit]:
        """Take the next characters; return the units that are now complete."""
        self._text += delta
        return self._read(hold=True)

    def flush(self) -> list[Unit]:
        """Give up everything buffered, even in mid-sentence, but not in the middle of a tag."""
        return self._placed(self._segmenter.flush())

    def expire(self) -> list[Unit]:
        """Give up what ends at a word border, for when text has not come for a while."""
        return self._placed(self._segmenter.expire())

    def finish(self) -> list[Unit]:
        """Give up everything: no text follows."""
        units = self._read(hold=False) + self._placed(self._segmenter.finish())
        if self._text:  # tags alone
            units.append(self._unit("", len(self._text)))
        return units

    def _read(self, hold: bool) -> list[Unit]:
        """Show the segmenter what is new; `hold` keeps back what the next characters may make a tag."""
        new, base = self._text[self._seen - self._start :], self._seen
        unsure = open_tag(new) if hold else None
        known = new if unsure is None else new[:unsure]
        units, position = [], 0
        for tag in find_tags(known):
            units += self._placed(self._segmenter.push(known[position : tag.start]))
            if tag.reading is not None:
                units += self._placed(self._segmenter.flush())
            self._tags.append(replace(tag, start=base + tag.start, end=base + tag.end))
            position, self._seen = tag.end, base + tag.end
        units += self._placed(self._segmenter.push(known[position:]))
        self._seen = base + len(known)
        return units

    def _placed(self, units: list[Unit]) -> list[Unit]:
        """Units of the text without tags, put where they stand in the text with them."""
        return [self._unit(unit.text, self._length(len(unit.text))) for unit in units]

    def _length(self, spoken: int) -> int:
        """How many characters received hold the next `spoken` ones; a tag right after them is not among these."""
        position = self._start
        for tag in self._tags:
            if tag.start - position >= spoken > 0:
                break
            spoken -= tag.start - position
            position = tag.end
        return position + spoken - self._start

    def _unit(self, words: str, length: int) -> Unit:
        end = self._start + length
        for tag in [tag for tag in self._tags if tag.end <= end]:
            self._emotion = tag.reading.emotion if tag.reading is not None else self._emotion
        self._tags = [tag for tag in self._tags if tag.end > end]
        text, self._text = self._text[:length], self._text[length:]
        unit = Unit(self._count, self._start, end, text, speakable(words), words, self._emotion)
        self._start, self._count = end, self._count + 1
        return unit
