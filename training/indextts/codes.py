"""Semantic codes that carry prosody: which sound is spoken, at what pitch, with what effort.

A code covers `FRAMES_PER_CODE` mel frames (37 ms). It is prescribed rather than learned: a learned codebook needs an
encoder and days, while the teacher knows what it says. A code names the sound, one of `PITCH_LEVELS` levels of
pitch, and one of `EFFORT_LEVELS` levels relative to the sound's mean. The flow restores what lies between the levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from intone.server.engines.indextts.text.front_end import FIRST_LANGUAGE_TAG

SOUNDS = "AIOQSTWYabdefhijklmnoprstuvwxzæðŋɐɑɒɔəɚɛɜɡɪɹɾʃʊʌʒʔʤʧθᵊᵻ"
"""The sounds of English in the alphabet of the text; sound 0 is a pause, the first of these is 1."""

STRESS, PAUSES = "ˈˌ", ',.;:!?—…-"()“” '
"""Marks of the text: a stress belongs to the sound after it; the others are pauses, a blank only beside a mark."""

PAUSE = 0
SOUND_COUNT = len(SOUNDS) + 1
PITCH_LEVELS, EFFORT_LEVELS = 15, 4
CODES = SOUND_COUNT * PITCH_LEVELS * EFFORT_LEVELS

MIN_PITCH_HZ, PITCH_STEP_ST = 95.0, 1.9
"""Pitch level 0 is unvoiced, level 1 begins at `MIN_PITCH_HZ`; levels are `PITCH_STEP_ST` semitones wide."""
EFFORT_EDGES_DB = (-4.0, 0.0, 4.0)

FEATURES_PER_CODE = 2
FRAMES_PER_CODE = 3.44


@dataclass(frozen=True, slots=True)
class Unit:
    """A sound or pause of a sentence.

    Attributes:
        sound: 0 for a pause, or 1 + its index in `SOUNDS`.
        token: index of the text's character.
        first, last: the part of the sequence of characters, marks included, during which it lasts; `last` excluded.
    """

    sound: int
    token: int
    first: int
    last: int


def units_of(characters: str) -> list[Unit] | None:
    """The units of a text, between two pauses; None if it has a character that is no sound.

    `first` and `last` count from 1, because the teacher's alignment has a pause at 0 and another one at the end.
    """
    units = [Unit(PAUSE, 0, 0, 1)]
    begin = 1
    for place, character in enumerate(characters):
        if character in STRESS:
            continue
        pause = character in PAUSES
        if not pause and character not in SOUNDS:
            return None
        last = units[-1]
        if pause and (last.sound == PAUSE or character == " "):  # lengthens the unit before it
            units[-1] = Unit(last.sound, last.token, last.first, place + 2)
        else:
            units.append(Unit(PAUSE if pause else 1 + SOUNDS.index(character), place, begin, place + 2))
        begin = place + 2
    end = len(characters) + 2
    if units[-1].sound == PAUSE:
        units[-1] = Unit(PAUSE, units[-1].token, units[-1].first, end)
    else:
        units.append(Unit(PAUSE, len(characters) - 1, begin, end))
    return units


def assigned(starts_s: np.ndarray, ends_s: np.ndarray, code_s: float, count: int) -> np.ndarray | None:
    """The unit of each of `count` codes, in order and none left out; None if there are more units than codes.

    Of all such sequences, the one whose codes are nearest in time to their units. A unit may be shorter than a code.

    Args:
        starts_s, ends_s: of each unit, `[U]`.
    """
    if len(starts_s) > count:
        return None
    middles = (np.arange(count) + 0.5) * code_s
    away = np.maximum(starts_s - middles[:, None], 0) + np.maximum(middles[:, None] - ends_s, 0)  # [codes, U]
    total = np.full(len(starts_s), np.inf)
    total[0] = away[0, 0]
    moved = np.zeros(away.shape, bool)
    for index in range(1, count):
        arriving = np.concatenate(([np.inf], total[:-1]))
        moved[index] = arriving < total
        total = np.minimum(arriving, total) + away[index]
    result = np.zeros(count, np.int64)
    unit = len(starts_s) - 1
    for index in range(count - 1, -1, -1):
        result[index] = unit
        unit -= int(moved[index, unit])
    return result


def pitch_levels(pitch_hz: Tensor, voicing: Tensor) -> Tensor:
    """Pitch levels of codes `[n]`, int64, from their mean pitch and voicing; see `MIN_PITCH_HZ`."""
    semitones = 12 * torch.log2(pitch_hz.clamp_min(1) / MIN_PITCH_HZ)
    level = 1 + (semitones / PITCH_STEP_ST).floor().clamp(0, PITCH_LEVELS - 2).long()
    return torch.where(voicing >= 0.5, level, 0)


def composed(sounds: Tensor, pitch: Tensor, effort: Tensor) -> Tensor:
    """Codes from their parts; a pause has neither pitch nor effort."""
    silent = sounds == PAUSE
    return (sounds * PITCH_LEVELS + pitch.masked_fill(silent, 0)) * EFFORT_LEVELS + effort.masked_fill(silent, 0)


def parts(codes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Sound, pitch level and effort level of codes; the inverse of `composed`."""
    return codes // (PITCH_LEVELS * EFFORT_LEVELS), codes // EFFORT_LEVELS % PITCH_LEVELS, codes % EFFORT_LEVELS


def frame_spans(count: int) -> Tensor:
    """First frame of each of `count` codes, and the end: `[count + 1]`, int64."""
    return (torch.arange(count + 1, dtype=torch.float64) * FRAMES_PER_CODE).floor().long()


@cache
def vocabulary() -> dict[bytes, int]:
    """Bytes and the characters of phonemes, as ranks of a tiktoken file: a text has one token per character."""
    ranks = {bytes([byte]): byte for byte in range(256)}
    for character in characters():
        encoded = character.encode()
        for length in range(2, len(encoded) + 1):
            ranks.setdefault(encoded[:length], len(ranks))
    return ranks


def token_ids(text: str) -> list[int]:
    """Token ids of a text in phonemes, the tag of its language first, as in the server."""
    ranks = vocabulary()
    return [len(ranks) + FIRST_LANGUAGE_TAG, *(ranks[character.encode()] for character in text)]


def characters() -> Sequence[str]:
    """The characters of phonemic text that take several bytes."""
    return [character for character in SOUNDS + STRESS + PAUSES if len(character.encode()) > 1]
