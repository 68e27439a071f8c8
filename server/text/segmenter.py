"""Cut streamed text into units to synthesize: an early clause first, then whole sentences.

Chunk-invariant: any chunking of the text gives the same units, except for cuts that `flush` and `expire` force.
"""

from typing import NamedTuple

from intone.server.domain import Unit
from intone.server.text.atoms import OPENER, OpenAtom, atom_at
from intone.server.text.boundaries import (
    BoundaryKind,
    classify_mark,
    ends_after_pause,
    forced_cut,
    is_word_boundary,
    next_mark,
)
from intone.server.text.characters import is_speakable, spoken_length

_MAX_ATOMS = 64
"""In a unit: thousands of silent tags would never fill one."""


class _Placed(NamedTuple):
    """An atom in the pending text, and what is spoken of it."""

    start: int
    end: int
    heard: str


class Segmenter:
    """Cuts the text of one utterance into contiguous units.

    The first unit may be a clause. Later ones are whole sentences; short sentences are joined with the next one. Text
    without letters and digits joins the unit after it, or is a unit at the end of the utterance. No cut divides a
    link, a tag, code, a formula or a block of thinking; what nobody hears of them does not count in lengths.

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
        self._pending = ""  # without what may be the beginning of an atom
        self._held = ""  # that, and what follows
        self._atoms: list[_Placed] = []  # in `_pending`, in order
        self._begins_line = True  # whether only blanks stand before `_held` on its line
        self._scanned = 0  # marks of `_pending` before this index are classified
        self._start = 0  # of `_pending` in the utterance
        self._count = 0

    @property
    def pending(self) -> str:
        """Text that is not in a unit yet."""
        return self._pending + self._held

    @property
    def is_inside_atom(self) -> bool:
        """Whether the text so far ends inside of a link, a tag or a block, such as code or thinking."""
        return self._open_atom_is_certain()

    def push(self, delta: str) -> list[Unit]:
        """Take the next characters; return the units that are now complete."""
        self._held += delta
        self._resolve(final=False)
        return self._cut()

    def push_atom(self, text: str) -> list[Unit]:
        """Take the next characters, which no cut may divide; return the units that are now complete."""
        self._resolve(final=True)
        self._add(text, text)
        return self._cut()

    def flush(self) -> list[Unit]:
        """Release all pending text, even in mid-sentence. Text without letters and digits stays pending.

        So does a link, a tag or a block that is not complete.
        """
        if not self._open_atom_is_certain():
            self._resolve(final=True)
        units = self._cut() if self._limit() is not None else []
        return [*units, self._take(len(self._pending))] if is_speakable(self._heard(len(self._pending))) else units

    def expire(self) -> list[Unit]:
        """Release the pending text up to its last word boundary. For when no text has arrived for a while."""
        if not self._held and ends_after_pause(self._pending):
            return self.flush()
        for position in range(len(self._pending), 0, -1):
            if self._is_word_boundary(position):
                return [self._take(position)] if is_speakable(self._heard(position)) else []
        return []

    def finish(self) -> list[Unit]:
        """Release all pending text: the utterance is complete."""
        units = []
        if self._held:
            self._resolve(final=True)
            units = self._cut()
        return [*units, self._take(len(self._pending))] if self._pending else units

    # ---- atoms

    def _resolve(self, final: bool) -> None:
        """Move held text to the pending text, up to the first atom that is not complete."""
        text, position, begin = self._held, 0, 0
        while opener := OPENER.search(text, position):
            at = opener.start()
            line = text[:at].rpartition("\n")
            begins_line = not line[2].strip() and (bool(line[1]) or self._begins_line)
            atom = atom_at(text, at, begins_line=begins_line, final=final)
            if isinstance(atom, OpenAtom):
                self._add_text(text[begin:at])
                self._held = text[at:]
                return
            if atom is None:
                position = at + (2 if text[at] == "\\" else 1)
                continue
            self._add_text(text[begin:at])
            self._add(text[at : atom.end], atom.heard)
            position = begin = atom.end
        self._add_text(text[begin:])
        self._held = ""

    def _add_text(self, text: str) -> None:
        self._pending += text
        before, line_break, line = text.rpartition("\n")
        self._begins_line = not line.strip() and (bool(line_break) or self._begins_line)

    def _add(self, text: str, heard: str) -> None:
        if text:
            self._atoms.append(_Placed(len(self._pending), len(self._pending) + len(text), heard))
            self._add_text(text)

    def _open_atom_is_certain(self) -> bool:
        if not self._held:
            return False
        atom = atom_at(self._held, 0, begins_line=self._begins_line, final=False)
        return isinstance(atom, OpenAtom) and atom.certain

    def _atom_over(self, position: int) -> "_Placed | None":
        """The atom that a cut at `position` would divide."""
        return next((atom for atom in self._atoms if atom.start < position < atom.end), None)

    def _heard(self, length: int) -> str:
        """The first `length` pending characters as far as they are spoken."""
        if not self._atoms:
            return self._pending[:length]
        parts, position = [], 0
        for atom in self._atoms:
            if atom.start >= length:
                break
            parts += [self._pending[position : atom.start], atom.heard]
            position = atom.end
        return "".join([*parts, self._pending[position:length]])

    def _is_word_boundary(self, position: int) -> bool:
        if self._atom_over(position):
            return False
        if any(atom.end == position for atom in self._atoms):
            return True
        if position == len(self._pending) and self._held:
            return self._pending[-1].isspace() or is_word_boundary(self._pending + self._held[:1], position)
        return is_word_boundary(self._pending, position)

    # ---- cuts

    def _cut(self) -> list[Unit]:
        units = []
        while (cut := self._next_cut()) is not None:
            units.append(self._take(cut))
        return units

    def _next_cut(self) -> int | None:
        """End of the next unit; None while undecided."""
        limit = self._limit()
        text = self._pending if limit is None else self._pending[: limit + 1]
        while (mark := next_mark(text, self._scanned)) is not None:
            if (atom := next((atom for atom in self._atoms if atom.start <= mark < atom.end), None)) is not None:
                self._scanned = atom.end
                continue
            boundary = classify_mark(text, mark)
            if boundary.kind is BoundaryKind.UNDECIDED:
                break
            if boundary.kind is not BoundaryKind.NONE and self._accepts(boundary.kind, boundary.position):
                if limit is None or boundary.position <= limit:
                    return boundary.position
                break
            self._scanned = max(boundary.position, mark + 1)
        return None if limit is None else self._forced_cut(limit)

    def _forced_cut(self, limit: int) -> int:
        cut = forced_cut(self._pending, limit, limit // 3)
        atom = self._atom_over(cut)
        if atom is None:
            return cut
        return atom.start if is_speakable(self._heard(atom.start)) else atom.end

    def _accepts(self, kind: BoundaryKind, length: int) -> bool:
        """Whether the first `length` characters, which end in a boundary of this kind, are a unit."""
        if self._atom_over(length):
            return False
        heard = self._heard(length)
        if not is_speakable(heard):
            return False
        if self._count == 0:
            return kind is BoundaryKind.SENTENCE or spoken_length(heard.strip()) >= self._first_unit_min_characters
        return kind is BoundaryKind.SENTENCE and spoken_length(heard.strip()) >= self._unit_min_characters

    def _limit(self) -> int | None:
        """Number of pending characters that fit in one unit; None while all of them fit."""
        maximum = self._unit_max_characters
        if not self._atoms and (
            2 * len(self._pending) <= maximum or spoken_length(self._pending[: maximum + 1]) <= maximum
        ):
            return None
        total, position = 0, 0
        for number, atom in enumerate([*self._atoms, None]):
            end = len(self._pending) if atom is None else atom.start
            while position < end:
                total += spoken_length(self._pending[position])
                if total > maximum:
                    return position
                position += 1
            if atom is not None:
                if number == _MAX_ATOMS:
                    return atom.start
                total += spoken_length(atom.heard)
                if total > maximum:
                    return atom.start if is_speakable(self._heard(atom.start)) else self._after(atom)
                position = atom.end
        return None

    def _after(self, atom: "_Placed") -> int | None:
        """The end of an atom that is too long alone; None where nothing follows it yet."""
        return atom.end if atom.end < len(self._pending) else None

    def _take(self, length: int) -> Unit:
        """Make a unit of the first `length` pending characters."""
        speakable = is_speakable(self._heard(length))
        text, self._pending = self._pending[:length], self._pending[length:]
        unit = Unit(self._count, self._start, self._start + length, text, speakable)
        self._atoms = [
            _Placed(atom.start - length, atom.end - length, atom.heard) for atom in self._atoms if atom.start >= length
        ]
        self._start += length
        self._count += 1
        self._scanned = 0
        return unit
