"""Work in pieces, as generators that yield between two pieces, so that units are stepped meanwhile."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager
from typing import Any, TypeVar

from intone.server.domain import PreparedVoice

T = TypeVar("T")

Pieces = Generator[None, None, T]
"""Does a piece of the work for each `next`, and returns the result at the end."""

VoicePieces = Pieces[PreparedVoice]


def complete(pieces: Pieces[T]) -> T:
    """Do all pieces that are left, one after the other."""
    while True:
        try:
            next(pieces)
        except StopIteration as end:
            result: T = end.value
            return result


def within(context: Callable[[], AbstractContextManager[Any]], pieces: Pieces[T]) -> Pieces[T]:
    """The same work with each piece in a context of its own, so that steps between them run outside it."""
    while True:
        with context():
            try:
                next(pieces)
            except StopIteration as end:
                result: T = end.value
                return result
        yield
