"""Outputs of the audio of `intone say`: a WAV file, standard output, the sound device."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from intone.client.events import AudioChunk, Event, Started
from intone.client.playback import Player
from intone.client.wav import WavWriter


class AudioOutputs:
    """Writes and plays audio; a context manager that closes the outputs. They are opened when the format is known.

    Args:
        out: a WAV file, `Path("-")` for headerless samples on standard output, or None.
        play: play on the sound device.
    """

    def __init__(self, out: Path | None, *, play: bool) -> None:
        self._out = out
        self._play = play
        self._stack = ExitStack()
        self._file: WavWriter | None = None
        self.player: Player | None = None

    def handle(self, event: Event) -> None:
        """Open the outputs at `Started`, write at `AudioChunk`, and ignore other events.

        Raises:
            OSError: the file cannot be written or there is no sound device.
            MissingExtraError: playing needs miniaudio.
        """
        if isinstance(event, Started):
            self._open(event)
        elif isinstance(event, AudioChunk):
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
        """How much audio has been played; None if nothing is played."""
        return None if self.player is None else self.player.played_ms

    async def drain(self) -> None:
        """Wait until the sound device has played everything."""
        if self.player is not None:
            self.player.buffer.complete()
            await self.player.drain()

    def __enter__(self) -> "AudioOutputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
