"""Text whose every character knows the span of the original text that it came from, through any number of rewrites."""

import re
from collections.abc import Callable, Sequence

Piece = str | int
"""Part of a replacement: new text, or the number of a group whose characters keep their own spans."""


class SpannedText:
    """An immutable string; character `i` stands for `original[starts[i]:ends[i]]`."""

    __slots__ = ("ends", "starts", "text")

    def __init__(self, text: str, starts: Sequence[int], ends: Sequence[int]) -> None:
        assert len(text) == len(starts) == len(ends)
        self.text, self.starts, self.ends = text, starts, ends

    @classmethod
    def of(cls, text: str) -> "SpannedText":
        """The original text itself."""
        return cls(text, range(len(text)), range(1, len(text) + 1))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The original span of the characters from `start` to `end`, which is not empty."""
        return min(self.starts[start:end]), max(self.ends[start:end])

    def sub(
        self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], Sequence[Piece] | str | None]
    ) -> "SpannedText":
        """Replace every match, as `pattern.sub` does.

        Args:
            replacement: new text, or a function that returns it, or pieces of it, or None to leave the match alone.
                New text stands for the whole match.
        """
        if pattern.search(self.text) is None:
            return self
        text: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        position = 0

        def copy(start: int, end: int) -> None:
            text.append(self.text[start:end])
            starts.extend(self.starts[start:end])
            ends.extend(self.ends[start:end])

        for match in pattern.finditer(self.text):
            pieces = replacement if isinstance(replacement, str) else replacement(match)
            if pieces is None or match.start() < position:
                continue
            copy(position, match.start())
            position = match.end()
            first, last = self.span(*match.span()) if match.group() else (0, 0)
            for piece in (pieces,) if isinstance(pieces, str) else pieces:
                if isinstance(piece, int):
                    copy(*match.span(piece))
                else:
                    text.append(piece)
                    starts.extend([first] * len(piece))
                    ends.extend([last] * len(piece))
        if not position:
            return self
        copy(position, len(self.text))
        return SpannedText("".join(text), starts, ends)

    def replace_spans(self, spans: Sequence[tuple[int, int]], replacement: str) -> "SpannedText":
        """Replace stretches, given in order without overlap, by a text that stands for each of them."""
        text: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        position = 0
        for start, end in spans:
            first, last = self.span(start, end)
            text += [self.text[position:start], replacement]
            starts += [*self.starts[position:start], *[first] * len(replacement)]
            ends += [*self.ends[position:start], *[last] * len(replacement)]
            position = end
        text.append(self.text[position:])
        return SpannedText("".join(text), [*starts, *self.starts[position:]], [*ends, *self.ends[position:]])
