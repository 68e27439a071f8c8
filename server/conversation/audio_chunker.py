"""The audio of one utterance on its way out: encoded, cut into chunks, counted. Knows no engines and no text."""

import math
from collections.abc import Mapping

import numpy as np

from intone.server.audio.encoding import AUDIBLE, Encoder, is_audible, slices
from intone.server.conversation.context import StreamContext
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Filler, Samples, Unit
from intone.server.events import AudioChunk, AudioKind


class AudioChunker:
    """Puts speech, fillers and pauses of one utterance into the outbox, one after another."""

    def __init__(self, stage: StreamContext, utterance: Utterance) -> None:
        self.rate_hz = stage.settings.sample_rate_hz
        self._outbox, self._playback = stage.outbox, stage.playback
        self._utterance, self._clock = utterance, stage.services.clock
        self._encoder = Encoder(stage.settings.encoding)
        self._max_samples = max(1, round(self.rate_hz * stage.services.chunk_ms / 1000))
        self._sequence = 0
        self._offset_samples = 0
        self._trailing_samples = 0  # of silence at the end of the speech so far
        self._quiet_from_s = -math.inf  # nothing is being heard

    @property
    def trailing_silence_ms(self) -> float:
        """Silence at the end of what was sent."""
        return 1000 * self._trailing_samples / self.rate_hz

    @property
    def quiet_from_s(self) -> float:
        """When the listener will have heard everything, or has, if playback goes on in real time."""
        if self._sequence == 0:  # earlier utterances are being heard, unless they are interrupted
            now_s = self._clock()
            unheard_s = (self._playback.quiet_in_ms + self._outbox.queued_ms) / 1000
            self._quiet_from_s = now_s + unheard_s if unheard_s > 1e-6 else min(self._quiet_from_s, now_s)
        return self._quiet_from_s

    async def speech(self, pcm: Samples, unit: Unit, engine: str, stage_ms: Mapping[str, float]) -> None:
        """Speech of the unit that was begun; waits while too much is queued. `pcm` `[T]` at the stream's rate."""
        for piece in slices(pcm, self._max_samples):
            await self._outbox.room()
            self._utterance.grow_unit(self._duration_ms(piece))
            self._put(piece, AudioKind.SPEECH, engine, unit.start, unit.end, stage_ms)
            stage_ms = {}

    def filler(self, pcm: Samples, filler: Filler) -> None:
        """A piece of an interjection, at the stream's rate."""
        for piece in slices(pcm, self._max_samples):
            self._utterance.pass_over(self._duration_ms(piece))
            self._put(piece, AudioKind.FILLER, filler.engine, words=filler.text)

    def silence(self, duration_ms: float) -> None:
        """A pause."""
        for piece in slices(np.zeros(round(self.rate_hz * duration_ms / 1000), np.float32), self._max_samples):
            self._utterance.pass_over(self._duration_ms(piece))
            self._put(piece, AudioKind.SILENCE, "")

    def _put(
        self,
        piece: Samples,
        kind: AudioKind,
        engine: str,
        start: int = 0,
        end: int = 0,
        stage_ms: Mapping[str, float] | None = None,
        words: str = "",
    ) -> None:
        duration_ms = self._duration_ms(piece)
        chunk = AudioChunk(
            utterance_id=self._utterance.id,
            sequence=self._sequence,
            offset_samples=self._offset_samples,
            kind=kind,
            data=self._encoder.encode(piece),
            duration_ms=duration_ms,
            engine=engine,
            start=start,
            end=end,
            audible=is_audible(piece),
            stage_ms=stage_ms or {},
            filler=words,
        )
        self._quiet_from_s = max(self._clock(), self.quiet_from_s) + duration_ms / 1000
        self._outbox.put(self._utterance.id, chunk)
        self._sequence += 1
        self._offset_samples += len(piece)
        self._count_trailing(piece)

    def _count_trailing(self, piece: Samples) -> None:
        heard = np.flatnonzero(np.abs(piece) >= AUDIBLE)
        if len(heard):
            self._trailing_samples = len(piece) - 1 - int(heard[-1])
        else:
            self._trailing_samples += len(piece)

    def _duration_ms(self, piece: Samples) -> float:
        return 1000 * len(piece) / self.rate_hz
