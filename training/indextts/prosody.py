"""Eight prosodies modelled on the eight emotions, of any strength: how the teacher's speech is steered.

They are acoustically distinct and controllable. Whether listeners name the emotions has not been tested.
"""

import random
from dataclasses import dataclass

import numpy as np

from intone.server.domain import EMOTIONS
from intone.server.engines.indextts.voice.emotion import BALANCE, MAX_TOTAL_WEIGHT

NEUTRAL_SHARE = 0.3
"""Fraction of the sentences spoken without emotion."""

MIN_STRENGTH = 0.1
TREMOR_HZ = 5.0
RISE_FROM = 0.7
"""Part of a sentence after which a final rise begins."""

MIN_HZ, MAX_HZ = 70.0, 480.0
NEUTRAL = -1
"""Number of the emotion of a neutral sentence."""


@dataclass(frozen=True, slots=True)
class Prosody:
    """Changes of the neutral voice; the default changes nothing.

    Attributes:
        speed: factor on the speaking rate.
        pitch_st: shift of the mean pitch in semitones.
        pitch_range: factor on the distance of the pitch from its mean.
        effort_db: vocal effort: the level, of which high frequencies change three times as much as low ones.
        tremor_st: amplitude of a slow vibrato in semitones.
        rise_st: rise of the pitch at the end of the sentence in semitones.
    """

    speed: float = 1.0
    pitch_st: float = 0.0
    pitch_range: float = 1.0
    effort_db: float = 0.0
    tremor_st: float = 0.0
    rise_st: float = 0.0

    def scaled(self, strength: float) -> "Prosody":
        """The same with a strength from 0, no change, to 1; factors are interpolated geometrically."""
        return Prosody(
            speed=self.speed**strength,
            pitch_st=strength * self.pitch_st,
            pitch_range=self.pitch_range**strength,
            effort_db=strength * self.effort_db,
            tremor_st=strength * self.tremor_st,
            rise_st=strength * self.rise_st,
        )


PROSODIES = {
    "happy": Prosody(speed=1.08, pitch_st=2.5, pitch_range=1.45, effort_db=2.0),
    "angry": Prosody(speed=1.14, pitch_st=1.0, pitch_range=1.25, effort_db=6.0),
    "sad": Prosody(speed=0.82, pitch_st=-1.5, pitch_range=0.6, effort_db=-4.0),
    "afraid": Prosody(speed=1.16, pitch_st=3.5, pitch_range=0.8, effort_db=-1.5, tremor_st=0.8),
    "disgusted": Prosody(speed=0.86, pitch_st=-2.0, pitch_range=1.2, effort_db=3.0),
    "melancholic": Prosody(speed=0.76, pitch_st=-2.5, pitch_range=0.45, effort_db=-6.0),
    "surprised": Prosody(speed=0.97, pitch_st=3.5, pitch_range=1.5, effort_db=3.0, rise_st=4.0),
    "calm": Prosody(speed=0.9, pitch_st=-0.7, pitch_range=0.75, effort_db=-2.5),
}
"""At strength 1, in the order of `EMOTIONS`."""


@dataclass(frozen=True, slots=True)
class Mood:
    """The emotion of a sentence: `NEUTRAL` or an index into `EMOTIONS`, and its strength, 0 to 1."""

    emotion: int = NEUTRAL
    strength: float = 0.0

    @property
    def prosody(self) -> Prosody:
        """What it does to the voice."""
        return Prosody() if self.emotion == NEUTRAL else PROSODIES[EMOTIONS[self.emotion]].scaled(self.strength)

    @property
    def weight(self) -> float:
        """Weight of the emotion's vector: what the server makes of a request with the weight `strength`."""
        return served_weight(self.emotion, self.strength)


def served_weight(emotion: int, strength: float) -> float:
    """The largest weight that the server gives to the vector of an emotion, times `strength`; 0 if neutral."""
    return 0.0 if emotion == NEUTRAL else strength * min(BALANCE[emotion], MAX_TOTAL_WEIGHT)


def mood_of(number: int) -> Mood:
    """The mood of the sentence with that number in its list; always the same."""
    rng = random.Random(f"mood {number}")
    if rng.random() < NEUTRAL_SHARE:
        return Mood()
    return Mood(rng.randrange(len(EMOTIONS)), rng.uniform(MIN_STRENGTH, 1.0))


def steered_pitch(pitch_hz: np.ndarray, prosody: Prosody, frame_s: float) -> np.ndarray:
    """Fundamental frequencies `[F]` of a sentence, without gaps, with the changes of `prosody`."""
    semitones = 12 * np.log2(pitch_hz)
    middle, times = semitones.mean(), np.arange(len(pitch_hz)) * frame_s
    result = middle + prosody.pitch_st + (semitones - middle) * prosody.pitch_range
    result += prosody.tremor_st * np.sin(2 * np.pi * TREMOR_HZ * times)
    result += prosody.rise_st * np.clip((np.arange(len(pitch_hz)) / len(pitch_hz) - RISE_FROM) / (1 - RISE_FROM), 0, 1)
    steered: np.ndarray = (2 ** (result / 12)).clip(MIN_HZ, MAX_HZ)
    return steered


def effort_gain(bins: int, nyquist_hz: float, effort_db: float) -> np.ndarray:
    """Change of natural logarithmic magnitudes by vocal effort, for frequencies from 0 to `nyquist_hz`: `[bins, 1]`."""
    frequencies = np.linspace(0, nyquist_hz, bins)
    share = 0.5 + np.clip(frequencies / 3000, 0, 1)
    gain: np.ndarray = (effort_db * share * np.log(10) / 20)[:, None].astype(np.float32)
    return gain
