"""Fillers: made of raw audio, and chosen for a wait. Knows neither who renders them nor when they play."""

import math
from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from intone.server.audio.encoding import AUDIBLE, fade
from intone.server.domain import Filler, Samples

REMEMBERED = 2
"""How many of the last fillers of a stream are not said again."""

SHORTEST_MS = 60
"""Less sound than this is a click, not an interjection."""

RELATED = {
    "happy": ("surprised",),
    "angry": ("disgusted",),
    "disgusted": ("angry",),
    "afraid": ("surprised",),
    "sad": ("melancholic",),
    "melancholic": ("sad",),
}
"""Whose fillers may stand in for those of an emotion, before the neutral ones do."""

_FRAME_MS = 5
_SOUND_DB = -35.0  # under the loudest frame: where a sound begins and ends
_BEFORE_MS, _AFTER_MS = 10, 30  # kept around the sound
_RISE_MS, _FALL_MS = 5, 20
_LOW_DB = -26.0  # under the loudest frame: a place between two sounds is lower than this ...
_LOW_MS = 40  # ... for at least this long: a pause, or a closed consonant, where a stop is no click either


def make(
    text: str,
    emotion: str,
    language: str,
    samples: Samples,
    rate_hz: int,
    engine: str = "",
    fingerprint: str = "",
) -> Filler | None:
    """A filler of raw audio, trimmed; None if there is no sound in it.

    `engine` and `fingerprint` say who rendered it; both are empty for a clip of the user's.
    """
    sound = trimmed(samples, rate_hz)
    if len(sound) * 1000 < SHORTEST_MS * rate_hz:
        return None
    return Filler(text, emotion, language, sound, rate_hz, cut_points(sound, rate_hz), engine, fingerprint)


def trimmed(samples: Samples, rate_hz: int) -> Samples:
    """The sound in `samples` with a few milliseconds around it; both ends fade to zero. Empty where there is none."""
    levels = _levels(samples, rate_hz)
    threshold = max(AUDIBLE / 2, float(levels.max(initial=0.0)) * 10 ** (_SOUND_DB / 20))
    sounding = np.flatnonzero(levels > threshold)
    if len(sounding) == 0:
        return samples[:0]
    frame = _frame(rate_hz)
    first = max(0, int(sounding[0]) * frame - _BEFORE_MS * rate_hz // 1000)
    last = (int(sounding[-1]) + 1) * frame + _AFTER_MS * rate_hz // 1000
    return fade(samples[first:last], _RISE_MS * rate_hz // 1000, _FALL_MS * rate_hz // 1000)


def cut_points(samples: Samples, rate_hz: int) -> tuple[int, ...]:
    """Where trimmed audio may be stopped, in milliseconds, ascending: the middle of every gap between two sounds, and
    last its end, rounded up."""
    levels = _levels(samples, rate_hz)
    low = levels < float(levels.max(initial=0.0)) * 10 ** (_LOW_DB / 20)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], low, [False]]).astype(np.int8)))  # start, end, start, …
    frame_ms = 1000 * _frame(rate_hz) / rate_hz
    places = [
        round((start + end) / 2 * frame_ms)
        for start, end in zip(edges[::2], edges[1::2], strict=True)
        if start > 0 and end < len(levels) and (end - start) * frame_ms >= _LOW_MS
    ]
    return (*places, math.ceil(1000 * len(samples) / rate_hz))


def _frame(rate_hz: int) -> int:
    return max(1, _FRAME_MS * rate_hz // 1000)


def _levels(samples: Samples, rate_hz: int) -> NDArray[np.float64]:
    """Root mean square of each frame; the last one may be short. `[frames]`"""
    frame = _frame(rate_hz)
    starts = np.arange(0, len(samples), frame)
    if len(starts) == 0:
        return np.zeros(0)
    energy = np.add.reduceat(samples.astype(np.float64) ** 2, starts)
    levels: NDArray[np.float64] = np.sqrt(energy / np.minimum(frame, len(samples) - starts))
    return levels


def same_language(one: str, other: str) -> bool:
    """Whether two BCP 47 codes name one language, whatever the region: "en" and "en-GB" do."""
    return one.split("-")[0].lower() == other.split("-")[0].lower()


def own_clips(fillers: Iterable[Filler], emotion: str, language: str) -> list[Filler]:
    """The user's own clips for an emotion and a language."""
    return [
        filler
        for filler in fillers
        if not filler.engine and filler.emotion == emotion and same_language(filler.language, language)
    ]


class Chooser:
    """Chooses the fillers of one stream; remembers what it chose last."""

    def __init__(self) -> None:
        self._recent: deque[str] = deque(maxlen=REMEMBERED)

    def choose(self, fillers: Iterable[Filler], emotion: str, language: str, wait_ms: float) -> Filler | None:
        """A filler for a wait of `wait_ms`, which counts as said; None if there is none in this language.

        Those of the emotion come first, then those of a related one, then neutral ones; the user's own replace rendered
        ones of the same emotion. What was said lately is taken only where nothing else is left. Among the rest it is
        the shortest that covers the wait, or else the longest.
        """
        known = [filler for filler in fillers if same_language(filler.language, language)]
        feelings = dict.fromkeys((emotion, *RELATED.get(emotion, ()), "neutral"))
        pools = [pool for feeling in feelings if (pool := _pool(known, feeling, language))]
        if not pools:
            return None
        fresh = [kept for pool in pools if (kept := [filler for filler in pool if filler.text not in self._recent])]
        stale = [filler for pool in pools for filler in pool if filler.text != self._recent[-1]] if not fresh else []
        chosen = _fitting(fresh[0] if fresh else stale or pools[0], wait_ms)
        self._recent.append(chosen.text)
        return chosen


def _pool(known: list[Filler], emotion: str, language: str) -> list[Filler]:
    return own_clips(known, emotion, language) or [filler for filler in known if filler.emotion == emotion]


def _fitting(pool: list[Filler], wait_ms: float) -> Filler:
    covering = [filler for filler in pool if filler.duration_ms >= wait_ms]
    if covering:
        return min(covering, key=lambda filler: filler.duration_ms)
    return max(pool, key=lambda filler: filler.duration_ms)
