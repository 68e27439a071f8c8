"""Text as it is written → units to speak: an early clause first, whole sentences after it. Knows no clock, no engine.

A cut depends on the characters alone, never on how they were dealt out to `push`; only `flush` and `expire`, which
answer to events outside the text, make a difference.
"""

from intone.server.domain import Unit
from intone.server.text.boundaries import Ends, judge, last_cut, next_mark, word_border
from intone.server.text.characters import speakable, weight


class Segmenter:
    """Cuts the text of one utterance into units that tile it without gap or overlap.

    The first unit may be a clause; later ones are whole sentences, small ones joined with what follows. Sizes are in
    Latin characters; an ideograph or kana counts two. Text with nothing to speak in it joins the unit after it and
    stands alone only where none follows.
    """

    def __init__(
        self,
        *,
        first_unit_min_characters: int = 12,
        unit_min_characters: int = 20,
        unit_max_characters: int = 200,
    ) -> None:
        assert unit_max_characters >= 2, unit_max_characters  # one ideograph must fit
        self._first_unit_min_characters = first_unit_min_characters
        self._unit_min_characters = unit_min_characters
        self._unit_max_characters = unit_max_characters
        self._pending = ""
        self._looked = 0  # marks of `_pending` before this index are decided
        self._start = 0  # of `_pending` in the utterance
        self._count = 0

    @property
    def pending(self) -> str:
        """Text that is not in a unit yet."""
        return self._pending

    def push(self, delta: str) -> list[Unit]:
        """Take the next characters; return the units that are now complete."""
        self._pending += delta
        units = []
        while (cut := self._next_cut()) is not None:
            units.append(self._take(cut))
        return units

    def flush(self) -> list[Unit]:
        """Give up everything buffered, even in mid-sentence. What cannot be spoken stays and joins what follows."""
        return [self._take(len(self._pending))] if speakable(self._pending) else []

    def expire(self) -> list[Unit]:
        """Give up what ends at a word border, for when text has not come for a while."""
        for position in range(len(self._pending), 0, -1):
            if word_border(self._pending, position):
                return [self._take(position)] if speakable(self._pending[:position]) else []
        return []

    def finish(self) -> list[Unit]:
        """Give up everything: no text follows."""
        return [self._take(len(self._pending))] if self._pending else []

    def _next_cut(self) -> int | None:
        """Where the next unit ends, None while that is not decided."""
        limit = self._limit()
        text = self._pending if limit is None else self._pending[: limit + 1]
        while (mark := next_mark(text, self._looked)) is not None:
            verdict = judge(text, mark)
            if verdict.ends is Ends.UNDECIDED:
                break
            if verdict.ends is not Ends.NOTHING and self._accepts(verdict.ends, text[: verdict.position]):
                if limit is None or verdict.position <= limit:
                    return verdict.position
                break
            self._looked = max(verdict.position, mark + 1)
        return None if limit is None else last_cut(text, limit, limit // 3)

    def _accepts(self, ends: Ends, text: str) -> bool:
        """Whether `text` is worth a unit."""
        if not speakable(text):
            return False
        if self._count == 0:
            return ends is Ends.SENTENCE or weight(text.strip()) >= self._first_unit_min_characters
        return ends is Ends.SENTENCE and weight(text.strip()) >= self._unit_min_characters

    def _limit(self) -> int | None:
        """How many characters the largest unit may take; None while less than that is pending."""
        most = self._unit_max_characters
        if 2 * len(self._pending) <= most or weight(self._pending[: most + 1]) <= most:
            return None
        limit, total = 0, 0
        while (total := total + weight(self._pending[limit])) <= most:
            limit += 1
        return limit

    def _take(self, length: int) -> Unit:
        """Make a unit of the first `length` characters pending."""
        text, self._pending = self._pending[:length], self._pending[length:]
        unit = Unit(self._count, self._start, self._start + length, text, speakable(text))
        self._start += length
        self._count += 1
        self._looked = 0
        return unit
