"""Cuts the audio of one utterance into chunks, encodes and numbers them, and puts them into the outbox."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from intone.server.audio.encoding import MIN_AUDIBLE_PEAK, Encoder, is_audible, slices
from intone.server.conversation.context import StreamContext
from intone.server.conversation.utterance import Utterance
from intone.server.domain import Filler, Samples, Unit
from intone.server.events import AudioChunk, AudioKind


@dataclass(frozen=True, slots=True)
class _Piece:
    """Audio of one kind. What marks a beginning (`unit_span`, `filler_text`, `stage_ms`) is on the first piece only."""

    samples: Samples
    kind: AudioKind
    engine: str = ""
    unit_span: tuple[int, int] | None = None
    filler_text: str = ""
    stage_ms: Mapping[str, float] = field(default_factory=dict)

    def split(self, count: int) -> tuple["_Piece", "_Piece"]:
        """The first `count` samples, and the rest without marks of a beginning."""
        first = replace(self, samples=self.samples[:count])
        return first, _Piece(self.samples[count:], self.kind, self.engine)


class AudioChunker:
    """Takes speech, fillers and pauses in playing order, as samples at the stream's rate.

    Where the stream asks for chunks of an exact length, audio that does not fill one waits for what follows, or for
    `end_chunk`.
    """

    def __init__(self, context: StreamContext, utterance: Utterance) -> None:
        self.rate_hz = context.settings.sample_rate_hz
        self._outbox, self._playback = context.outbox, context.playback
        self._utterance_id, self._progress = utterance.id, utterance.progress
        self._clock = context.server.clock
        self._encoder = Encoder(context.settings.encoding)
        self._gain = np.float32(10 ** ((utterance.settings.volume_db or 0.0) / 20))
        self._exact = context.settings.chunk_ms is not None
        chunk_ms = context.settings.chunk_ms or context.server.chunk_ms
        self._max_samples = max(1, round(self.rate_hz * chunk_ms / 1000))
        self._waiting: list[_Piece] = []  # less than a chunk
        self._unit: Unit | None = None  # that has begun
        self._filler: Filler | None = None  # that has begun
        self._sequence = 0
        self._sent_samples = 0
        self._has_audio = False
        self._trailing_samples = 0  # of silence at the end of the audio so far
        self._silent_from_s = -math.inf

    @property
    def trailing_silence_ms(self) -> float:
        """Silence at the end of the audio so far."""
        return 1000 * self._trailing_samples / self.rate_hz

    @property
    def silent_from_s(self) -> float:
        """When the listener has heard, or will have heard, all audio so far, if playback runs in real time."""
        if not self._has_audio:  # earlier utterances are still playing, and may be interrupted
            now_s = self._clock()
            unheard_s = (self._playback.silent_in_ms + self._outbox.queued_ms) / 1000
            self._silent_from_s = now_s + unheard_s if unheard_s > 1e-6 else min(self._silent_from_s, now_s)
        return self._silent_from_s

    async def speech(self, pcm: Samples, unit: Unit, engine: str, stage_ms: Mapping[str, float]) -> None:
        """Speech of the unit that was started last, `[T]`. Waits while the outbox is full."""
        self._filler = None
        for samples in slices(pcm, self._max_samples):
            await self._outbox.wait_for_room()
            span = None if unit is self._unit else (unit.start, unit.end)
            self._unit = unit
            self._add(_Piece(samples, AudioKind.SPEECH, engine, unit_span=span, stage_ms=stage_ms))
            stage_ms = {}

    def filler(self, pcm: Samples, filler: Filler) -> None:
        """Part of a filler, `[T]`."""
        for samples in slices(pcm, self._max_samples):
            text = "" if filler is self._filler else filler.text
            self._filler = filler
            self._add(_Piece(samples, AudioKind.FILLER, filler.engine, filler_text=text))

    def silence(self, duration_ms: float) -> None:
        """A pause."""
        for samples in slices(np.zeros(round(self.rate_hz * duration_ms / 1000), np.float32), self._max_samples):
            self._add(_Piece(samples, AudioKind.SILENCE))

    def end_chunk(self) -> None:
        """Send what waits for a chunk of exact length to be full."""
        if self._waiting:
            self._send(self._waiting)
            self._waiting = []

    def _add(self, piece: _Piece) -> None:
        if piece.kind is AudioKind.SPEECH:
            self._progress.add_speech(len(piece.samples))
        else:
            self._progress.add_other(len(piece.samples))
        self._silent_from_s = max(self._clock(), self.silent_from_s) + len(piece.samples) / self.rate_hz
        self._has_audio = True
        self._count_trailing(piece.samples)
        if not self._exact:
            self._send([piece])
            return
        missing = self._max_samples - sum(len(waiting.samples) for waiting in self._waiting)
        while len(piece.samples) >= missing:
            first, piece = piece.split(missing)
            self._send([*self._waiting, first])
            self._waiting, missing = [], self._max_samples
        if len(piece.samples):
            self._waiting.append(piece)

    def _send(self, pieces: list[_Piece]) -> None:
        samples = np.concatenate([piece.samples for piece in pieces]) if len(pieces) > 1 else pieces[0].samples
        main = next((piece for piece in pieces if piece.kind is not AudioKind.SILENCE), pieces[0])
        counts: dict[AudioKind, int] = {}
        for piece in pieces:
            counts[piece.kind] = counts.get(piece.kind, 0) + len(piece.samples)
        chunk = AudioChunk(
            utterance_id=self._utterance_id,
            sequence=self._sequence,
            offset_samples=self._sent_samples,
            kind=main.kind,
            data=self._encoder.encode(samples if self._gain == 1 else samples * self._gain),
            samples=counts,
            duration_ms=1000 * len(samples) / self.rate_hz,
            engine=main.engine,
            unit_span=next((piece.unit_span for piece in pieces if piece.unit_span is not None), None),
            audible=any(piece.kind is AudioKind.SPEECH and is_audible(piece.samples) for piece in pieces),
            stage_ms={stage: ms for piece in pieces for stage, ms in piece.stage_ms.items()},
            filler_text=next((piece.filler_text for piece in pieces if piece.filler_text), ""),
        )
        self._outbox.put(self._utterance_id, chunk)
        self._sequence += 1
        self._sent_samples += len(samples)

    def _count_trailing(self, samples: Samples) -> None:
        audible = np.flatnonzero(np.abs(samples) >= MIN_AUDIBLE_PEAK)
        if len(audible):
            self._trailing_samples = len(samples) - 1 - int(audible[-1])
        else:
            self._trailing_samples += len(samples)
