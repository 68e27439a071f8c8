"""Cut streamed text into units to synthesize: an early clause first, then whole sentences.

Chunk-invariant: any chunking of the text gives the same units, except for cuts that `flush` and `expire` force.
"""

from intone.server.domain import Unit
from intone.server.text.boundaries import (
    BoundaryKind,
    classify_mark,
    ends_after_pause,
    forced_cut,
    is_word_boundary,
    next_mark,
)
from intone.server.text.characters import is_speakable, spoken_length


class Segmenter:
    """Cuts the text of one utterance into contiguous units.

    The first unit may be a clause. Later ones are whole sentences; short sentences are joined with the next one. Text
    without letters and digits joins the unit after it, or is a unit at the end of the utterance.

    Lengths are in Latin characters; an ideograph or kana counts two.

    Args:
        first_unit_min_characters: minimum length of a first unit that is only a clause.
        unit_min_characters: minimum length of all other units but the last.
        unit_max_characters: longer sentences are cut; at least 2.
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
        self._scanned = 0  # marks of `_pending` before this index are classified
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
        """Release all pending text, even in mid-sentence. Text without letters and digits stays pending."""
        return [self._take(len(self._pending))] if is_speakable(self._pending) else []

    def expire(self) -> list[Unit]:
        """Release the pending text up to its last word boundary. For when no text has arrived for a while."""
        if ends_after_pause(self._pending):
            return self.flush()
        for position in range(len(self._pending), 0, -1):
            if is_word_boundary(self._pending, position):
                return [self._take(position)] if is_speakable(self._pending[:position]) else []
        return []

    def finish(self) -> list[Unit]:
        """Release all pending text: the utterance is complete."""
        return [self._take(len(self._pending))] if self._pending else []

    def _next_cut(self) -> int | None:
        """End of the next unit; None while undecided."""
        limit = self._limit()
        text = self._pending if limit is None else self._pending[: limit + 1]
        while (mark := next_mark(text, self._scanned)) is not None:
            boundary = classify_mark(text, mark)
            if boundary.kind is BoundaryKind.UNDECIDED:
                break
            if boundary.kind is not BoundaryKind.NONE and self._accepts(boundary.kind, text[: boundary.position]):
                if limit is None or boundary.position <= limit:
                    return boundary.position
                break
            self._scanned = max(boundary.position, mark + 1)
        return None if limit is None else forced_cut(text, limit, limit // 3)

    def _accepts(self, kind: BoundaryKind, text: str) -> bool:
        """Whether `text`, which ends in a boundary of this kind, is a unit."""
        if not is_speakable(text):
            return False
        if self._count == 0:
            return kind is BoundaryKind.SENTENCE or spoken_length(text.strip()) >= self._first_unit_min_characters
        return kind is BoundaryKind.SENTENCE and spoken_length(text.strip()) >= self._unit_min_characters

    def _limit(self) -> int | None:
        """Number of pending characters that fit in one unit; None while all of them fit."""
        maximum = self._unit_max_characters
        if 2 * len(self._pending) <= maximum or spoken_length(self._pending[: maximum + 1]) <= maximum:
            return None
        limit, total = 0, 0
        while (total := total + spoken_length(self._pending[limit])) <= maximum:
            limit += 1
        return limit

    def _take(self, length: int) -> Unit:
        """Make a unit of the first `length` pending characters."""
        text, self._pending = self._pending[:length], self._pending[length:]
        unit = Unit(self._count, self._start, self._start + length, text, is_speakable(text))
        self._start += length
        self._count += 1
        self._scanned = 0
        return unit
