"""Outputs of the audio of `intone say`: a WAV file, standard output, the sound device."""

import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from intone.client.audio import Format
from intone.client.events import AudioChunk, AudioPosition
from intone.client.playback import Player
from intone.client.wav import WavWriter


class AudioOutputs:
    """Writes and plays audio; a context manager that closes the outputs.

    Args:
        audio_format: of the stream.
        out: a WAV file, `Path("-")` for headerless samples on standard output, or None.
        play: play on the sound device.

    Raises:
        OSError: the file cannot be written or there is no sound device.
        MissingExtraError: playing needs miniaudio.
    """

    def __init__(self, audio_format: Format, out: Path | None, *, play: bool) -> None:
        self._file: WavWriter | None = None
        self._raw = out == Path("-")
        self._player: Player | None = None
        with ExitStack() as stack:
            if out is not None and not self._raw:
                self._file = stack.enter_context(WavWriter(out, audio_format))
            if play:
                self._player = stack.enter_context(Player(audio_format))
            self._stack = stack.pop_all()

    def write(self, chunk: AudioChunk) -> None:
        """Write and play a chunk."""
        if self._file is not None:
            self._file.write(chunk.data)
        if self._raw:
            sys.stdout.buffer.write(chunk.data)
            sys.stdout.buffer.flush()
        if self._player is not None:
            self._player.write(chunk.utterance_id, chunk.data)

    def drop(self) -> AudioPosition | None:
        """Discard what has not been played; returns the position of playback."""
        if self._player is not None:
            self._player.drop()
        return self.position

    @property
    def position(self) -> AudioPosition | None:
        """What was played last; None if nothing is played."""
        return None if self._player is None else self._player.position

    async def drain(self) -> None:
        """Wait until the sound device has played everything."""
        if self._player is not None:
            self._player.complete()
            await self._player.drain()

    def __enter__(self) -> "AudioOutputs":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
