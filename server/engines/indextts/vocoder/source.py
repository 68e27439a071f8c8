"""The harmonic source of a small vocoder: pulses that follow the pitch, and noise, as further rows of a mel frame.

A large vocoder finds the phase of each harmonic by itself; a small one does not. So the mel frames of a checkpoint with
`source_points` have two rows more, pitch and voicing, from which this module computes what the vocoder filters (a
neural source-filter model, arXiv 1904.12088). The phase is integrated from frame to frame, so it is part of the state
of a stream.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from intone.server.engines.indextts.checkpoint.config import IndexTTSConfig
from intone.server.engines.indextts.checkpoint.config_files import PITCH_ROWS
from intone.server.engines.indextts.s2mel.noise import frame_noise
from intone.server.engines.indextts.vocoder.bigvgan import BigVGANState

if TYPE_CHECKING:
    from intone.server.engines.indextts.placement import Vocoder
    from intone.server.ops._C import ConvGraphState

REFERENCE_HZ, ROWS_PER_OCTAVE = 200.0, 3.0
"""Fundamental frequency of a pitch row of 0, and the difference of the rows of two that are an octave apart."""

MIN_HZ, MAX_HZ = 50.0, 600.0
PULSE_SCALE = 0.35
"""Scales pulses to a variance near 1 at `REFERENCE_HZ`."""

TOP_SHARE = 0.45
"""Highest harmonic, as a part of the rate of the points."""

NOISE_SEED = 0x736F75726365
"""The noise is the same for all utterances: it is filtered, and its phases are inaudible."""


@dataclass(frozen=True, slots=True)
class SourceState:
    """The source at the end of a frame: fundamental frequency in Hz, voicing, phase in cycles, and frames so far."""

    pitch_hz: float = REFERENCE_HZ
    voicing: float = 0.0
    phase: float = 0.0
    frames: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """Computes the rows of a vocoder's source.

    Attributes:
        points: pulse values per frame, evenly spaced in time.
        noise: noise values per frame.
        frame_s: duration of a frame in seconds.
    """

    points: int
    noise: int
    frame_s: float

    def rows(self, frames: Tensor, state: SourceState) -> tuple[Tensor, SourceState]:
        """Mel frames `[bands + 2, F]`, pitch and voicing last → `[bands + 2 + points + noise, F]`, and the next state.

        Pitch is logarithmic, see `REFERENCE_HZ`; voicing is from -1 to 1. They are those at the end of a frame and
        interpolated linearly in between.
        """
        count = frames.shape[1]
        pitch, voicing = (row.cpu().double().numpy() for row in frames[-PITCH_ROWS:])
        pulses, after = self.pulses(hertz(pitch), ((voicing + 1) / 2).clip(0, 1), state)
        noise = frame_noise(NOISE_SEED, state.frames, count, self.noise)
        made = np.concatenate((PULSE_SCALE * pulses, noise), 1).astype(np.float32)
        return torch.cat((frames, torch.from_numpy(made).t().to(frames))), after

    def pulses(self, pitch_hz: np.ndarray, voicing: np.ndarray, state: SourceState) -> tuple[np.ndarray, SourceState]:
        """Pulses `[F, points]` from pitch and voicing at the end of each frame, `[F]` each, and the next state.

        All harmonics up to `TOP_SHARE` of the rate of the points have the amplitude 1, the next one a part of it, so
        that nothing jumps when the pitch moves.
        """
        if not len(pitch_hz):
            return np.zeros((0, self.points)), state
        ends = (state.pitch_hz, state.voicing)
        places = (np.arange(self.points) + 0.5) / self.points
        before_hz, before = (
            np.concatenate(([old], row[:-1])) for old, row in zip(ends, (pitch_hz, voicing), strict=True)
        )
        cycles = self.frame_s * np.concatenate(([0.0], np.cumsum((before_hz + pitch_hz) / 2)))
        now_hz = before_hz[:, None] + (pitch_hz - before_hz)[:, None] * places
        within = self.frame_s * places * (before_hz[:, None] + now_hz) / 2
        count = TOP_SHARE * self.points / self.frame_s / now_hz
        train = harmonics((state.phase + cycles[:-1, None] + within) % 1.0, count)
        gate = before[:, None] + (voicing - before)[:, None] * places
        phase = float((state.phase + cycles[-1]) % 1.0)
        return train * gate, SourceState(float(pitch_hz[-1]), float(voicing[-1]), phase, state.frames + len(pitch_hz))


def hertz(rows: np.ndarray) -> np.ndarray:
    """Pitch rows to fundamental frequencies in Hz."""
    result: np.ndarray = (REFERENCE_HZ * np.exp2(rows / ROWS_PER_OCTAVE)).clip(MIN_HZ, MAX_HZ)
    return result


def harmonics(phase: np.ndarray, count: np.ndarray) -> np.ndarray:
    """The sum of the cosines of the first `count` harmonics, the last by its fraction, at a phase in cycles."""
    whole = np.floor(count)
    half = np.sin(np.pi * phase)
    near = np.abs(half) < 1e-4
    closed = np.sin(2 * np.pi * (whole + 0.5) * phase) / (2 * np.where(near, 1.0, half)) - 0.5
    result: np.ndarray = np.where(near, whole, closed) + (count - whole) * np.cos(2 * np.pi * (whole + 1) * phase)
    return result


@dataclass(frozen=True, slots=True)
class SourcedState:
    """The state of a stream of `SourcedVocoder`: of the source, and of the vocoder, which may change its own."""

    source: SourceState
    vocoder: "BigVGANState | ConvGraphState"


class SourcedVocoder:
    """A vocoder with a source, which has the same interface: it takes frames with rows for pitch and voicing."""

    def __init__(self, vocoder: "Vocoder", source: Source) -> None:
        self._vocoder, self._source = vocoder, source

    def initial_state(self) -> SourcedState:
        """The state of a stream before its first frame."""
        return SourcedState(SourceState(), self._vocoder.initial_state())

    def extend(
        self, mel: Tensor, following: Tensor, state: SourcedState, last: bool
    ) -> tuple[Tensor, Tensor, SourcedState]:
        """See `BigVGAN.extend`; the frames have `PITCH_ROWS` rows more than mel bands."""
        rows, source = self._source.rows(mel, state.source)
        forecast, _ = self._source.rows(following, source)
        final, pending, vocoder = self._vocoder.extend(rows, forecast, state.vocoder, last)
        return final, pending, SourcedState(source, vocoder)


def sourced(vocoder: "Vocoder", config: IndexTTSConfig) -> "Vocoder":
    """The vocoder itself, or with the source of a checkpoint that has one."""
    if config.source is None:
        return vocoder
    frame_s = config.mel.hop_samples / config.mel.sample_rate_hz
    return SourcedVocoder(vocoder, Source(config.source.points, config.source.noise, frame_s))


def state_bytes(state: "BigVGANState | ConvGraphState | SourcedState") -> int:
    """Memory that the state of a stream holds."""
    if isinstance(state, SourcedState):
        return state_bytes(state.vocoder)
    return sum(one.nbytes for one in state.tails) if isinstance(state, BigVGANState) else state.bytes
