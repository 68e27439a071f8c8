"""Where the audio of `intone say` goes: a WAV file, standard output, the sound device."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from intone.client.events import Audio, Event, Started
from intone.client.playback import Player
from intone.client.wav import WavWriter


class Sinks:
    """The sinks that were asked for, opened when the format is known; a context manager that closes them.

    Args:
        out: a WAV file, or `Path("-")` for bare samples on standard output, or None.
        play: whether the sound device plays too.
    """

    def __init__(self, out: Path | None, *, play: bool) -> None:
        self._out = out
        self._play = play
        self._stack = ExitStack()
        self._file: WavWriter | None = None
        self.player: Player | None = None

    def take(self, event: Event) -> None:
        """Note what the audio is, or pass audio on.

        Raises:
            OSError: the file cannot be written or there is no sound device.
        """
        if isinstance(event, Started):
            self._open(event)
        elif isinstance(event, Audio):
            if self._file is not None:
                self._file.write(event.data)
            elif self._out is not None:
                sys.stdout.buffer.write(event.data)
                sys.stdout.buffer.flush()
            if self.player is not None:
                self.player.buffer.write(event.samples)

    def _open(self, started: Started) -> None:
        if self._out is not None and self._file is None and str(self._out) != "-":
            self._file = self._stack.enter_context(WavWriter(self._out, started.format))
        if self._play and self.player is None:
            self.player = Player(started.format.sample_rate_hz)
            self._stack.callback(self.player.close)

    @property
    def played_ms(self) -> int | None:
        """What the listener has heard; None where nothing is played."""
        return None if self.player is None else self.player.played_ms

    async def drain(self) -> None:
        """Wait until the device has played everything."""
        if self.player is not None:
            self.player.buffer.complete()
            await self.player.drain()

    def __enter__(self) -> "Sinks":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
