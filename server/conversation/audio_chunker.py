"""Cuts the audio of one utterance into chunks, encodes and numbers them, and puts them into the outbox."""

import math
from collections.abc import Mapping

import numpy as np

from intone.server.audio.encoding import MIN_AUDIBLE_PEAK, Encoder, is_audible, slices
from intone.server.conversation.context import StreamContext
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Filler, Samples, Unit
from intone.server.events import AudioChunk, AudioKind


class AudioChunker:
    """Takes speech, fillers and pauses in playing order, as samples at the stream's rate."""

    def __init__(self, context: StreamContext, utterance: Utterance) -> None:
        self.rate_hz = context.settings.sample_rate_hz
        self._outbox, self._playback = context.outbox, context.playback
        self._utterance_id, self._progress = utterance.id, utterance.progress
        self._clock = context.server.clock
        self._encoder = Encoder(context.settings.encoding)
        self._max_samples = max(1, round(self.rate_hz * context.server.chunk_ms / 1000))
        self._sequence = 0
        self._trailing_samples = 0  # of silence at the end of the audio so far
        self._silent_from_s = -math.inf

    @property
    def trailing_silence_ms(self) -> float:
        """Silence at the end of the audio so far."""
        return 1000 * self._trailing_samples / self.rate_hz

    @property
    def silent_from_s(self) -> float:
        """When the listener has heard, or will have heard, all audio so far, if playback runs in real time."""
        if self._sequence == 0:  # earlier utterances are still playing, and may be interrupted
            now_s = self._clock()
            unheard_s = (self._playback.silent_in_ms + self._outbox.queued_ms) / 1000
            self._silent_from_s = now_s + unheard_s if unheard_s > 1e-6 else min(self._silent_from_s, now_s)
        return self._silent_from_s

    async def speech(self, pcm: Samples, unit: Unit, engine: str, stage_ms: Mapping[str, float]) -> None:
        """Speech of the unit that was started last, `[T]`. Waits while the outbox is full."""
        for piece in slices(pcm, self._max_samples):
            await self._outbox.wait_for_room()
            self._put(piece, AudioKind.SPEECH, engine, unit.start, unit.end, stage_ms)
            stage_ms = {}

    def filler(self, pcm: Samples, filler: Filler) -> None:
        """Part of a filler, `[T]`."""
        for piece in slices(pcm, self._max_samples):
            self._put(piece, AudioKind.FILLER, filler.engine, filler_text=filler.text)

    def silence(self, duration_ms: float) -> None:
        """A pause."""
        for piece in slices(np.zeros(round(self.rate_hz * duration_ms / 1000), np.float32), self._max_samples):
            self._put(piece, AudioKind.SILENCE, "")

    def _put(
        self,
        piece: Samples,
        kind: AudioKind,
        engine: str,
        start: int = 0,
        end: int = 0,
        stage_ms: Mapping[str, float] | None = None,
        filler_text: str = "",
    ) -> None:
        chunk = AudioChunk(
            utterance_id=self._utterance_id,
            sequence=self._sequence,
            offset_samples=self._progress.audio_samples,
            kind=kind,
            data=self._encoder.encode(piece),
            duration_ms=1000 * len(piece) / self.rate_hz,
            engine=engine,
            start=start,
            end=end,
            audible=is_audible(piece),
            stage_ms=stage_ms or {},
            filler_text=filler_text,
        )
        if kind is AudioKind.SPEECH:
            self._progress.add_speech(len(piece))
        else:
            self._progress.add_other(len(piece))
        self._silent_from_s = max(self._clock(), self.silent_from_s) + chunk.duration_ms / 1000
        self._outbox.put(self._utterance_id, chunk)
        self._sequence += 1
        self._count_trailing(piece)

    def _count_trailing(self, piece: Samples) -> None:
        audible = np.flatnonzero(np.abs(piece) >= MIN_AUDIBLE_PEAK)
        if len(audible):
            self._trailing_samples = len(piece) - 1 - int(audible[-1])
        else:
            self._trailing_samples += len(piece)
