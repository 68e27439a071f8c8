"""What many requests repeat, a voice or a clip, is sent to an engine's process once and then named by a number."""

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from intone.server.domain import PreparedVoice, SpeakRequest

MAX_BYTES = 128 << 20
"""Of the values that a process keeps, the most recently used ones, but always at least one."""

Value = PreparedVoice | bytes


class SharedValues:
    """The server's side: knows which values the process has.

    Voices are recognized by identity, since one object is shared by all utterances, and clips by their content.
    """

    def __init__(self, send: Callable[[Any], None]) -> None:
        """`send` takes the messages ("keep", number, value) and ("forget", number)."""
        self._send = send
        self._numbers = itertools.count(1)
        self._known: OrderedDict[object, tuple[int, Value]] = OrderedDict()  # an id is not reused while its value lives

    def reduced(self, request: SpeakRequest) -> tuple[SpeakRequest, int, int]:
        """A request without its voice and its clip, and their numbers; 0 for none."""
        voice, clip = request.voice, request.emotion.clip
        numbers = (self._number(voice) if voice is not None else 0), (self._number(clip) if clip else 0)
        if clip:
            request = dataclasses.replace(request, emotion=dataclasses.replace(request.emotion, clip=b""))
        if voice is not None:
            request = dataclasses.replace(request, voice=None)
        return request, *numbers

    def next_number(self) -> int:
        """A number for a value that the process itself will make; see `made`."""
        return next(self._numbers)

    def made(self, number: int, value: Value) -> None:
        """The process has made this value, and keeps it under `number`."""
        self._known[_key(value)] = (number, value)
        self._shrink()

    def _number(self, value: Value) -> int:
        key = _key(value)
        if key not in self._known:
            number = self.next_number()
            self._send(("keep", number, value))
            self.made(number, value)
        self._known.move_to_end(key)
        return self._known[key][0]

    def _shrink(self) -> None:
        while len(self._known) > 1 and sum(_size(value) for _, value in self._known.values()) > MAX_BYTES:
            _, (number, _) = self._known.popitem(last=False)
            self._send(("forget", number))


class KeptValues:
    """The process's side. Called from one thread, except for `keep`."""

    def __init__(self) -> None:
        self._values: dict[int, Any] = {}

    def keep(self, number: int, value: Value) -> None:
        """Keep a value under a number."""
        self._values[number] = value

    def forget(self, number: int) -> None:
        """Drop a value. Units that use it keep their reference."""
        self._values.pop(number, None)

    def restored(self, request: SpeakRequest, voice: int, clip: int) -> SpeakRequest:
        """The request that `SharedValues.reduced` has taken apart."""
        if voice:
            request = dataclasses.replace(request, voice=self._values[voice])
        if clip:
            request = dataclasses.replace(
                request, emotion=dataclasses.replace(request.emotion, clip=self._values[clip])
            )
        return request


def _key(value: Value) -> object:
    return value if isinstance(value, bytes) else id(value)


def _size(value: Value) -> int:
    return len(value) if isinstance(value, bytes) else sum(array.nbytes for array in value.arrays.values())
